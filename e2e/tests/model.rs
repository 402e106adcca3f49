//! The modelled API server of the deterministic worlds answers as a real one does: both get the same requests, drawn from a seed, and
//! their answers are compared but for UIDs, versions and times.

// Helpers of tests are tests: clippy.toml lets only functions marked as tests unwrap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use e2e::{Plane, Tier, unique};
use http::Request;
use kube::{
    Api, Client,
    api::PostParams,
    client::Body,
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Map, Value, json};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// Requests of each seed.
const REQUESTS: usize = 150;

/// A request in which `{uid}` and `{version}` stand for what the asked server last said of the object.
struct Ask {
    method: &'static str,
    /// Path of the object; a create goes to its collection.
    path: String,
    query: &'static str,
    content_type: &'static str,
    accept: &'static str,
    body: Value,
}

/// What a server last said of each object.
#[derive(Default)]
struct Said(BTreeMap<String, Value>);

impl Said {
    fn fill(&self, ask: &Ask) -> Value {
        let last = self.0.get(&ask.path);
        let of = |field: &str| last.and_then(|object| object["metadata"][field].as_str()).unwrap_or("1").to_owned();
        let text = ask.body.to_string().replace("{uid}", &of("uid")).replace("{version}", &of("resourceVersion"));
        serde_json::from_str(&text).unwrap()
    }

    /// Remembers an answer, and says what of it must be the same everywhere.
    fn take(&mut self, ask: &Ask, code: u16, body: &Value) -> Value {
        if ask.method == "DELETE" && code < 300 {
            // Some kinds answer with the object, some with a word on it. What became of it the next request shows.
            return json!({"code": code});
        }
        if body["kind"] == "Status" {
            let details = &body["details"];
            let causes: Vec<&Value> =
                details["causes"].as_array().into_iter().flatten().map(|cause| &cause["reason"]).collect();
            return json!({"code": code, "reason": body["reason"], "name": details["name"], "causes": causes});
        }
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let changed = self.0.get(&ask.path).map(version) != Some(version(body));
        if body["metadata"]["uid"].is_string() {
            self.0.insert(ask.path.clone(), body.clone());
        }
        let mut bare = body.clone();
        let entry = applied(body);
        let metadata = bare["metadata"].as_object_mut().unwrap();
        for own in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "deletionGracePeriodSeconds"] {
            metadata.remove(own);
        }
        if let Some(at) = metadata.get_mut("deletionTimestamp") {
            *at = json!("some time");
        }
        // Who owns what is modelled for children alone.
        let owned = if ask.path.contains("steading.dev") { Value::Null } else { entry };
        json!({"code": code, "changed": changed, "object": without_nothing(bare), "owned": owned})
    }
}

fn applied(object: &Value) -> Value {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let ours =
        entries.into_iter().flatten().find(|entry| entry["operation"] == "Apply" && entry["subresource"].is_null());
    ours.map(|entry| entry["fieldsV1"].clone()).unwrap_or_default()
}

