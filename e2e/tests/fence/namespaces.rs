//! `steading-namespaces`: stack namespaces and the labels that make them so.

use serde_json::{Value, json};

use crate::caller::{Caller, Request, apply, changes_through, create, delete, every_change, merge, replace};
use crate::rules::{
    STACK_CHANGED, STACK_CHANGED_BY_CLUSTER, STACK_DELETED, STACK_LABELS_AT_CREATION, STACK_LABELS_STAY,
};
use crate::scene::{Scene, facts, namespace_labels};

const LABEL: &str = "/metadata/labels/steading.dev~1stack";

/// Everybody but the operator.
fn others(scene: &Scene) -> Vec<Caller> {
    let mut others = scene.outsiders();
    others.extend(scene.cluster());
    others.push(scene.break_glass());
    others
}

fn namespace_with(label: &str, value: &str) -> Value {
    json!({ "metadata": { "name": e2e::unique("forged"), "labels": { label: value } } })
}

#[tokio::test]
async fn nobody_makes_a_namespace_with_a_label_of_steading() {
    let scene = Scene::set().await;
    for caller in others(&scene) {
        for label in ["stack", "owner", "tenant", "workspace", "anything"] {
            let forged = namespace_with(&format!("steading.dev/{label}"), "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b");
            caller.may_not(&create("/api/v1/namespaces", forged), STACK_LABELS_AT_CREATION).await;
        }
        let forged = namespace_with("app.kubernetes.io/managed-by", "steading");
        caller.may_not(&create("/api/v1/namespaces", forged), STACK_LABELS_AT_CREATION).await;
    }
}

#[tokio::test]
async fn nobody_makes_the_namespace_of_a_stack_before_steading_does() {
    let scene = Scene::set().await;
    let facts = facts();
    let squat = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": facts.namespace().to_string(), "labels": namespace_labels(&facts) },
    });
    for caller in others(&scene) {
        let path = format!("/api/v1/namespaces/{}", facts.namespace());
        caller.may_not(&create("/api/v1/namespaces", squat.clone()), STACK_LABELS_AT_CREATION).await;
        caller.may_not(&apply(&path, squat.clone()), STACK_LABELS_AT_CREATION).await;
    }
}

/// Every request by which a label of a namespace can be set: three ways to write, to the object and to both subresources.
async fn label_writes(scene: &Scene, namespace: &str, pointer: &str, value: Value) -> Vec<Request> {
    let path = format!("/api/v1/namespaces/{namespace}");
    let mut requests = Vec::new();
    for subresource in ["", "/status", "/finalize"] {
        let changes = changes_through(&scene.admin(), &path, subresource, pointer, value.clone()).await;
        // The API server knows no PATCH of this subresource.
        let known = if subresource == "/finalize" { 1 } else { changes.len() };
        requests.extend(changes.into_iter().take(known));
    }
    requests
}

#[tokio::test]
async fn nobody_makes_a_stack_of_a_namespace_that_is_there() {
    let scene = Scene::set().await;
    let victim = scene.namespace("victim").await;
    let labelled = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": victim, "labels": { "steading.dev/stack": "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b" } },
    });
    let path = format!("/api/v1/namespaces/{victim}");
    for caller in others(&scene) {
        let mut attacks = label_writes(&scene, &victim, LABEL, json!("3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b")).await;
        attacks.push(apply(&path, labelled.clone()));
        attacks.push(apply(&format!("{path}/status"), labelled.clone()));
        caller.may_not_any(&attacks, STACK_LABELS_STAY).await;
    }
}

#[tokio::test]
async fn the_cluster_itself_cannot_be_made_a_stack() {
    let scene = Scene::set().await;
    let attacks = label_writes(&scene, "kube-system", LABEL, json!("3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b")).await;
    scene.member().may_not_any(&attacks, STACK_LABELS_STAY).await;
}

#[tokio::test]
async fn nobody_takes_a_label_of_steading_from_a_stack_or_changes_it() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let mut everybody = others(&scene);
    everybody.push(scene.operator().await);
    for caller in everybody {
        for label in ["stack", "owner", "tenant", "workspace"] {
            let pointer = format!("/metadata/labels/steading.dev~1{label}");
            for value in [json!("3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b"), Value::Null] {
                // The operator writes no subresource of a namespace: another policy says so, and may answer first.
                let all = label_writes(&scene, &stack.namespace, &pointer, value).await;
                let attacks = if caller.name == "the operator" { &all[..3] } else { &all[..] };
                caller.may_not_any(attacks, STACK_LABELS_STAY).await;
            }
        }
    }
}

