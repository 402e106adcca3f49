//! Stacks whose Workspace is gone, by force.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::Tier;
use e2e::story::{PATIENCE, Stage};
use e2e::wait::until;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::ready_pair;

async fn metric(stage: &Stage, line: &str) -> Result<bool> {
    let text = reqwest::get(format!("{}/metrics", stage.operator.http_url())).await?.text().await?;
    Ok(text.lines().any(|found| found == line))
}

#[tokio::test]
async fn an_empty_stack_without_workspace_goes_and_one_that_holds_something_is_counted_and_stays() -> Result<()> {
    let soon = |config: &mut operator::config::Config| config.timings.sweep = Duration::from_secs(2);
    let stage = Stage::set(Tier::Two, soon).await?;
    let (_, empty) = ready_pair(&stage.platform).await?;
    let (_, full) = ready_pair(&stage.platform).await?;
    let (_, living) = ready_pair(&stage.platform).await?;
    let [empty_stack, full_stack, living_stack] = [
        stage.platform.stack_of(&empty).await?,
        stage.platform.stack_of(&full).await?,
        stage.platform.stack_of(&living).await?,
    ];
    let glass = stage.break_glass()?;
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": { "name": "ledger" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    }))?;
    Api::namespaced(glass.clone(), &full_stack).create(&PostParams::default(), &claim).await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(glass.clone(), &full_stack);
    until("the claim is counted", PATIENCE, async || {
        let used = quotas.get("steading").await?.status.and_then(|status| status.used).unwrap_or_default();
        Ok(used.get("persistentvolumeclaims").is_some_and(|count| count.0 == "1"))
    })
    .await?;

    // Somebody takes the finalizers off while no operator runs, so that nothing removes the stacks.
    let bare = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    let stage = stage
        .restarted(soon, async |_| {
            for workspace in [&empty, &full] {
                let workspaces = workspace.api(&glass);
                workspaces.patch(workspace.name(), &PatchParams::default(), &bare).await?;
                workspaces.delete(workspace.name(), &DeleteParams::default()).await?;
            }
            Ok(())
        })
        .await?;
    let namespaces: Api<Namespace> = Api::all(glass.clone());
    until("the empty stack is gone", PATIENCE, async || Ok(namespaces.get_opt(&empty_stack).await?.is_none())).await?;
    until("the other is counted", PATIENCE, async || metric(&stage, "steading_orphaned_stacks 1").await).await?;
    let full = namespaces.get(&full_stack).await?;
    ensure!(full.metadata.deletion_timestamp.is_none(), "a stack with data in it was deleted");
    ensure!(namespaces.get(&living_stack).await?.metadata.deletion_timestamp.is_none(), "a living stack was deleted");
    stage.operator.stop().await
}
