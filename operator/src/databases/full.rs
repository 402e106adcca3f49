//! Full backups, as CloudNativePG and its plugin tell of them. In: the status of a Cluster and of its ObjectStore. Out: when the last one
//! was complete, whether one is being made, whether the last try failed. Pure.
//!
//! The plugin writes the end of a backup into the ObjectStore once and lets it be if somebody else wrote there meanwhile, which its own
//! upkeep does; it is then told half an hour later. CloudNativePG says of each try in a condition whether it ended well, so both are asked.

use std::time::Duration;

use desired::database::AGAIN;
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

/// A full backup that is asked for out of turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Another {
    /// Not before this time is over.
    In(Duration),
    /// Now, by this name; the next one not before this time is over. The same name is given as long as it lasts.
    Named(String, Duration),
}

/// A try that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// Since when none succeeded.
    pub since: Timestamp,
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
                since: since(condition),
                at: failed.map_or_else(|| since(condition), |failed| failed.max(since(condition))),
                why: Some(condition.message.chars().take(TOLD).collect()),
            }),
            None => failed.map(|at| Failed { since: at, at, why: None }),
        };
        Self {
            last,
            recoverable_since: moment(window.first_recoverability_point).or(last),
            running_since: ended("BackupStarted").map(since),
            failed,
        }
    }

    /// Whether a full backup is asked for that is not in its turn: because one failed, or because none was made for longer than `allowed`, which
    /// is two of their periods. Of those that fail, the first is asked for again after `pause`, each further one when as much time has passed
    /// again as before. None is asked for beside one that is being made, unless that takes longer than a period: of one whose instance
    /// went away CloudNativePG does not tell that it failed.
    ///
    /// A `ScheduledBackup` that is made anew would not do: CloudNativePG takes the first backup of the former one for its own.
    #[must_use]
    pub fn another(&self, now: Timestamp, pause: Duration, allowed: Duration) -> Option<Another> {
        let missing_since = match (&self.failed, self.running_since, self.last) {
            (_, Some(began), _) if now < began + allowed / 2 => return None,
            (_, Some(began), _) => began + allowed / 2,
            (Some(failed), None, _) => failed.since,
            (None, None, Some(last)) => last + allowed,
            (None, None, None) => return None,
        };
        let (pause, since) = (pause.as_secs().max(1), now.duration_since(missing_since).as_secs());
        let waited = u64::try_from(since).unwrap_or_default();
        let Some(doublings) = (waited / pause).checked_ilog2() else {
            let left = i64::try_from(pause).unwrap_or(i64::MAX).saturating_sub(since);
            return Some(Another::In(Duration::from_secs(u64::try_from(left).unwrap_or_default())));
        };
        // One that was not made waits at CloudNativePG until it can be; if it fails, that is told.
        let (nth, next) = match (&self.failed, self.running_since) {
            (Some(_), None) => (doublings, Duration::from_secs((pause << (doublings + 1)).saturating_sub(waited))),
            _ => (0, allowed),
        };
        Some(Another::Named(format!("{AGAIN}{}-{nth}", missing_since.as_second()), next))
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
    fn another_is_asked_for_ever_more_seldom_while_none_succeeds_and_never_beside_one_that_is_made() {
        let minutes = Duration::from_mins;
        let full = known(Some(("LastBackupFailed", EARLY)), None, Some(LATE));
        let asked = |full: &FullBackups, after: u64| {
            full.another(at(EARLY).unwrap() + minutes(after), minutes(5), Duration::from_hours(4))
        };
        let named = |nth: u32, next| {
            let since = at(EARLY).unwrap().as_second();
            Some(Another::Named(format!("database-backup-again-{since}-{nth}"), minutes(next)))
        };
        assert_eq!(asked(&full, 4), Some(Another::In(minutes(1))));
        for (after, nth, next) in [(5, 0, 5), (9, 0, 1), (10, 1, 10), (19, 1, 1), (20, 2, 20), (40, 3, 40), (79, 3, 1)]
        {
            assert_eq!(asked(&full, after), named(nth, next), "{after}");
        }
        let running = FullBackups { running_since: at(EARLY), ..full };
        assert_eq!((asked(&running, 20), asked(&running, 119)), (None, None));
        let after_a_period = at(EARLY).unwrap().as_second() + 2 * 3600;
        let forgotten = Some(Another::Named(format!("database-backup-again-{after_a_period}-0"), minutes(240)));
        assert_eq!((asked(&running, 125), asked(&running, 300)), (forgotten.clone(), forgotten));
        assert_eq!(asked(&FullBackups::default(), 20), None, "the first one comes by itself");
    }

    #[test]
    fn another_is_asked_for_when_none_was_made_for_too_long() {
        let full = known(Some(("LastBackupSucceeded", EARLY)), None, None);
        let asked = |hours: u64, minutes: u64| {
            let now = at(EARLY).unwrap() + Duration::from_hours(hours) + Duration::from_mins(minutes);
            full.another(now, Duration::from_mins(5), Duration::from_hours(4))
        };
        assert_eq!(asked(0, 0), Some(Another::In(Duration::from_mins(4 * 60 + 5))));
        assert_eq!(asked(4, 4), Some(Another::In(Duration::from_mins(1))));
        let asked_for = asked(4, 5);
        assert!(matches!(asked_for, Some(Another::Named(_, next)) if next == Duration::from_hours(4)));
        assert_eq!(asked(60, 0), asked_for, "one waits, and not ever more");
    }

    #[test]
    fn an_empty_answer_is_read_as_nothing() {
        let nothing: ObjectStoreStatus = serde_json::from_value(json!({})).unwrap();
        assert_eq!(FullBackups::of(None, Some(&nothing), SERVER), FullBackups::default());
    }
}
