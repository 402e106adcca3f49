//! Full backups, as CloudNativePG and its plugin tell of them. In: the status of a Cluster and of its ObjectStore. Out: when the last one
//! was complete, whether one is being made, whether the last try failed. Pure.
//!
//! The plugin writes the end of a backup into the ObjectStore once and lets it be if somebody else wrote there meanwhile, which its own
//! upkeep does; it is then told half an hour later. CloudNativePG says of each try in a condition whether it ended well, so both are asked.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{ClusterStatus, ObjectStoreStatus, judge::TOLD};

/// The condition that tells of the last try.
const LAST: &str = "LastBackupSucceeded";

/// What is known of the full backups of one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FullBackups {
    /// When the last one was complete.
    pub last: Option<Timestamp>,
    /// The earliest moment that can be gone back to.
    pub recoverable_since: Option<Timestamp>,
    /// Since when one is being made.
    pub running_since: Option<Timestamp>,
    /// The last try, if it failed.
    pub failed: Option<Failed>,
}

/// A try that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// When, at the latest that is known of.
    pub at: Timestamp,
    /// Why, as CloudNativePG says; bounded.
    pub why: Option<String>,
}

impl FullBackups {
    /// What both say of the backups of the database that calls itself `server` there.
    #[must_use]
    pub fn of(cluster: Option<&ClusterStatus>, store: Option<&ObjectStoreStatus>, server: &str) -> Self {
        let window = store.and_then(|store| store.server_recovery_window.get(server).cloned()).unwrap_or_default();
        let told = cluster.and_then(|cluster| cluster.conditions.iter().find(|condition| condition.type_ == LAST));
        let ended = |reason: &str| told.filter(|told| told.reason == reason);
        let moment = |time: Option<Time>| time.map(|time| time.0);
        let since = |condition: &Condition| condition.last_transition_time.0;

        let last = moment(window.last_successful_backup_time).max(ended("LastBackupSucceeded").map(since));
        let failed = moment(window.last_failed_backup_time).filter(|failed| last.is_none_or(|last| *failed > last));
        let failed = match ended("LastBackupFailed") {
            // Its time is when the first of several tries began.
            Some(condition) => Some(Failed {
                at: failed.map_or_else(|| since(condition), |failed| failed.max(since(condition))),
                why: Some(condition.message.chars().take(TOLD).collect()),
            }),
            None => failed.map(|at| Failed { at, why: None }),
        };
        Self {
            last,
            recoverable_since: moment(window.first_recoverability_point).or(last),
            running_since: ended("BackupStarted").map(since),
            failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SERVER: &str = "database-01234567";
    const EARLY: &str = "2026-11-23T10:00:00Z";
    const LATE: &str = "2026-11-23T11:00:00Z";

    fn at(time: &str) -> Option<Timestamp> {
        time.parse().ok()
    }

    fn cluster(reason: &str, since: &str) -> ClusterStatus {
        let status = if reason == "LastBackupSucceeded" { "True" } else { "False" };
        let condition =
            json!({ "type": LAST, "status": status, "reason": reason, "message": "m", "lastTransitionTime": since });
        serde_json::from_value(json!({ "conditions": [condition] })).unwrap()
    }

    fn store(full: Option<&str>, failed: Option<&str>) -> ObjectStoreStatus {
        let window = json!({ "lastSuccessfulBackupTime": full, "lastFailedBackupTime": failed });
        serde_json::from_value(json!({ "serverRecoveryWindow": { SERVER: window, "database-00000000": {} } })).unwrap()
    }

    fn known(told: Option<(&str, &str)>, full: Option<&str>, failed: Option<&str>) -> FullBackups {
        let cluster = told.map(|(reason, since)| cluster(reason, since));
        FullBackups::of(cluster.as_ref(), Some(&store(full, failed)), SERVER)
    }

    #[test]
    fn a_backup_counts_whoever_tells_of_it_first() {
        for (told, full, last) in [
            (None, None, None),
            (None, Some(EARLY), at(EARLY)),
            (Some(("LastBackupSucceeded", LATE)), None, at(LATE)),
            (Some(("LastBackupSucceeded", LATE)), Some(EARLY), at(LATE)),
            (Some(("LastBackupSucceeded", EARLY)), Some(LATE), at(LATE)),
            (Some(("BackupStarted", LATE)), Some(EARLY), at(EARLY)),
            (Some(("LastBackupFailed", LATE)), None, None),
        ] {
            let known = known(told, full, None);
            assert_eq!((known.last, known.recoverable_since), (last, last), "{told:?} {full:?}");
        }
    }

    #[test]
    fn a_failure_counts_until_a_backup_succeeds() {
        for (told, full, failed, counts) in [
            (None, None, None, None),
            (None, None, Some(EARLY), at(EARLY)),
            (None, Some(LATE), Some(EARLY), None),
            (None, Some(EARLY), Some(LATE), at(LATE)),
            (Some(("LastBackupSucceeded", LATE)), None, Some(EARLY), None),
            (Some(("LastBackupFailed", EARLY)), None, None, at(EARLY)),
            (Some(("LastBackupFailed", EARLY)), None, Some(LATE), at(LATE)),
            (Some(("LastBackupFailed", LATE)), Some(EARLY), None, at(LATE)),
        ] {
            let failure = known(told, full, failed).failed.map(|failed| failed.at);
            assert_eq!(failure, counts, "{told:?} {full:?} {failed:?}");
        }
    }

    #[test]
    fn one_that_is_being_made_is_known_and_what_failed_says_why() {
        assert_eq!(known(Some(("BackupStarted", LATE)), None, Some(EARLY)).running_since, at(LATE));
        let failed = known(Some(("LastBackupFailed", LATE)), None, None);
        assert_eq!((failed.running_since, failed.failed.unwrap().why.as_deref()), (None, Some("m")));
    }

    #[test]
    fn an_empty_answer_is_read_as_nothing() {
        let nothing: ObjectStoreStatus = serde_json::from_value(json!({})).unwrap();
        assert_eq!(FullBackups::of(None, Some(&nothing), SERVER), FullBackups::default());
    }
}
