//! `steading-operator`: the isolation of a stack in the hands of somebody who stole the operator's token.

use serde_json::{Value, json};

use crate::caller::{Request, apply, create, delete, every_change};
use crate::kinds;
use crate::operator_canary::{deployment, job};
use crate::rules::{
    OPERATOR_ALLOW_PEERS, OPERATOR_ALLOW_SELECTS, OPERATOR_ALLOW_WORLD, OPERATOR_DENY_ALL, OPERATOR_OUTSIDE_STACK,
    OPERATOR_UNPROTECTS,
};
use crate::scene::{OWN_NAMESPACE, Scene, Stood};

pub const NETWORKING: &str = "networking.k8s.io/v1";

pub fn parts() -> Value {
    json!({ "matchExpressions": [{ "key": "steading.dev/part", "operator": "Exists" }] })
}

pub fn policy(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": NETWORKING, "kind": "NetworkPolicy", "metadata": { "name": name }, "spec": spec })
}

/// Every way to have a policy of this spec in a stack: a new one, and one that is there already.
pub async fn ways(scene: &Scene, stack: &Stood, existing: &str, new: &str, spec: &Value) -> Vec<Request> {
    let path = stack.of(NETWORKING, "networkpolicies");
    let mut ways = vec![apply(&format!("{path}/{existing}"), policy(existing, spec))];
    if new != existing {
        ways.push(create(&path, policy(new, spec)));
        ways.push(apply(&format!("{path}/{new}"), policy(new, spec)));
    }
    // The merge patch would keep fields of the present spec, so only the other two say exactly this.
    let changes = every_change(&scene.admin(), &format!("{path}/{existing}"), "/spec", spec.clone()).await;
    ways.extend([changes[0].clone(), changes[2].clone()]);
    ways
}

#[tokio::test]
async fn the_operators_token_writes_children_in_stacks_only() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let elsewhere = scene.namespace("elsewhere").await;
    let viewer =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "steading-stack-viewer" });
    let deny = json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": [] });
    for namespace in [elsewhere.as_str(), OWN_NAMESPACE, "kube-system", "default"] {
        let core = |plural: &str| format!("/api/v1/namespaces/{namespace}/{plural}");
        let of = |group: &str, plural: &str| format!("/apis/{group}/namespaces/{namespace}/{plural}");
        let kinds = [
            (
                core("resourcequotas"),
                json!({ "apiVersion": "v1", "kind": "ResourceQuota", "spec": { "hard": { "pods": "0" } } }),
            ),
            (core("limitranges"), json!({ "apiVersion": "v1", "kind": "LimitRange", "spec": { "limits": [] } })),
            (
                of(NETWORKING, "networkpolicies"),
                json!({ "apiVersion": NETWORKING, "kind": "NetworkPolicy", "spec": deny }),
            ),
            (
                of("rbac.authorization.k8s.io/v1", "rolebindings"),
                json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": viewer, "subjects": [] }),
            ),
            (core("secrets"), json!({ "apiVersion": "v1", "kind": "Secret" })),
            (of("apps/v1", "deployments"), deployment()),
            (of("batch/v1", "jobs"), job()),
        ];
        let of_database = [kinds::CLUSTER, kinds::SCHEDULED_BACKUP, kinds::DATABASE_ROLE, kinds::OBJECT_STORE]
            .map(|kind| (of(kind.api, kind.plural), kind.object("x", &json!({}))));
        for (path, mut object) in kinds.into_iter().chain(of_database) {
            // A Job without labels would get those of its pods.
            object["metadata"] = json!({ "name": e2e::unique("theirs"), "labels": { "app": "x" } });
            let item = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
            let mut attacks = vec![create(&path, object.clone()), apply(&item, object.clone())];
            operator.may_not_any(&attacks, OPERATOR_OUTSIDE_STACK).await;
            scene.admin().may(&create(&path, object)).await;
            attacks = every_change(&scene.admin(), &item, "/metadata/annotations", json!({ "a": "b" })).await;
            attacks.push(delete(&item));
            attacks.push(delete(&path));
            operator.may_not_any(&attacks, OPERATOR_OUTSIDE_STACK).await;
        }
    }
}

#[tokio::test]
async fn the_operators_token_makes_deny_all_allow_nothing() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let both = json!(["Ingress", "Egress"]);
    let specs = [
        json!({ "podSelector": {}, "policyTypes": ["Ingress"] }),
        json!({ "podSelector": {}, "policyTypes": ["Egress"] }),
        json!({ "podSelector": { "matchLabels": { "a": "b" } }, "policyTypes": both }),
        json!({ "podSelector": parts(), "policyTypes": both }),
        // These would be refused as rules without peers as well, so they come last.
        json!({ "podSelector": {}, "policyTypes": both, "ingress": [{}] }),
        json!({ "podSelector": {}, "policyTypes": both, "egress": [{}] }),
    ];
    for spec in specs {
        operator.may_not_any(&ways(&scene, &stack, "deny-all", "deny-all", &spec).await, OPERATOR_DENY_ALL).await;
    }
}

