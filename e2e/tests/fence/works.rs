//! What must go on working inside the fence: a stack on a cluster with controllers, scheduler and nodes.

use std::time::Duration;

use e2e::wait::until;
use e2e::{Installation, Plane, Tier};
use serde_json::json;

use crate::caller::{Caller, create, read};
use crate::scene::{OWN_NAMESPACE, facts, requests_for};
use crate::stacks::pod;

const PATIENCE: Duration = Duration::from_mins(1);

/// A second cluster, since things happen on it.
async fn busy_plane() -> &'static Plane {
    static SET: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let plane = Plane::shared(Tier::Two).await.unwrap();
    let values = json!({ "fence": { "breakGlassGroups": [crate::scene::BREAK_GLASS] } });
    SET.get_or_init(|| async { drop(Installation::install(plane, "works", &values).await.unwrap()) }).await;
    plane
}

#[tokio::test]
async fn the_api_server_finds_no_mistake_in_the_policies() {
    let plane = busy_plane().await;
    let admin = Caller::new("the cluster administrator", plane.admin().unwrap());
    let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    until("all policies are checked", PATIENCE, async || {
        let policies = admin.get(path).await;
        let checked =
            |policy: &serde_json::Value| policy["status"]["observedGeneration"] == policy["metadata"]["generation"];
        Ok(policies["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["metadata"]["name"].as_str().unwrap().starts_with("steading-") && checked(it))
            .count()
            == 6)
    })
    .await
    .unwrap();
    for policy in admin.get(path).await["items"].as_array().unwrap() {
        let warnings = &policy["status"]["typeChecking"]["expressionWarnings"];
        assert!(warnings.is_null(), "{}: {warnings:#}", policy["metadata"]["name"]);
    }
}

#[tokio::test]
async fn a_stack_fills_runs_a_pod_and_goes() {
    let plane = busy_plane().await;
    let admin = Caller::new("the cluster administrator", plane.admin().unwrap());
    let operator = Caller::new("the operator", plane.service_account_client(OWN_NAMESPACE, "steading").await.unwrap());
    let glass = Caller::new(
        "somebody who broke the glass",
        plane.client_for("grace", &["system:masters", crate::scene::BREAK_GLASS]).unwrap(),
    );
    let facts = facts();
    let namespace = facts.namespace().to_string();
    for request in requests_for(&facts) {
        operator.may(&request).await;
    }
    let path = |rest: &str| format!("/api/v1/namespaces/{namespace}{rest}");
    for made in ["/serviceaccounts/default", "/configmaps/kube-root-ca.crt"] {
        until("the cluster's controllers have filled the stack", PATIENCE, async || {
            Ok(admin.tries(&read(&path(made))).await.is_ok())
        })
        .await
        .unwrap();
    }
    until("the quota is counted", PATIENCE, async || {
        Ok(admin.get(&path("/resourcequotas/steading")).await["status"]["used"]["pods"] == json!("0"))
    })
    .await
    .unwrap();
    // A ReplicaSet's pods are made, bound, run and removed by the cluster alone.
    let set = json!({
        "metadata": { "name": "target" },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": { "app": "plain" } },
            "template": { "metadata": pod("x")["metadata"], "spec": pod("x")["spec"] },
        },
    });
    glass.may(&create(&format!("/apis/apps/v1/namespaces/{namespace}/replicasets"), set)).await;
    until("the pod runs", PATIENCE, async || {
        Ok(admin.get(&path("/pods")).await["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|pod| pod["status"]["phase"] == "Running"))
    })
    .await
    .unwrap();
    assert_eq!(admin.get(&path("/resourcequotas/steading")).await["status"]["used"]["pods"], json!("1"));
    operator.may(&crate::caller::delete(&path(""))).await;
    until("the stack is gone", PATIENCE, async || {
        Ok(admin.tries(&read(&path(""))).await.is_err_and(|no| no.code == 404))
    })
    .await
    .unwrap();
}
