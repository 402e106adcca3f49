//! One round over one object: what it found, and what follows from that.
//!
//! In: parts and faults as a story tells them. Out: conditions, when to come back, how the round counts in the metrics. Pure.

use std::time::Duration;

use super::{
    conditions::{Part, Phase, worst},
    fault::{Class, Fault},
};
use crate::metrics::Ended;

/// What a story has told so far. It outlives the story, so that a round that is cut off still reaches status.
#[derive(Debug)]
pub struct Round<F> {
    /// What the object as a whole is at.
    pub phase: Phase,
    /// Its parts.
    pub parts: Vec<Part>,
    /// What the kind's own report needs beside the parts.
    pub facts: F,
    /// When evidence must be looked at again though nothing is wrong.
    pub again: Option<Duration>,
    /// A look failed, and what was seen before it still counts: it is tried again with growing delay.
    pub retry: bool,
    /// The object is gone or about to be: there is no status to write.
    pub over: bool,
}

impl<F: Default> Default for Round<F> {
    fn default() -> Self {
        Self { phase: Phase::Living, parts: Vec::new(), facts: F::default(), again: None, retry: false, over: false }
    }
}

impl<F> Round<F> {
    /// Asks for another look after this delay, unless an earlier one is already asked for.
    pub fn look_again(&mut self, after: Duration) {
        self.again = Some(self.again.map_or(after, |earlier| earlier.min(after)));
    }

    /// Notes a look that failed where what was seen before still counts: no condition shows it, but it is tried again.
    pub fn look_failed(&mut self, fault: &Fault) {
        match fault.class {
            Class::Waiting(after) => self.look_again(after),
            _ => self.retry = true,
        }
    }

    /// Whether something failed that is tried again with growing delay.
    #[must_use]
    pub fn fails(&self) -> bool {
        let growing = |fault: &Fault| matches!(fault.class, Class::Transient | Class::Forbidden);
        self.retry || self.parts.iter().filter_map(Part::fault).any(growing)
    }

    /// When to come back, and how the round counts.
    pub fn next(&self, stalled: Duration, backoff: impl FnOnce() -> Duration) -> (Option<Duration>, Ended) {
        let faults: Vec<&Fault> = self.parts.iter().filter_map(Part::fault).collect();
        let waiting = faults.iter().filter_map(|fault| match fault.class {
            Class::Waiting(after) => Some(after),
            _ => None,
        });
        let earliest_wait = waiting.min();
        let ended = match worst(&self.parts).map(|fault| fault.class) {
            None if self.retry => Ended::Error,
            None if self.again.is_some() => Ended::RequeueAfter,
            None => Ended::Success,
            Some(Class::Waiting(_)) => Ended::RequeueAfter,
            Some(Class::Stalled) => Ended::Terminal,
            Some(Class::Transient | Class::Forbidden) => Ended::Error,
        };
        let is_stalled = faults.iter().any(|fault| fault.class == Class::Stalled);
        let candidates = [earliest_wait, self.fails().then(backoff), is_stalled.then_some(stalled), self.again];
        (candidates.into_iter().flatten().min(), ended)
    }
}

#[cfg(test)]
mod tests {
    use api::conditions as names;

    use super::*;

    const STALLED: Duration = Duration::from_mins(5);
    const BACKOFF: Duration = Duration::from_secs(7);

    fn round(faults: Vec<Fault>) -> Round<()> {
        Round { parts: faults.into_iter().map(Part::of_whole).collect(), ..Round::default() }
    }

    #[test]
    fn the_class_alone_decides_when_to_come_back() {
        let waiting = Fault::waiting(Duration::from_secs(2), names::PROGRESSING, "w");
        let stalled = Fault::stalled(names::DENIED, "s");
        let transient = Fault::transient(names::CONFLICT, "t");
        for (faults, after, ended) in [
            (vec![], None, Ended::Success),
            (vec![waiting.clone()], Some(Duration::from_secs(2)), Ended::RequeueAfter),
            (vec![stalled.clone()], Some(STALLED), Ended::Terminal),
            (vec![transient.clone()], Some(BACKOFF), Ended::Error),
            (vec![stalled, transient, waiting], Some(Duration::from_secs(2)), Ended::Terminal),
        ] {
            assert_eq!(round(faults).next(STALLED, || BACKOFF), (after, ended));
        }
    }

    #[test]
    fn a_quiet_object_is_not_looked_at_again() {
        assert_eq!(round(vec![]).next(STALLED, || BACKOFF).0, None);
    }

    #[test]
    fn a_look_that_failed_is_tried_again_though_no_condition_shows_it() {
        let mut quiet = round(vec![]);
        quiet.look_failed(&Fault::transient(names::PROVIDER_UNAVAILABLE, "no answer"));
        assert_eq!(quiet.next(STALLED, || BACKOFF), (Some(BACKOFF), Ended::Error));
        let mut throttled = round(vec![]);
        throttled.look_failed(&Fault::waiting(Duration::from_secs(3), names::THROTTLED, "less"));
        assert_eq!(throttled.next(STALLED, || BACKOFF).0, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_quiet_object_that_is_to_be_looked_at_again_counts_as_one_to_come_back_to() {
        let mut quiet = round(vec![]);
        quiet.look_again(Duration::from_mins(1));
        assert_eq!(quiet.next(STALLED, || BACKOFF), (Some(Duration::from_mins(1)), Ended::RequeueAfter));
    }

    #[test]
    fn the_earliest_of_two_looks_wins() {
        let mut quiet = round(vec![]);
        quiet.look_again(Duration::from_mins(1));
        quiet.look_again(Duration::from_mins(10));
        assert_eq!(quiet.next(STALLED, || BACKOFF).0, Some(Duration::from_mins(1)));
    }
}
