//! `steading-operator`: how far a thief of the operator's token could open the network of a stack's database.

use serde_json::{Value, json};

use crate::caller::{apply, delete, every_change};
use crate::operator_policies::{NETWORKING, parts, policy, ways};
use crate::rules::{
    OPERATOR_ALLOW_PEERS, OPERATOR_ALLOW_SELECTS, OPERATOR_ALLOW_WORLD, OPERATOR_CONSUMER_PEERS,
    OPERATOR_DATABASE_PORTS, OPERATOR_DATABASE_RANGES, Rule,
};
use crate::scene::{OWN_NAMESPACE, Scene, Stood};

const INTO: &str = "allow-database-operator";
const CONSUMERS: &str = "allow-database-consumers";
const API: &str = "allow-database-api-server";
const STORE: &str = "allow-database-store";

fn instances() -> Value {
    json!({ "matchLabels": { "steading.dev/part": "database" } })
}

/// The pods of these parts.
fn either(operator: &str, parts: &[&str]) -> Value {
    json!({ "matchExpressions": [{ "key": "steading.dev/part", "operator": operator, "values": parts }] })
}

/// CloudNativePG's operator.
fn keeper() -> Value {
    json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "cnpg-system" } },
        "podSelector": { "matchLabels": { "app.kubernetes.io/name": "cloudnative-pg" } },
    })
}

/// The namespaces of consumers.
fn consumers(names: &[&str]) -> Value {
    let term = json!({ "key": "kubernetes.io/metadata.name", "operator": "In", "values": names });
    json!({ "namespaceSelector": { "matchExpressions": [term] } })
}

fn into(peers: &Value, ports: &Value) -> Value {
    json!({ "podSelector": instances(), "policyTypes": ["Ingress"], "ingress": [{ "from": peers, "ports": ports }] })
}

fn out(ranges: &[&str], ports: &Value) -> Value {
    let peers: Vec<Value> = ranges.iter().map(|range| json!({ "ipBlock": { "cidr": range } })).collect();
    json!({ "podSelector": instances(), "policyTypes": ["Egress"], "egress": [{ "to": peers, "ports": ports }] })
}

fn port(number: u16) -> Value {
    json!({ "protocol": "TCP", "port": number })
}