/// The object without nulls, empty lists and empty maps, of which servers store some and some not.
fn without_nothing(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().map(|(key, value)| (key, without_nothing(value)));
            Value::Object(kept.filter(|(_, value)| !is_nothing(value)).collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// The real one.
async fn ask_real(client: &Client, ask: &Ask, body: Value) -> (u16, Value) {
    let path = if ask.method == "POST" { collection(&ask.path) } else { ask.path.clone() };
    let request = Request::builder()
        .method(ask.method)
        .uri(format!("{path}{}", ask.query))
        .header("content-type", ask.content_type)
        .header("accept", ask.accept)
        .body(Body::from(if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() }))
        .unwrap();
    let (head, body) = client.send(request).await.unwrap().into_parts();
    (head.status.as_u16(), serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap())
}

/// The model.
fn ask_model(server: &mut model::Server, ask: &Ask, body: Value) -> (u16, Value) {
    let path = if ask.method == "POST" { collection(&ask.path) } else { ask.path.clone() };
    let answer = server.answer(&model::Request {
        method: ask.method.to_owned(),
        path: format!("{path}{}", ask.query),
        content_type: ask.content_type.to_owned(),
        accept: ask.accept.to_owned(),
        body,
    });
    (answer.code, answer.body)
}

fn collection(path: &str) -> String {
    path.rsplit_once('/').unwrap().0.to_owned()
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

fn pick<T: Clone>(random: &mut StdRng, from: &[T]) -> T {
    from[random.random_range(0..from.len())].clone()
}

/// Metadata as a request may name it: sometimes with the right UID or version, sometimes with a wrong one.
fn metadata(random: &mut StdRng, path: &str) -> Value {
    let mut metadata = json!({"name": name_of(path)});
    match random.random_range(0..6) {
        0 => metadata["uid"] = "{uid}".into(),
        1 => metadata["uid"] = "00000000-0000-4000-8000-000000000000".into(),
        2 => metadata["resourceVersion"] = "{version}".into(),
        3 => metadata["resourceVersion"] = "1".into(),
        _ => {}
    }
    metadata
}

fn child_spec(random: &mut StdRng, path: &str) -> (&'static str, Value) {
    if path.contains("networkpolicies") {
        let ports = json!([{"port": pick(random, &[53, 443]), "protocol": "UDP"}]);
        return (
            "networking.k8s.io/v1",
            json!({"podSelector": {"matchLabels": {"part": pick(random, &["a", "b"])}}, "policyTypes": ["Egress"], "egress": [{"ports": ports}]}),
        );
    }
    let mut hard = json!({"pods": pick(random, &["10", "20"])});
    if random.random_bool(0.5) {
        hard["requests.cpu"] = "2".into();
    }
    ("v1", json!({"hard": hard}))
}

fn labels(random: &mut StdRng) -> Value {
    let mut labels = json!({});
    for key in ["a", "b", "c"] {
        if random.random_bool(0.5) {
            labels[key] = pick(random, &["1", "2"]).into();
        }
    }
    labels
}

/// A request about a child.
fn about_child(random: &mut StdRng, path: &str) -> Ask {
    let plain = |method, body| Ask { method, path: path.to_owned(), query: "", content_type: JSON, accept: JSON, body };
    let kind = if path.contains("networkpolicies") { "NetworkPolicy" } else { "ResourceQuota" };
    let (api_version, spec) = child_spec(random, path);
    match random.random_range(0..10) {
        0..5 => {
            let mut metadata = metadata(random, path);
            metadata["labels"] = labels(random);
            Ask {
                query: "?force=true&fieldManager=steading%2Fworkspace",
                content_type: APPLY,
                ..plain("PATCH", json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}))
            }
        }
        5 => {
            let change = pick(
                random,
                &[json!({"metadata": {"labels": {"a": "9"}}}), json!({"metadata": {"labels": {"b": null}}})],
            );
            Ask { query: "?fieldManager=kubectl", content_type: MERGE, ..plain("PATCH", change) }
        }
        6 => Ask { query: "?fieldManager=kubectl", content_type: MERGE, ..plain("PATCH", json!({"spec": spec})) },
        7 => plain("DELETE", delete_options(random)),
        8 => Ask { accept: METADATA_ONLY, ..plain("GET", Value::Null) },
        _ => plain("GET", Value::Null),
    }
}

fn delete_options(random: &mut StdRng) -> Value {
    let uid = pick(random, &["{uid}", "00000000-0000-4000-8000-000000000000"]);
    json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}})
}

