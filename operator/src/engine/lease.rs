//! Leadership by a Lease. In: the Lease that all replicas share. Out: [`Leadership`], which says at any moment whether this
//! process may write.
//!
//! This is our own code because of one thing that the usual libraries leave out: they set a flag when a renewal succeeds and
//! clear it when a task notices that time ran out. A process that was stopped (SIGSTOP, a frozen node, a starved thread) wakes
//! with the flag still set and writes, although another replica took over long ago. Here the flag *is* a deadline on the local
//! monotonic clock, looked at by [`Leadership::leads`] itself, so nothing has to run first. They also compare wall clocks of
//! different machines, or tolerate a fixed skew; here times of others are never read (see [`decide`]).
//!
//! It cannot stop a write that is already on its way, and a monotonic clock may stand still while a virtual machine is
//! suspended. So every write has to be safe under two leaders all the same; this makes two leaders rare, not impossible.
//!
//! While leading, the only calls are the renewals: each takes the version from the answer to the one before.

mod decide;

use std::{fmt, future, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::backoff::around;
use crate::{config::Timings, metrics::Metrics};
use decide::{Knowledge, Record, Step};

/// How long letting go may take at shutdown. If it fails, the next leader just waits for the Lease to expire.
const RELEASE_PATIENCE: Duration = Duration::from_secs(3);

/// Whether this process leads. Cheap to clone; clones agree.
#[derive(Clone)]
pub struct Leadership(Kind);

#[derive(Clone)]
enum Kind {
    Always,
    /// Until when, if nothing is renewed.
    Until(watch::Receiver<Option<Instant>>),
}

impl Leadership {
    /// Leads, whatever happens. For tests of what leaders do.
    #[must_use]
    pub fn always() -> Self {
        Self(Kind::Always)
    }

    /// Leads until this moment, and nobody says so when it passed.
    #[cfg(test)]
    pub(crate) fn until(deadline: Instant) -> Self {
        Self(Kind::Until(watch::channel(Some(deadline)).1))
    }

    /// Whether this process may write now. Looks at the clock, so it is right in the first instruction after a pause.
    #[must_use]
    pub fn leads(&self) -> bool {
        match &self.0 {
            Kind::Always => true,
            Kind::Until(deadline) => in_future(*deadline.borrow()),
        }
    }

    /// Returns as soon as this process leads.
    pub async fn until_leader(&self) {
        if let Kind::Until(deadline) = &self.0
            && deadline.clone().wait_for(|deadline| in_future(*deadline)).await.is_err()
        {
            // The candidate has ended: it will never lead again.
            future::pending::<()>().await;
        }
    }

    /// Returns as soon as this process does not lead.
    pub async fn until_follower(&self) {
        let Kind::Until(deadline) = &self.0 else { return future::pending().await };
        let mut deadline = deadline.clone();
        loop {
            let until = *deadline.borrow_and_update();
            let Some(until) = until.filter(|until| in_future(Some(*until))) else { return };
            tokio::select! {
                () = sleep_until(until) => {}
                Ok(()) = deadline.changed() => {}
            }
        }
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership").field("leads", &self.leads()).finish()
    }
}

fn in_future(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() < deadline)
}

/// Where the Lease is, who asks for it, and at what pace.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Unique for each process that was ever started.
    pub me: String,
    /// Duration, renewal and retry.
    pub timings: Timings,
}

/// The one that tries to lead. Made first, because the client that it uses asks [`Leadership`] before it writes.
#[derive(Debug)]
pub struct Candidate {
    settings: Settings,
    knowledge: Knowledge,
    deadline: watch::Sender<Option<Instant>>,
    /// Metadata of the Lease as last seen: what others wrote there is kept.
    metadata: ObjectMeta,
    /// When this process last went from follower to leader; for people who look at the Lease.
    acquired: Option<MicroTime>,
}

/// A candidate that does nothing until [`Candidate::run`], and what everybody else looks at.
#[must_use]
pub fn stand(settings: Settings, metrics: &Metrics) -> (Leadership, Candidate) {
    let (deadline, receiver) = watch::channel(None);
    let leadership = Leadership(Kind::Until(receiver));
    let (name, told) = (settings.name.clone(), leadership.clone());
    metrics.before_scrape(move |metrics| metrics.leads(&name, told.leads()));
    let knowledge = Knowledge::new(settings.me.clone(), settings.timings, Instant::now());
    (leadership, Candidate { settings, knowledge, deadline, metadata: ObjectMeta::default(), acquired: None })
}

impl Candidate {
    /// Takes part until `stop` resolves, then lets go of the Lease so that the next one need not wait. Let everything that
    /// writes end before `stop`.
    pub async fn run(mut self, client: Client, stop: impl Future<Output = ()> + Send) {
        let leases: Api<Lease> = Api::namespaced(client, &self.settings.namespace);
        tokio::select! {
            () = stop => {}
            () = self.campaign(&leases) => {}
        }
        self.release(&leases).await;
    }

