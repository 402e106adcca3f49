//! Conditions: the parts of an object, each with its state, made into what stands in status.
//!
//! In: [`Part`]s, what status held before, the time. Out: the list-map of conditions with Ready as their summary and Reconciling or
//! Stalled only while true and never both. Pure.

use api::conditions as names;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::fault::{Class, Fault};

/// The state of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As asked for.
    Good {
        /// A documented reason.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// Not as asked for.
    Faulty(Fault),
    /// It could not be looked at; what it is like is not known.
    Unknown(Fault),
    /// Not known yet, and nothing waits for it.
    Open {
        /// A documented reason.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

/// One part of an object: a condition type of its own and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Condition type, such as `KeyReady`.
    pub name: &'static str,
    /// Its state.
    pub state: State,
}

impl Part {
    /// As asked for.
    pub fn good(name: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Good { reason, message: message.into() } }
    }

    /// Not as asked for.
    pub fn faulty(name: &'static str, fault: Fault) -> Self {
        Self { name, state: State::Faulty(fault) }
    }

    /// Not known yet, and nothing waits for it.
    pub fn open(name: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Open { reason, message: message.into() } }
    }

    /// A fault of the object as a whole: it shows in Ready and has no condition of its own.
    pub fn of_whole(fault: Fault) -> Self {
        Self::faulty(names::READY, fault)
    }

    /// The fault, if there is one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match &self.state {
            State::Good { .. } | State::Open { .. } => None,
            State::Faulty(fault) | State::Unknown(fault) => Some(fault),
        }
    }
}

/// What the object as a whole is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Parts decide.
    Living,
    /// Nothing is changed; the message says on whose word.
    Paused(String),
    /// It is going; the message says what is being removed.
    Deleting,
}

/// The conditions for these parts. `before` gives the transition times of what did not flip, and the parts that nobody looked at in
/// this round: they stay as they were, with the generation at which they were seen.
#[must_use]
pub fn of(phase: &Phase, parts: &[Part], generation: i64, before: &[Condition], now: Timestamp) -> Vec<Condition> {
    let mut drafts: Vec<Draft> = parts.iter().filter(|part| part.name != names::READY).map(Draft::of_part).collect();
    let (ready, abnormal) = summary(phase, parts);
    drafts.insert(0, ready);
    drafts.extend(abnormal);
    let mut conditions: Vec<Condition> =
        drafts.into_iter().map(|draft| draft.finish(generation, before, now)).collect();
    if *phase != Phase::Deleting {
        let untold = before.iter().filter(|old| ![names::RECONCILING, names::STALLED].contains(&old.type_.as_str()));
        let untold: Vec<Condition> =
            untold.filter(|old| conditions.iter().all(|new| new.type_ != old.type_)).cloned().collect();
        conditions.extend(untold);
    }
    // Or an order that only tells who was looked at last would be a change of status.
    conditions.sort_by_key(|condition| names::ORDER.iter().position(|name| *name == condition.type_));
    conditions
}

/// Whether what nobody looked at in this round still is as it was when the round began. If not, somebody else wrote to status
/// meanwhile, and parts of two different moments must not be summed up as Ready.
#[must_use]
pub fn are_of_one_moment(parts: &[Part], begun: &[Condition], newest: &[Condition]) -> bool {
    let summed_up = [names::READY, names::RECONCILING, names::STALLED];
    let untold = |name: &str| !summed_up.contains(&name) && parts.iter().all(|part| part.name != name);
    let of = |all: &[Condition]| -> Vec<(String, String)> {
        let left = all.iter().filter(|condition| untold(&condition.type_));
        left.map(|condition| (condition.type_.clone(), condition.status.clone())).collect()
    };
    of(begun) == of(newest)
}

/// The fault that Ready speaks of: what needs somebody first, then what is refused, then what passes.
#[must_use]
pub fn worst<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Option<&'a Fault> {
    worst_of(parts.into_iter().filter_map(Part::fault))
}

/// The fault that needs somebody most.
pub fn worst_of<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> Option<&'a Fault> {
    let rank = |fault: &Fault| match fault.class {
        Class::Stalled => 0,
        Class::Forbidden => 1,
        Class::Transient => 2,
        Class::Waiting(_) => 3,
    };
    faults.into_iter().min_by_key(|fault| rank(fault))
}

struct Draft {
    name: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

impl Draft {
    fn of_part(part: &Part) -> Self {
        let (status, reason, message) = match &part.state {
            State::Good { reason, message } => ("True", *reason, message.clone()),
            State::Faulty(fault) => ("False", fault.reason, fault.message.clone()),
            State::Unknown(fault) => ("Unknown", fault.reason, fault.message.clone()),
            State::Open { reason, message } => ("Unknown", *reason, message.clone()),
        };
        Self { name: part.name, status, reason: reason.to_owned(), message }
    }

