//! Tests of when drills are due and what they show.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::{databases::fixtures::wanted, engine::conditions::State};

const NOW: &str = "2026-11-23T12:00:00Z";
const PAUSE: Duration = Duration::from_mins(5);

fn minutes_ago(minutes: u64) -> Timestamp {
    NOW.parse::<Timestamp>().unwrap() - Duration::from_mins(minutes)
}

fn proof(minutes: u64, point: &str, time: &str) -> RestoreProof {
    RestoreProof {
        completed_at: Time(minutes_ago(minutes)),
        recovery_point: point.to_owned(),
        recovery_time: time.to_owned(),
        newest_row: Time(minutes_ago(minutes)),
        rows: 7,
        size: "30Mi".to_owned(),
        tables: 3,
        unread: 0,
        server_name: "database-01234567".to_owned(),
    }
}

fn succeeded(minutes: u64) -> RestoreDrillStatus {
    RestoreDrillStatus { last_success: Some(proof(minutes, "4m12s", "1m3s")), ..RestoreDrillStatus::default() }
}

fn failed(began: u64, ended: u64) -> RestoreDrillStatus {
    let (started_at, at) = (Time(minutes_ago(began)), Time(minutes_ago(ended)));
    let failure = RestoreFailure { started_at, at, message: "no answer".to_owned() };
    RestoreDrillStatus { last_failure: Some(failure), ..succeeded(9_000) }
}

fn writes(since: u64) -> Available {
    Available { is: true, since: minutes_ago(since) }
}

fn silent(since: u64) -> Available {
    Available { is: false, since: minutes_ago(since) }
}

struct World {
    wanted: Database,
    known: RestoreDrillStatus,
    canary: Option<Available>,
    full: FullBackups,
}

impl World {
    fn of(known: RestoreDrillStatus, canary: impl Into<Option<Available>>, full: Option<u64>) -> Self {
        let full = FullBackups { last: full.map(minutes_ago), ..FullBackups::default() };
        Self { wanted: wanted(), known, canary: canary.into(), full }
    }

    fn seen(&self) -> Seen<'_> {
        let Self { wanted, known, canary, full } = self;
        Seen { namespace: "acme-finance-ab12cd", wanted, known, canary: *canary, full, pause: PAUSE }
    }

    fn due(&self) -> Due {
        self.seen().due(minutes_ago(0))
    }

    fn proven(&self) -> (&'static str, &'static str, String, Option<Duration>) {
        let (part, left) = self.seen().proven(minutes_ago(0));
        match part.state {
            State::Good { reason, message } => ("True", reason, message, left),
            State::Open { reason, message } => ("Open", reason, message, left),
            State::Faulty(fault) | State::Unknown(fault) => ("False", fault.reason, fault.message, left),
        }
    }
}

#[test]
fn the_first_drill_begins_when_a_row_of_the_canary_must_be_in_the_backups() {
    let none = RestoreDrillStatus::default;
    for (canary, full, due) in [
        (Some(writes(1)), Some(0), Due::Now),
        (Some(writes(10)), Some(30), Due::Now),
        (Some(writes(4)), Some(30), Due::In(Duration::from_mins(6))),
        (Some(writes(30)), None, Due::When("a full backup is complete".to_owned())),
        (None, Some(1), Due::When("the pod of Deployment acme-finance-ab12cd/database-canary is ready".to_owned())),
        (
            Some(silent(30)),
            Some(1),
            Due::When("the pod of Deployment acme-finance-ab12cd/database-canary is ready".to_owned()),
        ),
    ] {
        assert_eq!(World::of(none(), canary, full).due(), due, "{canary:?} {full:?}");
    }
}

#[test]
fn later_ones_begin_by_the_clock() {
    for (known, due) in [
        (succeeded(24 * 60), Due::Now),
        (succeeded(23 * 60), Due::In(Duration::from_hours(1))),
        // A short failure is tried again after a pause, a long one after as long as it took.
        (failed(4, 3), Due::In(Duration::from_mins(2))),
        (failed(6, 5), Due::Now),
        (failed(40, 10), Due::In(Duration::from_mins(20))),
        (failed(60, 30), Due::Now),
    ] {
        assert_eq!(World::of(known.clone(), writes(90), Some(30)).due(), due, "{known:?}");
    }
}

#[test]
fn a_drill_that_missed_its_objective_is_tried_again_soon_and_ever_more_seldom_while_each_one_does() {
    let day = 24 * 60;
    for (first, ended, due) in [
        // After a pause, or after as long as it took.
        (Some(4), 3, Due::In(Duration::from_mins(2))),
        (Some(6), 5, Due::Now),
        (Some(40), 10, Due::In(Duration::from_mins(20))),
        // After as long as they miss it, and no more seldom than others.
        (Some(300), 100, Due::In(Duration::from_mins(100))),
        (Some(30 * day), 60, Due::In(Duration::from_hours(23))),
        // The class promises more than when it ended.
        (None, 60, Due::Now),
    ] {
        let (last_success, missed_since) = (Some(proof(ended, "1m", "2h")), first.map(minutes_ago).map(Time));
        let known = RestoreDrillStatus { last_success, missed_since, ..RestoreDrillStatus::default() };
        assert_eq!(World::of(known, writes(90), Some(30)).due(), due, "{first:?} {ended}");
    }
}

