//! From the version before to this one and back, with fifty tenants: nothing of theirs is written, and no packet passes meanwhile that
//! must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use e2e::install::{Earlier, Installation, OperatorProcess, chart_directory};
use e2e::packets::{Crowd, Goal, Seen, predicted};
use e2e::plane::{Entry, Object};
use e2e::servers::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use e2e::story::{BREAK_GLASS, Platform};
use e2e::{Plane, PlaneOptions, Servers, Tier, lacks_real_nodes, show, skip};
use futures::future::try_join_all;
use serde_json::json;

use super::town::{Town, of_servers, stack_of};

const TENANTS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_the_way_back_write_nothing_of_fifty_tenants_and_open_no_gap() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let Some(earlier) = Earlier::build().await? else {
        return skip("this clone has no commit before: fetch its history");
    };
    let this = OperatorProcess::build().await?;
    let plane = Plane::start(Tier::Three, PlaneOptions::default()).await?;
    let servers = Servers::start(&plane).await?;
    let values = json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } });
    let installation = Installation::install_chart(&plane, "upgrade", &values, &earlier.chart()).await?;
    let environment = || [("STEADING_BREAK_GLASS_GROUPS", BREAK_GLASS.to_owned())];
    let mut operator = OperatorProcess::start_program(&earlier.program(), &plane, &installation, environment()).await?;
    let platform = Platform::new(plane.admin()?);
    let class = platform.applied(of_servers(&plane, &servers)).await?;
    platform.until_ready(&class).await?;
    let stacks = try_join_all((0..TENANTS).map(|_| stack_of(&platform, &class, "acme"))).await?;
    let client = plane.client_for("bettina", &["system:masters", BREAK_GLASS])?;
    let [one, other, ..] = stacks.as_slice() else { anyhow::bail!("there are no two stacks") };
    let town = Town::build(&plane, &client, [one.clone(), other.clone()]).await?;
    let wanted =
        predicted(&plane.admin()?, &town.crowd, &town.goals, std::slice::from_ref(&town.surroundings.dns)).await?;
    town.crowd.until_as_predicted(&town.goals, &wanted).await?;

    let watch = Watch::begin(&town.crowd, &town.goals, &wanted);
    let mark = plane.mark().await?;
    for (chart, program) in [(chart_directory(), this), (earlier.chart(), earlier.program())] {
        drop(operator);
        installation.upgrade(&plane, &chart).await?;
        operator = OperatorProcess::start_program(&program, &plane, &installation, environment()).await?;
        // Whoever makes a new stack Ready has seen the old ones before.
        stack_of(&platform, &class, "hooli").await?;
    }
    let (rounds, packets) = watch.end().await?;

    let writes = plane.calls_since(mark).await?.by_service_account(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).writes();
    let to_stacks = |entry: &&Entry| {
        let names = |it: &Object| stacks.contains(&it.namespace) || stacks.contains(&it.name);
        entry.code() < 300 && entry.object_ref.as_ref().is_some_and(names)
    };
    let written: Vec<_> = writes.entries().iter().filter(to_stacks).collect();
    let (from, many) = (&earlier.commit, written.len());
    show(&format!(
        "network: {from} to this and back: {many} writes to {TENANTS} stacks, {packets} packets in {rounds} rounds, no leak"
    ));
    ensure!(written.is_empty(), "{written:?}");
    ensure!(rounds >= 2, "only {rounds} rounds of packets were sent");
    Ok(())
}

/// Packets that are sent all the while.
struct Watch {
    is_over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<(usize, usize)>>,
}

impl Watch {
    fn begin(crowd: &Crowd, goals: &[Goal], wanted: &Seen) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (crowd, goals, wanted, ends) = (crowd.clone(), goals.to_vec(), wanted.clone(), Arc::clone(&is_over));
        let task = tokio::spawn(async move {
            let (mut rounds, mut packets) = (0, 0);
            while !ends.load(Ordering::SeqCst) {
                let seen = crowd.try_all(&goals).await?;
                let (leaks, losses) = (seen.leaks(&wanted), seen.losses(&wanted));
                ensure!(leaks.is_empty(), "leaks: {leaks:?}\n{seen}");
                packets += seen.tries();
                if losses.is_empty() {
                    rounds += 1;
                } else {
                    ensure!(crowd.wait_longer(), "losses: {losses:?}\n{seen}");
                }
            }
            Ok((rounds, packets))
        });
        Self { is_over, task }
    }

    /// How many rounds there were in which all arrived that must, and how many packets.
    async fn end(self) -> Result<(usize, usize)> {
        self.is_over.store(true, Ordering::SeqCst);
        self.task.await?
    }
}