/// The policies of a database as the operator writes them.
fn good() -> [(&'static str, Value); 4] {
    [
        (INTO, into(&json!([keeper()]), &json!([port(8000)]))),
        (CONSUMERS, into(&json!([consumers(&["depot", "shop"])]), &json!([port(5432)]))),
        (API, out(&["192.0.2.7/32", "2001:db8::7/128"], &json!([port(6443)]))),
        (STORE, out(&["10.0.0.0/8", "203.0.113.0/24", "2001:db8::/32"], &json!([port(9000)]))),
    ]
}

/// A stack with the policies of a database.
async fn opened(scene: &Scene) -> Stood {
    let stack = scene.stack().await;
    let operator = scene.operator().await;
    for (name, spec) in good() {
        let path = stack.of(NETWORKING, &format!("networkpolicies/{name}"));
        operator.may(&apply(&path, policy(name, &spec))).await;
    }
    stack
}

/// Asserts that the operator can have no policy of this name and spec, neither made nor changed.
async fn refused(scene: &Scene, stack: &Stood, name: &str, spec: &Value, rule: Rule) {
    let ways = ways(scene, stack, name, name, spec).await;
    scene.operator().await.may_not_any(&ways, rule).await;
}

#[tokio::test]
async fn the_operators_token_opens_for_a_database_only_the_pods_of_its_instances() {
    let scene = Scene::set().await;
    let stack = opened(&scene).await;
    for (name, spec) in good() {
        for selector in [
            json!({}),
            parts(),
            json!({ "matchLabels": { "steading.dev/part": "agent" } }),
            json!({ "matchLabels": { "app": "x" } }),
            either("In", &["database", "agent"]),
            either("In", &["database", "drill", "agent"]),
            either("NotIn", &["database", "drill"]),
        ] {
            let mut spec = spec.clone();
            spec["podSelector"] = selector;
            refused(&scene, &stack, name, &spec, OPERATOR_ALLOW_SELECTS).await;
        }
        let mut both = spec.clone();
        both["policyTypes"] = json!(["Ingress", "Egress"]);
        refused(&scene, &stack, name, &both, OPERATOR_ALLOW_SELECTS).await;
        // Under other names the old rules hold.
        let operator = scene.operator().await;
        let elsewhere = ways(&scene, &stack, "allow-parts-egress", "opening", &spec).await;
        operator.may_not_any(&elsewhere, OPERATOR_ALLOW_SELECTS).await;
        let mut parts_only = spec.clone();
        parts_only["podSelector"] = parts();
        let elsewhere = ways(&scene, &stack, "allow-parts-egress", "opening", &parts_only).await;
        operator.may_not_any(&elsewhere, OPERATOR_ALLOW_PEERS).await;
    }
}

#[tokio::test]
async fn what_was_restored_for_a_drill_is_reached_and_reaches_out_like_the_database_but_not_for_consumers() {
    let scene = Scene::set().await;
    let stack = opened(&scene).await;
    let operator = scene.operator().await;
    for (name, spec) in good() {
        let mut spec = spec.clone();
        spec["podSelector"] = either("In", &["database", "drill"]);
        if name == CONSUMERS {
            refused(&scene, &stack, name, &spec, OPERATOR_ALLOW_SELECTS).await;
        } else {
            let path = stack.of(NETWORKING, &format!("networkpolicies/{name}"));
            let whole = every_change(&scene.admin(), &path, "/spec", spec.clone()).await;
            operator.may(&whole[2]).await;
        }
        // Not with a label more.
        spec["podSelector"]["matchLabels"] = json!({ "steading.dev/part": "drill" });
        refused(&scene, &stack, name, &spec, OPERATOR_ALLOW_SELECTS).await;
    }
}

#[tokio::test]
async fn the_operators_token_lets_only_cloudnativepgs_operator_in_to_a_database() {
    let scene = Scene::set().await;
    let stack = opened(&scene).await;
    let with = |key: &str, value: Value| {
        let mut peer = keeper();
        peer[key] = value;
        peer
    };
    let named = |name: &str| json!({ "matchLabels": { "kubernetes.io/metadata.name": name } });
    let ports = json!([port(8000)]);
    for peer in [
        with("namespaceSelector", json!({})),
        with("namespaceSelector", named("globex")),
        with("namespaceSelector", json!({ "matchLabels": { "team": "cnpg-system" } })),
        with("podSelector", json!({})),
        with("podSelector", json!({ "matchExpressions": [{ "key": "x", "operator": "DoesNotExist" }] })),
        json!({ "namespaceSelector": named("cnpg-system") }),
        json!({ "ipBlock": { "cidr": "192.0.2.7/32" } }),
    ] {
        let spec = into(&json!([keeper(), peer]), &ports);
        refused(&scene, &stack, INTO, &spec, OPERATOR_ALLOW_PEERS).await;
    }
    for name in [API, STORE] {
        refused(&scene, &stack, name, &into(&json!([keeper()]), &ports), OPERATOR_ALLOW_PEERS).await;
    }
    refused(&scene, &stack, INTO, &into(&json!([]), &ports), OPERATOR_ALLOW_WORLD).await;
    refused(&scene, &stack, INTO, &out(&["192.0.2.7/32"], &ports), OPERATOR_ALLOW_PEERS).await;
}

#[tokio::test]
async fn the_operators_token_lets_consumers_in_to_a_database_by_the_names_of_their_namespaces_only() {
    let scene = Scene::set().await;
    let stack = opened(&scene).await;
    let ports = json!([port(5432)]);
    let with = |pointer: &str, value: Value| {
        let mut peer = consumers(&["shop"]);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        peer.pointer_mut(parent).unwrap()[key] = value;
        peer
    };
    let term = |key: &str, operator: &str, values: Value| {
        let values = if values.is_null() { json!({}) } else { json!({ "values": values }) };
        let mut term = json!({ "key": key, "operator": operator });
        term.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
        json!({ "namespaceSelector": { "matchExpressions": [term] } })
    };
    let name = "kubernetes.io/metadata.name";
    let two = json!([{ "key": name, "operator": "In", "values": ["shop"] }, { "key": "team", "operator": "Exists" }]);
    let many: Vec<String> = (0..51).map(|number| format!("shop-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for peer in [
        json!({ "namespaceSelector": {} }),
        json!({ "podSelector": {} }),
        json!({ "podSelector": parts() }),
        json!({ "namespaceSelector": { "matchLabels": { name: "shop" } } }),
        with("/namespaceSelector/matchLabels", json!({ "team": "shop" })),
        with("/namespaceSelector/matchExpressions", two),
        with("/podSelector", json!({ "matchLabels": { "app": "billing" } })),
        term("team", "In", json!(["shop"])),
        term(name, "NotIn", json!(["shop"])),
        term(name, "Exists", Value::Null),
        keeper(),
        consumers(&["shop", "kube-system"]),
        consumers(&["kube-public"]),
        consumers(&["shop", OWN_NAMESPACE]),
        consumers(&many),
    ] {
        refused(&scene, &stack, CONSUMERS, &into(&json!([peer]), &ports), OPERATOR_CONSUMER_PEERS).await;
    }
    let shop = consumers(&["shop"]);
    let twice = into(&json!([shop, shop]), &ports);
    refused(&scene, &stack, CONSUMERS, &twice, OPERATOR_CONSUMER_PEERS).await;
    let mut rules = into(&json!([shop]), &ports);
    rules["ingress"] = json!([rules["ingress"][0], rules["ingress"][0]]);
    refused(&scene, &stack, CONSUMERS, &rules, OPERATOR_CONSUMER_PEERS).await;
    // Not even to where every part may go.
    let mut outwards = out(&[], &ports);
    outwards["egress"][0]["to"] = json!([{ "podSelector": parts() }]);
    refused(&scene, &stack, CONSUMERS, &outwards, OPERATOR_CONSUMER_PEERS).await;
    let mut reversed = into(&json!([shop]), &ports);
    reversed["policyTypes"] = json!(["Egress"]);
    refused(&scene, &stack, CONSUMERS, &reversed, OPERATOR_CONSUMER_PEERS).await;
    let ranges = into(&json!([shop, { "ipBlock": { "cidr": "192.0.2.7/32" } }]), &ports);
    refused(&scene, &stack, CONSUMERS, &ranges, OPERATOR_ALLOW_PEERS).await;
    refused(&scene, &stack, CONSUMERS, &into(&json!([]), &ports), OPERATOR_ALLOW_WORLD).await;
    // Under the name of another policy nobody elsewhere is let in by a list.
    refused(&scene, &stack, INTO, &into(&json!([shop]), &json!([port(8000)])), OPERATOR_ALLOW_PEERS).await;
    let path = stack.of(NETWORKING, &format!("networkpolicies/{CONSUMERS}"));
    let fifty = into(&json!([consumers(&many[..50])]), &ports);
    let whole = every_change(&scene.admin(), &path, "/spec", fifty).await;
    scene.operator().await.may(&whole[2]).await;
    scene.operator().await.may(&delete(&path)).await;
}

#[tokio::test]
async fn the_operators_token_opens_a_database_by_named_ports_only() {
    let scene = Scene::set().await;
    let stack = opened(&scene).await;
    for ports in [
        json!([]),
        json!([port(22)]),
        json!([port(8000), port(22)]),
        json!([port(5432)]),
        json!([{ "protocol": "TCP" }]),
        json!([{ "protocol": "TCP", "port": "metrics" }]),
        json!([{ "protocol": "TCP", "port": 8000, "endPort": 9000 }]),
    ] {
        refused(&scene, &stack, INTO, &into(&json!([keeper()]), &ports), OPERATOR_DATABASE_PORTS).await;
    }
    for ports in [
        json!([]),
        json!([port(8000)]),
        json!([port(5432), port(22)]),
        json!([{ "protocol": "TCP" }]),
        json!([{ "protocol": "TCP", "port": "postgresql" }]),
        json!([{ "protocol": "TCP", "port": 5432, "endPort": 8000 }]),
    ] {
        let spec = into(&json!([consumers(&["shop"])]), &ports);
        refused(&scene, &stack, CONSUMERS, &spec, OPERATOR_DATABASE_PORTS).await;
    }
    for name in [API, STORE] {
        for ports in
            [json!([]), json!([{ "protocol": "TCP" }]), json!([{ "protocol": "TCP", "port": 1, "endPort": 65535 }])]
        {
            refused(&scene, &stack, name, &out(&["192.0.2.7/32"], &ports), OPERATOR_DATABASE_PORTS).await;
        }
    }
}

#[tokio::test]
async fn the_operators_token_lets_a_database_out_to_no_range_that_is_no_boundary() {
    let scene = Scene::set().await;
    let stack = opened(&scene).await;
    let ports = json!([port(443)]);
    let bad = [
        "0.0.0.0/0",
        "128.0.0.0/1",
        "10.0.0.0/7",
        "::/0",
        "2000::/3",
        "fc00::/7",
        "169.254.169.254/32",
        "169.254.0.0/16",
        "169.0.0.0/8",
        "169.254.170.23/32",
        "fe80::1/128",
        "fd00:ec2::254/128",
        "fd00:ec2::/32",
    ];
    for range in bad {
        for name in [API, STORE] {
            let spec = out(&["192.0.2.7/32", range], &ports);
            refused(&scene, &stack, name, &spec, OPERATOR_DATABASE_RANGES).await;
        }
    }
    for range in ["192.0.2.0/31", "10.0.0.0/8", "2001:db8::/127"] {
        refused(&scene, &stack, API, &out(&[range], &ports), OPERATOR_DATABASE_RANGES).await;
    }
    let many: Vec<String> = (1..=17).map(|first| format!("{first}.0.0.0/8")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(&scene, &stack, STORE, &out(&many, &ports), OPERATOR_DATABASE_RANGES).await;
    let mut rules = out(&["10.0.0.0/8"], &ports);
    rules["egress"] = json!([rules["egress"][0], rules["egress"][0]]);
    refused(&scene, &stack, STORE, &rules, OPERATOR_DATABASE_RANGES).await;
    let path = stack.of(NETWORKING, &format!("networkpolicies/{STORE}"));
    let whole = every_change(&scene.admin(), &path, "/spec", out(&many[..16], &ports)).await;
    scene.operator().await.may(&whole[2]).await;
}
