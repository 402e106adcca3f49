//! Some of all the points at which the operator can be broken.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::faults::{Scope, panics, walk};

use super::say;

/// Errors, crashes and pairs of faults.
const COUNTS: [usize; 3] = [48, 20, 8];
/// No point is begun after this.
const LIMIT: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_breaks_anywhere_leaves_what_one_that_does_not_leaves() -> Result<()> {
    let seed = rand::random::<u32>().into();
    say(&format!("points are drawn with the seed {seed}"));
    let panics = panics::count();
    let tally = walk(&Scope::Spread { seed, counts: COUNTS, limit: LIMIT }, 1, say).await?;
    say(&tally.to_string());
    ensure!(tally.failed.is_empty(), "{} points failed: {:#?}", tally.failed.len(), tally.failed);
    ensure!(tally.points > 0, "no point was walked");
    ensure!(panics.so_far() == 0, "something panicked");
    Ok(())
}
