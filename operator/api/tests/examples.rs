//! What people copy first. In: every object of ours in `examples/`. Out: that the types hold all that stands there and
//! that no CEL rule refuses it. The same files go to a real API server in `e2e/tests/admission`.

// Everything here is a test: a panic is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use api::{AgentPool, Tenant, TenantClass, Workspace};
use kube::CustomResourceExt;
use kube::core::cel::validate_cel;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}

/// Every object of ours in the examples, with the file in which it stands.
fn ours() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for file in files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"))) {
        let name = file.display().to_string();
        // What is JSON is YAML too.
        let is_known = file.extension().is_some_and(|extension| extension == "yaml" || extension == "json");
        assert!(is_known, "{name} is no YAML file");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let group = format!("{}/{}", api::GROUP, api::VERSION);
        let ours = documents.into_iter().filter(|document| document["apiVersion"].as_str() == Some(group.as_str()));
        found.extend(ours.map(|document| (name.clone(), document)));
    }
    found
}

/// Whether everything in `written` is also in `kept`: what a type does not know is lost on the way.
fn is_kept(written: &Value, kept: &Value) -> bool {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => {
            written.iter().all(|(key, value)| kept.get(key).is_some_and(|other| is_kept(value, other)))
        }
        (Value::Array(written), Value::Array(kept)) => {
            written.len() == kept.len() && written.iter().zip(kept).all(|(one, other)| is_kept(one, other))
        }
        (written, kept) => written == kept,
    }
}

/// Whether the type holds all that stands in the document and no rule of its CRD refuses it.
fn check_as<T: CustomResourceExt + Serialize + DeserializeOwned>(name: &str, document: &Value) {
    let object: T = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let kept = serde_json::to_value(&object).unwrap();
    assert!(is_kept(document, &kept), "{name}: the type loses something:\n{document}\n{kept}");
    validate_cel(&object).unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// Checks one object by its kind.
fn check(name: &str, document: &Value) {
    match document["kind"].as_str().unwrap() {
        "TenantClass" => check_as::<TenantClass>(name, document),
        "Tenant" => check_as::<Tenant>(name, document),
        "Workspace" => check_as::<Workspace>(name, document),
        "AgentPool" => check_as::<AgentPool>(name, document),
        kind => panic!("{name}: no kind of ours is called {kind}"),
    }
}

#[test]
fn every_example_fits_the_types_and_breaks_no_rule() {
    let examples = ours();
    for (name, document) in &examples {
        check(name, document);
    }
    for kind in ["TenantClass", "Tenant", "Workspace", "AgentPool"] {
        assert!(examples.iter().any(|(_, document)| document["kind"] == kind), "no example of a {kind}");
    }
}

#[test]
#[should_panic(expected = "the type loses something")]
fn a_field_that_no_type_knows_would_be_seen() {
    let (name, mut document) = ours().into_iter().find(|(_, document)| document["kind"] == "Tenant").unwrap();
    document["spec"]["surprise"] = Value::Bool(true);
    check(&name, &document);
}

#[test]
#[should_panic(expected = "must be an https address")]
fn a_rule_that_an_example_breaks_would_be_seen() {
    let (name, mut document) = ours().into_iter().find(|(_, document)| document["kind"] == "TenantClass").unwrap();
    document["spec"]["keys"]["openbao"]["address"] = Value::from("http://bao.example");
    check(&name, &document);
}

#[test]
fn the_quickstart_holds_a_class_a_namespace_a_tenant_and_two_workspaces() {
    let text = include_str!("../../../examples/quickstart.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["TenantClass", "Namespace", "Tenant", "Workspace", "Workspace"]);
    assert_eq!(documents[0]["spec"]["network"]["enforcement"], "Required");
    assert_eq!(documents[2]["spec"]["class"], documents[0]["metadata"]["name"]);
}