#[tokio::test]
async fn outsiders_change_nothing_of_a_stack_namespace() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let path = stack.itself();
    let owner = json!([{ "apiVersion": "v1", "kind": "Namespace", "name": "gone", "uid": "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b" }]);
    let changes = [
        ("/metadata/labels/team", json!("payments")),
        ("/metadata/labels/pod-security.kubernetes.io~1enforce", json!("privileged")),
        ("/metadata/labels/pod-security.kubernetes.io~1enforce", Value::Null),
        ("/metadata/annotations", json!({ "scheduler.alpha.kubernetes.io/node-selector": "node=mine" })),
        ("/metadata/ownerReferences", owner),
        ("/metadata/finalizers", json!(["example.com/pinned"])),
    ];
    for caller in scene.outsiders() {
        for (pointer, value) in &changes {
            let attacks = every_change(&scene.admin(), &path, pointer, value.clone()).await;
            caller.may_not_any(&attacks, STACK_CHANGED).await;
        }
        let applied =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "labels": { "team": "payments" } } });
        caller.may_not(&apply(&path, applied), STACK_CHANGED).await;
    }
}

#[tokio::test]
async fn outsiders_reach_a_stack_namespace_through_no_subresource() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let path = stack.itself();
    for caller in scene.outsiders() {
        let terminating =
            json!([{ "type": "NamespaceContentRemaining", "status": "True", "reason": "Forged", "message": "" }]);
        let attacks = changes_through(&scene.admin(), &path, "/status", "/status/conditions", terminating).await;
        caller.may_not_any(&attacks, STACK_CHANGED).await;
        // Without its finalizer a namespace goes before what is in it.
        let mut unheld = scene.admin().get(&path).await;
        unheld["spec"]["finalizers"] = json!([]);
        caller.may_not(&replace(&format!("{path}/finalize"), unheld), STACK_CHANGED).await;
    }
}

#[tokio::test]
async fn the_clusters_controllers_change_only_status_and_finalizers_of_a_stack_namespace() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let path = stack.itself();
    for caller in scene.cluster() {
        let labelled = every_change(&scene.admin(), &path, "/metadata/labels/team", json!("payments")).await;
        caller.may_not_any(&labelled, STACK_CHANGED_BY_CLUSTER).await;
        let privileged = json!("privileged");
        let pod_security = "/metadata/labels/pod-security.kubernetes.io~1enforce";
        let weaker = every_change(&scene.admin(), &path, pod_security, privileged.clone()).await;
        caller.may_not_any(&weaker, STACK_CHANGED_BY_CLUSTER).await;
        let through_status = changes_through(&scene.admin(), &path, "/status", pod_security, privileged).await;
        caller.may_not_any(&through_status, STACK_CHANGED_BY_CLUSTER).await;
        let annotated = every_change(&scene.admin(), &path, "/metadata/annotations", json!({ "a": "b" })).await;
        caller.may_not_any(&annotated, STACK_CHANGED_BY_CLUSTER).await;
        let owner = json!([{ "apiVersion": "v1", "kind": "Namespace", "name": "gone", "uid": "u" }]);
        let tied = every_change(&scene.admin(), &path, "/metadata/ownerReferences", owner).await;
        caller.may_not_any(&tied, STACK_CHANGED_BY_CLUSTER).await;
    }
}

#[tokio::test]
async fn only_steading_and_break_glass_delete_a_stack_namespace() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    for caller in scene.outsiders().into_iter().chain(scene.cluster()) {
        caller.may_not(&delete(&stack.itself()), STACK_DELETED).await;
        caller.may_not(&delete(&format!("{}?dryRun=All", stack.itself())), STACK_DELETED).await;
    }
    scene.break_glass().may(&delete(&format!("{}?dryRun=All", stack.itself()))).await;
    scene.operator().await.may(&delete(&stack.itself())).await;
    let left = scene.admin().get(&stack.itself()).await;
    assert!(left["metadata"]["deletionTimestamp"].is_string(), "{left}");
}

#[tokio::test]
async fn a_namespace_that_is_no_stack_is_nobodys_business() {
    let scene = Scene::set().await;
    let name = scene.namespace("ordinary").await;
    let path = format!("/api/v1/namespaces/{name}");
    for caller in scene.outsiders() {
        caller.may(&merge(&path, json!({ "metadata": { "labels": { "team": "payments" } } }))).await;
        caller.may(&merge(&format!("{path}/status"), json!({ "metadata": { "annotations": { "a": "b" } } }))).await;
    }
    scene.member().may(&delete(&path)).await;
}