#[tokio::test]
async fn the_operators_token_allows_something_only_for_parts_and_in_one_direction() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let (from, to) =
        (json!([{ "from": [{ "podSelector": parts() }] }]), json!([{ "to": [{ "podSelector": parts() }] }]));
    let specs = [
        json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": from }),
        json!({ "podSelector": { "matchLabels": { "app": "x" } }, "policyTypes": ["Ingress"], "ingress": from }),
        json!({
            "podSelector": { "matchExpressions": [{ "key": "steading.dev/part", "operator": "DoesNotExist" }] },
            "policyTypes": ["Ingress"], "ingress": from,
        }),
        json!({ "podSelector": parts(), "policyTypes": ["Ingress", "Egress"], "ingress": from, "egress": to }),
    ];
    for spec in specs {
        let ways = ways(&scene, &stack, "allow-parts-ingress", "opening", &spec).await;
        operator.may_not_any(&ways, OPERATOR_ALLOW_SELECTS).await;
    }
}

#[tokio::test]
async fn the_operators_token_opens_no_stack_to_the_world() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let good = json!({ "podSelector": parts() });
    let specs = [
        ("allow-parts-ingress", json!({ "podSelector": parts(), "policyTypes": ["Ingress"], "ingress": [{}] })),
        (
            "allow-parts-ingress",
            json!({ "podSelector": parts(), "policyTypes": ["Ingress"], "ingress": [{ "from": [good] }, { "ports": [{ "port": 22 }] }] }),
        ),
        ("allow-parts-egress", json!({ "podSelector": parts(), "policyTypes": ["Egress"], "egress": [{}] })),
        (
            "allow-parts-egress",
            json!({ "podSelector": parts(), "policyTypes": ["Egress"], "egress": [{ "to": [good] }, { "to": [] }] }),
        ),
    ];
    for (existing, spec) in specs {
        operator.may_not_any(&ways(&scene, &stack, existing, "opening", &spec).await, OPERATOR_ALLOW_WORLD).await;
    }
}

#[tokio::test]
async fn the_operators_token_opens_no_stack_to_another_place() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let namespace = |name: &str| json!({ "matchLabels": { "kubernetes.io/metadata.name": name } });
    let dns = json!({ "matchLabels": { "k8s-app": "kube-dns" } });
    let peers = [
        json!({ "ipBlock": { "cidr": "0.0.0.0/0" } }),
        json!({ "ipBlock": { "cidr": "169.254.169.254/32" } }),
        json!({ "namespaceSelector": {} }),
        json!({ "namespaceSelector": {}, "podSelector": parts() }),
        json!({ "namespaceSelector": namespace("globex"), "podSelector": dns }),
        json!({ "namespaceSelector": namespace("kube-system") }),
        json!({ "namespaceSelector": namespace("kube-system"), "podSelector": {} }),
    ];
    let good = json!({ "podSelector": parts() });
    for peer in peers {
        let out = json!({ "podSelector": parts(), "policyTypes": ["Egress"], "egress": [{ "to": [good, peer] }] });
        let into = json!({ "podSelector": parts(), "policyTypes": ["Ingress"], "ingress": [{ "from": [good, peer] }] });
        let mut attacks = ways(&scene, &stack, "allow-parts-egress", "opening", &out).await;
        attacks.extend(ways(&scene, &stack, "allow-parts-ingress", "opening", &into).await);
        operator.may_not_any(&attacks, OPERATOR_ALLOW_PEERS).await;
    }
    // The cluster's DNS may be asked; it has no business inside.
    let dns = json!({ "namespaceSelector": namespace("kube-system"), "podSelector": dns });
    let into = json!({ "podSelector": parts(), "policyTypes": ["Ingress"], "ingress": [{ "from": [dns] }] });
    let attacks = ways(&scene, &stack, "allow-parts-ingress", "opening", &into).await;
    operator.may_not_any(&attacks, OPERATOR_ALLOW_PEERS).await;
}

#[tokio::test]
async fn the_operators_token_takes_no_isolation_away_while_the_stack_stands() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let policies = stack.of(NETWORKING, "networkpolicies");
    let cluster = stack.of(kinds::CLUSTER.api, "clusters/database");
    operator.may(&apply(&cluster, kinds::cluster())).await;
    for path in [
        format!("{policies}/deny-all"),
        stack.core("resourcequotas/steading"),
        stack.core("limitranges/steading"),
        cluster,
    ] {
        let whole_kind = path.rsplit_once('/').unwrap().0;
        operator.may_not(&delete(&path), OPERATOR_UNPROTECTS).await;
        operator
            .may_not(
                &delete(&format!("{whole_kind}?fieldSelector=metadata.name%3D{}", path.rsplit_once('/').unwrap().1)),
                OPERATOR_UNPROTECTS,
            )
            .await;
        assert!(scene.admin().get(&path).await["metadata"]["deletionTimestamp"].is_null());
    }
    operator.may(&delete(&format!("{policies}/allow-dns"))).await;
}