/// A request about a Tenant.
fn about_tenant(random: &mut StdRng, path: &str) -> Ask {
    let plain = |method, body| Ask { method, path: path.to_owned(), query: "", content_type: JSON, accept: JSON, body };
    let merge = |body| Ask { query: "?fieldManager=somebody", content_type: MERGE, ..plain("PATCH", body) };
    let version = pick(random, &["{version}", "{version}", "1"]);
    match random.random_range(0..10) {
        0..2 => plain(
            "POST",
            json!({"apiVersion": "steading.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name_of(path)}, "spec": {"class": "c", "deletionPolicy": "Retain"}}),
        ),
        2 => merge(json!({"metadata": {"resourceVersion": version, "finalizers": ["steading.dev/cleanup"]}})),
        3 => merge(json!({"metadata": {"resourceVersion": version, "finalizers": []}})),
        4 => merge(json!({"spec": {"paused": random.random_bool(0.5)}})),
        5..8 => {
            let generation = random.random_range(1..3);
            let status = json!({"observedGeneration": generation, "identity": pick(random, &["one", "two"])});
            let metadata = metadata(random, path);
            Ask {
                query: "/status?force=true&fieldManager=steading%2Fstatus",
                content_type: APPLY,
                ..plain(
                    "PATCH",
                    json!({"apiVersion": "steading.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "status": status}),
                )
            }
        }
        8 => plain("DELETE", delete_options(random)),
        _ => plain("GET", Value::Null),
    }
}

/// A request about a Lease.
fn about_lease(random: &mut StdRng, path: &str) -> Ask {
    let plain = |method, body| Ask { method, path: path.to_owned(), query: "", content_type: JSON, accept: JSON, body };
    let lease = |metadata: Value, holder: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {"holderIdentity": holder}});
    let holder = pick(random, &["alice", "bob"]);
    match random.random_range(0..6) {
        0 => plain("POST", lease(json!({"name": name_of(path)}), holder)),
        1..4 => {
            let version = pick(random, &["{version}", "1"]);
            plain("PUT", lease(json!({"name": name_of(path), "resourceVersion": version}), holder))
        }
        4 => plain("DELETE", delete_options(random)),
        _ => plain("GET", Value::Null),
    }
}

fn any(random: &mut StdRng, namespace: &str) -> Ask {
    let of = |group: &str, rest: &str| format!("/{group}/namespaces/{namespace}/{rest}");
    match random.random_range(0..10) {
        0..3 => about_child(random, &of("apis/networking.k8s.io/v1", "networkpolicies/allow-dns")),
        3..5 => about_child(random, &of("api/v1", "resourcequotas/steading")),
        5..8 => about_tenant(random, &of("apis/steading.dev/v1alpha1", &format!("tenants/{namespace}"))),
        _ => about_lease(random, &of("apis/coordination.k8s.io/v1", "leases/steading-operator")),
    }
}

async fn install_crds(client: &Client) {
    let crds = Api::all(client.clone());
    for crd in api::crds::crds().unwrap() {
        let name = crd.metadata.name.clone().unwrap();
        crds.create(&PostParams::default(), &crd).await.unwrap();
        await_condition(crds.clone(), &name, is_crd_established()).await.unwrap();
    }
}

fn namespace(name: &str, method: &'static str, body: Value) -> Ask {
    Ask { method, path: format!("/api/v1/namespaces/{name}"), query: "", content_type: JSON, accept: JSON, body }
}

#[tokio::test]
async fn the_modelled_server_answers_as_a_real_one_does() {
    let client = Plane::shared(Tier::One).await.unwrap().admin().unwrap();
    install_crds(&client).await;
    let (mut compared, mut differences) = (0, Vec::new());
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut server = model::Server::new("2026-01-01T00:00:00Z");
        let (mut of_real, mut of_model) = (Said::default(), Said::default());
        let name = unique("model");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"a": "1"}}});
        let mut asks = vec![namespace(&name, "POST", object)];
        asks.extend((0..REQUESTS).map(|_| any(&mut random, &name)));
        asks.push(namespace(&name, "DELETE", Value::Null));
        // Now it goes, and takes nothing new.
        asks.extend((0..REQUESTS / 5).map(|_| any(&mut random, &name)));
        asks.push(namespace(&name, "GET", Value::Null));
        for (number, ask) in asks.iter().enumerate() {
            let (code, body) = ask_real(&client, ask, of_real.fill(ask)).await;
            let real = of_real.take(ask, code, &body);
            let (code, body) = ask_model(&mut server, ask, of_model.fill(ask));
            let modelled = of_model.take(ask, code, &body);
            compared += 1;
            if modelled != real {
                let asked = format!("{} {}{} {}", ask.method, ask.path, ask.query, ask.body);
                differences.push(format!("seed {seed}, request {number}: {asked}\n  model {modelled}\n  real  {real}"));
                break; // what follows would differ as well
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    println!("model: {compared} answers compared, all the same");
}
