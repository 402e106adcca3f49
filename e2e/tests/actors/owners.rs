//! Owner references that users write are between them and the cluster: Steading follows none and sets none.

use anyhow::{Result, ensure};
use e2e::Tier;
use e2e::story::{Stage, Told};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::ready_pair;

fn reference<K: Told>(owner: &K) -> serde_json::Value {
    json!([{
        "apiVersion": "steading.dev/v1alpha1", "kind": K::kind(&()), "name": owner.name_any(), "uid": owner.uid(),
        "controller": true, "blockOwnerDeletion": true,
    }])
}

#[test]
fn owners_in_a_circle_hold_up_neither_life_nor_deletion() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let (acme, finance) = ready_pair(platform).await?;
        let (tenant, workspace) = (platform.get(&acme).await?, platform.get(&finance).await?);
        let owned = |owners: serde_json::Value| Patch::Merge(json!({ "metadata": { "ownerReferences": owners } }));
        let params = PatchParams::default();
        finance.api(&platform.client).patch(finance.name(), &params, &owned(reference(&tenant))).await?;
        acme.api(&platform.client).patch(acme.name(), &params, &owned(reference(&workspace))).await?;
        platform.until_ready(&finance).await?;
        platform.until_ready(&acme).await?;

        let stack = platform.stack_of(&finance).await?;
        let namespace = Api::<Namespace>::all(platform.client.clone()).get(&stack).await?;
        let quota = Api::<ResourceQuota>::namespaced(platform.client.clone(), &stack).get("steading").await?;
        ensure!(namespace.owner_references().is_empty() && quota.owner_references().is_empty(), "a child has an owner");

        platform.delete(&finance).await?;
        platform.until_gone(&finance, &workspace).await?;
        platform.delete(&acme).await.ok(); // the garbage collector may have been first: its owner is gone
        platform.until_gone(&acme, &tenant).await
    })
}
