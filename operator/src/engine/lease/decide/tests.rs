use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Our clock at zero. Everything below is counted from here, in seconds.
struct Clock(Instant);

impl Clock {
    fn at(&self, seconds: u64) -> Instant {
        self.0 + SECOND * u32::try_from(seconds).unwrap()
    }
}

fn candidate(me: &str) -> (Clock, Knowledge) {
    let zero = Instant::now();
    (Clock(zero), Knowledge::new(me.to_owned(), Timings::default(), zero))
}

fn held_by(holder: &str, written: &str) -> Record {
    Record { holder: Some(holder.to_owned()), duration: Some(SECOND * 15), written: written.to_owned(), transitions: 3 }
}

fn found(record: &Record, version: u32) -> (Record, String) {
    (record.clone(), version.to_string())
}

fn acquire(version: u32) -> Step {
    Step::Acquire { version: version.to_string() }
}

fn renew(version: u32) -> Step {
    Step::Renew { version: version.to_string() }
}

#[test]
fn the_first_thing_is_a_look_and_an_absent_lease_is_made() {
    let (clock, mut me) = candidate("alice");
    assert_eq!(me.decide(clock.at(0)), Step::Look);
    me.observed(None, clock.at(0), SECOND * 2);
    assert_eq!(me.decide(clock.at(0)), Step::Create);
}

#[test]
fn a_lease_that_nobody_ever_held_is_free_at_once() {
    let (clock, mut me) = candidate("alice");
    me.observed(Some(found(&Record::default(), 1)), clock.at(0), SECOND * 2);
    assert_eq!(me.decide(clock.at(0)), acquire(1));
}

#[test]
fn a_leader_renews_with_the_version_of_its_last_write_and_does_not_look() {
    let (clock, mut me) = candidate("alice");
    me.observed(None, clock.at(0), SECOND * 2);
    me.wrote(held_by("alice", "t0"), "7".into(), clock.at(1));
    assert_eq!(me.decide(clock.at(2)), Step::Wait(clock.at(6)));
    assert_eq!(me.decide(clock.at(6)), renew(7));
}

#[test]
fn leading_ends_a_margin_before_anybody_else_may_begin() {
    let (clock, mut alice) = candidate("alice");
    alice.wrote(held_by("alice", "t0"), "7".into(), clock.at(1));
    assert_eq!(alice.leads_until(), Some(clock.at(13)));

    let mut bob = Knowledge::new("bob".into(), Timings::default(), clock.at(0));
    // At the very earliest bob sees the record when it was sent.
    bob.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(1), SECOND * 100);
    assert_eq!(bob.decide(clock.at(15)), Step::Wait(clock.at(16)));
    assert_eq!(bob.decide(clock.at(16)), acquire(7));
}

#[test]
fn a_record_expires_when_it_did_not_change_for_its_duration_here() {
    let (clock, mut bob) = candidate("bob");
    bob.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(0), SECOND * 2);
    for second in [2, 4, 6, 8, 10, 12, 14] {
        assert_eq!(bob.decide(clock.at(second)), Step::Look, "at {second}");
        bob.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(second), SECOND * 2);
    }
    assert_eq!(bob.decide(clock.at(15)), acquire(7));
}

#[test]
fn every_renewal_seen_starts_the_wait_anew() {
    let (clock, mut bob) = candidate("bob");
    bob.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(0), SECOND * 2);
    bob.observed(Some(found(&held_by("alice", "t1"), 8)), clock.at(14), SECOND * 20);
    assert_eq!(bob.decide(clock.at(28)), Step::Wait(clock.at(29)));
    assert_eq!(bob.decide(clock.at(29)), acquire(8));
}

#[test]
fn a_change_of_something_else_in_the_lease_is_no_sign_of_life() {
    let (clock, mut bob) = candidate("bob");
    bob.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(0), SECOND * 2);
    bob.observed(Some(found(&held_by("alice", "t0"), 8)), clock.at(14), SECOND * 20);
    assert_eq!(bob.decide(clock.at(15)), acquire(8));
}

