//! Deterministic worlds: the operator's own stories, stores, turns, status, leadership and client against a modelled API server
//! and providers in memory, with simulated time, one decision after the other drawn from a seed.
//!
//! In: seeds (`STEADING_SEEDS` how many, `STEADING_SEED` a single one). Out: figures, or a broken law with the story that led to it
//! and the command that tells it again. What the model leaves out stands in crate `model`; what is played beside it, in [`process`].
//! What holds on a real API server is shown by the tests of `e2e`.

mod cluster;
mod laws;
mod people;
mod process;
mod rest;
mod wire;
mod world;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use world::World;

/// Worlds of a plain test run.
const SEEDS: u64 = 40;
/// Broken worlds after which no more are looked at.
const ENOUGH: usize = 3;

/// What became of some worlds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures {
    steps: u64,
    requests: u64,
    crashes: u64,
    broken: Vec<String>,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.requests += other.requests;
        self.crashes += other.crashes;
        self.broken.extend(other.broken);
    }
}

/// Tells the story of one seed.
fn tell(seed: u64) -> (Figures, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::of(seed);
        let broken = world.live().await.err();
        let story = world.story();
        let broken =
            broken.map(|law| format!("seed {seed}: {law}\n{story}tell it again with: make worlds SEED={seed}\n"));
        let figures = Figures {
            steps: world.steps,
            requests: world.requests,
            crashes: world.crashes,
            broken: broken.into_iter().collect(),
        };
        (figures, story)
    })
}

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn whatever_happens_nothing_is_lost_doubled_or_opened() {
    let first = asked("STEADING_SEED");
    let seeds = if first.is_some() { 1 } else { asked("STEADING_SEEDS").unwrap_or(SEEDS) };
    // A plain test run has other tests beside this one.
    let threads =
        if asked("STEADING_SEEDS").is_some() { thread::available_parallelism().map_or(1, usize::from) } else { 1 };
    let (began, next, sum) = (Instant::now(), AtomicU64::new(0), Mutex::new(Figures::default()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= seeds || sum.lock().unwrap().broken.len() >= ENOUGH {
                        return;
                    }
                    let (told, _) = tell(first.unwrap_or(0) + index);
                    sum.lock().unwrap().add(told);
                }
            });
        }
    });
    let Figures { steps, requests, crashes, broken } = sum.into_inner().unwrap();
    let (seeds, seconds) = (next.into_inner().min(seeds), began.elapsed().as_secs());
    println!(
        "worlds: seeds={seeds} steps={steps} requests={requests} crashes={crashes} broken={} in {seconds} s",
        broken.len()
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in [3, 4, 5] {
        assert_eq!(tell(seed), tell(seed));
    }
}
