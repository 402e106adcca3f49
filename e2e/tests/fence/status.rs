//! `steading-status`: what Steading says it saw, and when it lets go.

use serde_json::{Value, json};

use crate::caller::{Caller, Request, apply, changes_through, create, every_change};
use crate::rules::{FINALIZER, STATUS_FORGED, STATUS_IDENTITY, STATUS_IDENTITY_STAYS};
use crate::scene::{Scene, agent_pool, class, ours, tenant, workspace};

const SOMEBODYS: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";
const CLEANUP: &str = "steading.dev/cleanup";

/// One object of each of our kinds, by path.
async fn one_of_each(scene: &Scene) -> [String; 4] {
    let (class, acme) = (scene.class().await, scene.namespace("acme").await);
    let member = scene.member();
    member.may(&create(&ours(&acme, "tenants"), tenant(&acme, &class))).await;
    member.may(&create(&ours(&acme, "workspaces"), workspace("finance"))).await;
    member.may(&create(&ours(&acme, "agentpools"), agent_pool("desktops"))).await;
    [
        format!("/apis/steading.dev/v1alpha1/tenantclasses/{class}"),
        ours(&acme, &format!("tenants/{acme}")),
        ours(&acme, "workspaces/finance"),
        ours(&acme, "agentpools/desktops"),
    ]
}

fn everybody_else(scene: &Scene) -> Vec<Caller> {
    let mut callers = scene.outsiders();
    callers.extend(scene.cluster());
    callers.push(scene.break_glass());
    callers
}

async fn applied(scene: &Scene, path: &str, status: Value) -> Request {
    let current = scene.admin().get(path).await;
    let body =
        json!({ "apiVersion": current["apiVersion"], "kind": current["kind"], "metadata": {}, "status": status });
    apply(&format!("{path}/status"), body)
}

#[tokio::test]
async fn nobody_else_writes_the_status_of_steadings_kinds() {
    let scene = Scene::set().await;
    let forged = json!([{
        "type": "Ready", "status": "True", "reason": "Forged", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    for path in one_of_each(&scene).await {
        let status = json!({ "observedGeneration": 1, "conditions": forged });
        let mut attacks = changes_through(&scene.admin(), &path, "/status", "/status", status.clone()).await;
        attacks.push(applied(&scene, &path, status).await);
        for caller in everybody_else(&scene) {
            caller.may_not_any(&attacks, STATUS_FORGED).await;
        }
    }
}

#[tokio::test]
async fn not_even_the_operators_token_points_a_status_at_another_identity() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let [_, tenant, workspace, _] = one_of_each(&scene).await;
    for path in [tenant, workspace] {
        let status = json!({ "observedGeneration": 1, "identity": SOMEBODYS });
        let mut attacks = changes_through(&scene.admin(), &path, "/status", "/status", status.clone()).await;
        attacks.push(applied(&scene, &path, status).await);
        operator.may_not_any(&attacks, STATUS_IDENTITY).await;
        let own = scene.admin().get(&path).await["metadata"]["uid"].clone();
        operator.may(&applied(&scene, &path, json!({ "observedGeneration": 1, "identity": own })).await).await;
    }
}

#[tokio::test]
async fn an_adopted_identity_is_the_one_of_the_spec_and_not_the_uid() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let acme = scene.namespace("acme").await;
    let mut heir = workspace("heir");
    heir["spec"]["identity"] = json!(SOMEBODYS);
    let made = scene.member().may(&create(&ours(&acme, "workspaces"), heir)).await;
    let path = ours(&acme, "workspaces/heir");
    let status = |identity: &Value| json!({ "observedGeneration": 1, "identity": identity });
    operator.may_not(&applied(&scene, &path, status(&made["metadata"]["uid"])).await, STATUS_IDENTITY).await;
    operator.may(&applied(&scene, &path, status(&json!(SOMEBODYS))).await).await;
}

#[tokio::test]
async fn an_identity_that_was_written_stays() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let [_, tenant, workspace, _] = one_of_each(&scene).await;
    for path in [tenant, workspace] {
        let own = scene.admin().get(&path).await["metadata"]["uid"].clone();
        operator.may(&applied(&scene, &path, json!({ "observedGeneration": 1, "identity": own })).await).await;
        let attacks = changes_through(&scene.admin(), &path, "/status", "/status/identity", Value::Null).await;
        operator.may_not_any(&attacks, STATUS_IDENTITY_STAYS).await;
        operator
            .may_not(&applied(&scene, &path, json!({ "observedGeneration": 2 })).await, STATUS_IDENTITY_STAYS)
            .await;
    }
}

#[tokio::test]
async fn nobody_else_takes_off_steadings_finalizer() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    for path in one_of_each(&scene).await {
        let held = every_change(&scene.admin(), &path, "/metadata/finalizers", json!([CLEANUP])).await;
        operator.may(&held[1]).await;
        let mut attacks = every_change(&scene.admin(), &path, "/metadata/finalizers", json!([])).await;
        attacks.extend(every_change(&scene.admin(), &path, "/metadata/finalizers", json!(["example.com/other"])).await);
        for caller in scene.outsiders().into_iter().chain(scene.cluster()) {
            caller.may_not_any(&attacks, FINALIZER).await;
        }
        // Another finalizer is its owner's business.
        let another = json!([CLEANUP, "example.com/other"]);
        let more = every_change(&scene.admin(), &path, "/metadata/finalizers", another).await;
        scene.member().may(&more[1]).await;
        let fewer = every_change(&scene.admin(), &path, "/metadata/finalizers", json!([CLEANUP])).await;
        scene.member().may(&fewer[1]).await;
        let off = every_change(&scene.admin(), &path, "/metadata/finalizers", json!([])).await;
        scene.break_glass().may(&off[1]).await;
    }
}

#[tokio::test]
async fn the_operator_takes_off_its_finalizer() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let name = e2e::unique("class");
    let mut held = class(&name);
    held["metadata"]["finalizers"] = json!([CLEANUP]);
    scene.member().may(&create("/apis/steading.dev/v1alpha1/tenantclasses", held)).await;
    let path = format!("/apis/steading.dev/v1alpha1/tenantclasses/{name}");
    operator.may(&every_change(&scene.admin(), &path, "/metadata/finalizers", json!([])).await[1]).await;
    assert!(scene.admin().get(&path).await["metadata"]["finalizers"].is_null());
}
