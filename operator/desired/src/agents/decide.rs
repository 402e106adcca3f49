//! Which desktops to make and which to take away.
//!
//! In: how many there are to be and of what, what is known of those that are there, the time. Out: names to make, desktops to take away,
//! what holds it up. Pure: two leaders that have seen the same decide the same, so what both make has one name and is made once.
//!
//! What always holds: a claimed desktop that runs is never taken away; with what is made there are never more unclaimed ones than
//! `replicas` and the surge, those on their way in and out included; no more start at one time than may; and of desktops that can be used
//! none is taken away where fewer than `replicas` without the missing ones would be left.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::{Agent, Stage, View};

/// How long a desktop may take from its start until it can be used.
pub const PATIENCE: Duration = Duration::from_mins(5);
/// How long the place of a desktop that failed stays taken: at first, and at most. It doubles with each failure.
pub const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));
/// How long a claimed desktop that has ended is left for whoever claimed it to see.
const EPITAPH: Duration = Duration::from_mins(5);
/// After this much more than it was given to go, a desktop counts no more: its node is lost.
const LOST: Duration = Duration::from_mins(1);

/// How many desktops there are to be, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What their names begin with.
    pub name: String,
    /// Digest of what they are made of.
    pub revision: String,
    /// How many that are not claimed.
    pub replicas: usize,
    /// How many of these may be missing while they are replaced.
    pub max_unavailable: usize,
    /// How many more there may be meanwhile.
    pub max_surge: usize,
    /// How many start at one time.
    pub max_starting: usize,
    /// How many more there is room for; `None` where nothing limits them.
    pub room: Option<usize>,
    /// Whether nothing is to be made.
    pub held: bool,
    /// For how long a claimed one is kept from being evicted.
    pub protect: Duration,
}

/// Why fewer are made than are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing is to be made.
    Held,
    /// This one finds no node.
    Unschedulable(String),
    /// The image of this one cannot be pulled.
    NotPulled(String),
    /// This one failed.
    Failing(String),
    /// There is no room for more.
    NoRoom,
}

/// What to note on a claimed desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It is kept from being evicted until then.
    Protect(Timestamp),
    /// It is so no more.
    Expose,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That are not claimed and not on their way out.
    pub replicas: usize,
    /// Of these, those that can be used.
    pub ready: usize,
    /// Of these, those that start.
    pub starting: usize,
    /// Of these, those of the newest template.
    pub updated: usize,
    /// Of these, those that can be used.
    pub updated_ready: usize,
    /// That are claimed and have not ended.
    pub claimed: usize,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Names of those to make.
    pub make: Vec<String>,
    /// Those to take away, if they are still as they were seen.
    pub remove: Vec<Agent>,
    /// What to note on claimed ones.
    pub note: Vec<(Agent, Note)>,
    /// Why fewer are made than are missing.
    pub hold: Option<Hold>,
    /// How many failed in a row.
    pub failures: u32,
    /// When to decide again though nothing changes.
    pub again: Option<Duration>,
    /// How many there are.
    pub counts: Counts,
}

/// Decides. `failures` is what the decision before said.
#[must_use]
pub fn decide(wanted: &Wanted, view: &View, failures: u32, now: Timestamp) -> Decision {
    let sorted = Sorted::of(wanted, view, now);
    let mut decision = Decision { failures, counts: sorted.counts(view), ..Decision::default() };
    sorted.end_what_failed(wanted, now, &mut decision);
    sorted.end_old(wanted, &mut decision);
    sorted.end_surplus(wanted, view, &mut decision);
    sorted.protect(wanted, now, &mut decision);
    sorted.make(wanted, view, &mut decision);
    decision
}

/// Desktops by what they are to this decision.
struct Sorted<'a> {
    /// Not claimed, of the newest template, not on their way out, not failed.
    new: Vec<&'a Agent>,
    /// The same, and failed: when.
    failed: Vec<(&'a Agent, Timestamp)>,
    /// Not claimed, of another template, not on their way out.
    old: Vec<&'a Agent>,
    /// Claimed, not on their way out.
    claimed: Vec<&'a Agent>,
    /// Not claimed, on their way out.
    going: usize,
    /// When something of this changes by itself.
    changes: Vec<Duration>,
}

