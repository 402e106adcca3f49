//! `steading-operator`: agents in the hands of somebody who stole the operator's token.

use serde_json::{Value, json};

use crate::caller::{Request, apply, create, delete, every_change, merge};
use crate::operator_policies::policy;
use crate::rules::{
    OPERATOR_AGENT_ACCOUNT, OPERATOR_AGENT_CONTENT, OPERATOR_AGENT_EGRESS, OPERATOR_AGENT_MARKS,
    OPERATOR_AGENT_METADATA, OPERATOR_AGENT_PROJECTED, OPERATOR_AGENT_SANDBOX, OPERATOR_ALLOW_SELECTS,
    OPERATOR_OUTSIDE_STACK, OPERATOR_ROLE, Rule,
};
use crate::scene::{Scene, Stood, child_labels};
use crate::stacks::pod;

const RUNTIME: &str = "fence-sandbox";
const STEADING: &str = "steading.dev/v1alpha1";

fn labels(stack: &Stood, pool: &str) -> Value {
    let mut labels = json!(child_labels(&stack.facts));
    labels["steading.dev/pool"] = json!(pool);
    labels
}

fn set(stack: &Stood) -> Value {
    let digest = "0".repeat(64);
    json!({
        "apiVersion": STEADING, "kind": "AgentSet",
        "metadata": { "name": "desktops", "labels": labels(stack, "desktops") },
        "spec": {
            "replicas": 0, "maxUnavailable": 1, "maxSurge": 1, "maxStarting": 1, "protectSeconds": 60,
            "template": {
                "image": format!("registry.example/desktop@sha256:{digest}"), "runtimeClass": RUNTIME, "cpu": "10m",
                "memory": "16Mi", "home": "1Mi", "width": 640, "height": 480,
            },
        },
    })
}

/// An agent as Steading makes it.
fn agent(stack: &Stood, uid: &Value) -> Value {
    let mut agent = pod("agent-desktops-0");
    agent["metadata"]["labels"] = labels(stack, "desktops");
    agent["metadata"]["annotations"] = json!({ "steading.dev/revision": "0123456789" });
    agent["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": STEADING, "kind": "AgentSet", "name": "desktops", "uid": uid, "controller": true }]);
    let spec = &mut agent["spec"];
    spec["serviceAccountName"] = json!("agent");
    spec["runtimeClassName"] = json!(RUNTIME);
    spec["volumes"] =
        json!([{ "name": "tmp", "emptyDir": { "sizeLimit": "1Mi" } }, projected(&[token(), authority()])]);
    let container = &mut spec["containers"][0];
    container["image"] = json!(format!("registry.example/desktop@sha256:{}", "0".repeat(64)));
    container["env"] = json!([
        { "name": "DESKTOP_SIZE", "value": "640x480" },
        { "name": "AGENT_POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.uid" } } },
    ]);
    container["securityContext"]["readOnlyRootFilesystem"] = json!(true);
    agent
}

fn projected(sources: &[Value]) -> Value {
    json!({ "name": "relay", "projected": { "sources": sources } })
}

/// What it signs in to the relay with.
fn token() -> Value {
    json!({ "serviceAccountToken": { "audience": "steading-relay", "expirationSeconds": 600, "path": "token" } })
}

/// By what it knows the relay.
fn authority() -> Value {
    let field = json!({ "fieldPath": "metadata.annotations['steading.dev/relay-authority']" });
    json!({ "downwardAPI": { "items": [{ "path": "authority.pem", "fieldRef": field }] } })
}

fn account(stack: &Stood) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": false,
        "metadata": { "name": "agent", "labels": child_labels(&stack.facts) },
    })
}

fn budget(stack: &Stood) -> Value {
    let protected = json!([{ "key": "steading.dev/protected", "operator": "Exists" }]);
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": { "name": "agents", "labels": child_labels(&stack.facts) },
        "spec": { "minAvailable": 100_000, "selector": { "matchExpressions": protected } },
    })
}

/// A stack with what agents need, and the UID of an AgentSet in it.
async fn furnished(scene: &Scene) -> (Stood, Value) {
    let (operator, stack) = (scene.operator().await, scene.stack().await);
    let runtime = json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": RUNTIME }, "handler": "runsc" });
    scene.admin().may(&apply(&format!("/apis/node.k8s.io/v1/runtimeclasses/{RUNTIME}"), runtime)).await;
    operator.may(&apply(&stack.core("serviceaccounts/agent"), account(&stack))).await;
    operator.may(&apply(&stack.of("policy/v1", "poddisruptionbudgets/agents"), budget(&stack))).await;
    let made = operator.may(&apply(&stack.of(STEADING, "agentsets/desktops"), set(&stack))).await;
    let uid = made["metadata"]["uid"].clone();
    (stack, uid)
}

