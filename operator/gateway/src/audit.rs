//! Lines that say who reached what, and who was refused. In: what was decided. Out: `tracing` events of the target `audit`, one for each
//! request that was let through or refused and one for each connection that ended.
//!
//! A line holds the session, pool and tenant *that the token shows*, never what somebody merely claims; host and port, never a path, a
//! query, a header field or a credential. Its length is bounded by that of a host name. Denials of one session are bounded in number: the
//! rest is counted, and the next line says how many were left out.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::{
    host::Target,
    metrics::Metrics,
    policy::Pool,
    reason::Reason,
    relay::Ended,
    token::Identity,
    usage::{Lines, Usage},
};

/// How a target was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// CONNECT.
    Tunnel,
    /// A plain request.
    Plain,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Tunnel => "CONNECT",
            Self::Plain => "HTTP",
        }
    }
}

/// What is known of a request so far; it grows while the request is judged.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Whose it is, once the token shows it.
    pub who: Option<Identity>,
    /// The pool, once a policy names it.
    pub pool: Option<Arc<Pool>>,
    /// The session's use, once it is known.
    pub usage: Option<Arc<Usage>>,
    /// What it asks for, once that can be read.
    pub target: Option<Target>,
    /// How.
    pub way: Option<Way>,
    /// The address that was connected to.
    pub address: Option<std::net::SocketAddr>,
}

impl Trail {
    /// The label of the pool.
    pub fn pool_name(&self) -> &str {
        self.pool.as_ref().map_or("", |pool| &pool.name)
    }
}

/// Writes the lines.
#[derive(Debug)]
pub struct Audit {
    metrics: Metrics,
    /// For those who showed nothing.
    strangers: Mutex<Lines>,
}

impl Audit {
    /// Counts with `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, strangers: Mutex::new(Lines::new(Instant::now())) }
    }

    /// A request was let through.
    pub fn allowed(&self, trail: &Trail) {
        self.metrics.allowed(trail.pool_name());
        let line = Line::of(trail);
        tracing::info!(target: "audit", decision = "allowed", session = line.session, pool = line.pool, tenant = line.tenant,
            way = line.way, destination = line.target, address = line.address, "allowed");
    }

    /// A request was refused.
    pub fn denied(&self, trail: &Trail, reason: Reason) {
        self.metrics.denied(trail.pool_name(), reason);
        let written = match &trail.usage {
            Some(usage) => usage.line(),
            None => self.strangers.lock().unwrap_or_else(PoisonError::into_inner).write(Instant::now()),
        };
        let Some(left_out) = written else { return self.metrics.line_left_out() };
        let line = Line::of(trail);
        tracing::warn!(target: "audit", decision = "denied", reason = reason.as_str(), session = line.session, pool = line.pool,
            tenant = line.tenant, way = line.way, destination = line.target, address = line.address, left_out, "denied");
    }

    /// A connection that was let through ended.
    pub fn ended(&self, trail: &Trail, ended: &Ended) {
        self.metrics.ended(trail.pool_name(), ended);
        let line = Line::of(trail);
        tracing::info!(target: "audit", decision = "ended", reason = ended.reason.map(Reason::as_str), session = line.session,
            pool = line.pool, tenant = line.tenant, way = line.way, destination = line.target, address = line.address,
            sent = ended.sent, received = ended.received, "ended");
    }
}

/// The fields that every line has.
struct Line<'a> {
    session: Option<String>,
    pool: Option<&'a str>,
    tenant: Option<String>,
    way: Option<&'static str>,
    target: Option<String>,
    address: Option<String>,
}

impl<'a> Line<'a> {
    fn of(trail: &'a Trail) -> Self {
        Self {
            session: trail.who.as_ref().map(|who| who.session.to_string()),
            pool: trail.pool.as_ref().map(|pool| &*pool.name),
            tenant: trail.who.as_ref().map(|who| who.tenant.to_string()),
            way: trail.way.map(Way::as_str),
            target: trail.target.as_ref().map(ToString::to_string),
            address: trail.address.map(|address| address.to_string()),
        }
    }
}
