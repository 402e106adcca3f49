//! A leader that stops in the middle of its writes and comes back when another has done them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::install::InProcess;
use e2e::story::{Platform, class, tenant, workspace};
use e2e::wait::until;
use e2e::wire::{Asked, Gate, Verdict, Wire};
use e2e::{Installation, Plane, PlaneOptions, Tier};
use providers::memory::{Injection, Operation, World};
use serde_json::json;
use tokio::runtime::{self, Handle, Runtime};

use super::{A_LEASE, LEADS, says, until_leaders_are};

const TENANTS: usize = 8;
/// How many writes to the API server are under way when the leader stops.
const UNDER_WAY: usize = 4;
/// How long nothing may be written after all is done.
const SILENCE: Duration = Duration::from_secs(5);

/// A runtime with one worker, which ends without waiting for it.
struct Alone(Handle, Option<Runtime>);

impl Alone {
    fn new() -> Result<Self> {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self(runtime.handle().clone(), Some(runtime)))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if let Some(runtime) = self.1.take() {
            runtime.shutdown_background();
        }
    }
}

/// Holds up some writes of different kinds, and counts them.
fn hold_up(wire: &Wire, gate: &Gate) -> Arc<AtomicUsize> {
    let (held, gate) = (Arc::new(AtomicUsize::new(0)), gate.clone());
    let count = Arc::clone(&held);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    wire.judge(move |asked: &Asked| {
        if !asked.is_write() || asked.is_of_leadership() || asked.resource() == "events" {
            return Verdict::Pass;
        }
        let what = format!("{} {} {}", asked.method, asked.resource(), asked.subresource());
        let seen = kinds.entry(what).or_default();
        *seen += 1;
        // The second of its kind, so that there is something done, something under way and something to do.
        if *seen == 2 && count.load(Ordering::Relaxed) < UNDER_WAY {
            count.fetch_add(1, Ordering::Relaxed);
            return Verdict::Held(gate.clone());
        }
        Verdict::Pass
    });
    held
}

/// How often each key and bucket was asked to be made.
fn made(world: &World) -> BTreeMap<(String, String), usize> {
    let mut made = BTreeMap::new();
    for (operation, name) in world.log() {
        if matches!(operation, Operation::CreateKey | Operation::CreateBucket) {
            *made.entry((format!("{operation:?}"), name)).or_default() += 1;
        }
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_with_writes_under_way_comes_back_and_nothing_was_done_twice() -> Result<()> {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await?;
    let installation = Installation::install(&plane, "story", &json!({})).await?;
    let (wire, world, platform) = (Wire::to(&plane).await?, World::new(), Platform::new(plane.admin()?));
    let alone = Alone::new()?;
    let stopped =
        InProcess::start_in(&alone.0, &plane, &installation, world.clone(), |config| wire.lead(config)).await?;
    let standby = InProcess::start_on(&plane, &installation, world.clone(), |_| {}).await?;
    let both = [stopped.http_url(), standby.http_url()];
    until_leaders_are(&both, &[true, false], "the first replica leads").await?;

    // Outside the cluster, too, something is done of which the leader never hears.
    let class = platform.applied(class("onprem")).await?;
    world.inject(Injection::on(Operation::CreateKey).nth(3).after_commit().hangs());
    world.inject(Injection::on(Operation::CreateBucket).nth(2).after_commit().hangs());
    let gate = Gate::default();
    let held = hold_up(&wire, &gate);
    let mut all = Vec::new();
    for number in 0..TENANTS {
        let tenant = platform.applied(tenant(&format!("acme-{number}")).of_class(&class)).await?;
        let workspace = platform.applied(workspace("finance").of_tenant(&tenant)).await?;
        all.push((tenant, workspace));
    }
    until("writes are under way", A_LEASE, async || {
        let outside = [(Operation::CreateKey, 3), (Operation::CreateBucket, 2)];
        Ok(held.load(Ordering::Relaxed) >= UNDER_WAY
            && outside.iter().all(|(what, calls)| world.calls(*what) >= *calls))
    })
    .await?;

    let (go_on, stop) = mpsc::channel::<()>();
    alone.0.spawn(async move { stop.recv().ok() });
    until("the standby leads", A_LEASE, async || says(&standby.http_url(), LEADS).await).await?;
    world.heal();
    for (tenant, workspace) in &all {
        platform.until_ready(tenant).await?;
        platform.until_ready(workspace).await?;
    }

    // What was under way arrives now, and its sender wakes to find that it does not lead.
    let (mark, written) = (plane.mark().await?, world.writes());
    gate.open();
    drop(go_on);
    ensure!(!says(&stopped.http_url(), LEADS).await?, "the leader that was stopped still believes that it leads");
    tokio::time::sleep(SILENCE).await; // silence takes its time
    let late = plane.calls_since(mark).await?.by_service_account("steading-system", "steading").writes();
    let late = late.filter(|call| !call.target().contains("leases") && call.code() < 300);
    ensure!(late.len() <= UNDER_WAY, "more was written than was under way: {:?}", late.entries());
    ensure!(world.writes() == written, "something was written outside the cluster");
    for (tenant, workspace) in &all {
        platform.until_ready(tenant).await?;
        platform.until_ready(workspace).await?;
    }
    let made = made(&world);
    ensure!(made.len() == 2 * TENANTS, "{made:?}");
    ensure!(made.values().all(|times| *times == 1), "something was made twice outside the cluster: {made:?}");
    ensure!(world.keys().len() == TENANTS && world.buckets().len() == TENANTS);
    stopped.crash().await;
    standby.stop().await.context("the standby ends as it was told to")
}
