//! Deterministic worlds: the operator's own stories, stores, queue, status, leadership and client against a modelled API server
//! and providers in memory, with simulated time, one decision after the other drawn from a seed.
//!
//! In: seeds (`STEADING_SEEDS` how many, `STEADING_SEED` which one). Out: figures, or a broken law with the story that led to it and
//! the command that tells it again. What the model leaves out stands in crate `model`; what is played beside it, in
//! [`process`]. What holds on a real API server is shown by the tests of `e2e`.

mod laws;
mod people;
mod process;
mod rest;
mod wire;
mod world;

use std::time::Instant;

use world::World;

/// Seeds of a plain test run.
const SEEDS: u64 = 300;
/// Decisions of a seed before the weather calms.
const DECISIONS: usize = 250;

#[derive(Default)]
struct Figures {
    seeds: u64,
    steps: u64,
    requests: u64,
    broken: Vec<String>,
}

fn tell(seed: u64) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::of(seed);
        let told = live(&mut world).await;
        let broken = told
            .err()
            .map(|law| format!("seed {seed}: {law}\n{}tell it again with: make worlds SEED={seed}", world.story()));
        Figures { seeds: 1, steps: world.steps, requests: world.requests, broken: broken.into_iter().collect() }
    })
}

async fn live(world: &mut World) -> Result<(), String> {
    world.found()?;
    world.live(DECISIONS).await?;
    world.come_to_rest().await?;
    world.leave_nothing().await
}

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn whatever_happens_nothing_is_lost_doubled_or_opened() {
    let seeds = match asked("STEADING_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("STEADING_SEEDS").unwrap_or(SEEDS),
    };
    let began = Instant::now();
    let mut sum = Figures::default();
    for seed in seeds {
        let told = tell(seed);
        sum.seeds += told.seeds;
        sum.steps += told.steps;
        sum.requests += told.requests;
        sum.broken.extend(told.broken);
        if sum.broken.len() > 4 {
            break;
        }
    }
    println!(
        "worlds: seeds={} steps={} requests={} broken={} in {} s",
        sum.seeds,
        sum.steps,
        sum.requests,
        sum.broken.len(),
        began.elapsed().as_secs()
    );
    assert!(sum.broken.is_empty(), "{}", sum.broken.join("\n"));
}
