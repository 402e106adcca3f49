//! Answers the servers of NATS. In: their questions. Out: for each one answer, a metric and an audit line.
//!
//! ```text
//! client ─▶ NATS ─ question ─▶ what was shown ▶ TokenReview ▶ how often ▶ namespace ▶ Tenant ▶ account ─▶ a JWT, or why not
//! ```

use std::sync::Arc;

use api::names::Identity;
use async_nats::{Client, Message};
use secrecy::ExposeSecret as _;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    accounts::Accounts,
    admit::{self, Pod},
    budget::Budget,
    clock::Clock,
    cluster::{Cluster, Unreachable},
    metrics::Metrics,
    reason::Reason,
    request::{self, Request},
    rights::{Notary, Times},
    shown,
};

/// So many questions are looked at at once.
const AT_ONCE: usize = 64;

/// Answers. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Callout(Arc<Inner>);

struct Inner {
    cluster: Arc<dyn Cluster>,
    accounts: Accounts,
    notary: Arc<Notary>,
    clock: Clock,
    metrics: Metrics,
    budget: Budget,
    room: Semaphore,
    /// As whom agents run.
    account: String,
}

/// Somebody who is let in.
struct Admitted {
    tenant: Identity,
    jwt: String,
}

/// What is known of who asks, as far as it was found out.
#[derive(Default)]
struct Known {
    pod: Option<Pod>,
    tenant: Option<String>,
}

impl Callout {
    /// One that asks this cluster.
    pub fn new(cluster: Arc<dyn Cluster>, accounts: Accounts, notary: Arc<Notary>, about: About) -> Self {
        let About { clock, metrics, account } = about;
        let room = Semaphore::new(AT_ONCE);
        Self(Arc::new(Inner { cluster, accounts, notary, clock, metrics, budget: Budget::default(), room, account }))
    }

    /// Answers one question at `client`.
    pub async fn answer(&self, client: &Client, question: &Message) {
        let begun = Instant::now();
        let (Some(reply), Ok(request)) = (&question.reply, request::read(&question.payload)) else {
            self.0.metrics.malformed();
            tracing::warn!("a question of NATS is not understood; is its version one that was tried?");
            return;
        };
        let mut known = Known::default();
        let outcome = self.decide(&request, &mut known).await;
        self.tell(&request, &known, &outcome, begun);
        let outcome = outcome.map(|admitted| admitted.jwt).map_err(|reason| reason.to_string());
        let written = self.0.notary.answer(&request.server, &request.user, &outcome, self.0.clock.now());
        match written {
            Ok(text) => {
                if let Err(error) = client.publish(reply.clone(), text.into()).await {
                    tracing::warn!(%error, "an answer could not be sent; the client tries again");
                }
            }
            Err(error) => tracing::error!(%error, "no answer could be signed"),
        }
    }

    async fn decide(&self, request: &Request, known: &mut Known) -> Result<Admitted, Reason> {
        let inner = &self.0;
        let shown = shown::read(request.token.expose_secret(), inner.clock.now())?;
        let _room = inner.room.try_acquire().map_err(|_| Reason::Busy)?;
        let review = inner.cluster.review(&request.token).await.map_err(|error| unreachable(&error))?;
        let pod = known.pod.insert(admit::pod(&review, &inner.account)?);
        if !inner.budget.takes(&pod.uid, Instant::now()) {
            return Err(Reason::TooOften);
        }
        let labels = inner
            .cluster
            .labels(&pod.namespace)
            .await
            .map_err(|error| unreachable(&error))?
            .ok_or(Reason::NotAStack)?;
        let name = admit::tenant(&labels)?;
        known.tenant = Some(name.to_string());
        let tenant =
            inner.cluster.identity(&name).await.map_err(|error| unreachable(&error))?.ok_or(Reason::UnknownTenant)?;
        inner.accounts.ensure(tenant).await.map_err(|error| {
            tracing::warn!(%tenant, %error, "a pod is not let in");
            Reason::AccountUnknown
        })?;
        let now = inner.clock.now();
        let times = Times { now, expires: admit::until(shown.expires, now) };
        let jwt = inner.notary.pod(tenant, &pod.uid, &request.user, times).map_err(|error| {
            tracing::error!(%error, "a pod is not let in");
            Reason::NotSigned
        })?;
        Ok(Admitted { tenant, jwt })
    }

    fn tell(&self, request: &Request, known: &Known, outcome: &Result<Admitted, Reason>, begun: Instant) {
        let reason = outcome.as_ref().err().copied();
        self.0.metrics.decided(reason, begun.elapsed());
        let decision = if reason.is_none() { "allowed" } else { "denied" };
        let (pod, namespace) = known.pod.as_ref().map(|pod| (pod.uid.to_string(), pod.namespace.as_str())).unzip();
        tracing::info!(
            target: "audit", decision, reason = reason.map(Reason::word), pod, namespace, tenant = known.tenant,
            identity = outcome.as_ref().ok().map(|admitted| admitted.tenant.to_string()), address = request.address, "sign-in"
        );
    }
}

/// What a callout needs besides.
pub struct About {
    /// Tells the time.
    pub clock: Clock,
    /// Counts.
    pub metrics: Metrics,
    /// As whom agents run.
    pub account: String,
}

fn unreachable(error: &Unreachable) -> Reason {
    tracing::warn!(%error, "a pod is not let in");
    Reason::ClusterUnreachable
}
