//! Random lives of a Lease: replicas with clocks that differ and run at different speeds, requests that are lost or carried out late,
//! processes that are paused, killed and replaced, people who edit the Lease. Never do two replicas lead by their own clocks.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

/// Lives in a plain test run.
const SEEDS: u64 = 1_000;
/// True time in milliseconds that a life lasts.
const LIFE: u64 = 240_000;
/// How long it must be calm before somebody leads for sure: the last pause, and the minute for which an edited Lease is believed.
const CALM: u64 = 130_000;
/// How much faster or slower than true time a clock runs: together a quarter less than what the margin covers.
const SPEED: f64 = 0.08;

/// One process.
struct Replica {
    knowledge: Knowledge,
    /// Its clock: when it was at zero, and its speed.
    zero: Instant,
    speed: f64,
    /// The request that it waits for, and when it gives up by its own clock.
    asked: Option<(u64, Instant, Instant)>,
    paused_until: u64,
}

/// What a request does to the Lease.
#[derive(Clone)]
enum Ask {
    Look,
    Create(Record),
    Replace(Record, String),
}

/// What the server says.
#[derive(Clone)]
enum Answer {
    Refused,
    Absent,
    There(Record, String),
}

enum Event {
    /// A request reaches the server, which answers whoever asked after so many milliseconds, or never.
    Arrives { replica: usize, request: u64, ask: Ask, answer_after: Option<u64> },
    /// An answer reaches whoever asked: what the server says, and whether it was a write.
    Answered { replica: usize, request: u64, answer: Answer, look: bool },
}

struct World {
    random: StdRng,
    now: u64,
    origin: Instant,
    lease: Option<(Record, u64)>,
    versions: u64,
    replicas: BTreeMap<usize, Replica>,
    started: usize,
    requests: u64,
    events: BTreeMap<(u64, u64), Event>,
    /// When somebody last deleted the Lease: then a newcomer cannot know of the leader before.
    deleted: Option<u64>,
}

