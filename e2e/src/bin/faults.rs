//! `make faults`: breaks the operator at every write of every story, and says how many points held. In: `SEED`, which is a point to do
//! again, or a number from which pairs of faults are drawn. Out: `points=… leftovers=0 duplicates=0 disagreements=0`, or what failed.

use std::time::Instant;

use anyhow::{Result, bail};
use e2e::faults::{PENDING, Scope, panics, walk, walk_outside};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Planes that are walked beside each other: a point waits more than it computes.
const LANES: usize = 2;

#[tokio::main]
async fn main() -> Result<()> {
    let begun = Instant::now();
    // What the operator itself says, for a point that is done again: RUST_LOG=operator=debug.
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let scope = match std::env::args().nth(1).as_deref().map(str::trim) {
        None | Some("") => Scope::All { seed: rand::random() },
        Some(text) => match text.parse() {
            Ok(seed) => Scope::All { seed },
            Err(_) => Scope::One(text.parse()?),
        },
    };
    if let Scope::All { seed } = &scope {
        println!("faults: pairs are drawn with SEED={seed}");
    }
    let lanes = if matches!(scope, Scope::One(_)) { 1 } else { LANES };
    let panics = panics::count();
    let tally = walk(&scope, lanes, |text| println!("faults: {text}")).await?;
    println!("faults: {tally} panics={} seconds={}", panics.so_far(), begun.elapsed().as_secs());
    let mut failed = tally.failed.len();
    if let Scope::All { seed } = scope {
        let outside = walk_outside(None, seed, |text| println!("faults: {text}")).await?;
        println!("faults: {outside} seconds={}", begun.elapsed().as_secs());
        failed += outside.failed.len();
    }
    for case in PENDING {
        println!("faults: pending: {case}");
    }
    if failed > 0 || panics.so_far() > 0 {
        let again: Vec<String> = tally.failed.iter().map(|(point, _)| format!("make faults SEED={point}")).collect();
        bail!("{failed} points failed; each of the first kind again with\n{}", again.join("\n"));
    }
    Ok(())
}
