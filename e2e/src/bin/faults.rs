//! `make faults`: breaks the operator at every write of every story, and says how many points held. In: `SEED`, which is a point to do
//! again, a story with all its points such as `equip/`, or a number from which pairs of faults are drawn. Out: `points=… leftovers=0 duplicates=0 disagreements=0`, or what failed.

use std::time::Instant;

use anyhow::{Result, ensure};
use e2e::faults::{Outside, OutsidePoint, PENDING, Point, Scope, panics, walk, walk_outside};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Planes that are walked beside each other: a point waits more than it computes.
const LANES: usize = 2;

#[tokio::main]
async fn main() -> Result<()> {
    let begun = Instant::now();
    // What the operator itself says, for a point that is done again: RUST_LOG=operator=debug.
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let argument = std::env::args().nth(1).unwrap_or_default();
    let (inside, outside) = asked_for(argument.trim())?;
    let panics = panics::count();
    let mut again = Vec::new();
    if let Some(scope) = inside {
        let lanes = if matches!(scope, Scope::One(_)) { 1 } else { LANES };
        let tally = walk(&scope, lanes, say).await?;
        say(&format!("{tally} panics={} seconds={}", panics.so_far(), begun.elapsed().as_secs()));
        again.extend(tally.failed.iter().map(|(point, _)| point.to_string()));
    }
    if let Some(which) = outside {
        let tally = Box::pin(walk_outside(&which, say)).await?;
        say(&format!("{tally} panics={} seconds={}", panics.so_far(), begun.elapsed().as_secs()));
        again.extend(tally.failed.iter().map(|(point, _)| point.to_string()));
    }
    for case in PENDING {
        say(&format!("pending: {case}"));
    }
    let failed = again.len();
    let again: Vec<String> = again.iter().map(|point| format!("make faults SEED={point}")).collect();
    ensure!(again.is_empty(), "{failed} points failed; each again with\n{}", again.join("\n"));
    ensure!(panics.so_far() == 0, "{} panics, see above", panics.so_far());
    Ok(())
}

/// What is walked at the API server, and what before the servers outside.
fn asked_for(argument: &str) -> Result<(Option<Scope>, Option<Outside>)> {
    let seed = if argument.is_empty() { Ok(rand::random()) } else { argument.parse() };
    if let Ok(seed) = seed {
        say(&format!("pairs are drawn with SEED={seed}"));
        return Ok((Some(Scope::All { seed }), Some(Outside::All)));
    }
    if let Some(story) = argument.strip_suffix('/') {
        return Ok((Some(Scope::Story(story.parse::<Point>()?.story)), None));
    }
    if let Ok(point) = argument.parse::<OutsidePoint>() {
        return Ok((None, Some(Outside::One(point))));
    }
    Ok((Some(Scope::One(argument.parse()?)), None))
}

fn say(text: &str) {
    println!("faults: {text}");
}
