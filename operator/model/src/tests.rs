use serde_json::{Value, json};

use super::*;

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/stack/networkpolicies";

fn server() -> Server {
    let mut server = Server::new("2026-01-01T00:00:00Z");
    let answer = ask(
        &mut server,
        "POST",
        "/api/v1/namespaces?fieldManager=steading",
        "",
        json!({"metadata": {"name": "stack"}}),
    );
    assert_eq!(answer.code, 201, "{answer:?}");
    server
}

fn ask(server: &mut Server, method: &str, path: &str, content_type: &str, body: Value) -> Answer {
    server.answer(&Request {
        method: method.to_owned(),
        path: path.to_owned(),
        content_type: content_type.to_owned(),
        accept: String::new(),
        body,
    })
}

fn policy(labels: impl Into<Value>) -> Value {
    let labels: Value = labels.into();
    json!({"metadata": {"name": "deny-all", "namespace": "stack", "labels": labels}, "spec": {"podSelector": {}, "ingress": []}})
}

fn apply(server: &mut Server, labels: Value) -> Answer {
    let path = format!("{POLICIES}/deny-all?force=true&fieldManager=steading%2Fworkspace");
    ask(server, "PATCH", &path, APPLY, policy(labels))
}

fn entry(object: &Value) -> Option<Value> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    entries.iter().find(|entry| entry["operation"] == "Apply").map(|entry| entry["fieldsV1"].clone())
}

#[test]
fn what_is_applied_twice_is_written_once() {
    let mut server = server();
    assert_eq!(apply(&mut server, json!({"a": "1"})).code, 201);
    let version = server.version();
    assert_eq!(apply(&mut server, json!({"a": "1"})).code, 200);
    assert_eq!(server.version(), version);
}

#[test]
fn an_apply_owns_what_desired_says_it_owns() {
    let mut server = server();
    let made = apply(&mut server, json!({"a": "1"})).body;
    let kind = desired::fields::Kind::NetworkPolicy;
    assert_eq!(entry(&made), Some(desired::fields::owned(kind, &policy(json!({"a": "1"})))));
}

#[test]
fn an_apply_takes_back_what_it_no_longer_names_and_leaves_what_is_anothers() {
    let mut server = server();
    apply(&mut server, json!({"a": "1", "b": "2"}));
    ask(
        &mut server,
        "PATCH",
        &format!("{POLICIES}/deny-all?fieldManager=kubectl"),
        MERGE,
        json!({"metadata": {"labels": {"theirs": "x"}}}),
    );
    let after = apply(&mut server, json!({"a": "1"})).body;
    assert_eq!(after["metadata"]["labels"], json!({"a": "1", "theirs": "x"}));
}

#[test]
fn who_changes_a_field_owns_it_from_then_on_and_an_apply_takes_it_back() {
    let mut server = server();
    let before = entry(&apply(&mut server, json!({"a": "1"})).body);
    let path = format!("{POLICIES}/deny-all?fieldManager=kubectl");
    let edited = ask(&mut server, "PATCH", &path, MERGE, json!({"spec": {"ingress": [{}]}})).body;
    assert_ne!(entry(&edited), before);
    let mended = apply(&mut server, json!({"a": "1"})).body;
    assert_eq!((entry(&mended), &mended["spec"]["ingress"]), (before, &json!([])));
}

#[test]
fn preconditions_by_uid_and_version_are_kept() {
    let mut server = server();
    apply(&mut server, json!({}));
    let mut other = policy(json!({}));
    other["metadata"]["uid"] = "another".into();
    let path = format!("{POLICIES}/deny-all?force=true&fieldManager=x");
    assert_eq!(ask(&mut server, "PATCH", &path, APPLY, other).code, 422);
    let stale = json!({"metadata": {"resourceVersion": "1", "labels": {"x": "y"}}});
    assert_eq!(ask(&mut server, "PATCH", &path, MERGE, stale).code, 409);
    let options = json!({"preconditions": {"uid": "another"}});
    assert_eq!(ask(&mut server, "DELETE", &format!("{POLICIES}/deny-all"), "", options).code, 409);
}

#[test]
fn a_namespace_goes_in_two_steps_and_refuses_what_is_new_meanwhile() {
    let mut server = server();
    apply(&mut server, json!({}));
    assert_eq!(ask(&mut server, "DELETE", "/api/v1/namespaces/stack", "", Value::Null).code, 200);
    let refused = ask(&mut server, "POST", POLICIES, "", json!({"metadata": {"name": "new"}}));
    assert_eq!((refused.code, &refused.body["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")));
    assert!(server.empty_namespace("stack"));
    assert_eq!(server.objects.len(), 0);
}

#[test]
fn generations_count_changes_of_spec_and_the_wish_to_go_but_not_status() {
    let mut server = server();
    let path = "/apis/steading.dev/v1alpha1/namespaces/stack/tenants";
    let object = json!({"metadata": {"name": "stack", "finalizers": ["x/y"]}, "spec": {"class": "c"}});
    let generation = |answer: Answer| answer.body["metadata"]["generation"].clone();
    assert_eq!(generation(ask(&mut server, "POST", path, "", object)), 1);
    let one = format!("{path}/stack?fieldManager=u");
    assert_eq!(generation(ask(&mut server, "PATCH", &one, MERGE, json!({"spec": {"paused": true}}))), 2);
    let status = format!("{path}/stack/status?force=true&fieldManager=s");
    let written = ask(&mut server, "PATCH", &status, APPLY, json!({"status": {"observedGeneration": 2}}));
    assert_eq!((generation(written.clone()), &written.body["status"]["observedGeneration"]), (json!(2), &json!(2)));
    assert_eq!(generation(ask(&mut server, "DELETE", &one, "", Value::Null)), 3);
    ask(&mut server, "PATCH", &one, MERGE, json!({"metadata": {"finalizers": null}}));
    assert!(server.get(&Key::within(Resource::Tenant, "stack", "stack")).is_none());
}
