//! One replica leads, whatever happens to processes and to the Lease; and the leader notices when the fence falls.

#[cfg(target_os = "linux")]
mod clocks;
mod outage;
mod pause;

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use api::conditions as names;
use e2e::install::{InProcess, OperatorProcess};
use e2e::story::{Stage, class, tenant, workspace};
use e2e::wait::until;
use e2e::{Installation, Plane, PlaneOptions, Tier};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

/// Longer than a Lease is believed and a follower waits between two looks.
const A_LEASE: Duration = Duration::from_secs(20);
const LEASE: &str = "steading-operator";
const LEADS: &str = r#"leader_election_master_status{name="steading-operator"} 1"#;
const FENCE_STANDS: &str = "steading_fence_canary_ok 1";

/// Whether the metrics at `url` hold this line.
async fn says(url: &str, line: &str) -> Result<bool> {
    let text = reqwest::get(format!("{url}/metrics")).await?.text().await?;
    Ok(text.lines().any(|found| found == line))
}

/// Which of them lead, in order.
async fn leaders(urls: &[String]) -> Result<Vec<bool>> {
    let mut leaders = Vec::new();
    for url in urls {
        leaders.push(says(url, LEADS).await?);
    }
    ensure!(leaders.iter().filter(|leads| **leads).count() <= 1, "two lead at once: {leaders:?}");
    Ok(leaders)
}

/// Waits until exactly these lead, and fails as soon as more than one does.
async fn until_leaders_are(urls: &[String], wanted: &[bool], what: &str) -> Result<()> {
    until(what, A_LEASE, async || Ok(leaders(urls).await? == wanted)).await
}

fn signal(operator: &OperatorProcess, name: &str) -> Result<()> {
    for id in operator.process_ids() {
        ensure!(Command::new("kill").args([name, &id.to_string()]).status()?.success(), "kill {name} {id} failed");
    }
    Ok(())
}

#[tokio::test]
async fn a_leader_that_was_stopped_wakes_as_a_follower() -> Result<()> {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await?;
    let installation = Installation::install(&plane, "story", &json!({})).await?;
    let stopped = OperatorProcess::start(&plane, &installation).await?;
    let standby = OperatorProcess::start(&plane, &installation).await?;
    let both = [stopped.http_url(), standby.http_url()];
    until_leaders_are(&both, &[true, false], "the first replica leads").await?;

    signal(&stopped, "-STOP")?;
    until("the standby leads", A_LEASE, async || says(&standby.http_url(), LEADS).await).await?;
    signal(&stopped, "-CONT")?;
    // The very first answer counts: nothing of the process had time to notice anything.
    ensure!(leaders(&both).await? == [false, true], "the replica that was stopped still believes that it leads");

    signal(&standby, "-TERM")?;
    until("the first replica leads again", A_LEASE, async || says(&stopped.http_url(), LEADS).await).await
}

#[tokio::test]
async fn a_lease_in_wrong_hands_leaves_at_most_one_leader_and_the_work_goes_on() -> Result<()> {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await?;
    let installation = Installation::install(&plane, "story", &json!({})).await?;
    let first = InProcess::start(&plane, &installation).await?;
    let second = InProcess::start(&plane, &installation).await?;
    let both = [first.http_url(), second.http_url()];
    until_leaders_are(&both, &[true, false], "the first replica leads").await?;
    let leases: Api<Lease> = Api::namespaced(plane.admin()?, "steading-system");
    let held = leases.get(LEASE).await?;

    leases.delete(LEASE, &DeleteParams::default()).await?;
    until("the Lease is there again, held as before", A_LEASE, async || {
        ensure!(leaders(&both).await? == [true, false], "leadership changed because the Lease was deleted");
        let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        Ok(leases.get_opt(LEASE).await?.is_some_and(|lease| holder(&lease) == holder(&held)))
    })
    .await?;

    let stranger = json!({ "spec": { "holderIdentity": "nobody" } });
    leases.patch(LEASE, &PatchParams::default(), &Patch::Merge(stranger)).await?;
    until_leaders_are(&both, &[false, false], "the leader learns that somebody else holds the Lease").await?;
    until("one of the two leads again", A_LEASE, async || Ok(leaders(&both).await?.contains(&true))).await
}

#[tokio::test]
async fn a_fence_that_falls_stops_new_stacks_until_it_stands_again() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.canary = Duration::from_secs(2)).await?;
    let url = stage.operator.http_url();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.platform.client.clone());
    let change = async |to: &str| {
        let change = Patch::Merge(json!({ "spec": { "validationActions": [to] } }));
        bindings.patch("steading-stacks", &PatchParams::default(), &change).await
    };
    until("the canary finds the fence standing", A_LEASE, async || says(&url, FENCE_STANDS).await).await?;

    change("Audit").await?;
    until("the canary finds the fence down", A_LEASE, async || Ok(!says(&url, FENCE_STANDS).await?)).await?;
    let class = stage.platform.applied(class("onprem")).await?;
    let tenant = stage.platform.applied(tenant("acme").of_class(&class)).await?;
    let finance = stage.platform.applied(workspace("finance").of_tenant(&tenant)).await?;
    let told = stage.platform.until_reason(&finance, names::FENCE_DOWN).await?;
    let message = &e2e::story::condition(&told, names::READY).expect("it has a reason").message;
    ensure!(message.contains("steading-stacks"), "the message does not name what is wrong: {message}");
    let stacks = ListParams::default().labels("steading.dev/stack");
    let namespaces: Api<Namespace> = Api::all(stage.platform.client.clone());
    ensure!(namespaces.list(&stacks).await?.items.is_empty(), "a stack was made while the fence was down");

    change("Deny").await?;
    stage.platform.until_ready(&finance).await?;
    ensure!(namespaces.list(&stacks).await?.items.len() == 1);
    stage.operator.stop().await
}
