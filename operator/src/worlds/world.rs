//! A world: one API server, one wire, one or two operators, people, and a generator that decides what happens next.
//!
//! In: a seed. Out: nothing, or what was broken and what led there. Between two decisions all tasks run until each of them waits
//! for the world or for time, so that the same seed always tells the same story.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use model::{Answer, Request, Resource, Server};
use providers::memory::{Injection, Operation};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::time::Instant;

use super::{
    laws::{self, Laws},
    process::{Process, Site},
    wire::{Pending, Wire},
};
use crate::{chance, clock, metrics::Metrics};

/// No request is under way for longer. A leader stops three seconds before another may begin, so that what it sent before is
/// carried out before: a write that arrives later still is outside of what leadership can promise.
const ON_THE_WIRE: Duration = Duration::from_secs(2);
/// How many lines of the story are kept.
const TOLD: usize = 120;

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// One process at a time.
    Alone,
    /// Two compete for the Lease.
    Lease,
    /// Two believe all the time that they lead, and their requests take as long as they like. What only leadership can promise is
    /// not asked for then: that no older grant comes into force after a newer one.
    Both,
}

/// How bad things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Everything may go wrong.
    Storm,
    /// Nothing goes wrong, and nobody wants anything new.
    Calm,
}

/// A world.
pub struct World {
    pub(super) random: StdRng,
    pub(super) server: Server,
    pub(super) site: Site,
    pub(super) laws: Laws,
    /// Whether somebody changed what Steading made.
    pub(super) meddled: bool,
    pub(super) processes: Vec<Process>,
    started: usize,
    pub(super) lead: Lead,
    pub(super) weather: Weather,
    story: VecDeque<String>,
    pub(super) steps: u64,
    /// Requests of operators but for Leases.
    pub(super) requests: u64,
    /// Processes that crashed.
    pub(super) crashes: u64,
    /// When something but a Lease changed last.
    pub(super) changed: Instant,
    /// Writes to the world outside that were judged.
    judged: u64,
}

impl World {
    /// The world of a seed, before anything happens.
    pub fn of(seed: u64) -> Self {
        clock::simulated::begin();
        chance::seeded::begin(seed);
        let mut random = StdRng::seed_from_u64(seed);
        let lead = match random.random_range(0..10) {
            0..5 => Lead::Alone,
            5..8 => Lead::Lease,
            _ => Lead::Both,
        };
        let site =
            Site { wire: Wire::default(), outside: providers::memory::World::new(), metrics: Metrics::new().unwrap() };
        Self {
            random,
            server: Server::new("2026-01-01T00:00:00Z"),
            site,
            laws: Laws::with(lead != Lead::Both),
            meddled: false,
            processes: Vec::new(),
            started: 0,
            lead,
            weather: Weather::Storm,
            story: VecDeque::new(),
            steps: 0,
            requests: 0,
            crashes: 0,
            changed: Instant::now(),
            judged: 0,
        }
    }

