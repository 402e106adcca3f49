//! Some of all the requests to OpenBao, KES and MinIO at which the connection can break.

use anyhow::{Result, ensure};
use e2e::faults::{Outside, walk_outside};

use super::say;

const POINTS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_connection_to_a_real_server_breaks_all_is_made_once_and_goes() -> Result<()> {
    let seed = rand::random::<u32>().into();
    say(&format!("outside: points are drawn with the seed {seed}"));
    let tally = Box::pin(walk_outside(&Outside::Some(POINTS, seed), say)).await?;
    say(&tally.to_string());
    ensure!(tally.failed.is_empty(), "{:#?}", tally.failed);
    ensure!(tally.points == POINTS && tally.missed < POINTS / 3, "hardly any fault fell: {tally}");
    Ok(())
}
