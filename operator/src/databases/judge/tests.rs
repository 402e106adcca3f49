//! Tests of what is told of databases and their backups.

use serde_json::json;

use super::*;
use crate::{
    databases::{fixtures::wanted, full::Failed},
    engine::conditions::State,
};

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
    Seen { namespace: "acme-finance-ab12cd", wanted, cluster, full, log: None, canary: None }
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

fn hibernation_is(status: &str) -> ClusterStatus {
    let condition = json!({
        "type": "cnpg.io/hibernation", "status": status, "reason": "r", "message": "Waiting for database-2 to be deleted",
        "lastTransitionTime": "2026-11-23T10:00:00Z",
    });
    let conditions = serde_json::from_value(json!([condition])).unwrap();
    ClusterStatus { conditions, ..cluster(HEALTHY, 3, Some("database-1")) }
}

#[test]
fn what_is_suspended_is_as_asked_for_once_no_instance_runs_and_only_while_that_is_asked_for() {
    let suspended = Database { suspended: true, ..wanted() };
    let unwell = ClusterStatus { phase: Some("Not enough disk space".to_owned()), ..hibernation_is("False") };
    for (wanted, cluster, expected) in [
        (&suspended, cluster(HEALTHY, 3, Some("database-1")), "Progressing"),
        (&suspended, unwell, "DatabaseVolumeFull"),
        (&suspended, hibernation_is("False"), "Progressing"),
        (&suspended, hibernation_is("True"), "Suspended"),
        (&wanted(), ClusterStatus { ready_instances: 0, ..hibernation_is("True") }, "Progressing"),
    ] {
        let part = seen(wanted, Some(&cluster), &FullBackups::default()).ready();
        assert_eq!(reason(&part).0, expected, "{cluster:?}");
    }
    let part = seen(&suspended, Some(&hibernation_is("False")), &FullBackups::default()).ready();
    assert!(reason(&part).1.contains("Waiting for database-2"), "{}", reason(&part).1);
}

#[test]
fn backups_of_what_is_suspended_do_not_age_but_must_be_whole() {
    let suspended = Database { suspended: true, ..wanted() };
    let told = |archiving: &str, hibernates: &str, full: &FullBackups| {
        let conditions = [archiving_is(archiving).conditions, hibernation_is(hibernates).conditions].concat();
        let cluster = ClusterStatus { conditions, ..ClusterStatus::default() };
        let now = "2027-03-01T00:00:00Z".parse().unwrap();
        let (part, left) = seen(&suspended, Some(&cluster), full).backed_up(now);
        (reason(&part).0.to_owned(), left)
    };
    let made = made("2026-11-23T10:00:00Z");
    assert_eq!(told("True", "True", &made), ("Suspended".to_owned(), None));
    assert_eq!(told("True", "False", &made).0, "BackupOverdue", "it still runs");
    assert_eq!(told("False", "True", &made).0, "LogNotArchived");
    assert_eq!(told("True", "True", &FullBackups::default()).0, "BackupPending");
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

fn moment(minutes: u64) -> Timestamp {
    "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_mins(minutes)
}

/// A log that was looked at after an hour.
fn log(newest: Option<u64>, missing_since: Option<u64>) -> Log {
    Log { newest: newest.map(moment), at: moment(60), missing_since: missing_since.map(moment) }
}

#[test]
fn a_log_that_does_not_reach_the_store_is_missing_whatever_is_said_of_it() {
    let (wanted, full) = (wanted(), made("2026-11-23T10:00:00Z"));
    let lacks = |newest: Option<u64>, canary: Option<(bool, u64)>, was_missing: bool, full: &FullBackups| {
        let log = Some(log(newest, was_missing.then_some(50)));
        let canary = canary.map(|(is, since)| Available { is, since: moment(since) });
        Seen { log, canary, ..seen(&wanted, None, full) }.lacks_log()
    };
    assert!(!lacks(Some(45), Some((true, 0)), false, &full));
    assert!(lacks(Some(44), Some((true, 0)), false, &full));
    assert!(!lacks(Some(34), Some((true, 45)), false, &full), "nothing need have been written for so long");
    assert!(lacks(Some(35), Some((true, 45)), false, &full), "it was not away for long enough to excuse that");
    assert!(lacks(Some(10), Some((true, 44)), false, &full), "it is back for longer than the rpo");
    assert!(!lacks(Some(44), None, false, &full), "nobody writes");
    for canary in [Some((true, 59)), Some((false, 50)), None] {
        assert!(lacks(Some(10), canary, true, &full), "what was missing is not there: {canary:?}");
        assert!(!lacks(Some(45), canary, true, &full), "it is: {canary:?}");
    }
    assert!(lacks(None, None, false, &full), "a full backup without a log cannot be restored");
    assert!(!lacks(None, None, false, &FullBackups::default()));
}

#[test]
fn only_what_a_look_has_shown_is_told_of_the_log() {
    let (wanted, full, cluster) = (wanted(), made("2026-11-23T10:00:00Z"), archiving_is("True"));
    let told = |log: Option<Log>| {
        let (part, _) = Seen { log, ..seen(&wanted, Some(&cluster), &full) }.backed_up(moment(60));
        reason(&part).0
    };
    assert_eq!(told(Some(log(Some(10), Some(50)))), "LogNotArchived");
    assert_eq!(told(Some(log(None, Some(50)))), "LogNotArchived");
    for unknown in [None, Some(log(None, None)), Some(log(Some(10), None))] {
        assert_eq!(told(unknown), "Available", "{unknown:?}");
    }
}

#[test]
fn while_there_is_no_full_backup_it_is_told_what_became_of_the_last_try() {
    let at: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let failed = Some(Failed { since: at, at, why: Some("no room".to_owned()) });
    let running = FullBackups { running_since: Some(at), failed: failed.clone(), ..FullBackups::default() };
    let failed = FullBackups { failed, ..FullBackups::default() };
    let archiving = archiving_is("True");
    for (full, told) in [(FullBackups::default(), "complete yet"), (running, "made since 2026"), (failed, "no room")] {
        let (part, _) = seen(&wanted(), Some(&archiving), &full).backed_up(at);
        assert!(reason(&part).1.contains(told), "{}", reason(&part).1);
    }
}
