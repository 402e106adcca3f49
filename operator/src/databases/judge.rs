//! What follows from what CloudNativePG says. In: its status, what is wanted, the time. Out: the parts `DatabaseReady` and
//! `BackupFresh`. Pure.

use std::time::Duration;

use api::conditions as names;
use desired::database::{CLUSTER, Database};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use super::{ClusterStatus, full::FullBackups};
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
        let said = said(cluster);
        if is_hopeless(cluster) {
            let is_full = cluster.phase.as_deref().is_some_and(|phase| phase.starts_with(FULL));
            let reason = if is_full { names::DATABASE_VOLUME_FULL } else { names::DATABASE_FAILING };
            return waiting(reason, format!("{place}: CloudNativePG says {said:?}"));
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
        let allowed = Duration::from_hours(2 * self.wanted.full_every);
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

    /// Why there is none yet.
    fn pending(&self) -> String {
        let running = self.full.running_since.map(|since| format!("; one is being made since {since}"));
        let failed = self.full.failed.as_ref().map(|failed| {
            let why = failed.why.as_ref().map_or_else(String::new, |why| format!(": CloudNativePG says {why:?}"));
            format!("; one failed at {}{why}", failed.at)
        });
        format!("no full backup is complete yet{}", running.or(failed).unwrap_or_default())
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{databases::full::Failed, engine::conditions::State};

    fn wanted() -> Database {
        Database {
            image: "registry.example/postgresql:18.4".to_owned(),
            instances: 3,
            storage: 20 << 30,
            storage_class: None,
            cpu: 1_000,
            memory: 2 << 30,
            rpo: Duration::from_mins(15),
            full_every: 2,
            retention: 30,
            rto: Duration::from_hours(1),
            drill_every: Duration::from_hours(24),
        }
    }

    fn cluster(phase: &str, ready: i32, primary: Option<&str>) -> ClusterStatus {
        let primary = primary.map(str::to_owned);
        ClusterStatus {
            phase: Some(phase.to_owned()),
            ready_instances: ready,
            current_primary: primary,
            ..ClusterStatus::default()
        }
    }

    fn seen<'a>(wanted: &'a Database, cluster: Option<&'a ClusterStatus>, full: &'a FullBackups) -> Seen<'a> {
        Seen { namespace: "acme-finance-ab12cd", wanted, cluster, full }
    }

    fn reason(part: &Part) -> (&'static str, &str) {
        match &part.state {
            State::Good { reason, message } | State::Open { reason, message } => (reason, message),
            State::Faulty(fault) | State::Unknown(fault) => (fault.reason, &fault.message),
        }
    }

    #[test]
    fn a_database_is_ready_when_it_is_healthy_with_all_instances_and_one_that_writes() {
        for (phase, ready, primary, expected) in [
            (HEALTHY, 3, Some("database-1"), "Available"),
            (HEALTHY, 2, Some("database-1"), "Progressing"),
            (HEALTHY, 3, None, "Progressing"),
            ("Failing over", 3, Some("database-1"), "Progressing"),
            ("Cluster is unrecoverable and needs manual intervention", 3, Some("database-1"), "DatabaseFailing"),
            ("Not enough disk space", 2, Some("database-1"), "DatabaseVolumeFull"),
        ] {
            let cluster = cluster(phase, ready, primary);
            let part = seen(&wanted(), Some(&cluster), &FullBackups::default()).ready();
            assert_eq!(reason(&part).0, expected, "{phase} {ready} {primary:?}");
        }
        assert_eq!(reason(&seen(&wanted(), None, &FullBackups::default()).ready()).0, "Progressing");
    }

    #[test]
    fn what_cloud_native_pg_says_is_passed_on_bounded() {
        let status = ClusterStatus { phase_reason: Some("x".repeat(5_000)), ..cluster("Failing over", 1, None) };
        let part = seen(&wanted(), Some(&status), &FullBackups::default()).ready();
        assert!(reason(&part).1.contains("Failing over: xxx") && reason(&part).1.len() < 400);
    }

    fn archiving_is(status: &str) -> ClusterStatus {
        let condition = json!({
            "type": "ContinuousArchiving", "status": status, "reason": "r", "message": "m",
            "lastTransitionTime": "2026-11-23T10:00:00Z",
        });
        serde_json::from_value(json!({ "conditions": [condition] })).unwrap()
    }

    fn made(at: &str) -> FullBackups {
        FullBackups { last: Some(at.parse().unwrap()), ..FullBackups::default() }
    }

    fn fresh(cluster: Option<&ClusterStatus>, full: &FullBackups, now: &str) -> (String, Option<Duration>) {
        let (part, left) = seen(&wanted(), cluster, full).backed_up(now.parse().unwrap());
        (reason(&part).0.to_owned(), left)
    }

    #[test]
    fn a_backup_is_fresh_for_two_of_its_periods() {
        let made = made("2026-11-23T10:00:00Z");
        for (now, expected, left) in [
            ("2026-11-23T10:00:00Z", "Available", Some(4 * 3600)),
            ("2026-11-23T13:59:59Z", "Available", Some(1)),
            ("2026-11-23T14:00:00Z", "BackupOverdue", None),
            ("2026-11-23T09:00:00Z", "Available", Some(4 * 3600)),
        ] {
            assert_eq!(
                fresh(Some(&archiving_is("True")), &made, now),
                (expected.to_owned(), left.map(Duration::from_secs)),
                "{now}"
            );
        }
    }

    #[test]
    fn without_a_full_backup_or_with_a_stuck_log_nothing_is_fresh() {
        let now = "2026-11-23T10:00:00Z";
        assert_eq!(fresh(Some(&archiving_is("True")), &FullBackups::default(), now).0, "BackupPending");
        assert_eq!(fresh(None, &made(now), now).0, "BackupPending", "nobody says that the log is archived");
        let stuck = archiving_is("False");
        assert_eq!(fresh(Some(&stuck), &made(now), now).0, "LogNotArchived");
    }

    #[test]
    fn while_there_is_no_full_backup_it_is_told_what_became_of_the_last_try() {
        let at: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let failed = Some(Failed { at, why: Some("no room".to_owned()) });
        let running = FullBackups { running_since: Some(at), failed: failed.clone(), ..FullBackups::default() };
        let failed = FullBackups { failed, ..FullBackups::default() };
        let archiving = archiving_is("True");
        for (full, told) in
            [(FullBackups::default(), "complete yet"), (running, "made since 2026"), (failed, "no room")]
        {
            let (part, _) = seen(&wanted(), Some(&archiving), &full).backed_up(at);
            assert!(reason(&part).1.contains(told), "{}", reason(&part).1);
        }
    }
}