impl World {
    fn of(seed: u64) -> Self {
        let origin = Instant::now();
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            now: 0,
            origin,
            lease: None,
            versions: 0,
            replicas: BTreeMap::new(),
            started: 0,
            requests: 0,
            events: BTreeMap::new(),
            deleted: None,
        };
        for _ in 0..world.random.random_range(2..4) {
            world.start();
        }
        world
    }

    fn start(&mut self) {
        let number = self.started;
        self.started += 1;
        let speed = 1.0 + self.random.random_range(-SPEED..SPEED);
        // An hour ahead at most; a clock of its own never stands before its own zero.
        let zero = self.origin + Duration::from_secs(self.random.random_range(0..3_600));
        let mut replica = Replica {
            knowledge: Knowledge::new(String::new(), Timings::default(), zero),
            zero,
            speed,
            asked: None,
            paused_until: 0,
        };
        let here = replica.here(self.now);
        replica.knowledge = Knowledge::new(format!("r{number}"), Timings::default(), here);
        self.replicas.insert(number, replica);
    }

    /// Everything that one millisecond brings, and the law.
    fn live(&mut self, until: u64, storm: bool) -> Result<(), String> {
        while self.now < until {
            self.now += self.random.random_range(1..250);
            while let Some(due) = self.events.first_entry().filter(|event| event.key().0 <= self.now) {
                let event = due.remove();
                self.happen(event);
                self.one_leader_at_most()?;
            }
            if storm && self.random.random_bool(0.02) {
                self.trouble();
            }
            for number in self.replicas.keys().copied().collect::<Vec<_>>() {
                self.act(number, storm);
            }
            self.one_leader_at_most()?;
        }
        Ok(())
    }

    fn act(&mut self, number: usize, storm: bool) {
        let Some(replica) = self.replicas.get_mut(&number).filter(|replica| replica.paused_until <= self.now) else {
            return;
        };
        let here = replica.here(self.now);
        if let Some((_, _, give_up)) = replica.asked {
            if here >= give_up {
                replica.asked = None;
                replica.knowledge.failed(here, Duration::from_secs(2));
            }
            return;
        }
        let record = replica.knowledge.claim();
        let ask = match replica.knowledge.decide(here) {
            Step::Wait(_) => return,
            Step::Look => Ask::Look,
            Step::Create => Ask::Create(record),
            Step::Acquire { version } | Step::Renew { version } => Ask::Replace(record, version),
        };
        self.requests += 1;
        let request = self.requests;
        replica.asked = Some((request, here, here + patience(&Timings::default())));
        self.send(number, request, ask, storm);
    }

    fn send(&mut self, replica: usize, request: u64, ask: Ask, storm: bool) {
        let slow = storm && self.random.random_bool(0.2);
        let mut delay = || self.random.random_range(1..if slow { 9_000 } else { 100 });
        let (there, back) = (delay(), delay());
        let lost = |random: &mut StdRng| storm && random.random_bool(0.08);
        let answer_after = (!lost(&mut self.random)).then_some(back);
        if !lost(&mut self.random) {
            let event = Event::Arrives { replica, request, ask, answer_after };
            self.events.insert((self.now + there, request * 2), event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives { replica, request, ask, answer_after } => {
                let look = matches!(ask, Ask::Look);
                let answer = self.carry_out(ask);
                if let Some(after) = answer_after {
                    let event = Event::Answered { replica, request, answer, look };
                    self.events.insert((self.now + after, request * 2 + 1), event);
                }
            }
            Event::Answered { replica, request, answer, look } => self.hear(replica, request, answer, look),
        }
    }

    fn carry_out(&mut self, ask: Ask) -> Answer {
        let fits = match (&ask, &self.lease) {
            (Ask::Look, _) => return self.told(),
            (Ask::Replace(_, version), Some((_, is))) => *version == is.to_string(),
            // Also by a replacement, as the API server does with Leases.
            (_, lease) => lease.is_none(),
        };
        match ask {
            Ask::Create(record) | Ask::Replace(record, _) if fits => {
                self.write(record);
                self.told()
            }
            _ => Answer::Refused,
        }
    }

    fn told(&self) -> Answer {
        match &self.lease {
            None => Answer::Absent,
            Some((record, version)) => Answer::There(record.clone(), version.to_string()),
        }
    }

    fn write(&mut self, mut record: Record) {
        self.versions += 1;
        record.written = format!("t{}", self.versions);
        self.lease = Some((record, self.versions));
    }

    fn hear(&mut self, number: usize, request: u64, answer: Answer, look: bool) {
        let now = self.now;
        let Some(replica) = self.replicas.get_mut(&number) else { return };
        let Some((_, sent, give_up)) = replica.asked.filter(|(asked, ..)| *asked == request) else { return };
        if replica.paused_until > now {
            // It lies there until the process wakes.
            self.events.insert(
                (replica.paused_until, request * 2 + 1),
                Event::Answered { replica: number, request, answer, look },
            );
            return;
        }
        let here = replica.here(now);
        replica.asked = None;
        let retry = Duration::from_secs(2);
        match answer {
            _ if here >= give_up => replica.knowledge.failed(here, retry),
            Answer::There(record, version) if look => replica.knowledge.observed(Some((record, version)), here, retry),
            Answer::Absent if look => replica.knowledge.observed(None, here, retry),
            Answer::There(record, version) => replica.knowledge.wrote(record, version, sent),
            Answer::Absent | Answer::Refused => replica.knowledge.refused(here, retry),
        }
    }

    fn trouble(&mut self) {
        let numbers: Vec<usize> = self.replicas.keys().copied().collect();
        let number = numbers[self.random.random_range(0..numbers.len())];
        match self.random.random_range(0..12) {
            0..4 => {
                let until = self.now + self.random.random_range(500..40_000);
                self.replicas.get_mut(&number).unwrap().paused_until = until;
            }
            4 => {
                self.replicas.remove(&number);
                self.start();
            }
            5 => self.stop(number),
            6..11 => self.edit(),
            _ => {
                self.lease = None;
                self.deleted = Some(self.now);
            }
        }
    }

    /// It lets go and ends; another takes its place.
    fn stop(&mut self, number: usize) {
        let replica = self.replicas.remove(&number).unwrap();
        if let Some(version) = replica.knowledge.version_if_ours() {
            let free = Record { holder: None, duration: Some(Record::RELEASED), ..replica.knowledge.claim() };
            let ask = Ask::Replace(free, version.to_owned());
            self.requests += 1;
            self.send(number, self.requests, ask, true);
        }
        self.start();
    }

    /// Somebody edits the Lease by hand. (To write what a holder writes when it lets go is to say that it did.)
    fn edit(&mut self) {
        let Some((mut record, _)) = self.lease.clone() else { return };
        match self.random.random_range(0..4) {
            0 => record.holder = None,
            1 => record.holder = Some("somebody".to_owned()),
            2 => record.duration = Some(Duration::from_secs(3)),
            _ => record.duration = Some(Duration::from_hours(900)),
        }
        self.versions += 1;
        self.lease = Some((record, self.versions));
    }

    fn leaders(&self) -> Vec<usize> {
        let leads =
            |replica: &Replica| replica.knowledge.leads_until().is_some_and(|until| replica.here(self.now) < until);
        self.replicas.iter().filter(|(_, replica)| leads(replica)).map(|(number, _)| *number).collect()
    }

    fn one_leader_at_most(&self) -> Result<(), String> {
        let leaders = self.leaders();
        // Whoever comes new and finds no Lease cannot know. Who led before ends within the duration, for he cannot renew.
        let unknowable = self.deleted.is_some_and(|at| self.now - at < 15_000);
        if leaders.len() < 2 || unknowable {
            return Ok(());
        }
        Err(format!("{leaders:?} lead at {} ms, the Lease was deleted at {:?}", self.now, self.deleted))
    }
}

impl Replica {
    fn here(&self, now: u64) -> Instant {
        self.zero + Duration::from_millis(now).mul_f64(self.speed)
    }
}

fn life(seed: u64) -> Result<(), String> {
    let mut world = World::of(seed);
    world.live(LIFE, true)?;
    world.live(LIFE + CALM, false)?;
    if world.leaders().len() == 1 { Ok(()) } else { Err(format!("{:?} lead at the end", world.leaders())) }
}

#[test]
fn never_do_two_replicas_lead_and_in_the_end_one_does() {
    let asked = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match asked("STEADING_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("STEADING_SEEDS").unwrap_or(SEEDS).max(SEEDS),
    };
    println!("leases: seeds={}", seeds.end - seeds.start);
    for seed in seeds {
        if let Err(broken) = life(seed) {
            panic!("seed {seed}: {broken}; tell it again with: make worlds SEED={seed}");
        }
    }
}
