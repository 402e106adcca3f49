//! Conditions of random parts, round after round: what must hold whatever a story tells.

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

fn any_state(random: &mut StdRng) -> State {
    let fault = match random.random_range(0..4) {
        0 => Fault::waiting(Duration::from_secs(1), names::PROGRESSING, "waits"),
        1 => Fault::stalled(names::DENIED, "somebody must act"),
        2 => Fault::transient(names::CONFLICT, "passes"),
        _ => Fault { class: Class::Forbidden, ..Fault::transient(names::FORBIDDEN, "refused") },
    };
    match random.random_range(0..5) {
        0 => State::Faulty(fault),
        1 => State::Unknown(fault),
        2 => State::Open { reason: names::RESTORE_PENDING, message: "nobody knows yet".to_owned() },
        _ => State::Good { reason: names::AVAILABLE, message: "fine".to_owned() },
    }
}

/// Some of the parts, sometimes a fault of the whole.
fn any_parts(random: &mut StdRng) -> Vec<Part> {
    let told = [names::KEY_READY, names::ISOLATED, names::QUOTA_RESERVED, names::BUCKET_READY];
    let mut parts = Vec::new();
    for name in told {
        if random.random_bool(0.7) {
            parts.push(Part { name, state: any_state(random) });
        }
    }
    if random.random_bool(0.2) {
        parts.push(Part { name: names::READY, state: State::Faulty(Fault::transient(names::DEADLINE, "too long")) });
    }
    parts
}

fn any_phase(random: &mut StdRng) -> Phase {
    match random.random_range(0..8) {
        0 => Phase::Paused("paused".to_owned()),
        1 => Phase::Deleting,
        _ => Phase::Living,
    }
}

fn find<'a>(conditions: &'a [Condition], name: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == name)
}

fn check(phase: &Phase, parts: &[Part], before: &[Condition], now: &[Condition], time: Timestamp) {
    let told = format!("{phase:?} {parts:?}\n{before:?}\n{now:?}");
    let types: BTreeSet<&str> = now.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types.len(), now.len(), "two of one type: {told}");
    let places = now.iter().map(|condition| names::ORDER.iter().position(|name| *name == condition.type_).unwrap());
    assert!(places.is_sorted(), "out of order: {told}");
    let ready = &now[0];
    assert_eq!(ready.type_, names::READY, "{told}");
    let (reconciling, stalled) = (find(now, names::RECONCILING), find(now, names::STALLED));
    assert!(reconciling.is_none() || stalled.is_none(), "both: {told}");
    assert!([reconciling, stalled].into_iter().flatten().all(|condition| condition.status == "True"), "{told}");

    let faults = parts.iter().any(|part| part.fault().is_some());
    let good = *phase == Phase::Living && !faults;
    assert_eq!(ready.status == "True", good, "Ready disagrees with its parts: {told}");
    let abnormal = reconciling.is_some() || stalled.is_some();
    assert_eq!(abnormal, !good && !matches!(phase, Phase::Paused(_)), "{told}");
    let somebody = parts.iter().filter_map(Part::fault).any(|fault| fault.class == Class::Stalled);
    assert_eq!(stalled.is_some(), somebody && !matches!(phase, Phase::Paused(_)), "{told}");

    for part in parts.iter().filter(|part| part.name != names::READY) {
        let expected = match part.state {
            State::Good { .. } => "True",
            State::Faulty(_) => "False",
            State::Unknown(_) | State::Open { .. } => "Unknown",
        };
        assert_eq!(find(now, part.name).map(|condition| condition.status.as_str()), Some(expected), "{told}");
    }
    for condition in now {
        let old = find(before, &condition.type_).filter(|old| old.status == condition.status);
        let since = old.map_or(time, |old| old.last_transition_time.0);
        assert_eq!(condition.last_transition_time.0, since, "{}: {told}", condition.type_);
    }
    for old in before.iter().filter(|old| ![names::RECONCILING, names::STALLED].contains(&old.type_.as_str())) {
        assert!(*phase == Phase::Deleting || find(now, &old.type_).is_some(), "{} is forgotten: {told}", old.type_);
    }
}

#[test]
fn whatever_a_story_tells_its_conditions_agree() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut before = Vec::new();
        for generation in 1..20 {
            let (phase, parts) = (any_phase(&mut random), any_parts(&mut random));
            let time = Timestamp::from_second(generation).unwrap();
            let now = of(&phase, &parts, generation, &before, time);
            check(&phase, &parts, &before, &now, time);
            before = now;
        }
    }
}
