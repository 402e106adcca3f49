//! What holds of the engine whatever happens: desktops that start, fail, are claimed and evicted; events that come late, lists anew, lost
//! answers, restarts, changes of the spec.
//!
//! In: stories that are drawn. Out: after each step what must hold, and at the end of each story that it comes to rest as asked for.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::Timestamp;
use proptest::{prelude::*, sample::Index};

use super::{Agent, Decision, Stage, View, Wanted, decide};

/// How the API server answers a request to make one.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Made,
    /// It was made, and nobody hears of it.
    MadeAndLost,
    /// It was not made, and nobody hears of it.
    Lost,
    /// There is no quota.
    Refused,
}

#[derive(Clone, Debug)]
enum Step {
    Time(u16),
    /// The watch tells so much more.
    Tell(u8),
    /// The watch breaks, and begins to list anew.
    List,
    /// The list is complete.
    Listed,
    Restart,
    Decide(Vec<Answer>),
    /// Somebody claims one between what was decided and what is done.
    DecideLate(Index),
    Runs(Index),
    Ready(Index),
    Unready(Index),
    Stuck(Index, bool),
    Ends(Index),
    Claim(Index),
    Evict(Index),
    Leaves(Index),
    Scale(u8),
    Template(u8),
    Room(Option<u8>),
    Held(bool),
}

