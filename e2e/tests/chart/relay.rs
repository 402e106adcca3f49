//! The relay as the chart renders it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::helm::{of_kind, one, render, with};

async fn with_relay(relay: Value) -> Vec<Value> {
    let mut values = with(json!({ "relay": { "enabled": true, "nats": { "image": "registry.example/nats:2.14.0" } } }));
    for (key, value) in relay.as_object().unwrap() {
        for (name, value) in value.as_object().unwrap() {
            values["relay"][key][name] = value.clone();
        }
    }
    render("steading", &values).await
}

fn named(objects: &[Value]) -> BTreeSet<String> {
    let name = |object: &Value| {
        format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
    };
    objects.iter().map(name).filter(|name| name.contains("relay")).collect()
}

#[tokio::test]
async fn without_it_the_chart_has_none_of_its_objects_whatever_an_earlier_version_knew() {
    assert_eq!(named(&render("steading", &with(json!({}))).await), BTreeSet::new());
    assert_eq!(named(&render("steading", &with(json!({ "relay": null }))).await), BTreeSet::new());
}

#[tokio::test]
async fn it_is_the_same_each_time_so_nothing_in_it_is_random() {
    assert_eq!(with_relay(json!({})).await, with_relay(json!({})).await);
    assert!(of_kind(&with_relay(json!({})).await, "Secret").is_empty());
}

#[tokio::test]
async fn the_doorkeeper_may_ask_three_things_and_has_what_the_tests_of_the_relay_gave_it() {
    let objects = with_relay(json!({})).await;
    let role = one(&objects, "ClusterRole", "steading-relay");
    let tried = e2e::relays::doorkeeper_account().unwrap();
    let tried = tried.iter().find(|object| object.types.as_ref().unwrap().kind == "ClusterRole").unwrap();
    assert_eq!(role["rules"], tried.data["rules"]);
    let verbs = role["rules"].as_array().unwrap().iter().flat_map(|rule| rule["verbs"].as_array().unwrap());
    assert_eq!(verbs.collect::<Vec<_>>(), ["create", "get", "get"]);
    let bound = one(&objects, "ClusterRoleBinding", "steading-relay");
    let subjects = json!([{ "kind": "ServiceAccount", "name": "steading-relay", "namespace": "steading-system" }]);
    assert_eq!(bound["subjects"], subjects);
}

