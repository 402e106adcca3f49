//! The chart on a real API server: what it renders is valid there, and it comes, changes and goes as Helm charts do.

use e2e::{Installation, Plane, PlaneOptions, Tier};
use serde_json::{Value, json};

use crate::helm::{chart, of_kind, one, render, with};
use crate::server::{OWN_NAMESPACE, ask, get, installed};

/// The path at which an object would be applied.
fn path_of(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let plural = match text("/kind") {
        "ValidatingAdmissionPolicy" => "validatingadmissionpolicies".to_owned(),
        "NetworkPolicy" => "networkpolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let root =
        if text("/apiVersion") == "v1" { "/api/v1".to_owned() } else { format!("/apis/{}", text("/apiVersion")) };
    let place = match text("/metadata/namespace") {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    format!("{root}{place}/{plural}/{}", text("/metadata/name"))
}

#[tokio::test]
async fn the_api_server_takes_every_object_without_a_field_that_it_does_not_know() {
    let (plane, _) = installed(Tier::One).await;
    let admin = plane.admin().unwrap();
    let everything = with(json!({
        "fence": { "breakGlassGroups": ["vets"] },
        "argocd": { "healthConfigMap": { "create": true, "annotations": { "a": "b" } } },
        "metrics": { "service": { "annotations": { "a": "b" } } },
        "image": { "pullSecrets": ["registry"] },
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": { "a": "b" },
        "tolerations": [{ "key": "a", "operator": "Exists" }],
        "podLabels": { "a": "b", "app.kubernetes.io/name": "not-this" },
        "podAnnotations": { "a": "b" },
        "probe": { "runtimes": [{ "name": "gvisor", "runtimeClassName": "gvisor", "nodeSelector": { "a": "b" } }] },
        "crds": { "annotations": { "a": "b" } },
    }));
    for (name, values) in [("steading", with(json!({}))), ("steading", everything), ("steading-crds", json!({}))] {
        let objects = render(name, &values).await;
        assert!(objects.len() >= 3);
        for object in objects {
            let path = path_of(&object);
            let query = "fieldManager=chart-test&force=true&dryRun=All&fieldValidation=Strict";
            let answer = ask(&admin, "APPLY", &format!("{path}?{query}"), object).await;
            answer.unwrap_or_else(|no| panic!("{path}: {no:?}"));
        }
    }
}

#[tokio::test]
async fn its_pods_are_let_in_where_pod_security_is_restricted() {
    let (plane, _) = installed(Tier::One).await;
    let admin = plane.admin().unwrap();
    let namespace = e2e::unique("restricted");
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    let body = json!({ "metadata": { "name": namespace, "labels": labels } });
    ask(&admin, "POST", "/api/v1/namespaces", body).await.unwrap();
    let objects = render("steading", &with(json!({}))).await;
    for account in of_kind(&objects, "ServiceAccount") {
        let account = json!({ "metadata": { "name": account["metadata"]["name"] } });
        ask(&admin, "POST", &format!("/api/v1/namespaces/{namespace}/serviceaccounts"), account).await.unwrap();
    }
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    for owner in [of_kind(&objects, "DaemonSet"), of_kind(&objects, "Deployment")].concat() {
        let mut pod = owner["spec"]["template"].clone();
        pod["metadata"]["name"] = owner["metadata"]["name"].clone();
        ask(&admin, "POST", &path, pod).await.unwrap();
    }
    let mut pod = one(&objects, "Deployment", "steading")["spec"]["template"].clone();
    // The same pod with one thing more is not, so the namespace does refuse.
    pod["metadata"]["name"] = json!("privileged");
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let refused = ask(&admin, "POST", &path, pod).await.unwrap_err();
    assert!(refused.message.contains("violates PodSecurity"), "{refused:?}");
}

#[tokio::test]
async fn the_notes_tell_what_comes_next() {
    let (plane, installation) = installed(Tier::One).await;
    let notes = installation.helm(plane, &["get", "notes", "steading"].map(str::to_owned)).await.unwrap();
    assert!(notes.contains("installed as \"chart\" in namespace steading-system"), "{notes}");
    assert!(notes.contains("replicas is 0: nothing is made"), "{notes}");
    assert!(notes.contains("set fence.breakGlassGroups"), "{notes}");
}

fn text(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn tenants_outlive_the_chart_and_it_comes_back_to_them() {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await.unwrap();
    let installation = Installation::install(&plane, "first", &json!({})).await.unwrap();
    let admin = plane.admin().unwrap();
    let workspaces = "/apis/steading.dev/v1alpha1/namespaces/default/workspaces";
    let workspace = json!({ "apiVersion": "steading.dev/v1alpha1", "kind": "Workspace", "metadata": { "name": "kept" }, "spec": {} });
    let made = ask(&admin, "POST", workspaces, workspace).await.unwrap();

    // An upgrade changes what it should.
    let directory = chart("steading").display().to_string();
    let upgrade = ["upgrade", "steading", &directory, "--reuse-values", "--set", "fence.breakGlassGroups={vets}"];
    installation.helm(&plane, &text(&upgrade)).await.unwrap();
    let policy = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/steading-stacks";
    assert!(get(&admin, policy).await.unwrap().to_string().contains("['vets']"));

    installation.helm(&plane, &text(&["uninstall", "steading"])).await.unwrap();
    assert_eq!(get(&admin, policy).await.unwrap_err().code, 404);
    for gone in of_kind(&render("steading", &with(json!({}))).await, "ClusterRole") {
        assert_eq!(get(&admin, &path_of(gone)).await.unwrap_err().code, 404, "{}", gone["metadata"]["name"]);
    }
    let kept = get(&admin, &format!("{workspaces}/kept")).await.unwrap();
    assert_eq!(kept["metadata"]["uid"], made["metadata"]["uid"]);

    let again = [
        "install",
        "steading",
        &directory,
        "--set",
        "installation=first",
        "--set",
        "image.repository=x",
        "--set",
        "replicas=0",
    ];
    installation.helm(&plane, &text(&again)).await.unwrap();
    let account = format!("/api/v1/namespaces/{OWN_NAMESPACE}/serviceaccounts/steading");
    get(&admin, &account).await.unwrap();
    let kept = get(&admin, &format!("{workspaces}/kept")).await.unwrap();
    assert_eq!(kept["metadata"]["uid"], made["metadata"]["uid"]);
    plane.stop().await.unwrap();
}

#[tokio::test]
async fn the_kinds_can_be_installed_apart_from_the_operator() {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await.unwrap();
    // The harness waits for the kinds, so they come first here, by the other chart.
    let crds = render("steading-crds", &json!({})).await;
    let admin = plane.admin().unwrap();
    for crd in &crds {
        ask(&admin, "APPLY", &format!("{}?fieldManager=gitops", path_of(crd)), crd.clone()).await.unwrap();
    }
    Installation::install(&plane, "apart", &json!({ "crds": { "enabled": false } })).await.unwrap();
    for crd in crds {
        let found = get(&admin, &path_of(&crd)).await.unwrap();
        assert_eq!(found["metadata"]["labels"]["helm.sh/chart"], "steading-crds-0.1.0");
    }
    plane.stop().await.unwrap();
}