#[tokio::test]
async fn the_operators_token_makes_agents_marks_them_and_takes_them_away() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let (stack, uid) = furnished(&scene).await;
    operator.may(&create(&stack.core("pods"), agent(&stack, &uid))).await;
    let item = stack.core("pods/agent-desktops-0");
    let protected = json!({ "labels": { "steading.dev/protected": "true" }, "annotations": { "steading.dev/protected-until": "x" } });
    operator.may(&merge(&item, json!({ "metadata": protected }))).await;
    // What others noted does not stop it.
    let noted =
        json!({ "metadata": { "annotations": { "cni.example/address": "10.0.0.1" }, "labels": { "incident": "1" } } });
    scene.break_glass().may(&merge(&item, noted)).await;
    operator.may(&merge(&item, json!({ "metadata": { "labels": { "steading.dev/protected": null } } }))).await;
    operator.may(&delete(&item)).await;
    operator.may(&delete(&stack.of(STEADING, "agentsets/desktops"))).await;
}

#[tokio::test]
async fn the_operators_token_touches_no_pod_that_is_no_agent() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let (stack, uid) = furnished(&scene).await;
    let mut of_database = pod("database-1");
    of_database["metadata"]["labels"] = json!({ "steading.dev/part": "database" });
    scene.break_glass().may(&create(&stack.core("pods"), of_database)).await;
    let item = stack.core("pods/database-1");
    let made_one = json!({ "metadata": { "labels": labels(&stack, "desktops") } });
    let stripped = json!({ "metadata": { "labels": {
        "steading.dev/part": null, "steading.dev/pool": "desktops", "app.kubernetes.io/managed-by": "steading",
        "steading.dev/owner": "x",
    }}});
    let attacks = [delete(&item), delete(&stack.core("pods")), merge(&item, made_one), merge(&item, stripped)];
    operator.may_not_any(&attacks, OPERATOR_AGENT_MARKS).await;
    for (label, value) in
        [("steading.dev/pool", Value::Null), ("steading.dev/owner", Value::Null), ("steading.dev/part", json!("x"))]
    {
        let mut bad = agent(&stack, &uid);
        let labels = bad["metadata"]["labels"].as_object_mut().unwrap();
        drop(if value.is_null() { labels.remove(label) } else { labels.insert(label.to_owned(), value) });
        operator.may_not(&create(&stack.core("pods"), bad), OPERATOR_AGENT_MARKS).await;
    }
    for (path, mut object) in [
        (stack.core("serviceaccounts"), account(&stack)),
        (stack.of("policy/v1", "poddisruptionbudgets"), budget(&stack)),
        (stack.of(STEADING, "agentsets"), set(&stack)),
    ] {
        object["metadata"] = json!({ "name": "theirs" });
        operator.may_not(&create(&path, object.clone()), OPERATOR_AGENT_MARKS).await;
        scene.break_glass().may(&create(&path, object)).await;
        operator.may_not(&delete(&format!("{path}/theirs")), OPERATOR_AGENT_MARKS).await;
    }
}

/// Asserts that the operator can have no agent with a field like this.
async fn refused(openings: &[(&str, Value)], rule: Rule) {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let (stack, uid) = furnished(&scene).await;
    for (pointer, value) in openings {
        let mut bad = agent(&stack, &uid);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/");
        let parent = bad.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        drop(if value.is_null() { parent.remove(&key) } else { parent.insert(key, value.clone()) });
        operator.may_not(&create(&stack.core("pods"), bad), rule).await;
    }
}

#[tokio::test]
async fn the_operators_token_makes_no_agent_outside_of_a_sandbox_or_with_rights() {
    let owner = |kind: &str, api: &str| json!([{ "apiVersion": api, "kind": kind, "name": "x", "uid": "u" }]);
    let openings = [
        ("/spec/runtimeClassName", Value::Null),
        ("/spec/serviceAccountName", Value::Null),
        ("/spec/serviceAccountName", json!("default")),
        ("/spec/automountServiceAccountToken", json!(true)),
        ("/spec/automountServiceAccountToken", Value::Null),
        ("/metadata/ownerReferences", Value::Null),
        ("/metadata/ownerReferences", owner("ReplicaSet", "apps/v1")),
        ("/metadata/ownerReferences", owner("AgentSet", "example.com/v1")),
    ];
    refused(&openings, OPERATOR_AGENT_SANDBOX).await;
}