#[tokio::test]
async fn no_server_has_the_secret_or_a_token_and_the_doorkeeper_has_not_the_servers_key() {
    let objects = with_relay(json!({})).await;
    let pod = &one(&objects, "StatefulSet", "steading-relay-nats")["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], Value::Null);
    assert_eq!(one(&objects, "ServiceAccount", "steading-relay-nats")["automountServiceAccountToken"], false);
    let mounts = |container: &Value| -> Vec<String> {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        mounts.map(|mount| mount["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(mounts(&pod["containers"][0]), ["config", "tls", "data"]);
    assert_eq!(mounts(&pod["initContainers"][0]), ["secret", "config"]);
    let keeper = &one(&objects, "Deployment", "steading-relay")["spec"]["template"]["spec"];
    let tls = keeper["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "tls").unwrap();
    assert_eq!(tls["secret"]["items"], json!([{ "key": "ca.crt", "path": "ca.crt" }]));
    let all = [&pod["containers"][0], &pod["initContainers"][0], &keeper["containers"][0]];
    for container in all {
        let shut = json!({
            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "privileged": false,
            "readOnlyRootFilesystem": true,
        });
        assert_eq!(container["securityContext"], shut, "{container}");
    }
    for pod in [pod, keeper] {
        assert_eq!((&pod["securityContext"]["runAsNonRoot"], &pod["hostNetwork"]), (&json!(true), &Value::Null));
    }
}

#[tokio::test]
async fn the_servers_take_connections_from_stacks_the_doorkeeper_and_each_other_and_make_none_but_to_each_other() {
    let objects = with_relay(json!({})).await;
    let policy = |name: &str| one(&objects, "NetworkPolicy", &format!("steading-relay-{name}"))["spec"].clone();
    let nats =
        json!({ "matchLabels": { "app.kubernetes.io/name": "steading-relay", "app.kubernetes.io/component": "nats" } });
    let keeper = json!({ "matchLabels": { "app.kubernetes.io/name": "steading-relay", "app.kubernetes.io/component": "doorkeeper" } });
    let stacks = json!({ "matchExpressions": [{ "key": "steading.dev/stack", "operator": "Exists" }] });
    let port = |number: u16| json!([{ "protocol": "TCP", "port": number }]);
    for name in ["deny-all", "allow-clients", "allow-peers", "allow-to-peers"] {
        assert_eq!(policy(name)["podSelector"], nats, "{name}");
        assert_eq!(policy(name)["policyTypes"].as_array().unwrap().len(), if name == "deny-all" { 2 } else { 1 });
    }
    assert_eq!(
        policy("allow-clients")["ingress"],
        json!([{ "from": [{ "namespaceSelector": stacks }, { "podSelector": keeper }], "ports": port(4222) }])
    );
    assert_eq!(policy("allow-peers")["ingress"], json!([{ "from": [{ "podSelector": nats }], "ports": port(6222) }]));
    let dns = json!([{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }]);
    let to_peers = json!([{ "to": [{ "podSelector": nats }], "ports": port(6222) }, { "ports": dns }]);
    assert_eq!(policy("allow-to-peers")["egress"], to_peers);
    assert_eq!(
        of_kind(&objects, "NetworkPolicy")
            .iter()
            .filter(|it| it["metadata"]["name"].as_str().unwrap().contains("relay"))
            .count(),
        4
    );
}

#[tokio::test]
async fn the_operator_is_told_of_it_and_has_its_certificates_but_not_its_key() {
    let operator = |objects: &[Value]| one(objects, "Deployment", "steading")["spec"]["template"]["spec"].clone();
    let told = operator(&with_relay(json!({})).await);
    let variables = variables(&told["containers"][0]);
    assert!(variables.contains(&("STEADING_RELAY_SERVICE", "steading-relay")), "{variables:?}");
    assert!(variables.contains(&("STEADING_RELAY_AUTHORITY", "/etc/steading/relay/ca.crt")), "{variables:?}");
    let only = json!([{ "key": "ca.crt", "path": "ca.crt" }]);
    let secret = json!({ "secretName": "steading-relay-tls", "optional": true, "items": only });
    assert_eq!(told["volumes"], json!([{ "name": "relay", "secret": secret }]));
    let untold = operator(&render("steading", &with(json!({}))).await);
    assert_eq!((&untold["volumes"], &untold["containers"][0]["volumeMounts"]), (&Value::Null, &Value::Null));
    assert!(!untold.to_string().contains("STEADING_RELAY"), "{untold}");
}

fn variables(container: &Value) -> Vec<(&str, &str)> {
    let variables = container["env"].as_array().unwrap().iter();
    variables.filter_map(|it| Some((it["name"].as_str()?, it["value"].as_str()?))).collect()
}

#[tokio::test]
async fn several_servers_know_each_other_and_keep_events_on_three_of_them() {
    let alone = with_relay(json!({})).await;
    let several = with_relay(json!({ "nats": { "replicas": 3 } })).await;
    let configured = |objects: &[Value]| {
        one(objects, "StatefulSet", "steading-relay-nats")["spec"]["template"]["spec"]["initContainers"][0].clone()
    };
    let told = configured(&alone);
    assert!(!variables(&told).iter().any(|(name, _)| *name == "STEADING_RELAY_PEERS"), "{told}");
    let told = configured(&several);
    let peers = variables(&told).into_iter().find(|(name, _)| *name == "STEADING_RELAY_PEERS").unwrap().1;
    assert_eq!(peers.split(',').count(), 3);
    assert!(peers.starts_with("steading-relay-nats-0.steading-relay-nats.steading-system.svc:6222,"), "{peers}");
    for (objects, copies) in [(&alone, "1"), (&several, "3")] {
        let keeper = &one(objects, "Deployment", "steading-relay")["spec"]["template"]["spec"]["containers"][0];
        assert!(variables(keeper).contains(&("STEADING_RELAY_EVENTS_COPIES", copies)), "{keeper}");
        // Helm writes large numbers as 2.68435456e+08, unless it is told not to.
        assert!(variables(keeper).contains(&("STEADING_RELAY_EVENTS_BYTES", "268435456")), "{keeper}");
    }
}

/// Values that must be refused, with what Helm says.
pub fn refused() -> Vec<(Value, &'static str)> {
    let relay = |key: &str, value: Value| with(json!({ "relay": { key: value } }));
    let nats = |key: &str, value: Value| with(json!({ "relay": { "nats": { key: value } } }));
    let tenant = |key: &str, value: Value| with(json!({ "relay": { "tenant": { key: value } } }));
    let gpu = json!({ "limits": { "gpu": "1" } });
    vec![
        (relay("enabled", json!(true)), "at '/relay/nats/image': minLength: got 0, want 1"),
        (relay("enabled", json!("yes")), "at '/relay/enabled': got string, want boolean"),
        (relay("port", json!(1)), "at '/relay': additional properties 'port' not allowed"),
        (relay("secret", json!("A")), "at '/relay/secret': 'A' does not match pattern"),
        (relay("certificate", json!("")), "at '/relay/certificate': minLength: got 0, want 1"),
        (relay("replicas", json!(0)), "at '/relay/replicas': minimum: got 0, want 1"),
        (relay("resources", gpu.clone()), "at '/relay/resources/limits': additional properties 'gpu' not allowed"),
        (
            nats("image", json!("registry.example/nats latest")),
            "at '/relay/nats/image': 'registry.example/nats latest'",
        ),
        (nats("replicas", json!(2)), "at '/relay/nats/replicas': value must be one of 1, 3, 5"),
        (nats("storage", json!("much")), "at '/relay/nats/storage': 'much' does not match pattern"),
        (nats("storageClassName", json!(1)), "at '/relay/nats/storageClassName': got number, want string"),
        (nats("eventsBytes", json!(1000)), "at '/relay/nats/eventsBytes': minimum: got 1,000, want 3.3554432"),
        (nats("resources", gpu), "at '/relay/nats/resources/limits': additional properties 'gpu' not allowed"),
        (tenant("connections", json!(0)), "at '/relay/tenant/connections': minimum: got 0, want 1"),
        (tenant("eventsBytes", json!(1000)), "at '/relay/tenant/eventsBytes': minimum: got 1,000, want 3.3554432"),
        (tenant("eventsHours", json!(0)), "at '/relay/tenant/eventsHours': minimum: got 0, want 1"),
    ]
}