impl<'a> Sorted<'a> {
    fn of(wanted: &Wanted, view: &'a View, now: Timestamp) -> Self {
        let mut sorted = Self {
            new: Vec::new(),
            failed: Vec::new(),
            old: Vec::new(),
            claimed: Vec::new(),
            going: 0,
            changes: Vec::new(),
        };
        for agent in view.agents() {
            match (agent.going, agent.claimed) {
                (Some(_), true) => {}
                (Some(by), false) => match left(by, LOST, now) {
                    None => {}
                    Some(left) => {
                        sorted.going += 1;
                        sorted.changes.push(left);
                    }
                },
                (None, true) => sorted.claimed.push(agent),
                (None, false) if agent.revision != wanted.revision => sorted.old.push(agent),
                (None, false) => match failed(agent, now) {
                    Ok(at) => sorted.failed.push((agent, at)),
                    Err(left) => {
                        sorted.new.push(agent);
                        sorted.changes.extend(left);
                    }
                },
            }
        }
        sorted
    }

    fn counts(&self, view: &View) -> Counts {
        let ready = |agents: &[&Agent]| agents.iter().filter(|agent| agent.stage == Stage::Ready).count();
        let (updated_ready, old_ready) = (ready(&self.new), ready(&self.old));
        let updated = self.new.len() + self.failed.len();
        Counts {
            replicas: updated + self.old.len(),
            ready: updated_ready + old_ready,
            starting: self.new.len() - updated_ready + view.coming().len(),
            updated,
            updated_ready,
            claimed: self.claimed.iter().filter(|agent| !matches!(agent.stage, Stage::Over { .. })).count(),
        }
    }

    /// What failed keeps its place for a while, so that the next is made later; and what a claim left behind is taken away.
    fn end_what_failed(&self, wanted: &Wanted, now: Timestamp, decision: &mut Decision) {
        let pause = backoff(decision.failures);
        for (agent, at) in &self.failed {
            match left(*at, pause, now) {
                None => decision.remove.push((*agent).clone()),
                Some(left) => decision.comes_back_in(left),
            }
        }
        if !decision.remove.is_empty() {
            decision.failures = decision.failures.saturating_add(1);
        } else if self.failed.is_empty() && decision.counts.updated_ready >= wanted.replicas {
            decision.failures = 0;
        }
        for agent in &self.claimed {
            if let Stage::Over { at } = agent.stage {
                match left(at, EPITAPH, now) {
                    None => decision.remove.push((*agent).clone()),
                    Some(left) => decision.comes_back_in(left),
                }
            }
        }
        for left in &self.changes {
            decision.comes_back_in(*left);
        }
    }

    /// Those of an older template go as soon as they are not needed: at once if they cannot be used. While nothing new may be made they
    /// stay.
    fn end_old(&self, wanted: &Wanted, decision: &mut Decision) {
        if wanted.held {
            return;
        }
        let (usable, idle) = by_use(&self.old);
        decision.remove.extend(idle.into_iter().cloned());
        let needed = wanted.replicas.saturating_sub(wanted.max_unavailable);
        let spare = decision.counts.ready.saturating_sub(needed);
        decision.remove.extend(youngest_last(usable).into_iter().take(spare).cloned());
    }

    /// Of more than are wanted those go first that cannot be used, then the youngest.
    fn end_surplus(&self, wanted: &Wanted, view: &View, decision: &mut Decision) {
        let there = self.new.len() + self.failed.len() + view.coming().len();
        let surplus = there.saturating_sub(wanted.replicas);
        let failed = self.failed.iter().map(|(agent, _)| *agent);
        let (usable, idle) = by_use(&self.new);
        let last_first = |agents: Vec<&'a Agent>| youngest_last(agents).into_iter().rev();
        for agent in failed.chain(last_first(idle)).chain(last_first(usable)).take(surplus) {
            if !decision.remove.iter().any(|gone| gone.uid == agent.uid) {
                decision.remove.push(agent.clone());
            }
        }
    }

    fn protect(&self, wanted: &Wanted, now: Timestamp, decision: &mut Decision) {
        for agent in self.claimed.iter().filter(|agent| !matches!(agent.stage, Stage::Over { .. })) {
            let until = agent.protected_until;
            let note = match until {
                None => now.checked_add(wanted.protect).ok().map(Note::Protect),
                Some(until) => match left(until, Duration::ZERO, now) {
                    None => agent.protected.then_some(Note::Expose),
                    Some(left) => {
                        decision.comes_back_in(left);
                        (!agent.protected).then_some(Note::Protect(until))
                    }
                },
            };
            decision.note.extend(note.map(|note| ((*agent).clone(), note)));
        }
    }