#[test]
fn clocks_an_hour_apart_decide_the_same() {
    let (clock, bob) = candidate("bob");
    let sees = |written: &str| {
        let mut bob = bob.clone();
        bob.observed(Some(found(&held_by("alice", written), 7)), clock.at(0), SECOND * 2);
        bob
    };
    let (in_step, ahead, behind) =
        (sees("2026-11-21T12:00:00Z"), sees("2026-11-21T13:00:00Z"), sees("2026-11-21T11:00:00Z"));
    assert_eq!(in_step.decide(clock.at(15)), acquire(7));
    for second in 0..20 {
        let decision = in_step.decide(clock.at(second));
        assert_eq!((ahead.decide(clock.at(second)), behind.decide(clock.at(second))), (decision.clone(), decision));
    }
}

#[test]
fn a_holder_that_let_go_is_followed_at_once() {
    let (clock, mut bob) = candidate("bob");
    bob.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(0), SECOND * 2);
    let released = Record { holder: None, duration: Some(Record::RELEASED), ..held_by("alice", "t1") };
    bob.observed(Some(found(&released, 8)), clock.at(2), SECOND * 2);
    assert_eq!(bob.decide(clock.at(2)), acquire(8));
}

#[test]
fn a_holder_erased_by_hand_may_still_be_at_work() {
    let erased = Record { holder: None, ..held_by("alice", "t0") };
    let (clock, mut bob) = candidate("bob");
    bob.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(0), SECOND * 2);
    bob.observed(Some(found(&erased, 8)), clock.at(4), SECOND * 20);
    assert_eq!(bob.decide(clock.at(18)), Step::Wait(clock.at(19)));
    assert_eq!(bob.decide(clock.at(19)), acquire(8));

    // Whoever held it takes it back without a pause.
    let mut alice = Knowledge::new("alice".into(), Timings::default(), clock.at(0));
    alice.wrote(held_by("alice", "t0"), "7".into(), clock.at(0));
    alice.refused(clock.at(5), SECOND * 2);
    assert_eq!(alice.decide(clock.at(5)), Step::Look);
    alice.observed(Some(found(&erased, 8)), clock.at(5), SECOND * 2);
    assert_eq!(alice.decide(clock.at(5)), acquire(8));
}

#[test]
fn a_holder_erased_by_hand_is_not_ours_because_we_held_it_long_ago() {
    let (clock, mut alice) = candidate("alice");
    alice.wrote(held_by("alice", "t0"), "7".into(), clock.at(0));
    // Alice was stopped, bob took over, and somebody erased him.
    alice.refused(clock.at(100), SECOND * 2);
    let erased = Record { holder: None, ..held_by("bob", "t90") };
    alice.observed(Some(found(&erased, 91)), clock.at(100), SECOND * 20);
    assert_eq!(alice.decide(clock.at(100)), Step::Wait(clock.at(115)), "bob may still be at work");
}

#[test]
fn a_holder_written_in_by_hand_deposes_the_leader_at_once_and_expires() {
    let (clock, mut alice) = candidate("alice");
    alice.wrote(held_by("alice", "t0"), "7".into(), clock.at(0));
    alice.refused(clock.at(5), SECOND * 2);
    alice.observed(Some(found(&held_by("nobody", "t0"), 8)), clock.at(5), SECOND * 20);
    assert_eq!(alice.leads_until(), None);
    assert_eq!(alice.decide(clock.at(19)), Step::Wait(clock.at(20)));
    assert_eq!(alice.decide(clock.at(20)), acquire(8));
}

#[test]
fn a_duration_shortened_by_hand_deposes_nobody() {
    let (clock, mut bob) = candidate("bob");
    for duration in [Some(Duration::ZERO), None, Some(SECOND)] {
        bob.observed(Some(found(&Record { duration, ..held_by("alice", "t0") }, 7)), clock.at(0), SECOND * 20);
        assert_eq!(bob.decide(clock.at(14)), Step::Wait(clock.at(15)), "{duration:?}");
    }
}

#[test]
fn a_duration_of_years_written_by_hand_stops_the_work_for_a_minute_at_most() {
    let (clock, mut bob) = candidate("bob");
    let years = Record { duration: Some(Duration::from_hours(100_000)), ..held_by("nobody", "t0") };
    bob.observed(Some(found(&years, 7)), clock.at(0), SECOND * 600);
    assert_eq!(bob.decide(clock.at(60)), acquire(7));
}

