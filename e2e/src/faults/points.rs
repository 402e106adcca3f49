//! Which points there are. In: the writes of each story, as learned. Out: every write with every fault that fits it, and pairs at random.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::point::{Blow, Fault, Point, Story, WriteName};

/// The writes of each story that come in every run.
pub(super) type Learned = BTreeMap<Story, Vec<WriteName>>;

/// What both runs have: how often a status is written depends on who is faster.
pub(super) fn common(first: &[WriteName], second: &[WriteName]) -> Vec<WriteName> {
    let second: BTreeSet<_> = second.iter().collect();
    first.iter().filter(|write| second.contains(write)).cloned().collect()
}

/// Each write with each fault but crashes.
pub(super) fn errors(learned: &Learned) -> Vec<Point> {
    all(learned, |write| if write.operation().is_some() { Fault::OUTSIDE.to_vec() } else { Fault::ON_WIRE.to_vec() })
}

/// Each write with the end of the process before and after it.
pub(super) fn crashes(learned: &Learned) -> Vec<Point> {
    all(learned, |_| Fault::CRASHES.to_vec())
}

/// So many pairs of faults, crashes among them, of which the second falls some writes after the first.
pub(super) fn pairs(learned: &Learned, count: usize, random: &mut StdRng) -> Vec<Point> {
    let single: Vec<Point> = [crashes(learned), errors(learned)].concat();
    let mut pairs = Vec::new();
    while pairs.len() < count {
        let Some(first) = single.choose(random) else { break };
        let others: Vec<&Point> = single.iter().filter(|other| other.story == first.story).collect();
        let Some(second) = others.choose(random) else { break };
        // Counted from the first blow on, so any but the first of its sort would seldom come.
        let second =
            second.blows.iter().map(|blow| Blow { write: WriteName { nth: 1, ..blow.write.clone() }, ..blow.clone() });
        pairs.push(Point { story: first.story, blows: first.blows.iter().cloned().chain(second).collect() });
    }
    pairs
}

fn all(learned: &Learned, faults: impl Fn(&WriteName) -> Vec<Fault>) -> Vec<Point> {
    let of = |(story, writes): (&Story, &Vec<WriteName>)| {
        let story = *story;
        let point = |write: &WriteName, fault| Point { story, blows: vec![Blow { write: write.clone(), fault }] };
        let each = |write: &WriteName| faults(write).into_iter().map(|fault| point(write, fault)).collect::<Vec<_>>();
        writes.iter().flat_map(each).collect::<Vec<_>>()
    };
    learned.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn learned() -> Learned {
        let writes = ["patch.x.1", "provider.create-key.1"].map(|write| write.parse().unwrap());
        [(Story::Create, writes.to_vec())].into()
    }

    #[test]
    fn every_write_meets_every_fault_that_fits_it() {
        assert_eq!(errors(&learned()).len(), Fault::ON_WIRE.len() + Fault::OUTSIDE.len());
        assert_eq!(crashes(&learned()).len(), 4);
        let outside = errors(&learned()).into_iter().filter(|point| point.blows[0].write.operation().is_some());
        assert!(outside.into_iter().all(|point| Fault::OUTSIDE.contains(&point.blows[0].fault)));
    }

    #[test]
    fn the_same_seed_gives_the_same_pairs() {
        let draw = |seed| pairs(&learned(), 20, &mut StdRng::seed_from_u64(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(3).iter().all(|point| point.blows.len() == 2));
    }

    #[test]
    fn only_what_comes_in_both_runs_is_learned() {
        let run = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<WriteName>>();
        assert_eq!(common(&run(&["a.1", "a.2", "b.1"]), &run(&["b.1", "a.1"])), run(&["a.1", "b.1"]));
    }
}
