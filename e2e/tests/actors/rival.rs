//! Somebody who wants the same field to be otherwise, and never gives in.

use std::time::Duration;

use anyhow::{Result, ensure};
use api::conditions as names;
use e2e::story::Stage;
use e2e::{Tier, wait::until};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{ready_pair, told, writes};

/// Longer than a contested child is left alone, twice.
const PATIENCE: Duration = Duration::from_mins(2);
/// Far less than two that answer each other at once would write in the time of this test, and more than is allowed at first.
const MOST: usize = 130;

/// Sets the number of pods anew as soon as it is not theirs.
async fn insist(quotas: Api<ResourceQuota>) -> Result<()> {
    let theirs = Patch::Merge(json!({ "spec": { "hard": { "pods": "7" } } }));
    let params = PatchParams { field_manager: Some("pod-budgeter".to_owned()), ..PatchParams::default() };
    loop {
        quotas.patch("steading", &params, &theirs).await?;
        while pods(&quotas).await? == "7" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn pods(quotas: &Api<ResourceQuota>) -> Result<String> {
    let hard = quotas.get("steading").await?.spec.and_then(|spec| spec.hard).unwrap_or_default();
    Ok(hard.get("pods").map(|pods| pods.0.clone()).unwrap_or_default())
}

#[tokio::test]
async fn who_never_gives_in_is_named_and_does_not_wear_out_the_api_server() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    let platform = &stage.platform;
    let (_, finance) = ready_pair(platform).await?;
    let (_, neighbour) = ready_pair(platform).await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(stage.break_glass()?, &platform.stack_of(&finance).await?);
    let mark = stage.plane.mark().await?;
    let rival = tokio::spawn(insist(quotas.clone()));
    let contested = platform.until_reason(&finance, names::CONTESTED).await?;
    for part in ["ResourceQuota", "/steading", "pod-budgeter"] {
        ensure!(told(&contested).contains(part), "{part} is not named: {}", told(&contested));
    }

    // Nothing else waits for it: whoever is made a member gets his rights, and would lose them as soon.
    let stack = platform.stack_of(&finance).await?;
    let members = json!([{ "kind": "User", "name": "vera", "role": "viewer" }]);
    let finance = platform.applied(finance.with("members", members)).await?;
    let viewers: Api<RoleBinding> = Api::namespaced(platform.client.clone(), &stack);
    until("the new member has rights", PATIENCE, async || {
        Ok(json!(viewers.get("steading-viewers").await?.subjects)[0]["name"] == "vera")
    })
    .await?;
    platform.until_reason(&finance, names::CONTESTED).await?;

    // It is put back all the same, now and then, and status does not swing with it.
    let during = stage.plane.mark().await?;
    until("it is put back once more", PATIENCE, async || {
        let calls = writes(&stage.plane.calls_since(during).await?);
        let status = calls.filter(|call| call.target().starts_with("workspaces")).len();
        ensure!(status == 0, "status is written while nothing new is known");
        Ok(calls.filter(|call| call.target().starts_with("resourcequotas")).len() > 1)
    })
    .await?;
    let written = writes(&stage.plane.calls_since(mark).await?);
    let written = written.filter(|call| call.target().starts_with("resourcequotas")).len();
    ensure!(written <= MOST, "the quota was written {written} times");
    ensure!(!rival.is_finished(), "the rival gave in");
    platform.until_ready(&neighbour).await?;

    rival.abort();
    platform.until_ready(&finance).await?;
    ensure!(pods(&quotas).await? != "7");
    println!("the quota was written {written} times before the rival was stopped");
    stage.operator.stop().await
}