#[test]
fn a_deleted_lease_is_made_anew_by_its_holder_first() {
    let (clock, mut alice) = candidate("alice");
    alice.wrote(held_by("alice", "t0"), "7".into(), clock.at(0));
    alice.observed(None, clock.at(5), SECOND * 2);
    assert_eq!(alice.decide(clock.at(5)), Step::Create);

    let mut bob = Knowledge::new("bob".into(), Timings::default(), clock.at(0));
    bob.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(0), SECOND * 2);
    bob.observed(None, clock.at(4), SECOND * 20);
    assert_eq!(bob.decide(clock.at(14)), Step::Wait(clock.at(15)), "alice may still believe that she leads");
    assert_eq!(bob.decide(clock.at(15)), Step::Create);
}

#[test]
fn a_refusal_right_after_a_look_does_not_run_in_circles() {
    let (clock, mut alice) = candidate("alice");
    alice.wrote(held_by("alice", "t0"), "7".into(), clock.at(0));
    alice.refused(clock.at(5), SECOND * 2);
    assert_eq!(alice.decide(clock.at(5)), Step::Look, "the first time no time is lost");
    alice.observed(Some(found(&held_by("alice", "t0"), 8)), clock.at(5), SECOND * 2);
    assert_eq!(alice.decide(clock.at(5)), renew(8));
    alice.refused(clock.at(5), SECOND * 2);
    assert_eq!(alice.decide(clock.at(6)), Step::Wait(clock.at(7)));
    assert_eq!(alice.decide(clock.at(7)), Step::Look);
    alice.wrote(held_by("alice", "t1"), "9".into(), clock.at(7));
    alice.refused(clock.at(12), SECOND * 2);
    assert_eq!(alice.decide(clock.at(12)), Step::Look, "a success in between counts");
}

#[test]
fn an_answer_that_was_lost_is_made_good_by_a_look() {
    let (clock, mut alice) = candidate("alice");
    alice.observed(None, clock.at(0), SECOND * 2);
    alice.failed(clock.at(3), SECOND * 2);
    assert_eq!(alice.decide(clock.at(4)), Step::Wait(clock.at(5)));
    assert_eq!(alice.decide(clock.at(5)), Step::Create);
    alice.refused(clock.at(5), SECOND * 2);
    alice.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(5), SECOND * 2);
    assert_eq!(alice.leads_until(), None, "it is not known when that write was sent");
    assert_eq!(alice.decide(clock.at(5)), renew(7));
}

#[test]
fn a_leader_that_was_paused_no_longer_leads_and_learns_who_does() {
    let (clock, mut alice) = candidate("alice");
    alice.wrote(held_by("alice", "t0"), "7".into(), clock.at(0));
    assert!(alice.leads_until().is_some_and(|until| until < clock.at(3600)));
    assert_eq!(alice.decide(clock.at(3600)), renew(7), "refused by version if somebody else took it");
    alice.refused(clock.at(3600), SECOND * 2);
    assert_eq!(alice.decide(clock.at(3600)), Step::Look);
    alice.observed(Some(found(&held_by("bob", "t9"), 90)), clock.at(3600), SECOND * 2);
    assert_eq!(alice.leads_until(), None);
    assert_eq!(alice.decide(clock.at(3601)), Step::Wait(clock.at(3602)));
}

#[test]
fn taking_over_counts_a_transition_and_renewing_does_not() {
    let (clock, mut bob) = candidate("bob");
    assert_eq!(bob.claim().transitions, 0);
    bob.observed(Some(found(&held_by("alice", "t0"), 7)), clock.at(0), SECOND * 2);
    assert_eq!((bob.claim().transitions, bob.claim().holder), (4, Some("bob".into())));
    bob.wrote(Record { transitions: 4, ..held_by("bob", "t1") }, "8".into(), clock.at(15));
    assert_eq!(bob.claim().transitions, 4);
}

#[test]
fn two_attempts_fit_between_a_renewal_and_the_end() {
    let timings = Timings::default();
    assert!(timings.lease_renew + patience(&timings) * 2 + margin(&timings) <= timings.lease_duration);
    assert!(patience(&timings) >= SECOND * 3);
}