#[test]
fn a_canary_that_is_back_has_its_rows_in_the_backups_first_and_one_that_stays_away_is_not_waited_for() {
    let when = |what: &str| Due::When(what.to_owned());
    for (canary, due) in [
        (Some(writes(4)), Due::In(Duration::from_mins(6))),
        (Some(writes(10)), Due::Now),
        (Some(silent(4)), Due::In(Duration::from_mins(11))),
        (Some(silent(15)), Due::Now),
        (None, when("the pod of Deployment acme-finance-ab12cd/database-canary is ready")),
    ] {
        assert_eq!(World::of(succeeded(24 * 60), canary, Some(30)).due(), due, "{canary:?}");
    }
}

#[test]
fn what_is_suspended_has_no_drills_and_no_canary_that_would_be_missed() {
    let mut world = World::of(succeeded(48 * 60), silent(90), Some(30));
    assert_eq!(world.proven().1, "CanaryNotWriting");
    world.wanted.suspended = true;
    assert_eq!(world.due(), Due::When("spec.suspended is false".to_owned()));
    assert_eq!((world.proven().0, world.proven().1), ("True", "Available"));
    let world = World { known: RestoreDrillStatus::default(), ..world };
    assert_eq!(world.proven().2, "a restore drill begins once spec.suspended is false");
}

#[test]
fn a_drill_is_given_up_after_three_times_the_rto() {
    let world = World::of(succeeded(1), None, None);
    assert_eq!(world.seen().overdue(minutes_ago(180), minutes_ago(0)), None);
    assert_eq!(
        world.seen().overdue(minutes_ago(181), minutes_ago(0)).unwrap(),
        "it was not over after 3h, 3 times the rto"
    );
}

#[test]
fn before_the_first_drill_nobody_knows_and_it_is_told_what_is_waited_for() {
    let world = World::of(RestoreDrillStatus::default(), writes(4), Some(30));
    let (status, reason, message, _) = world.proven();
    assert_eq!((status, reason), ("Open", "RestorePending"));
    assert_eq!(message, "a restore drill begins at 2026-11-23T12:06:00Z");
    let under_way = RestoreDrillStatus { started_at: Some(Time(minutes_ago(1))), ..RestoreDrillStatus::default() };
    let (_, _, message, _) = World::of(under_way, writes(4), Some(30)).proven();
    assert!(message.contains("under way since 2026-11-23T11:59:00Z"), "{message}");
}

#[test]
fn a_success_is_told_with_its_figures_beside_what_the_class_promises() {
    let (status, _, message, left) = World::of(succeeded(60), writes(90), Some(30)).proven();
    assert_eq!((status, left), ("True", None));
    assert_eq!(
        message,
        "30Mi were there again after 1m3s (rto 1h) at 2026-11-23T11:00:00Z, the newest row of them 4m12s old (rpo 15m)"
    );
}

#[test]
fn a_restore_that_took_too_long_or_lost_too_much_misses_its_objective() {
    for (point, time, reason) in [
        ("15m", "1h", "Available"),
        ("15m1s", "1h", "ObjectiveMissed"),
        ("15m", "1h0m1s", "ObjectiveMissed"),
        ("what", "1m", "ObjectiveMissed"),
    ] {
        let known = RestoreDrillStatus { last_success: Some(proof(60, point, time)), ..RestoreDrillStatus::default() };
        assert_eq!(World::of(known, writes(90), None).proven().1, reason, "{point} {time}");
    }
}

#[test]
fn a_failure_is_told_until_a_drill_succeeds() {
    let (status, reason, message, _) = World::of(failed(4, 3), writes(90), Some(30)).proven();
    assert_eq!((status, reason), ("False", "RestoreFailed"));
    assert!(message.contains("no answer") && message.contains("begins at 2026-11-23T12:02:00Z"), "{message}");
}

#[test]
fn a_canary_that_is_away_matters_after_the_rpo() {
    let (status, _, _, left) = World::of(succeeded(60), silent(5), None).proven();
    assert_eq!((status, left), ("True", Some(Duration::from_mins(10))));
    let (status, reason, message, _) = World::of(succeeded(60), silent(15), None).proven();
    assert_eq!((status, reason), ("False", "CanaryNotWriting"));
    assert!(message.contains("acme-finance-ab12cd/database-canary"), "{message}");
}

#[test]
fn times_are_told_without_what_is_none_and_read_back_as_they_were() {
    for (seconds, text) in
        [(0, "0s"), (59, "59s"), (60, "1m"), (63, "1m3s"), (3600, "1h"), (3601, "1h0m1s"), (3660, "1h1m0s")]
    {
        let time = Duration::from_secs(seconds);
        assert_eq!(told(time), text);
        assert_eq!(Duration::from(text.parse::<kube::core::Duration>().unwrap()), time);
    }
}
