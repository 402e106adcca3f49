//! The CRDs themselves. In: `crds/*.yaml` as it is checked in. Out: that the API server takes each one without a word of
//! warning, its CEL cost included, serves it, and shows fresh objects as not yet looked at.

use kube::client::Body;
use serde_json::{Value, json};

use crate::objects::{KINDS, full};
use crate::server::Server;

const COLLECTION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn checked_in() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn every_crd_is_taken_by_the_api_server_without_a_warning() {
    let server = Server::start().await;
    let crds = checked_in();
    assert_eq!(crds.len(), KINDS.len());
    for crd in crds {
        let name = crd["metadata"]["name"].as_str().unwrap();
        let request = http::Request::patch(format!(
            "{COLLECTION}/{name}?fieldManager=checked-in&force=true&fieldValidation=Strict"
        ))
        .header("content-type", "application/apply-patch+yaml")
        .body(Body::from(serde_json::to_vec(&crd).unwrap()))
        .unwrap();
        let response = server.client.send(request).await.unwrap();
        let warnings: Vec<_> = response.headers().get_all("warning").iter().collect();
        assert!(response.status().is_success(), "{name}: {}", response.status());
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        let stored = server.call("GET", &format!("{COLLECTION}/{name}"), &Value::Null).await.unwrap();
        let condition = |kind: &str| {
            let conditions = stored["status"]["conditions"].as_array().unwrap();
            conditions.iter().find(|condition| condition["type"] == kind).map(|condition| condition["status"].clone())
        };
        assert_eq!(condition("Established"), Some(json!("True")), "{name}: {stored}");
        assert!(!matches!(condition("NonStructuralSchema"), Some(status) if status == "True"), "{name}: {stored}");
    }
}

/// Shows that the test above would see a rule that is too dear: the API server does judge the cost.
#[tokio::test]
async fn a_rule_over_unbounded_text_would_be_refused_for_its_cost() {
    let server = Server::start().await;
    let mut crd = checked_in().into_iter().find(|crd| crd["spec"]["names"]["kind"] == "Tenant").unwrap();
    let owners = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/owners";
    let owners = crd.pointer_mut(owners).unwrap().as_object_mut().unwrap();
    owners.remove("maxItems");
    let name = crd["metadata"]["name"].as_str().unwrap();
    let url = format!("{COLLECTION}/{name}?dryRun=All&fieldManager=too-dear&force=true");
    let refusal = server.call("APPLY", &url, &crd).await.expect_err("a rule on items of an unbounded list");
    assert!(refusal.message.contains("estimated rule cost exceeds budget"), "{}", refusal.message);
}

#[tokio::test]
async fn a_fresh_object_shows_that_nobody_has_looked_at_it_yet() {
    let server = Server::start().await;
    for kind in KINDS {
        let created = server.create(&full(kind)).await;
        // The API server drops the status that a creator sends and does not fill in the default before the first read.
        let stored = server.call("GET", &server.item(&created), &Value::Null).await.unwrap();
        assert_eq!(stored["status"]["observedGeneration"], json!(-1), "{kind}: {stored}");
        assert_eq!(stored["metadata"]["generation"], json!(1));
    }
}

#[tokio::test]
async fn a_creator_cannot_hand_in_a_status() {
    let server = Server::start().await;
    for kind in KINDS {
        let mut object = full(kind);
        object["status"] = json!({ "observedGeneration": 1 });
        let created = server.create(&object).await;
        assert_ne!(created["status"]["observedGeneration"], json!(1), "{kind}: {created}");
    }
}