    /// Adds a line to the story.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.story.len() == TOLD {
            self.story.pop_front();
        }
        let at = clock::simulated::age().unwrap_or_default();
        self.story.push_back(format!("{:>10.3} {}", at.as_secs_f64(), line()));
    }

    /// What led here.
    pub fn story(&self) -> String {
        self.story.iter().fold(String::new(), |told, line| told + "  " + line + "\n")
    }

    /// From the first object to the last.
    pub async fn live(&mut self) -> Result<(), String> {
        self.found()?;
        for _ in 0..self.random.random_range(40..280) {
            self.step().await?;
        }
        self.come_to_rest().await?;
        self.leave_nothing().await
    }

    /// Starts a process.
    pub fn start(&mut self) {
        let number = self.started;
        self.started += 1;
        self.note(|| format!("p{number} starts"));
        self.processes.push(Process::start(&self.site, number, self.lead == Lead::Lease));
    }

    /// One decision.
    pub async fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        self.act().await?;
        self.settle().await
    }

    /// Lets every task run until it waits: time moves only when none of them can.
    pub async fn settle(&mut self) -> Result<(), String> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        for process in &mut self.processes {
            process.settle()?;
        }
        let writes = self.site.outside.writes();
        if std::mem::replace(&mut self.judged, writes) == writes {
            return Ok(());
        }
        self.laws.outside(&self.site.outside, &laws::installation())
    }

    fn on_the_wire(&self) -> Duration {
        if self.lead == Lead::Both { Duration::from_mins(1) } else { ON_THE_WIRE }
    }

    async fn act(&mut self) -> Result<(), String> {
        let most = if self.lead == Lead::Alone { 1 } else { 2 };
        if self.processes.is_empty() {
            self.start();
        }
        let old = Instant::now() - self.on_the_wire();
        let late = self.site.wire.pending().iter().position(|pending| pending.sent <= old);
        if let Some(late) = late {
            return self.serve(late);
        }
        if self.weather == Weather::Storm {
            let decision = self.random.random_range(0..1000);
            match decision {
                0..40 => return self.wish(),
                40..55 => return self.meddle(),
                90..115 => return self.pass().await,
                55..63 => self.crash(),
                63..70 if self.processes.len() < most => self.start(),
                70..80 => self.trouble_outside(),
                80..90 => self.relist(),
                _ => return self.go_on().await,
            }
            return Ok(());
        }
        self.go_on().await
    }

    /// What is there to be done, in any order.
    async fn go_on(&mut self) -> Result<(), String> {
        let pending = self.site.wire.pending().len();
        let mut heard = Vec::new();
        let mut ready = Vec::new();
        for (index, process) in self.processes.iter_mut().enumerate() {
            heard.extend(process.behind(&self.server).into_iter().map(|resource| (index, resource)));
            ready.extend(process.ready().into_iter().map(|wake| (index, wake)));
        }
        let terminating = self.terminating();
        let choices = pending + heard.len() + ready.len() + usize::from(!terminating.is_empty());
        if choices == 0 {
            return self.pass().await;
        }
        let choice = self.random.random_range(0..choices);
        if choice < pending {
            return self.serve(choice);
        }
        let choice = choice - pending;
        if let Some((index, resource)) = heard.get(choice) {
            let (index, resource) = (*index, *resource);
            self.note(|| format!("[{index}] hears of {resource:?}"));
            self.processes[index].hear(&self.server, resource);
            return Ok(());
        }
        if let Some((index, wake)) = ready.get(choice - heard.len()) {
            self.note(|| format!("[{index}] begins {wake:?}"));
            self.processes[*index].begin(wake);
            return Ok(());
        }
        let name = &terminating[self.random.random_range(0..terminating.len())];
        self.empty(name)
    }

    /// Carries a request out, or hands an answer over.
    fn serve(&mut self, index: usize) -> Result<(), String> {
        let mut pending = self.site.wire.pending().remove(index);
        if let Some(answer) = pending.answer.take() {
            pending.reply(answer);
            return Ok(());
        }
        self.requests += u64::from(!pending.is_lease());
        if pending.is_orphan() && self.random.random_bool(0.5) {
            self.note(|| format!("{} is lost", pending.told()));
            return Ok(());
        }
        if self.weather == Weather::Storm && self.random.random_bool(if pending.is_lease() { 0.02 } else { 0.05 }) {
            return self.fail(pending);
        }
        let answer = self.carry_out(&pending.request, Some(pending.process))?;
        self.note(|| format!("{} -> {}", pending.told(), answer.code));
        if self.weather == Weather::Storm && self.random.random_bool(0.3) {
            // The answer takes its time; meanwhile watches may tell.
            pending.answer = Some(answer);
            self.site.wire.pending().push(pending);
        } else {
            pending.reply(answer);
        }
        Ok(())
    }

    /// A request meets with an accident.
    fn fail(&mut self, pending: Pending) -> Result<(), String> {
        let code = [500, 503, 504, 429, 409, 403, 422][self.random.random_range(0..7)];
        let refused = Answer {
            code,
            body: json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Weather",
                "message": "said so", "metadata": {},
            }),
        };
        match self.random.random_range(0..4) {
            0 => self.note(|| format!("{} is lost on the way", pending.told())),
            1 => {
                self.note(|| format!("{} is refused with {code}", pending.told()));
                pending.reply(refused);
            }
            accident => {
                let answer = self.carry_out(&pending.request, Some(pending.process))?;
                self.note(|| format!("{} -> {}, and the answer is lost", pending.told(), answer.code));
                if accident == 3 {
                    pending.reply(Answer { code: 504, ..refused });
                }
            }
        }
        Ok(())
    }

    /// What the server makes of a request, judged.
    pub fn carry_out(&mut self, request: &Request, process: Option<usize>) -> Result<Answer, String> {
        if request.path.contains("/events") {
            return Ok(Answer { code: 201, body: request.body.clone() });
        }
        let before = self.server.changes().len();
        if request.writes() {
            self.server.at(&clock::now().to_string());
        }
        let answer = self.server.answer(request);
        self.look_at_changes(before, process)?;
        self.count_quotas(before)?;
        Ok(answer)
    }

    pub(super) fn look_at_changes(&mut self, from: usize, process: Option<usize>) -> Result<(), String> {
        for index in from..self.server.changes().len() {
            if self.server.changes()[index].key.resource != Resource::Lease {
                self.changed = Instant::now();
            }
            self.laws.see(&self.server.changes()[index], process, &self.server, &self.site.outside)?;
        }
        Ok(())
    }

    fn crash(&mut self) {
        if !self.processes.is_empty() {
            let index = self.random.random_range(0..self.processes.len());
            let process = self.processes.remove(index);
            self.crashes += 1;
            self.note(|| format!("p{} crashes", process.number));
        }
    }

    /// A watch expires; what came and went meanwhile is never heard of.
    fn relist(&mut self) {
        if self.processes.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.processes.len());
        let watched: BTreeSet<Resource> = Resource::ALL.into_iter().filter(|r| *r != Resource::Lease).collect();
        let resource = watched.into_iter().nth(self.random.random_range(0..8)).unwrap();
        self.note(|| format!("[{index}] lists {resource:?} anew"));
        self.processes[index].list(&self.server, resource);
    }

    fn trouble_outside(&mut self) {
        let operations = [
            Operation::ObserveKey,
            Operation::CreateKey,
            Operation::UpdateKey,
            Operation::ReleaseKey,
            Operation::DeleteKey,
            Operation::ObserveBucket,
            Operation::CreateBucket,
            Operation::UpdateBucket,
            Operation::ReleaseBucket,
            Operation::DeleteBucket,
            Operation::ListStores,
            Operation::CreateStore,
            Operation::DeleteStore,
            Operation::ReadModels,
            Operation::WriteModel,
            Operation::ReadTuples,
            Operation::WriteTuples,
        ];
        let injection = Injection::on(operations[self.random.random_range(0..operations.len())]).nth(1);
        let injection = match self.random.random_range(0..6) {
            0 => injection,
            1 => injection.after_commit(),
            2 => injection.after_steps(1),
            3 => injection.denied(),
            4 => injection.hangs(),
            _ => injection.throttled(Duration::from_secs(3)),
        };
        self.note(|| format!("outside: {injection:?}"));
        self.site.outside.inject(injection);
    }

    /// Time passes, until a request comes; nothing on the wire gets older than it may.
    async fn pass(&mut self) -> Result<(), String> {
        let now = Instant::now();
        let longest = match self.random.random_range(0..10) {
            0..5 => Duration::from_millis(self.random.random_range(5..500)),
            5..8 => Duration::from_millis(self.random.random_range(500..5_000)),
            _ => Duration::from_secs(self.random.random_range(5..600)),
        };
        let patience = self.on_the_wire();
        let oldest = self.site.wire.pending().iter().map(|pending| pending.sent + patience).min();
        let timer = self.processes.iter().filter_map(Process::next_timer).min();
        let limit = [oldest, timer].into_iter().flatten().map(|at| at.saturating_duration_since(now)).min();
        let by = limit.map_or(longest, |limit| if self.weather == Weather::Calm { limit } else { limit.min(longest) });
        self.wait(by).await;
        Ok(())
    }

    /// Lets time pass, until a request comes.
    pub async fn wait(&mut self, by: Duration) {
        let wire = self.site.wire.clone();
        tokio::select! {
            biased;
            () = wire.arrival() => {}
            () = tokio::time::sleep(by) => {}
        }
    }
}