struct World {
    real: BTreeMap<String, Agent>,
    /// What watches tell: a desktop as it was, or its name and UID when it went.
    log: Vec<Result<Agent, (String, String)>>,
    told: usize,
    listing: Option<(Vec<Agent>, usize)>,
    version: u64,
    now: i64,
    wanted: Wanted,
    view: View,
    failures: u32,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl World {
    fn new() -> Self {
        let wanted = Wanted {
            name: "pool".to_owned(),
            revision: "0".to_owned(),
            replicas: 3,
            max_unavailable: 1,
            max_surge: 1,
            max_starting: 2,
            room: None,
            held: false,
            protect: Duration::from_hours(8),
        };
        Self {
            real: BTreeMap::new(),
            log: Vec::new(),
            told: 0,
            listing: None,
            version: 0,
            now: 1_000_000,
            wanted,
            view: View::default(),
            failures: 0,
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Agent)) {
        self.version += 1;
        let version = self.version;
        let agent = self.real.get_mut(name).unwrap();
        change(agent);
        agent.version = version;
        self.log.push(Ok(agent.clone()));
    }

    fn pick(&self, index: Index, fits: impl Fn(&Agent) -> bool) -> Option<String> {
        let names: Vec<&String> = self.real.values().filter(|it| fits(it)).map(|it| &it.name).collect();
        (!names.is_empty()).then(|| (*index.get(&names)).clone())
    }

    fn leaves(&mut self, name: &str) {
        self.version += 1;
        let gone = self.real.remove(name).unwrap();
        self.log.push(Err((gone.name, gone.uid)));
    }

    fn tell(&mut self, upto: usize) {
        while self.told < upto.min(self.log.len()) {
            match &self.log[self.told] {
                Ok(agent) => self.view.told(agent.clone()),
                Err((name, uid)) => self.view.gone(name, uid),
            }
            self.told += 1;
        }
    }

    /// All that are not claimed; one that should have gone long ago is on a node that is lost.
    fn unclaimed(&self) -> usize {
        let is_lost = |it: &Agent| it.going.is_some_and(|by| by.as_second() + 60 <= self.now);
        self.real.values().filter(|agent| !agent.claimed && !is_lost(agent)).count()
    }

    fn starting(&self) -> usize {
        let starts = |it: &&Agent| match it.stage {
            _ if it.claimed || it.going.is_some() => false,
            Stage::Starting { since } => since.as_second() + 300 > self.now,
            Stage::Ready | Stage::Over { .. } => false,
            Stage::Waiting | Stage::Unschedulable | Stage::NotPulled => true,
        };
        self.real.values().filter(starts).count()
    }

    fn usable(&self) -> usize {
        let usable = |it: &&Agent| !it.claimed && it.going.is_none() && it.stage == Stage::Ready;
        self.real.values().filter(usable).count()
    }

    fn decision(&mut self) -> Decision {
        let mut decision = decide(&self.wanted, &self.view, self.failures, at(self.now));
        if self.view.is_unconfirmed() || self.view.is_doubtful() && !decision.make.is_empty() {
            self.view.looked(self.real.values().cloned().collect(), self.version);
            decision = decide(&self.wanted, &self.view, self.failures, at(self.now));
        }
        decision
    }

    fn act(&mut self, decision: &Decision, mut answers: impl FnMut() -> Answer) -> Result<(), TestCaseError> {
        self.failures = decision.failures;
        // Of what nobody has heard yet nobody can be blamed.
        let knows_all = self.told == self.log.len();
        prop_assert!(decision.make.len() <= self.wanted.max_starting);
        for agent in &decision.remove {
            self.remove(agent, knows_all)?;
        }
        for name in &decision.make {
            self.view.asks(name);
        }
        for name in &decision.make {
            let answer = answers();
            match (answer, self.real.contains_key(name)) {
                (Answer::Refused, _) => self.view.refused(name),
                (Answer::Lost, _) | (_, true) => self.view.unanswered(name),
                (made, false) => {
                    let agent = self.make(name);
                    prop_assert!(!self.wanted.held);
                    let most = self.wanted.replicas + self.wanted.max_surge;
                    prop_assert!(self.unclaimed() <= most, "{} of {most}: {:#?}", self.unclaimed(), self.real);
                    let start = self.starting();
                    prop_assert!(!knows_all || start <= self.wanted.max_starting, "{start} start at one time");
                    if matches!(made, Answer::MadeAndLost) { self.view.unanswered(name) } else { self.view.made(agent) }
                }
            }
        }
        Ok(())
    }

    fn make(&mut self, name: &str) -> Agent {
        self.version += 1;
        let agent = Agent {
            name: name.to_owned(),
            uid: format!("uid-{}", self.version),
            version: self.version,
            revision: self.wanted.revision.clone(),
            created: at(self.now),
            claimed: false,
            going: None,
            stage: Stage::Waiting,
            protected: false,
            protected_until: None,
        };
        self.real.insert(name.to_owned(), agent.clone());
        self.log.push(Ok(agent.clone()));
        agent
    }

    /// As the operator does: only what is still as it was seen.
    fn remove(&mut self, seen: &Agent, knows_all: bool) -> Result<(), TestCaseError> {
        let is_as_seen = self.real.get(&seen.name).is_some_and(|it| it.uid == seen.uid && it.version == seen.version);
        if !is_as_seen {
            return Ok(());
        }
        let over = matches!(seen.stage, Stage::Over { .. });
        prop_assert!(!seen.claimed || over, "a claimed desktop was taken away: {seen:?}");
        let by = at(self.now + 5);
        let was_usable = self.usable();
        self.change(&seen.name, |agent| agent.going = Some(by));
        let needed = self.wanted.replicas.saturating_sub(self.wanted.max_unavailable);
        let (before, after) = (was_usable, self.usable());
        prop_assert!(!knows_all || after == before || after >= needed, "{after} left of {before}, {needed} are needed");
        self.view.goes(&seen.name, &seen.uid, by);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let alive = |it: &Agent| it.going.is_none();
        let waiting = |it: &Agent| alive(it) && it.stage == Stage::Waiting;
        let ready = |it: &Agent| alive(it) && it.stage == Stage::Ready;
        let now = at(self.now);
        match step {
            Step::Time(seconds) => self.now += i64::from(*seconds),
            Step::Tell(more) => self.tell(self.told + usize::from(*more)),
            Step::List => {
                self.view.list_begins();
                self.listing = Some((self.real.values().cloned().collect(), self.log.len()));
            }
            Step::Listed => {
                if let Some((found, upto)) = self.listing.take() {
                    self.view.list_ends(found);
                    self.told = upto;
                }
            }
            Step::Restart => {
                self.view = View::default();
                self.listing = None;
                self.view.list_begins();
                self.view.list_ends(self.real.values().cloned().collect());
                self.told = self.log.len();
            }
            Step::Decide(answers) => {
                let decision = self.decision();
                let mut answers = answers.iter().copied().chain(std::iter::repeat(Answer::Made));
                self.act(&decision, || answers.next().unwrap())?;
            }
            Step::DecideLate(claimed) => {
                let decision = self.decision();
                self.on(*claimed, ready, |it| it.claimed = true);
                self.act(&decision, || Answer::Made)?;
            }
            Step::Runs(which) => self.is(*which, waiting, Stage::Starting { since: now }),
            Step::Ready(which) => {
                self.is(*which, |it| alive(it) && matches!(it.stage, Stage::Starting { .. }), Stage::Ready);
            }
            Step::Unready(which) => self.is(*which, |it| ready(it) && !it.claimed, Stage::Starting { since: now }),
            Step::Stuck(which, true) => self.is(*which, waiting, Stage::NotPulled),
            Step::Stuck(which, false) => self.is(*which, waiting, Stage::Unschedulable),
            Step::Ends(which) => self.is(*which, alive, Stage::Over { at: now }),
            Step::Claim(which) => self.on(*which, ready, |it| it.claimed = true),
            Step::Evict(which) => self.on(*which, alive, |it| it.going = Some(now)),
            Step::Leaves(which) => {
                if let Some(name) = self.pick(*which, |it| it.going.is_some()) {
                    self.leaves(&name);
                }
            }
            Step::Scale(replicas) => self.wanted.replicas = usize::from(*replicas),
            Step::Template(revision) => self.wanted.revision = revision.to_string(),
            Step::Room(room) => self.wanted.room = room.map(usize::from),
            Step::Held(held) => self.wanted.held = *held,
        }
        Ok(())
    }

    fn on(&mut self, which: Index, fits: impl Fn(&Agent) -> bool, change: impl FnOnce(&mut Agent)) {
        if let Some(name) = self.pick(which, fits) {
            self.change(&name, change);
        }
    }

    fn is(&mut self, which: Index, fits: impl Fn(&Agent) -> bool, stage: Stage) {
        self.on(which, fits, |it| it.stage = stage);
    }

    /// Everything works from now on, and the watch has told everything.
    fn settles(&mut self) -> Result<(), TestCaseError> {
        self.step(&Step::Listed)?;
        (self.wanted.room, self.wanted.held) = (None, false);
        for _ in 0..200 {
            self.now += 60;
            self.tell(self.log.len());
            let decision = self.decision();
            self.act(&decision, || Answer::Made)?;
            let now = self.now;
            for name in self.real.keys().cloned().collect::<Vec<_>>() {
                let agent = &self.real[&name];
                match agent.stage {
                    _ if agent.going.is_some() => self.leaves(&name),
                    Stage::Waiting | Stage::Unschedulable | Stage::NotPulled => {
                        self.change(&name, |it| it.stage = Stage::Starting { since: at(now) });
                    }
                    Stage::Starting { .. } => self.change(&name, |it| it.stage = Stage::Ready),
                    Stage::Ready | Stage::Over { .. } => {}
                }
            }
        }
        let is_new = |it: &&Agent| !it.claimed && it.stage == Stage::Ready && it.revision == self.wanted.revision;
        let new = self.real.values().filter(is_new).count();
        prop_assert_eq!(new, self.wanted.replicas, "{:#?}", self.real);
        prop_assert_eq!(self.unclaimed(), new, "{:#?}", self.real);
        let decision = self.decision();
        prop_assert!(decision.make.is_empty() && decision.remove.is_empty() && decision.hold.is_none());
        Ok(())
    }
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Made),
        2 => Just(Answer::MadeAndLost),
        2 => Just(Answer::Lost),
        1 => Just(Answer::Refused),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let which = any::<Index>;
    prop_oneof![
        2 => (1_u16..400).prop_map(Step::Time),
        4 => (1_u8..6).prop_map(Step::Tell),
        1 => Just(Step::List),
        1 => Just(Step::Listed),
        1 => Just(Step::Restart),
        8 => prop::collection::vec(any_answer(), 0..4).prop_map(Step::Decide),
        2 => which().prop_map(Step::DecideLate),
        5 => which().prop_map(Step::Runs),
        5 => which().prop_map(Step::Ready),
        1 => which().prop_map(Step::Unready),
        1 => (which(), any::<bool>()).prop_map(|(which, image)| Step::Stuck(which, image)),
        1 => which().prop_map(Step::Ends),
        3 => which().prop_map(Step::Claim),
        1 => which().prop_map(Step::Evict),
        4 => which().prop_map(Step::Leaves),
        1 => (0_u8..6).prop_map(Step::Scale),
        1 => (0_u8..3).prop_map(Step::Template),
        1 => prop_oneof![Just(None), (0_u8..4).prop_map(Some)].prop_map(Step::Room),
        1 => any::<bool>().prop_map(Step::Held),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn there_are_never_more_than_asked_for_and_claimed_ones_stay(
        steps in prop::collection::vec(any_step(), 0..150),
        unavailable in 0_usize..3, surge in 0_usize..3, starting in 1_usize..4,
    ) {
        let mut world = World::new();
        world.wanted.max_unavailable = unavailable;
        world.wanted.max_surge = if unavailable == 0 { surge.max(1) } else { surge };
        world.wanted.max_starting = starting;
        for step in &steps {
            world.step(step)?;
        }
        world.settles()?;
    }

    #[test]
    fn two_that_have_seen_the_same_make_the_same_names(steps in prop::collection::vec(any_step(), 0..60)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step)?;
        }
        let (mut one, mut other) = (View::default(), View::default());
        for view in [&mut one, &mut other] {
            view.looked(world.real.values().cloned().collect(), world.version);
        }
        let [first, second] = [&one, &other].map(|view| decide(&world.wanted, view, world.failures, at(world.now)));
        prop_assert_eq!(&first, &second);
        // So what one has made is there already for the other.
        prop_assert!(first.make.iter().all(|name| !world.real.contains_key(name)));
    }
}