#[tokio::test]
async fn the_operators_token_makes_agents_of_one_pinned_image_without_ports_secrets_and_volumes() {
    let main = || agent_container();
    let mut second = main();
    second["name"] = json!("second");
    let from = |source: Value| json!([{ "name": "X", "valueFrom": source }]);
    let secret = json!({ "secretKeyRef": { "name": "database-app", "key": "password" } });
    let node = json!({ "fieldRef": { "fieldPath": "status.hostIP" } });
    let openings = [
        ("/spec/containers", json!([main(), second.clone()])),
        ("/spec/initContainers", json!([second])),
        ("/spec/containers/0/image", json!("registry.example/desktop:1.0")),
        ("/spec/containers/0/ports", json!([{ "containerPort": 5900 }])),
        ("/spec/resourceClaims", json!([{ "name": "gpu", "resourceClaimName": "gpu" }])),
        ("/spec/containers/0/resources/limits/nvidia.com~1gpu", json!("1")),
        // Pod Security takes it for harmless.
        ("/spec/securityContext/sysctls", json!([{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }])),
        ("/spec/containers/0/env", from(secret)),
        ("/spec/containers/0/env", from(node)),
        ("/spec/containers/0/envFrom", json!([{ "secretRef": { "name": "database-app" } }])),
        ("/spec/containers/0/securityContext/readOnlyRootFilesystem", json!(false)),
        ("/spec/volumes", json!([{ "name": "s", "secret": { "secretName": "database-app" } }])),
        ("/spec/volumes", json!([{ "name": "p", "persistentVolumeClaim": { "claimName": "database-1" } }])),
    ];
    refused(&openings, OPERATOR_AGENT_CONTENT).await;
}

#[tokio::test]
async fn the_operators_token_projects_nothing_into_agents_but_a_short_token_for_the_relay() {
    let with = |mut source: Value, field: &str, value: Value| {
        source["serviceAccountToken"][field] = value;
        source
    };
    let mut other = authority();
    other["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"] = json!("metadata.annotations");
    let sources = [
        json!({ "serviceAccountToken": { "path": "token" } }),
        with(token(), "audience", json!("https://kubernetes.default.svc")),
        with(token(), "expirationSeconds", json!(3600)),
        json!({ "secret": { "name": "database-app" } }),
        json!({ "configMap": { "name": "kube-root-ca.crt" } }),
        other,
    ];
    let openings: Vec<_> =
        sources.iter().map(|source| ("/spec/volumes", json!([projected(&[token(), source.clone()])]))).collect();
    refused(&openings, OPERATOR_AGENT_PROJECTED).await;
}

fn agent_container() -> Value {
    let mut container = pod("x")["spec"]["containers"][0].clone();
    container["image"] = json!(format!("registry.example/desktop@sha256:{}", "0".repeat(64)));
    container["securityContext"]["readOnlyRootFilesystem"] = json!(true);
    container
}

#[tokio::test]
async fn the_operators_token_gives_agents_no_orders_for_sandboxes_and_networks() {
    let openings = [
        ("/metadata/labels/team", json!("payments")),
        ("/metadata/annotations/dev.gvisor.flag.network", json!("host")),
        ("/metadata/annotations/k8s.v1.cni.cncf.io~1networks", json!("other")),
    ];
    refused(&openings, OPERATOR_AGENT_METADATA).await;
}

#[tokio::test]
async fn the_operators_token_writes_no_other_account_and_no_other_budget() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let (stack, _) = furnished(&scene).await;
    let (accounts, budgets) = (stack.core("serviceaccounts"), stack.of("policy/v1", "poddisruptionbudgets"));
    let with = |mut object: Value, pointer: &str, value: Value| {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
        object
    };
    let cloud = json!({ "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin" });
    let everything = json!({ "matchLabels": { "cnpg.io/cluster": "database" } });
    let named = |object: Value| with(object, "/metadata/name", json!("database"));
    let mut attacks: Vec<Request> =
        vec![create(&accounts, named(account(&stack))), create(&budgets, named(budget(&stack)))];
    for (path, bad) in [
        (format!("{accounts}/agent"), with(account(&stack), "/automountServiceAccountToken", json!(true))),
        (format!("{accounts}/agent"), with(account(&stack), "/metadata/annotations", cloud.clone())),
        (format!("{budgets}/agents"), with(budget(&stack), "/spec/selector", everything)),
        (format!("{budgets}/agents"), with(budget(&stack), "/metadata/annotations", cloud)),
    ] {
        attacks.push(apply(&path, bad));
    }
    operator.may_not_any(&attacks, OPERATOR_AGENT_ACCOUNT).await;
    let item = format!("{accounts}/agent");
    let annotated = every_change(&scene.admin(), &item, "/metadata/annotations", json!({ "a": "b" })).await;
    operator.may_not_any(&annotated, OPERATOR_AGENT_ACCOUNT).await;
}

