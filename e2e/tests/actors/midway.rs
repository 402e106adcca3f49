//! Wishes that change while a round is at work on older ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use e2e::Tier;
use e2e::story::{PATIENCE, Stage, class, tenant, workspace};
use e2e::wait::until;
use e2e::wire::{Gate, Verdict};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use serde_json::json;

#[tokio::test]
async fn a_wish_that_changes_in_the_middle_of_a_round_wins_and_no_status_speaks_of_it_too_early() -> Result<()> {
    let (gate, held) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let (at, noted) = (gate.clone(), Arc::clone(&held));
    let (stage, wire) = Stage::wired(
        Tier::One,
        |_| {},
        move |asked| {
            // In the middle: the quota of the stack is under way, its role bindings are not.
            if asked.is_write() && asked.resource() == "resourcequotas" && !noted.swap(true, Ordering::Relaxed) {
                return Verdict::Held(at.clone());
            }
            Verdict::Pass
        },
    )
    .await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let acme = platform.applied(tenant("acme").of_class(&onprem).with("quota", json!({ "cpu": "8" }))).await?;
    let finance = |cpu: &str, member: &str| {
        let members = json!([{ "kind": "User", "name": member, "role": "viewer" }]);
        workspace("finance").of_tenant(&acme).with("quota", json!({ "cpu": cpu })).with("members", members)
    };
    platform.apply(&finance("2", "old-ada")).await?;
    until("the first quota is under way", PATIENCE, async || Ok(held.load(Ordering::Relaxed))).await?;

    let newest = platform.apply(&finance("3", "new-ada")).await?;
    let generation = newest.metadata.generation;
    let told = platform.get(&finance("3", "new-ada")).await?.status.map(|status| status.observed_generation);
    ensure!(told < generation, "status speaks of generation {told:?}, and nobody has looked at it yet");
    gate.open();
    platform.until_ready(&finance("3", "new-ada")).await?;
    let stack = platform.stack_of(&finance("3", "new-ada")).await?;
    let quota = Api::<ResourceQuota>::namespaced(platform.client.clone(), &stack).get("steading").await?;
    ensure!(json!(quota.spec)["hard"]["requests.cpu"] == "3", "{:?}", quota.spec);
    let viewers = Api::<RoleBinding>::namespaced(platform.client.clone(), &stack).get("steading-viewers").await?;
    ensure!(json!(viewers.subjects)[0]["name"] == "new-ada", "{:?}", viewers.subjects);
    drop(wire);
    stage.operator.stop().await
}
