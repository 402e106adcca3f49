//! What follows from what CloudNativePG says. In: its status, what is wanted, the time. Out: the parts `DatabaseReady` and
//! `BackupFresh`. Pure.

use std::time::Duration;

use api::conditions as names;
use desired::database::{CLUSTER, Database, HIBERNATION};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use super::{
    Available, ClusterStatus,
    drill::{since, told},
    full::FullBackups,
};
use crate::engine::{conditions::Part, fault::Fault};

/// A change is told by a watch; this is only in case that it is not.
const TOLD_ANYWAY: Duration = Duration::from_mins(5);

/// What CloudNativePG calls a database that is as asked for.
const HEALTHY: &str = "Cluster in healthy state";

/// What it calls a database of which an instance has no room for more of its log. It then changes nothing until the volume is larger: it does
/// not even enlarge the volume itself.
const FULL: &str = "Not enough disk space";

/// Beginnings of what it says where it cannot go on by itself.
const HOPELESS: [&str; 7] = [
    FULL,
    "Invalid cluster definition",
    "Cluster is unrecoverable",
    "Unable to create required cluster objects",
    "Cluster cannot proceed to reconciliation due to an unknown plugin",
    "Cluster has incomplete or invalid image catalog",
    "Cluster cannot execute instance online upgrade due to missing architecture binary",
];

/// Longest text of CloudNativePG's that is passed on.
pub const TOLD: usize = 200;

/// What is known of a database.
pub struct Seen<'a> {
    /// The stack namespace.
    pub namespace: &'a str,
    /// What is wanted.
    pub wanted: &'a Database,
    /// What CloudNativePG says.
    pub cluster: Option<&'a ClusterStatus>,
    /// What is known of its full backups.
    pub full: &'a FullBackups,
    /// What was seen of its log at the store, if it was looked at.
    pub log: Option<Log>,
    /// Whether something is written all the time.
    pub canary: Option<Available>,
}

/// The log as it was seen at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// When its newest piece was written.
    pub newest: Option<Timestamp>,
    /// When that was seen.
    pub at: Timestamp,
    /// Since when looks have shown that a piece is missing.
    pub missing_since: Option<Timestamp>,
}