    fn make(&self, wanted: &Wanted, view: &View, decision: &mut Decision) {
        let new = self.new.len() + self.failed.len() + view.coming().len();
        let missing = wanted.replicas.saturating_sub(new);
        let most = (wanted.replicas + wanted.max_surge).saturating_sub(new + self.old.len() + self.going);
        let found = |stage: Stage| self.new.iter().find(|agent| agent.stage == stage).map(|agent| agent.name.clone());
        let failing = self.failed.first().map(|(agent, _)| Hold::Failing(agent.name.clone()));
        let blocked = wanted.held.then_some(Hold::Held);
        let blocked = blocked.or_else(|| found(Stage::Unschedulable).map(Hold::Unschedulable));
        let blocked = blocked.or_else(|| found(Stage::NotPulled).map(Hold::NotPulled));
        let room = wanted.room.unwrap_or(usize::MAX);
        // While they fail one after the other, one at a time tries it.
        let at_once = if decision.failures > 0 || failing.is_some() { 1 } else { wanted.max_starting };
        let may_start = at_once.saturating_sub(decision.counts.starting);
        let could = missing.min(most).min(may_start);
        decision.hold = match (blocked, failing) {
            (Some(blocked), _) if blocked != Hold::Held || missing > 0 => Some(blocked),
            (_, Some(failing)) => Some(failing),
            _ if room == 0 && missing > 0 => Some(Hold::NoRoom),
            _ => None,
        };
        let is_blocked = matches!(decision.hold, Some(Hold::Held | Hold::Unschedulable(_) | Hold::NotPulled(_)));
        let make = if is_blocked { 0 } else { could.min(room) };
        decision.make = free_names(&wanted.name, view).take(make).collect();
    }
}

impl Decision {
    fn comes_back_in(&mut self, after: Duration) {
        self.again = Some(self.again.map_or(after, |earlier| earlier.min(after)));
    }
}

/// When a desktop failed; else how long until it does if it does not become usable, if that is so.
fn failed(agent: &Agent, now: Timestamp) -> Result<Timestamp, Option<Duration>> {
    match agent.stage {
        Stage::Over { at } => Ok(at),
        Stage::Starting { since } => match left(since, PATIENCE, now) {
            None => Ok(since.checked_add(PATIENCE).unwrap_or(since)),
            Some(left) => Err(Some(left)),
        },
        Stage::Waiting | Stage::Unschedulable | Stage::NotPulled | Stage::Ready => Err(None),
    }
}

/// How long until `after` will have passed since `since`; `None` if it has. By a clock that is behind, nothing has.
fn left(since: Timestamp, after: Duration, now: Timestamp) -> Option<Duration> {
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    let ahead = Duration::try_from(since.duration_since(now)).unwrap_or(Duration::ZERO);
    let left = (after + ahead).saturating_sub(passed);
    (!left.is_zero()).then_some(left)
}

/// How long the place of the next that fails stays taken.
fn backoff(failures: u32) -> Duration {
    let (first, most) = BACKOFF;
    first.saturating_mul(2_u32.saturating_pow(failures)).min(most)
}

/// The oldest first; of one age by name, so that whoever decides takes the same.
fn youngest_last(mut agents: Vec<&Agent>) -> Vec<&Agent> {
    agents.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    agents
}

/// Those that can be used, and the others.
fn by_use<'a>(agents: &[&'a Agent]) -> (Vec<&'a Agent>, Vec<&'a Agent>) {
    agents.iter().copied().partition(|agent| agent.stage == Stage::Ready)
}

/// Names that nobody has, lowest number first: whoever has seen the same makes the same, and the API server lets only one.
fn free_names<'a>(name: &'a str, view: &'a View) -> impl Iterator<Item = String> + 'a {
    let taken: BTreeSet<&str> =
        view.agents().map(|agent| agent.name.as_str()).chain(view.coming().iter().map(String::as_str)).collect();
    (0..u32::MAX).map(move |number| format!("{name}-{number}")).filter(move |name| !taken.contains(name.as_str()))
}
