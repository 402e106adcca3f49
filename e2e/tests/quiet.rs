//! Silence: what is right is neither read nor written again, neither in a quiet minute nor after a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Tier,
    plane::Calls,
    story::{Manifest, Stage, class, tenant, workspace},
    wait::until,
};

/// Tenants, each with one Workspace.
const TENANTS: usize = 50;

async fn tenants(stage: &Stage) -> Result<Vec<Manifest<api::Workspace>>> {
    let class = stage.platform.applied(class("onprem")).await?;
    let mut workspaces = Vec::new();
    for number in 0..TENANTS {
        let tenant = tenant(&format!("tenant-{number:02}")).of_class(&class).with("quota.cpu", "8");
        let tenant = stage.platform.applied(tenant).await?;
        let workspace = workspace(&format!("space-{number:02}")).of_tenant(&tenant).with("quota.cpu", "2");
        workspaces.push(stage.platform.applied(workspace).await?);
    }
    for workspace in &workspaces {
        stage.platform.until_ready(workspace).await?;
    }
    Ok(workspaces)
}

/// The operator's calls, but for those that go on for ever: its Lease, and watches that are opened again.
fn beside_lease_and_watches(calls: &Calls) -> Calls {
    let ours = calls.by_service_account("steading-system", "steading");
    ours.filter(|entry| entry.verb != "watch" && !entry.target().starts_with("leases"))
}

/// The canary of the fence looks at start and every ten minutes: policies and bindings are read, probes are dry runs.
fn beside_canary(calls: &Calls) -> Calls {
    let of_canary = |target: &str| {
        [
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "selfsubjectaccessreviews",
            "selfsubjectreviews",
        ]
        .contains(&target)
    };
    calls.filter(|entry| !entry.is_dry_run() && !of_canary(&entry.target()))
}

/// Number of rounds that the operator has run, by its own count.
async fn rounds(stage: &Stage) -> Result<u64> {
    let text = reqwest::get(format!("{}/metrics", stage.operator.http_url())).await?.text().await?;
    let counted = text.lines().filter(|line| line.starts_with("controller_runtime_reconcile_total"));
    Ok(counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// Waits until no call was made between two looks a second apart: what was applied has had its consequences.
async fn settled(stage: &Stage) -> Result<()> {
    until("the operator has nothing left to do", Duration::from_mins(1), async || {
        let mark = stage.plane.mark().await?;
        tokio::time::sleep(Duration::from_secs(1)).await; // the stretch of silence is what is looked for
        Ok(beside_lease_and_watches(&stage.plane.calls_since(mark).await?).is_empty())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_ready_tenants_cause_no_call_in_a_quiet_minute_nor_after_a_restart() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    tenants(&stage).await?;
    settled(&stage).await?;

    let mark = stage.plane.mark().await?;
    tokio::time::sleep(Duration::from_mins(1)).await; // the quiet minute itself
    let calls = stage.plane.calls_since(mark).await?;
    let loud = beside_lease_and_watches(&calls);
    println!("quiet minute with {TENANTS} Ready tenants: {} calls beside Lease and watches", loud.len());
    ensure!(loud.is_empty(), "calls in a quiet minute:\n{loud}");
    let leases =
        calls.by_service_account("steading-system", "steading").filter(|entry| entry.target().starts_with("leases"));
    ensure!(!leases.is_empty(), "the record holds no Lease renewal, so it proves nothing");

    let mark = stage.plane.mark().await?;
    let stage = stage.restarted(|_| {}, async |_| Ok(())).await?;
    let expected = u64::try_from(2 * TENANTS + 1)?;
    until("every object had its round", Duration::from_mins(1), async || Ok(rounds(&stage).await? >= expected)).await?;
    settled(&stage).await?;
    let calls = beside_canary(&beside_lease_and_watches(&stage.plane.calls_since(mark).await?));
    let rounds = rounds(&stage).await?;
    println!("restart: {rounds} rounds, {} writes, {} gets", calls.writes().len(), calls.verb("get").len());
    ensure!(calls.filter(|entry| entry.verb != "list").is_empty(), "calls of no-op rounds:\n{calls}");
    let lists = calls.verb("list");
    let stores: BTreeSet<&str> = lists.entries().iter().map(|entry| entry.request_uri.as_str()).collect();
    ensure!(stores.len() == lists.len(), "each store is listed once:\n{calls}");
    Ok(())
}