    /// Never returns.
    async fn campaign(&mut self, leases: &Api<Lease>) {
        let mut led = false;
        loop {
            self.publish(&mut led);
            let now = Instant::now();
            match self.knowledge.decide(now) {
                Step::Wait(until) => {
                    // Also wake at the end of our own term, to say so in the log.
                    let end = self.knowledge.leads_until().filter(|end| *end > now);
                    sleep_until(end.map_or(until, |end| end.min(until))).await;
                }
                Step::Look => self.look(leases).await,
                Step::Create => {
                    (self.acquired, self.metadata) = (None, ObjectMeta::default());
                    let lease = self.lease(self.knowledge.claim());
                    self.write(leases.create(&PostParams::default(), &lease)).await;
                }
                Step::Acquire { version } => {
                    self.acquired = None;
                    self.replace(leases, version).await;
                }
                Step::Renew { version } => self.replace(leases, version).await,
            }
        }
    }

    async fn look(&mut self, leases: &Api<Lease>) {
        match timeout(decide::patience(&self.settings.timings), leases.get_opt(&self.settings.name)).await {
            Ok(Ok(found)) => {
                self.observed(found, around(self.settings.timings.lease_retry));
            }
            Ok(Err(error)) => self.failed(&error),
            Err(_) => self.failed(&"no answer in time"),
        }
    }

    fn observed(&mut self, found: Option<Lease>, look_again: Duration) {
        self.knowledge.observed(found.as_ref().map(read), Instant::now(), look_again);
        self.metadata = found.map(|lease| lease.metadata).unwrap_or_default();
    }

    async fn replace(&mut self, leases: &Api<Lease>, version: String) {
        self.metadata.resource_version = Some(version);
        let lease = self.lease(self.knowledge.claim());
        let name = self.settings.name.clone();
        self.write(leases.replace(&name, &PostParams::default(), &lease)).await;
    }

    async fn write(&mut self, request: impl Future<Output = kube::Result<Lease>>) {
        let sent = Instant::now();
        match timeout(decide::patience(&self.settings.timings), request).await {
            Ok(Ok(lease)) => {
                let (record, version) = read(&lease);
                self.knowledge.wrote(record, version, sent);
                self.metadata = lease.metadata;
            }
            Ok(Err(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                self.knowledge.refused(Instant::now(), around(self.settings.timings.lease_retry));
            }
            Ok(Err(error)) => self.failed(&error),
            Err(_) => self.failed(&"no answer in time"),
        }
    }

    fn failed(&mut self, error: &dyn fmt::Display) {
        tracing::warn!(lease = self.settings.name, %error, "a request about the Lease failed");
        self.knowledge.failed(Instant::now(), around(self.settings.timings.lease_retry));
    }

    fn publish(&self, led: &mut bool) {
        let deadline = self.knowledge.leads_until();
        self.deadline.send_if_modified(|before| std::mem::replace(before, deadline) != deadline);
        let leads = in_future(deadline);
        if leads != *led {
            tracing::info!(lease = self.settings.name, me = self.settings.me, leads, "leadership changed");
            *led = leads;
        }
    }

    /// Empties the holder. First we stop leading, whatever the API server says then.
    async fn release(&mut self, leases: &Api<Lease>) {
        self.deadline.send_replace(None);
        let attempt = async {
            // A renewal may have been cut off by the stop: then the version is not the last one any more, so look once.
            for _ in 0..2 {
                let Some(version) = self.knowledge.version_if_ours().map(str::to_owned) else { return Ok(()) };
                let free = Record { holder: None, duration: Some(Record::RELEASED), ..self.knowledge.claim() };
                self.metadata.resource_version = Some(version);
                let lease = self.lease(free);
                match leases.replace(&self.settings.name, &PostParams::default(), &lease).await {
                    Err(kube::Error::Api(status)) if status.is_conflict() => {
                        let found = leases.get_opt(&self.settings.name).await?;
                        self.observed(found, Duration::ZERO);
                    }
                    answer => return answer.map(|_| ()),
                }
            }
            Ok(())
        };
        match timeout(RELEASE_PATIENCE, attempt).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the Lease was not released; it expires by itself"),
            Err(_) => tracing::warn!("the Lease was not released in time; it expires by itself"),
        }
    }

    /// The Lease with `record` in it, and else as it was last seen.
    fn lease(&mut self, record: Record) -> Lease {
        let now = MicroTime(Timestamp::now());
        let acquired = self.acquired.get_or_insert_with(|| now.clone()).clone();
        let seconds = record.duration.map_or(0, |duration| duration.as_secs());
        Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                namespace: Some(self.settings.namespace.clone()),
                managed_fields: None,
                ..self.metadata.clone()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(record.holder.unwrap_or_default()),
                lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
                renew_time: Some(now),
                acquire_time: Some(acquired),
                lease_transitions: Some(record.transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// What matters of a Lease, and its version.
fn read(lease: &Lease) -> (Record, String) {
    let spec = lease.spec.clone().unwrap_or_default();
    let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let written = match (&spec.acquire_time, &spec.renew_time) {
        (None, None) => String::new(),
        (acquired, renewed) => format!("{acquired:?} {renewed:?}"),
    };
    let record = Record {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration,
        written,
        transitions: spec.lease_transitions.unwrap_or_default(),
    };
    (record, lease.metadata.resource_version.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests;
