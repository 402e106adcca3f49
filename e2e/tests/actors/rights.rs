//! The operator's rights are taken, in part or as a whole, and given back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::conditions as names;
use e2e::story::Stage;
use e2e::{Tier, wait::until};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use serde_json::json;

use super::{ready_pair, told};

const OPERATOR: &str = "steading-operator";
/// Longer than a refusal is taken for role bindings that are still spreading.
const PATIENCE: Duration = Duration::from_mins(1);

/// As it can be created again.
fn anew(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta { name: metadata.name.clone(), labels: metadata.labels.clone(), ..ObjectMeta::default() }
}

#[tokio::test]
async fn a_right_that_is_taken_is_named_and_given_back_it_is_used_at_once() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.stalled = Duration::from_secs(5)).await?;
    let platform = &stage.platform;
    let (_, finance) = ready_pair(platform).await?;
    let all: Api<ClusterRole> = Api::all(platform.client.clone());
    let whole = all.get(OPERATOR).await?;
    let mut less = whole.clone();
    let rules = less.rules.as_mut().context("rules")?;
    rules.retain(|rule| !rule.resources.as_ref().is_some_and(|all| all.contains(&"rolebindings".to_owned())));
    let less = all.replace(OPERATOR, &PostParams::default(), &less).await?;

    let member = json!([{ "kind": "User", "name": "vera", "role": "viewer" }]);
    let finance = platform.applied(finance.with("members", member)).await?;
    let refused = platform.until_reason(&finance, names::FORBIDDEN).await?;
    ensure!(told(&refused).contains("RoleBinding"), "the message does not name what is refused: {}", told(&refused));
    platform.until_condition(&finance, names::STALLED, "True", names::FORBIDDEN).await?;

    let mut back = whole.clone();
    back.metadata.resource_version = less.metadata.resource_version;
    all.replace(OPERATOR, &PostParams::default(), &back).await?;
    platform.until_ready(&finance).await?;
    let stack = platform.stack_of(&finance).await?;
    let viewers = Api::<RoleBinding>::namespaced(platform.client.clone(), &stack).get("steading-viewers").await?;
    ensure!(json!(viewers.subjects)[0]["name"] == "vera", "{:?}", viewers.subjects);
    stage.operator.stop().await
}

#[tokio::test]
async fn an_operator_without_any_right_waits_and_goes_on_when_it_has_them_again() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.stalled = Duration::from_secs(5)).await?;
    let platform = &stage.platform;
    let (acme, finance) = ready_pair(platform).await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(platform.client.clone());
    let ours = bindings.get(OPERATOR).await?;
    bindings.delete(OPERATOR, &DeleteParams::default()).await?;

    // Its wish is heard of, as watches outlive the rights by which they were opened; nothing of it can be done or told.
    let sales = platform.applied(e2e::story::workspace("sales").of_tenant(&acme)).await?;
    let finance = platform.applied(finance.with("members", json!([]))).await?;
    let mark = stage.plane.mark().await?;
    until("the operator was refused", PATIENCE, async || {
        let calls = stage.plane.calls_since(mark).await?;
        Ok(calls.by_service_account("steading-system", "steading").refused().len() > 3)
    })
    .await?;
    let health = reqwest::get(format!("{}/healthz", stage.operator.http_url())).await?;
    ensure!(health.status().is_success(), "the liveness probe would restart it: {}", health.text().await?);

    let again = ClusterRoleBinding { metadata: anew(&ours.metadata), ..ours };
    bindings.create(&PostParams::default(), &again).await?;
    platform.until_ready(&sales).await?;
    platform.until_ready(&finance).await?;
    ensure!(stage.operator.is_running(), "it ended meanwhile");
    stage.operator.stop().await
}
