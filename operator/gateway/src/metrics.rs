//! What the gateway measures of itself. In: calls of the small methods below. Out: the text of `/metrics`.
//!
//! Pools are labels, sessions and hosts are not: there may be any number of them, and audit lines have them.

use std::{fmt, sync::Arc, time::Duration};

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

use crate::{reason::Reason, source::Tally};

/// Name, labels, help: what there is, in the order of the docs.
pub const METRICS: &[(&str, &[&str], &str)] = &[
    (
        "steading_egress_requests_total",
        &["pool", "decision", "reason"],
        "Requests that were allowed or denied. A denial before the pool is known has an empty one.",
    ),
    (
        "steading_egress_cut_total",
        &["pool", "reason"],
        "Connections that were let through and later cut off by a rule.",
    ),
    ("steading_egress_open_connections", &["pool"], "Connections that are open to the world."),
    (
        "steading_egress_bytes_total",
        &["pool", "direction"],
        "Bytes that went through, by direction (sent, received), counted when a connection ends.",
    ),
    ("steading_egress_connect_seconds", &["pool"], "Time to resolve a name and to connect, where both succeeded."),
    ("steading_egress_clients", &[], "Connections from agents that are open."),
    (
        "steading_egress_clients_refused_total",
        &[],
        "Connections from agents that were closed unread, because there were too many.",
    ),
    (
        "steading_egress_audit_left_out_total",
        &[],
        "Audit lines of denials that were left out because a session had too many at once.",
    ),
    ("steading_egress_policies_good", &[], "Policy files that are in force as they are."),
    (
        "steading_egress_policies_broken",
        &[],
        "Policy files, keys and folders that cannot be used as they are; what they said before holds.",
    ),
    ("steading_egress_policies_changed_seconds", &[], "When policies last changed, in seconds since 1970."),
];

/// Seconds, from the same node to the other side of the world and a slow DNS.
const BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All metrics of one gateway. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: IntCounterVec,
    cut: IntCounterVec,
    open: IntGaugeVec,
    bytes: IntCounterVec,
    connect: HistogramVec,
    clients: IntGauge,
    clients_refused: IntCounter,
    left_out: IntCounter,
    good: IntGauge,
    broken: IntGauge,
    changed: IntGauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Takes one row of the table after the other, so that what is registered and what is documented are the same.
struct Rows<'a> {
    registry: &'a Registry,
    rows: std::slice::Iter<'static, (&'static str, &'static [&'static str], &'static str)>,
}

impl Rows<'_> {
    fn next<C: Collector + Clone + 'static>(
        &mut self,
        make: impl FnOnce(Opts, &[&str]) -> Result<C, prometheus::Error>,
    ) -> Result<C, prometheus::Error> {
        let (name, labels, help) =
            self.rows.next().ok_or_else(|| prometheus::Error::Msg("the table is too short".into()))?;
        let collector = make(Opts::new(*name, *help), labels)?;
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

impl Metrics {
    /// A registry with every metric of [`METRICS`]. Fails only if that table contradicts itself.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let mut rows = Rows { registry: &registry, rows: METRICS.iter() };
        let histogram = |opts: Opts, labels: &[&str]| {
            HistogramVec::new(HistogramOpts::from(opts).buckets(BUCKETS.to_vec()), labels)
        };
        let inner = Inner {
            requests: rows.next(IntCounterVec::new)?,
            cut: rows.next(IntCounterVec::new)?,
            open: rows.next(IntGaugeVec::new)?,
            bytes: rows.next(IntCounterVec::new)?,
            connect: rows.next(histogram)?,
            clients: rows.next(|opts, _| IntGauge::with_opts(opts))?,
            clients_refused: rows.next(|opts, _| IntCounter::with_opts(opts))?,
            left_out: rows.next(|opts, _| IntCounter::with_opts(opts))?,
            good: rows.next(|opts, _| IntGauge::with_opts(opts))?,
            broken: rows.next(|opts, _| IntGauge::with_opts(opts))?,
            changed: rows.next(|opts, _| IntGauge::with_opts(opts))?,
            registry,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// A request was let through.
    pub fn allowed(&self, pool: &str) {
        self.0.requests.with_label_values(&[pool, "allowed", ""]).inc();
    }

    /// A request was refused. The pool is empty where nobody showed that he belongs to one.
    pub fn denied(&self, pool: &str, reason: Reason) {
        self.0.requests.with_label_values(&[pool, "denied", reason.as_str()]).inc();
    }

    /// A connection to the world is open until the guard is dropped.
    pub fn opened(&self, pool: &str) -> Open {
        let gauge = self.0.open.with_label_values(&[pool]);
        gauge.inc();
        Open(gauge)
    }

    /// Resolving and connecting took so long.
    pub fn connected(&self, pool: &str, took: Duration) {
        self.0.connect.with_label_values(&[pool]).observe(took.as_secs_f64());
    }

    /// A connection ended: bytes each way, and the rule that cut it off, if one did.
    pub fn ended(&self, pool: &str, ended: &crate::relay::Ended) {
        self.0.bytes.with_label_values(&[pool, "sent"]).inc_by(ended.sent);
        self.0.bytes.with_label_values(&[pool, "received"]).inc_by(ended.received);
        if let Some(reason) = ended.reason {
            self.0.cut.with_label_values(&[pool, reason.as_str()]).inc();
        }
    }

    /// An agent is connected until the guard is dropped.
    pub fn client(&self) -> Open {
        self.0.clients.inc();
        Open(self.0.clients.clone())
    }

    /// An agent's connection was closed unread.
    pub fn client_refused(&self) {
        self.0.clients_refused.inc();
    }

    /// An audit line was left out.
    pub fn line_left_out(&self) {
        self.0.left_out.inc();
    }

    /// What the last look at the policies found.
    pub fn policies(&self, tally: Tally) {
        self.0.good.set(i64::try_from(tally.good).unwrap_or(i64::MAX));
        self.0.broken.set(i64::try_from(tally.broken).unwrap_or(i64::MAX));
    }

    /// Policies changed at this second.
    pub fn policies_changed(&self, now: u64) {
        self.0.changed.set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// The text that Prometheus reads.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.registry.gather())
    }
}

/// Something that is open.
#[derive(Debug)]
#[must_use = "it counts as closed when this is dropped"]
pub struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_stands_in_the_docs_with_its_labels_and_help() {
        let page = include_str!("../../../docs/egress-gateway.md");
        for (name, labels, help) in METRICS {
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let row = format!("| `{name}` | {labels} | {help} |");
            assert!(page.lines().any(|line| line == row), "docs/egress-gateway.md lacks the row\n{row}");
        }
    }

    #[test]
    fn every_metric_is_exposed() {
        let metrics = Metrics::new().unwrap();
        metrics.allowed("acme/desktops");
        metrics.denied("", Reason::Unauthenticated);
        metrics.connected("acme/desktops", Duration::from_millis(3));
        metrics.ended("acme/desktops", &crate::relay::Ended { reason: Some(Reason::Idle), sent: 1, received: 2 });
        drop(metrics.opened("acme/desktops"));
        let text = metrics.encode().unwrap();
        for (name, ..) in METRICS {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}:\n{text}");
        }
        assert!(text.contains(r#"steading_egress_cut_total{pool="acme/desktops",reason="Idle"} 1"#), "{text}");
    }
}
