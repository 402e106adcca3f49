//! `steading-labels`: outside of stacks nobody wears the labels by which Steading knows its own.

use serde_json::{Value, json};

use crate::caller::{Request, apply, create, every_change};
use crate::operator_canary::{deployment, job};
use crate::rules::FORGED_LABELS;
use crate::scene::Scene;

/// The kinds that Steading watches, with an object of each.
fn watched(namespace: &str) -> Vec<(String, Value)> {
    let core = |plural: &str| format!("/api/v1/namespaces/{namespace}/{plural}");
    let group = |group: &str, plural: &str| format!("/apis/{group}/v1/namespaces/{namespace}/{plural}");
    vec![
        (core("resourcequotas"), json!({ "apiVersion": "v1", "kind": "ResourceQuota", "spec": {} })),
        (core("limitranges"), json!({ "apiVersion": "v1", "kind": "LimitRange", "spec": { "limits": [] } })),
        (core("serviceaccounts"), json!({ "apiVersion": "v1", "kind": "ServiceAccount" })),
        (
            group("policy", "poddisruptionbudgets"),
            json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {} }),
        ),
        (group("apps", "deployments"), deployment()),
        (group("batch", "jobs"), job()),
        (
            group("postgresql.cnpg.io", "clusters"),
            json!({ "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "spec": {} }),
        ),
        (
            group("postgresql.cnpg.io", "databaseroles"),
            json!({ "apiVersion": "postgresql.cnpg.io/v1", "kind": "DatabaseRole", "spec": {} }),
        ),
        (
            group("postgresql.cnpg.io", "scheduledbackups"),
            json!({ "apiVersion": "postgresql.cnpg.io/v1", "kind": "ScheduledBackup", "spec": {} }),
        ),
        (
            group("barmancloud.cnpg.io", "objectstores"),
            json!({ "apiVersion": "barmancloud.cnpg.io/v1", "kind": "ObjectStore", "spec": {} }),
        ),
        (
            group("networking.k8s.io", "networkpolicies"),
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "spec": { "podSelector": {}, "policyTypes": ["Ingress"] },
            }),
        ),
        (
            group("rbac.authorization.k8s.io", "rolebindings"),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
            }),
        ),
    ]
}

const FORGED: [(&str, &str); 3] = [
    ("steading.dev/owner", "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b"),
    ("steading.dev/anything", "at-all"),
    ("app.kubernetes.io/managed-by", "steading"),
];

fn named(mut object: Value, name: &str, labels: &Value) -> Value {
    object["metadata"] = json!({ "name": name, "labels": labels });
    object
}

#[tokio::test]
async fn nobody_makes_an_object_outside_of_stacks_that_looks_like_steadings() {
    let scene = Scene::set().await;
    let place = scene.namespace("acme").await;
    let callers = scene.outsiders().into_iter().chain(scene.cluster()).chain([scene.break_glass()]);
    for caller in callers {
        for (path, object) in watched(&place) {
            for (label, value) in FORGED {
                let forged = named(object.clone(), "forged", &json!({ label: value }));
                let attacks: [Request; 2] =
                    [create(&path, forged.clone()), apply(&format!("{path}/forged"), forged.clone())];
                caller.may_not_any(&attacks, FORGED_LABELS).await;
            }
        }
    }
}

#[tokio::test]
async fn nobody_gives_an_object_outside_of_stacks_steadings_labels_later() {
    let scene = Scene::set().await;
    let place = scene.namespace("acme").await;
    for (path, object) in watched(&place) {
        let honest = named(object, "honest", &json!({ "app.kubernetes.io/managed-by": "hand" }));
        scene.member().may(&create(&path, honest)).await;
        for (label, value) in FORGED {
            let pointer = format!("/metadata/labels/{}", label.replace('/', "~1"));
            let attacks = every_change(&scene.admin(), &format!("{path}/honest"), &pointer, json!(value)).await;
            scene.member().may_not_any(&attacks, FORGED_LABELS).await;
        }
    }
}

#[tokio::test]
async fn an_object_outside_of_stacks_with_other_labels_is_nobodys_business() {
    let scene = Scene::set().await;
    let place = scene.namespace("acme").await;
    for (path, object) in watched(&place) {
        let labels = json!({ "app.kubernetes.io/managed-by": "Helm", "team": "payments" });
        scene.member().may(&create(&path, named(object, "honest", &labels))).await;
        let changes =
            every_change(&scene.admin(), &format!("{path}/honest"), "/metadata/labels/team", json!("ops")).await;
        scene.member().may(&changes[1]).await;
    }
}