    fn finish(self, generation: i64, before: &[Condition], now: Timestamp) -> Condition {
        let unchanged = before.iter().find(|old| old.type_ == self.name && old.status == self.status);
        Condition {
            type_: self.name.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason,
            message: self.message,
            observed_generation: Some(generation),
            last_transition_time: unchanged.map_or(Time(now), |old| old.last_transition_time.clone()),
        }
    }
}

/// Ready, and Reconciling or Stalled if one of them is true.
fn summary(phase: &Phase, parts: &[Part]) -> (Draft, Option<Draft>) {
    let ready = |status, reason: &str, message: &str| Draft {
        name: names::READY,
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let abnormal = |name, reason: &str, message: &str| Draft {
        name,
        status: "True",
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    if let Phase::Paused(message) = phase {
        return (ready("Unknown", names::PAUSED, message), None);
    }
    match worst(parts) {
        Some(fault) => {
            let stalled = fault.class == Class::Stalled;
            let name = if stalled { names::STALLED } else { names::RECONCILING };
            let status = if parts.iter().any(|part| matches!(part.state, State::Faulty(_))) || *phase == Phase::Deleting
            {
                "False"
            } else {
                "Unknown"
            };
            (ready(status, fault.reason, &fault.message), Some(abnormal(name, fault.reason, &fault.message)))
        }
        None if *phase == Phase::Deleting => {
            let message = "everything that had to go is gone";
            (ready("False", names::DELETING, message), Some(abnormal(names::RECONCILING, names::DELETING, message)))
        }
        None => {
            let assumed = parts.iter().find(|part| matches!(part.state, State::Good { reason: names::ASSUMED, .. }));
            match assumed {
                Some(Part { state: State::Good { reason, message }, .. }) => (ready("True", reason, message), None),
                _ => (ready("True", names::AVAILABLE, "everything that the spec asks for is there"), None),
            }
        }
    }
}

/// The condition `name`, if it is True and was observed at this generation.
#[must_use]
pub fn holding<'a>(conditions: &'a [Condition], name: &str, generation: Option<i64>) -> Option<&'a Condition> {
    told(conditions, name, generation).filter(|condition| condition.status == "True")
}

/// What a look that failed leaves of the part `name`. One that got no answer leaves a part that held as it was, until its evidence is
/// too old (`counts` says whether it still counts); then nobody knows, until there is an answer. Any other fault says that the part
/// is not as asked for.
#[must_use]
pub fn after_failed_look(
    name: &str,
    before: &[Condition],
    generation: Option<i64>,
    counts: bool,
    fault: Fault,
) -> State {
    match told(before, name, generation).filter(|_| fault.tells_nothing()) {
        Some(held) if held.status == "True" && counts => {
            // What holds is told as before: a database that is suspended is not available.
            let reason = names::reason(&held.reason).map_or(names::AVAILABLE, |known| known.name);
            State::Good { reason, message: held.message.clone() }
        }
        Some(old) if old.status != "False" => State::Unknown(fault),
        _ => State::Faulty(fault),
    }
}

fn told<'a>(conditions: &'a [Condition], name: &str, generation: Option<i64>) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == name && condition.observed_generation == generation)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status_of<'a>(conditions: &'a [Condition], name: &str) -> Option<&'a str> {
        conditions.iter().find(|c| c.type_ == name).map(|c| c.status.as_str())
    }

    fn key(state: State) -> Part {
        Part { name: names::KEY_READY, state }
    }

    fn good() -> State {
        State::Good { reason: names::AVAILABLE, message: "fine".into() }
    }

    #[test]
    fn what_was_left_as_it_was_must_still_be_so() {
        let told = |status: &str| {
            let state = if status == "True" { good() } else { State::Faulty(Fault::transient(names::CONFLICT, "")) };
            of(&Phase::Living, &[key(state), Part::good(names::ISOLATED, names::AVAILABLE, "fine")], 3, &[], at(1))
        };
        let isolated = Part::good(names::ISOLATED, names::AVAILABLE, "fine");
        assert!(are_of_one_moment(std::slice::from_ref(&isolated), &told("True"), &told("True")));
        assert!(!are_of_one_moment(std::slice::from_ref(&isolated), &told("True"), &told("False")));
        assert!(are_of_one_moment(&[isolated, key(good())], &told("True"), &told("False")), "both were looked at");
    }

    #[test]
    fn all_good_parts_make_ready_and_nothing_abnormal() {
        let conditions = of(&Phase::Living, &[key(good())], 3, &[], at(1));
        assert_eq!(status_of(&conditions, names::READY), Some("True"));
        assert_eq!(conditions.len(), 2, "{conditions:?}");
    }

    #[test]
    fn reconciling_and_stalled_never_stand_together() {
        let waiting = Fault::waiting(Duration::from_secs(1), names::PROGRESSING, "w");
        let stalled = Fault::stalled(names::DENIED, "s");
        let parts = [key(State::Faulty(waiting)), Part::faulty(names::ISOLATED, stalled)];
        let conditions = of(&Phase::Living, &parts, 3, &[], at(1));
        assert_eq!(status_of(&conditions, names::STALLED), Some("True"));
        assert_eq!(status_of(&conditions, names::RECONCILING), None);
        let ready = conditions.iter().find(|c| c.type_ == names::READY).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", names::DENIED));
    }

    #[test]
    fn a_part_that_cannot_be_seen_makes_ready_unknown() {
        let unseen = State::Unknown(Fault::transient(names::PROVIDER_UNAVAILABLE, "no answer"));
        let conditions = of(&Phase::Living, &[key(unseen)], 3, &[], at(1));
        assert_eq!(status_of(&conditions, names::READY), Some("Unknown"));
        assert_eq!(status_of(&conditions, names::RECONCILING), Some("True"));
    }

    #[test]
    fn a_transition_time_moves_only_when_the_status_flips() {
        let first = of(&Phase::Living, &[key(good())], 3, &[], at(1));
        let second = of(&Phase::Living, &[key(good())], 4, &first, at(9));
        assert_eq!(second[1].last_transition_time, Time(at(1)));
        let third = of(
            &Phase::Living,
            &[Part::faulty(names::KEY_READY, Fault::stalled(names::DENIED, "s"))],
            4,
            &second,
            at(20),
        );
        assert_eq!(third[1].last_transition_time, Time(at(20)));
    }

    #[test]
    fn paused_is_unknown_and_neither_reconciling_nor_stalled() {
        let conditions = of(&Phase::Paused("spec.paused is true".into()), &[key(good())], 3, &[], at(1));
        assert_eq!(status_of(&conditions, names::READY), Some("Unknown"));
        assert_eq!(status_of(&conditions, names::RECONCILING), None);
        assert_eq!(status_of(&conditions, names::STALLED), None);
    }

    #[test]
    fn a_part_that_nobody_looked_at_stays_as_it_was_seen() {
        let first = of(&Phase::Living, &[key(good())], 3, &[], at(1));
        let second = of(&Phase::Living, &[Part::of_whole(Fault::stalled(names::INVALID_SPEC, "s"))], 4, &first, at(2));
        let carried = second.iter().find(|c| c.type_ == names::KEY_READY).unwrap();
        assert_eq!((carried.status.as_str(), carried.observed_generation), ("True", Some(3)));
        assert_eq!(status_of(&of(&Phase::Deleting, &[], 5, &second, at(3)), names::KEY_READY), None);
    }

    #[test]
    fn looks_without_an_answer_turn_what_held_into_unknown_and_never_into_false() {
        let mut conditions = of(&Phase::Living, &[key(good())], 3, &[], at(1));
        let mut look = |counts, fault: Fault| {
            let state = after_failed_look(names::KEY_READY, &conditions, Some(3), counts, fault);
            conditions = of(&Phase::Living, &[key(state)], 3, &conditions, at(2));
            let told = |name| status_of(&conditions, name).unwrap().to_owned();
            (told(names::KEY_READY), told(names::READY))
        };
        let both = |status: &str| (status.to_owned(), status.to_owned());
        let no_answer = || Fault::transient(names::PROVIDER_UNAVAILABLE, "no answer");
        assert_eq!(look(true, no_answer()), both("True"));
        assert_eq!(look(false, no_answer()), both("Unknown"));
        assert_eq!(look(false, no_answer()), both("Unknown"));
        assert_eq!(look(false, Fault::stalled(names::DENIED, "no")), both("False"));
        assert_eq!(look(false, no_answer()), both("False"));
    }

    #[test]
    fn a_look_without_an_answer_leaves_the_reason_as_well() {
        let asleep = Part::good(names::BACKUP_FRESH, names::SUSPENDED, "nothing is written");
        let before = of(&Phase::Living, &[asleep], 3, &[], at(1));
        let no_answer = Fault::transient(names::PROVIDER_UNAVAILABLE, "no answer");
        let state = after_failed_look(names::BACKUP_FRESH, &before, Some(3), true, no_answer);
        assert_eq!(state, State::Good { reason: names::SUSPENDED, message: "nothing is written".to_owned() });
    }

    #[test]
    fn what_holds_of_one_part_says_nothing_of_another() {
        let broken = Part::faulty(names::BUCKET_READY, Fault::stalled(names::DENIED, "no"));
        let conditions = of(&Phase::Living, &[key(good()), broken], 3, &[], at(1));
        assert!(holding(&conditions, names::KEY_READY, Some(3)).is_some());
        assert!(holding(&conditions, names::BUCKET_READY, Some(3)).is_none());
    }

    #[test]
    fn what_held_for_an_earlier_generation_says_nothing_of_this_one() {
        let earlier = of(&Phase::Living, &[key(good())], 3, &[], at(1));
        assert!(holding(&earlier, names::KEY_READY, Some(3)).is_some());
        assert!(holding(&earlier, names::KEY_READY, Some(4)).is_none());
        let no_answer = Fault::transient(names::PROVIDER_UNAVAILABLE, "no answer");
        let state = after_failed_look(names::KEY_READY, &earlier, Some(4), true, no_answer);
        assert!(matches!(state, State::Faulty(_)), "{state:?}");
    }

    #[test]
    fn trust_in_the_network_shows_in_ready() {
        let part = Part::good(names::ISOLATED, names::ASSUMED, "taken on trust");
        let conditions = of(&Phase::Living, &[key(good()), part], 3, &[], at(1));
        assert_eq!(conditions[0].reason, names::ASSUMED);
    }
}