#[tokio::test]
async fn the_operators_token_has_agents_in_stacks_only() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let (stack, uid) = furnished(&scene).await;
    let elsewhere = scene.namespace("elsewhere").await;
    let core = |plural: &str| format!("/api/v1/namespaces/{elsewhere}/{plural}");
    let of = |group: &str, plural: &str| format!("/apis/{group}/namespaces/{elsewhere}/{plural}");
    // By its labels another policy would refuse it as well.
    let plain = |mut object: Value| {
        object["metadata"] = json!({ "name": "theirs" });
        object
    };
    let attacks = [
        create(&core("pods"), agent(&stack, &uid)),
        create(&core("serviceaccounts"), plain(account(&stack))),
        create(&of("policy/v1", "poddisruptionbudgets"), plain(budget(&stack))),
        create(&of(STEADING, "agentsets"), plain(set(&stack))),
        delete(&core("pods")),
    ];
    scene.break_glass().may(&create(&core("pods"), pod("theirs"))).await;
    // Without it the cluster would refuse the pod before the fence is asked.
    let theirs = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "agent" } });
    scene.break_glass().may(&create(&core("serviceaccounts"), theirs)).await;
    operator.may_not_any(&attacks, OPERATOR_OUTSIDE_STACK).await;
}

#[tokio::test]
async fn the_operators_token_lets_agents_out_to_the_relay_only_and_nobody_in() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let agents = || json!({ "matchExpressions": [{ "key": "steading.dev/pool", "operator": "Exists" }] });
    let relay = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": crate::scene::OWN_NAMESPACE } },
        "podSelector": { "matchLabels": {
            "app.kubernetes.io/name": "steading-relay", "app.kubernetes.io/component": "nats",
        }},
    });
    let outwards = |peer: &Value, ports: Value| json!({ "podSelector": agents(), "policyTypes": ["Egress"], "egress": [{ "to": [peer], "ports": ports }] });
    let port = json!([{ "port": 4222, "protocol": "TCP" }]);
    let good = outwards(&relay, port.clone());
    let path = stack.of("networking.k8s.io/v1", "networkpolicies");
    operator.may(&apply(&format!("{path}/agents-egress"), policy("agents-egress", &good))).await;
    let peers = json!([{ "podSelector": agents() }]);
    let specs = [
        json!({ "podSelector": {}, "policyTypes": ["Egress"], "egress": [] }),
        json!({ "podSelector": { "matchLabels": { "steading.dev/pool": "desktops" } }, "policyTypes": ["Egress"] }),
        json!({ "podSelector": agents(), "policyTypes": ["Ingress"], "ingress": [{ "from": peers }] }),
        json!({ "podSelector": agents(), "policyTypes": ["Ingress", "Egress"] }),
    ];
    for spec in specs {
        let request = apply(&format!("{path}/agents-egress"), policy("agents-egress", &spec));
        operator.may_not(&request, OPERATOR_ALLOW_SELECTS).await;
    }
    let without = |key: &str| {
        let mut peer = relay.clone();
        peer.as_object_mut().unwrap().remove(key);
        peer
    };
    let namespace = |name: &str| {
        let mut peer = relay.clone();
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] = json!(name);
        peer
    };
    let everywhere = [json!([]), json!([{ "port": 443 }]), json!([{ "port": 4222, "endPort": 6222 }])];
    let specs = everywhere.into_iter().map(|ports| outwards(&relay, ports)).chain(
        [
            without("namespaceSelector"),
            without("podSelector"),
            namespace("kube-system"),
            json!({ "podSelector": agents() }),
            json!({ "ipBlock": { "cidr": "192.0.2.1/32" } }),
        ]
        .map(|peer| outwards(&peer, port.clone())),
    );
    for spec in specs {
        let request = apply(&format!("{path}/agents-egress"), policy("agents-egress", &spec));
        operator.may_not(&request, OPERATOR_AGENT_EGRESS).await;
    }
}

#[tokio::test]
async fn the_operators_token_binds_the_role_of_agents_to_itself_only() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of("rbac.authorization.k8s.io/v1", "rolebindings");
    let binding = |name: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": "steading", "namespace": crate::scene::OWN_NAMESPACE }],
        })
    };
    let attacks = [
        create(&path, binding("other", "steading-agents-operator")),
        create(&path, binding("steading-agents", "steading-stack-operator")),
    ];
    operator.may_not_any(&attacks, OPERATOR_ROLE).await;
    operator.may(&create(&path, binding("steading-agents", "steading-agents-operator"))).await;
}