impl Seen<'_> {
    /// Whether the database runs as it should.
    #[must_use]
    pub fn ready(&self) -> Part {
        let place = format!("Cluster {}/{CLUSTER}", self.namespace);
        let waiting =
            |reason, message| Part::faulty(names::DATABASE_READY, Fault::waiting(TOLD_ANYWAY, reason, message));
        let Some(cluster) = self.cluster else {
            return waiting(
                names::PROGRESSING,
                format!("{place} was made, and CloudNativePG has said nothing of it yet"),
            );
        };
        let (ready, wanted) = (cluster.ready_instances, self.wanted.instances);
        if self.is_asleep() {
            let message = format!("{place} is hibernated as spec.suspended asks: its volumes and backups are kept");
            return Part::good(names::DATABASE_READY, names::SUSPENDED, message);
        }
        let said = said(cluster);
        if is_hopeless(cluster) {
            let is_full = cluster.phase.as_deref().is_some_and(|phase| phase.starts_with(FULL));
            let reason = if is_full { names::DATABASE_VOLUME_FULL } else { names::DATABASE_FAILING };
            return waiting(reason, format!("{place}: CloudNativePG says {said:?}"));
        }
        if self.wanted.suspended {
            let told = hibernation(cluster).map_or("nothing of it yet", |condition| &condition.message);
            let told: String = told.chars().take(TOLD).collect();
            return waiting(names::PROGRESSING, format!("{place} is being hibernated; CloudNativePG says {told:?}"));
        }
        match &cluster.current_primary {
            Some(primary) if is_up(cluster, wanted) => {
                let message = format!("{ready} of {wanted} instances are ready, {primary} writes");
                Part::good(names::DATABASE_READY, names::AVAILABLE, message)
            }
            Some(primary) => waiting(
                names::PROGRESSING,
                format!(
                    "{place}: {ready} of {wanted} instances are ready, {primary} is the one that writes; CloudNativePG says {said:?}"
                ),
            ),
            None => {
                waiting(names::PROGRESSING, format!("{place}: no instance writes yet; CloudNativePG says {said:?}"))
            }
        }
    }

    /// Whether no instance runs, as it is asked for. CloudNativePG puts that off while the database is not healthy: until then it is held to
    /// what is asked of one that runs.
    fn is_asleep(&self) -> bool {
        self.wanted.suspended && self.cluster.is_some_and(hibernates)
    }

    /// Whether what the class promises could be restored, and until when that is known.
    #[must_use]
    pub fn backed_up(&self, now: Timestamp) -> (Part, Option<Duration>) {
        let waiting =
            |reason, message| (Part::faulty(names::BACKUP_FRESH, Fault::waiting(TOLD_ANYWAY, reason, message)), None);
        if let Some(archiving) = self.cluster.and_then(stuck) {
            let said: String = archiving.message.chars().take(TOLD).collect();
            let message = format!("Cluster {}/{CLUSTER} cannot archive its log: {said:?}", self.namespace);
            return waiting(names::LOG_NOT_ARCHIVED, message);
        }
        if !self.cluster.is_some_and(archives) {
            let message = format!("Cluster {}/{CLUSTER} has archived nothing of its log yet", self.namespace);
            return waiting(names::BACKUP_PENDING, message);
        }
        let Some(last) = self.full.last else { return waiting(names::BACKUP_PENDING, self.pending()) };
        if let Some(behind) = self.behind() {
            return waiting(names::LOG_NOT_ARCHIVED, format!("Cluster {}/{CLUSTER}: {behind}", self.namespace));
        }
        if self.is_asleep() {
            let message =
                format!("nothing is written while spec.suspended is true; the last full backup was complete at {last}");
            return (Part::good(names::BACKUP_FRESH, names::SUSPENDED, message), None);
        }
        let allowed = self.wanted.full_within();
        let age = Duration::try_from(now.duration_since(last)).unwrap_or(Duration::ZERO);
        match allowed.checked_sub(age).filter(|left| !left.is_zero()) {
            None => waiting(
                names::BACKUP_OVERDUE,
                format!(
                    "the last full backup was complete at {}, more than two periods of {} h ago: see the Backups in namespace {}",
                    last, self.wanted.full_every, self.namespace
                ),
            ),
            Some(left) => {
                let message = format!("the last full backup was complete at {last}, and the log is being archived");
                (Part::good(names::BACKUP_FRESH, names::AVAILABLE, message), Some(left))
            }
        }
    }

    /// What the store lacks of the log, whatever CloudNativePG says. Only a look tells: where nobody could look, nothing is missing.
    fn behind(&self) -> Option<String> {
        let Log { newest, at, missing_since } = self.log?;
        missing_since?;
        let Some(newest) = newest else { return Some(format!("the store holds nothing of its log, as seen at {at}")) };
        let rpo = told(self.wanted.rpo);
        Some(format!(
            "the newest piece of its log at the store was of {newest} at {at}, which is longer ago than the rpo of {rpo}"
        ))
    }

    /// Whether a look has shown that a piece of the log is missing: while the canary writes there is a new one in each third of the rpo. What was
    /// missing is so until there is a newer one, whatever becomes of the canary.
    #[must_use]
    pub fn lacks_log(&self) -> bool {
        let Some(Log { newest, at, missing_since }) = self.log else { return false };
        let Some(newest) = newest else { return self.full.last.is_some_and(|full| full < at) };
        let rpo = self.wanted.rpo;
        let is_written = self.canary.filter(|canary| canary.is).is_some_and(|canary| {
            // Before it was there, nothing need have been written; unless the log shows that it was not away for long.
            since(newest, canary.since) <= rpo * 2 / 3 || since(canary.since, at) > rpo
        });
        since(newest, at) > rpo && (is_written || missing_since.is_some())
    }

    /// Why there is none yet.
    fn pending(&self) -> String {
        let running = self.full.running_since.map(|since| format!("; one is being made since {since}"));
        let failed = self.full.failed.as_ref().map(|failed| {
            let why = failed.why.as_ref().map_or_else(String::new, |why| format!(": CloudNativePG says {why:?}"));
            format!("; one failed at {}{why}", failed.at)
        });
        let none = self.wanted.suspended.then(|| "; none is made while spec.suspended is true".to_owned());
        format!("no full backup is complete yet{}", running.or(none).or(failed).unwrap_or_default())
    }
}

/// Whether CloudNativePG calls it healthy, with so many instances.
#[must_use]
pub fn is_up(cluster: &ClusterStatus, instances: u32) -> bool {
    cluster.phase.as_deref() == Some(HEALTHY) && i64::from(cluster.ready_instances) >= i64::from(instances)
}

/// Whether it says that it cannot go on by itself.
#[must_use]
pub fn is_hopeless(cluster: &ClusterStatus) -> bool {
    let phase = cluster.phase.as_deref().unwrap_or_default();
    HOPELESS.iter().any(|hopeless| phase.starts_with(hopeless))
}

/// What CloudNativePG says of hibernation, if anything.
fn hibernation(cluster: &ClusterStatus) -> Option<&Condition> {
    cluster.conditions.iter().find(|condition| condition.type_ == HIBERNATION)
}

/// Whether CloudNativePG says that it was asked to hibernate the database and that no instance runs any more.
#[must_use]
pub fn hibernates(cluster: &ClusterStatus) -> bool {
    hibernation(cluster).is_some_and(|condition| condition.status == "True")
}

/// What it is at, in CloudNativePG's own words; bounded.
#[must_use]
pub fn said(cluster: &ClusterStatus) -> String {
    let phase = cluster.phase.as_deref().unwrap_or("nothing yet");
    let why = cluster.phase_reason.as_deref().filter(|why| !why.is_empty());
    let said = why.map_or_else(|| phase.to_owned(), |why| format!("{phase}: {why}"));
    said.chars().take(TOLD).collect()
}

/// What CloudNativePG says of the log, if it is this.
fn archiving<'a>(cluster: &'a ClusterStatus, status: &str) -> Option<&'a Condition> {
    cluster.conditions.iter().find(|condition| condition.type_ == "ContinuousArchiving" && condition.status == status)
}

/// What it says if it cannot archive the log.
#[must_use]
pub fn stuck(cluster: &ClusterStatus) -> Option<&Condition> {
    archiving(cluster, "False")
}

fn archives(cluster: &ClusterStatus) -> bool {
    archiving(cluster, "True").is_some()
}

#[cfg(test)]
mod tests;
