//! Real nodes leave nothing behind: not when they are stopped, again and again, nor when whoever started them is killed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is surprised may panic, in its helpers too"
)]

mod traces;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::packets::{Crowd, Runtime, Spot};
use e2e::{Plane, PlaneOptions, Tier, lacks_real_nodes};
use tokio::sync::Mutex;
use traces::Traces;

/// Longest wait until all is gone.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often nodes are started and stopped: `STEADING_ROUNDS`, else this.
const ROUNDS: usize = 2;

/// One after the other: each of them starts nodes, which takes both cores.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A pod under each kernel, so that there is something to leave behind.
async fn with_pods(plane: &Plane) -> Result<Crowd> {
    let spot = |runtime, node| Spot::new("left behind?", "default", &[].into(), runtime, node);
    Crowd::place(&plane.admin()?, vec![spot(Runtime::Runc, 1), spot(Runtime::Gvisor, 2)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_and_stop_leave_the_machine_as_it_was() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let _alone = ALONE.lock().await;
    let rounds = std::env::var("STEADING_ROUNDS").map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let before = Traces::of_machine()?;
    for round in 1..=rounds {
        let begun = std::time::Instant::now();
        let plane = Plane::start(Tier::Three, PlaneOptions::default()).await?;
        let up = begun.elapsed().as_secs_f32();
        let ground = plane.ground().context("the nodes stand nowhere")?.to_owned();
        with_pods(&plane).await?;
        let during = Traces::of_machine()?.since(&before, &ground);
        ensure!(during.kinds() >= 4, "hardly anything of the nodes can be seen:\n{during}");
        plane.stop().await?;
        before.until_nothing_is_left_of(&ground, PATIENCE).await?;
        writeln!(std::io::stderr(), "nodes: round {round} of {rounds}: up in {up:.1} s, nothing left").ok();
    }
    Ok(())
}

/// Set for the copy of this test program that plays the owner.
const OWNER: &str = "STEADING_TEST_OWNER_OF_NODES";

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_killed_leaves_the_machine_as_it_was() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    if std::env::var_os(OWNER).is_some() {
        return own_until_killed().await;
    }
    let _alone = ALONE.lock().await;
    let before = Traces::of_machine()?;
    let (mut owner, ground) = start_owner("an_owner_that_is_killed_leaves_the_machine_as_it_was")?;
    owner.kill()?;
    owner.wait()?;
    before.until_nothing_is_left_of(&ground, PATIENCE).await
}

/// Owner and janitor are killed: the next start finds what they left.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_when_nobody_can_clean_up_is_removed_by_the_next_start() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    if std::env::var_os(OWNER).is_some() {
        return own_until_killed().await;
    }
    let _alone = ALONE.lock().await;
    let before = Traces::of_machine()?;
    let (mut owner, ground) = start_owner("what_is_left_when_nobody_can_clean_up_is_removed_by_the_next_start")?;
    let janitors = traces::children_of(owner.id(), "janitor")?;
    ensure!(!janitors.is_empty(), "there is no janitor to kill");
    for id in &janitors {
        Command::new("kill").args(["-KILL", &id.to_string()]).status()?;
    }
    owner.kill()?;
    owner.wait()?;
    ensure!(!Traces::of_machine()?.since(&before, &ground).is_empty(), "nothing was left, so nothing can be removed");
    let next = Plane::start(Tier::Three, PlaneOptions::default()).await?;
    // It may stand on the same ground itself.
    next.stop().await?;
    before.until_nothing_is_left_of(&ground, PATIENCE).await
}

/// Starts a copy of this program that starts nodes. Returns it once they are there, with the name of their ground.
fn start_owner(test: &str) -> Result<(Child, String)> {
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = BufReader::new(owner.stdout.take().context("no output")?);
    let told = |line: String| line.split_once("nodes stand at ").map(|(_, ground)| ground.to_owned());
    let ground = output.lines().map_while(Result::ok).find_map(told).context("the owner ended before it had nodes")?;
    Ok((owner, ground))
}

async fn own_until_killed() -> Result<()> {
    let plane = Plane::start(Tier::Three, PlaneOptions::default()).await?;
    with_pods(&plane).await?;
    println!("nodes stand at {}", plane.ground().context("nowhere")?);
    std::future::pending().await
}
