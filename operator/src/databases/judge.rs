//! What follows from what CloudNativePG says. In: its status, what is wanted, the time. Out: the parts `DatabaseReady` and
//! `BackupFresh`. Pure.

use std::time::Duration;

use api::conditions as names;
use desired::database::{CLUSTER, Database};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use super::{ClusterStatus, ObjectStoreStatus, RecoveryWindow};
use crate::engine::{conditions::Part, fault::Fault};

/// A change is told by a watch; this is only in case that it is not.
const TOLD_ANYWAY: Duration = Duration::from_mins(5);

/// What CloudNativePG calls a database that is as asked for.
const HEALTHY: &str = "Cluster in healthy state";

/// Beginnings of what it says where it cannot go on by itself.
const HOPELESS: [&str; 6] = [
    "Invalid cluster definition",
    "Cluster is unrecoverable",
    "Unable to create required cluster objects",
    "Cluster cannot proceed to reconciliation due to an unknown plugin",
    "Cluster has incomplete or invalid image catalog",
    "Cluster cannot execute instance online upgrade due to missing architecture binary",
];

/// Longest text of CloudNativePG's that is passed on.
const TOLD: usize = 200;

/// What is known of a database.
pub struct Seen<'a> {
    /// The stack namespace.
    pub namespace: &'a str,
    /// What the database calls itself in its backups.
    pub server: &'a str,
    /// What is wanted.
    pub wanted: &'a Database,
    /// What CloudNativePG says.
    pub cluster: Option<&'a ClusterStatus>,
    /// What its plugin says.
    pub store: Option<&'a ObjectStoreStatus>,
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
        let phase = cluster.phase.as_deref().unwrap_or("nothing yet");
        let why = cluster.phase_reason.as_deref().filter(|why| !why.is_empty());
        let said = why.map_or_else(|| phase.to_owned(), |why| format!("{phase}: {why}"));
        let said: String = said.chars().take(TOLD).collect();
        if HOPELESS.iter().any(|hopeless| phase.starts_with(hopeless)) {
            return waiting(names::DATABASE_FAILING, format!("{place}: CloudNativePG says {said:?}"));
        }
        match &cluster.current_primary {
            Some(primary) if phase == HEALTHY && i64::from(ready) >= i64::from(wanted) => {
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
        let window = self.window();
        let failed = window.last_failed_backup_time.as_ref();
        let Some(full) = &window.last_successful_backup_time else {
            let failed = failed.map_or_else(String::new, |time| format!("; one failed at {}", time.0));
            return waiting(names::BACKUP_PENDING, format!("no full backup is complete yet{failed}"));
        };
        let allowed = Duration::from_hours(2 * self.wanted.full_every);
        let age = Duration::try_from(now.duration_since(full.0)).unwrap_or(Duration::ZERO);
        match allowed.checked_sub(age).filter(|left| !left.is_zero()) {
            None => waiting(
                names::BACKUP_OVERDUE,
                format!(
                    "the last full backup was complete at {}, more than two periods of {} h ago: see the Backups in namespace {}",
                    full.0, self.wanted.full_every, self.namespace
                ),
            ),
            Some(left) => {
                let message = format!("the last full backup was complete at {}, and the log is being archived", full.0);
                (Part::good(names::BACKUP_FRESH, names::AVAILABLE, message), Some(left))
            }
        }
    }

    /// What can be gone back to.
    #[must_use]
    pub fn window(&self) -> RecoveryWindow {
        self.store.map(|store| window(store, self.server)).unwrap_or_default()
    }
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

/// What can be gone back to of the database of this name.
#[must_use]
pub fn window(store: &ObjectStoreStatus, server: &str) -> RecoveryWindow {
    store.server_recovery_window.get(server).cloned().unwrap_or_default()
}

/// When a full backup failed, if none has succeeded since.
#[must_use]
pub fn failed_since(window: &RecoveryWindow) -> Option<Timestamp> {
    let failed = window.last_failed_backup_time.as_ref().map(|time| time.0);
    failed.filter(|failed| window.last_successful_backup_time.as_ref().is_none_or(|full| *failed > full.0))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::engine::conditions::State;

    const SERVER: &str = "database-01234567";

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

    fn seen<'a>(
        wanted: &'a Database,
        cluster: Option<&'a ClusterStatus>,
        store: Option<&'a ObjectStoreStatus>,
    ) -> Seen<'a> {
        Seen { namespace: "acme-finance-ab12cd", server: SERVER, wanted, cluster, store }
    }

    fn reason(part: &Part) -> (&'static str, &str) {
        match &part.state {
            State::Good { reason, message } => (reason, message),
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
        ] {
            let cluster = cluster(phase, ready, primary);
            let part = seen(&wanted(), Some(&cluster), None).ready();
            assert_eq!(reason(&part).0, expected, "{phase} {ready} {primary:?}");
        }
        assert_eq!(reason(&seen(&wanted(), None, None).ready()).0, "Progressing");
    }

    #[test]
    fn what_cloud_native_pg_says_is_passed_on_bounded() {
        let status = ClusterStatus { phase_reason: Some("x".repeat(5_000)), ..cluster("Failing over", 1, None) };
        let part = seen(&wanted(), Some(&status), None).ready();
        assert!(reason(&part).1.contains("Failing over: xxx") && reason(&part).1.len() < 400);
    }

    fn archiving_is(status: &str) -> ClusterStatus {
        let condition = json!({
            "type": "ContinuousArchiving", "status": status, "reason": "r", "message": "m",
            "lastTransitionTime": "2026-11-23T10:00:00Z",
        });
        serde_json::from_value(json!({ "conditions": [condition] })).unwrap()
    }

    fn store(full: Option<&str>, failed: Option<&str>) -> ObjectStoreStatus {
        let window = json!({ "lastSuccessfulBackupTime": full, "lastFailedBackupTime": failed });
        serde_json::from_value(json!({ "serverRecoveryWindow": { SERVER: window, "database-00000000": {} } })).unwrap()
    }

    fn fresh(cluster: Option<&ClusterStatus>, store: &ObjectStoreStatus, now: &str) -> (String, Option<Duration>) {
        let (part, left) = seen(&wanted(), cluster, Some(store)).backed_up(now.parse().unwrap());
        (reason(&part).0.to_owned(), left)
    }

    #[test]
    fn a_backup_is_fresh_for_two_of_its_periods() {
        let made = store(Some("2026-11-23T10:00:00Z"), None);
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
        assert_eq!(fresh(Some(&archiving_is("True")), &store(None, Some(now)), now).0, "BackupPending");
        assert_eq!(
            fresh(None, &store(Some(now), None), now).0,
            "BackupPending",
            "nobody says that the log is archived"
        );
        let stuck = archiving_is("False");
        assert_eq!(fresh(Some(&stuck), &store(Some(now), None), now).0, "LogNotArchived");
    }

    #[test]
    fn a_failure_counts_until_a_full_backup_succeeds() {
        let (early, late) = ("2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z");
        for (full, failed, counts) in [
            (None, None, false),
            (None, Some(early), true),
            (Some(late), Some(early), false),
            (Some(early), Some(late), true),
            (Some(early), None, false),
        ] {
            assert_eq!(failed_since(&window(&store(full, failed), SERVER)).is_some(), counts, "{full:?} {failed:?}");
        }
    }

    #[test]
    fn an_empty_answer_of_the_plugin_is_read_as_nothing() {
        let store: ObjectStoreStatus = serde_json::from_value(json!({})).unwrap();
        let window = seen(&wanted(), None, Some(&store)).window();
        assert_eq!(window.last_successful_backup_time.map(|Time(time)| time), None);
    }
}
