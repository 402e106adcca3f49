//! Values: what the chart does not take, and what it says then.

use serde_json::{Value, json};

use crate::helm::{chart, render, template, with};

/// Values that must be refused, with what Helm says. Every property of the schema that can be wrong is among them.
fn refused() -> Vec<(Value, &'static str)> {
    let image = |key: &str, value: Value| with(json!({ "image": { key: value } }));
    let cnpg = |key: &str, value: Value| with(json!({ "cloudNativePG": { key: value } }));
    let glass = |group: &str| with(json!({ "fence": { "breakGlassGroups": [group] } }));
    vec![
        (json!({ "image": { "repository": "a" } }), "at '': missing property 'installation'"),
        (json!({ "installation": "a", "image": {} }), "at '/image': missing property 'repository'"),
        (with(json!({ "installation": "" })), "at '/installation': minLength: got 0, want 1"),
        (with(json!({ "installation": "a".repeat(41) })), "at '/installation': maxLength: got 41, want 40"),
        (
            with(json!({ "installation": "acme.production" })),
            "at '/installation': 'acme.production' does not match pattern",
        ),
        (with(json!({ "installation": "Acme" })), "at '/installation': 'Acme' does not match pattern"),
        (with(json!({ "installation": "acme-" })), "at '/installation': 'acme-' does not match pattern"),
        (with(json!({ "installation": 7 })), "at '/installation': got number, want string"),
        (image("repository", json!("")), "at '/image/repository': minLength: got 0, want 1"),
        (image("repository", json!("registry.example/Operator")), "at '/image/repository':"),
        (image("tag", json!("a b")), "at '/image/tag': 'a b' does not match pattern"),
        (image("digest", json!("sha256:abc")), "at '/image/digest': 'sha256:abc' does not match pattern"),
        (
            image("pullPolicy", json!("Sometimes")),
            "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
        ),
        (image("pullSecrets", json!([""])), "at '/image/pullSecrets/0': minLength: got 0, want 1"),
        (image("pullSecret", json!("x")), "at '/image': additional properties 'pullSecret' not allowed"),
        (with(json!({ "replicas": -1 })), "at '/replicas': minimum: got -1, want 0"),
        (with(json!({ "replicas": 6 })), "at '/replicas': maximum: got 6, want 5"),
        (with(json!({ "replicas": "2" })), "at '/replicas': got string, want integer"),
        (with(json!({ "log": { "format": "xml" } })), "at '/log/format': value must be one of 'json', 'text'"),
        (with(json!({ "log": { "level": "debug" } })), "at '/log': additional properties 'level' not allowed"),
        (with(json!({ "crds": { "enabled": "no" } })), "at '/crds/enabled': got string, want boolean"),
        (with(json!({ "crds": { "keep": 0 } })), "at '/crds/keep': got number, want boolean"),
        (with(json!({ "crds": { "annotations": { "a": 1 } } })), "at '/crds/annotations/a': got number, want string"),
        (with(json!({ "crds": { "install": true } })), "at '/crds': additional properties 'install' not allowed"),
        (with(json!({ "fence": { "enabled": false } })), "at '/fence': additional properties 'enabled' not allowed"),
        (glass(""), "at '/fence/breakGlassGroups/0': minLength: got 0, want 1"),
        (glass("it's"), "at '/fence/breakGlassGroups/0': 'it\\'s' does not match pattern"),
        (glass("a,b"), "at '/fence/breakGlassGroups/0': 'a,b' does not match pattern"),
        (glass("a\\b"), "at '/fence/breakGlassGroups/0':"),
        (glass("a\nb"), "at '/fence/breakGlassGroups/0':"),
        (glass("system:authenticated"), "system:authenticated is a group of the cluster's own"),
        (glass("system:serviceaccounts:acme"), "system:serviceaccounts:acme is a group of the cluster's own"),
        (
            with(json!({ "fence": { "breakGlassGroups": ["a", "a"] } })),
            "at '/fence/breakGlassGroups': items at 0 and 1 are equal",
        ),
        (with(json!({ "fence": { "breakGlassGroups": "a" } })), "at '/fence/breakGlassGroups': got string, want array"),
        (cnpg("namespace", json!("")), "at '/cloudNativePG/namespace': minLength: got 0, want 1"),
        (cnpg("namespace", json!("Cnpg")), "at '/cloudNativePG/namespace': 'Cnpg' does not match pattern"),
        (cnpg("namespace", json!("kube-system")), "at '/cloudNativePG/namespace': 'not' failed"),
        (cnpg("namespace", json!("steading-system")), "steading-system is Steading's own namespace"),
        (cnpg("operatorServiceAccount", json!("a' || true || 'b")), "at '/cloudNativePG/operatorServiceAccount': 'a"),
        (
            cnpg("operatorServiceAccount", json!("a".repeat(64))),
            "at '/cloudNativePG/operatorServiceAccount': maxLength: got 64, want 63",
        ),
        (cnpg("pluginServiceAccount", json!("a:b")), "at '/cloudNativePG/pluginServiceAccount': 'a:b' does not match"),
        (cnpg("enabled", json!(true)), "at '/cloudNativePG': additional properties 'enabled' not allowed"),
        (
            with(json!({ "resources": { "limits": { "gpu": "1" } } })),
            "at '/resources/limits': additional properties 'gpu' not allowed",
        ),
        (with(json!({ "resources": { "claims": [] } })), "at '/resources': additional properties 'claims' not allowed"),
        (with(json!({ "priorityClassName": 1 })), "at '/priorityClassName': got number, want string"),
        (with(json!({ "nodeSelector": { "a": true } })), "at '/nodeSelector/a': got boolean, want string"),
        (with(json!({ "tolerations": {} })), "at '/tolerations': got object, want array"),
        (with(json!({ "podLabels": { "a": 1 } })), "at '/podLabels/a': got number, want string"),
        (with(json!({ "podAnnotations": { "a": 1 } })), "at '/podAnnotations/a': got number, want string"),
        (with(json!({ "metrics": { "enabled": true } })), "at '/metrics': additional properties 'enabled' not allowed"),
        (
            with(json!({ "metrics": { "service": { "port": 1 } } })),
            "at '/metrics/service': additional properties 'port' not allowed",
        ),
        (
            with(json!({ "metrics": { "service": { "annotations": { "a": 1 } } } })),
            "at '/metrics/service/annotations/a': got number, want string",
        ),
        (with(json!({ "argocd": { "enabled": true } })), "at '/argocd': additional properties 'enabled' not allowed"),
        (
            with(json!({ "argocd": { "healthConfigMap": { "create": "yes" } } })),
            "at '/argocd/healthConfigMap/create': got string, want boolean",
        ),
        (
            with(json!({ "argocd": { "healthConfigMap": { "name": "argocd-cm" } } })),
            "at '/argocd/healthConfigMap': additional properties 'name' not allowed",
        ),
        (
            with(json!({ "argocd": { "healthConfigMap": { "annotations": { "a": 1 } } } })),
            "at '/argocd/healthConfigMap/annotations/a': got number, want string",
        ),
        (with(json!({ "rbac": { "create": false } })), "at '': additional properties 'rbac' not allowed"),
        (
            with(json!({ "serviceAccount": { "name": "x" } })),
            "at '': additional properties 'serviceAccount' not allowed",
        ),
    ]
}

/// The same of the probe.
fn refused_for_the_probe() -> Vec<(Value, &'static str)> {
    let probe = |key: &str, value: Value| with(json!({ "probe": { key: value } }));
    let runtime = |value: Value| with(json!({ "probe": { "runtimes": [value] } }));
    vec![
        (probe("enabled", json!("yes")), "at '/probe/enabled': got string, want boolean"),
        (probe("image", json!("x")), "at '/probe': additional properties 'image' not allowed"),
        (probe("period", json!(0)), "at '/probe/period': minimum: got 0, want 1"),
        (probe("renewal", json!(29)), "at '/probe/renewal': minimum: got 29, want 30"),
        (probe("period", json!(3601)), "at '/probe/period': maximum: got 3,601, want 3,600"),
        (probe("outside", json!("1.1.1.1:443")), "at '/probe/outside': got string, want array"),
        (probe("outside", json!(["example.com:443"])), "at '/probe/outside/0': 'example.com:443' does not match"),
        (probe("runtimes", json!([])), "at '/probe/runtimes': minItems: got 0, want 1"),
        (runtime(json!({})), "at '/probe/runtimes/0': missing property 'name'"),
        (runtime(json!({ "name": "control" })), "at '/probe/runtimes/0/name': 'not' failed"),
        (runtime(json!({ "name": "gVisor" })), "at '/probe/runtimes/0/name': 'gVisor' does not match pattern"),
        (runtime(json!({ "name": "a", "runtimeClassName": "A" })), "at '/probe/runtimes/0/runtimeClassName': 'A' does"),
        (
            runtime(json!({ "name": "a", "nodeSelector": { "a": 1 } })),
            "at '/probe/runtimes/0/nodeSelector/a': got number",
        ),
        (
            probe("resources", json!({ "limits": { "gpu": "1" } })),
            "at '/probe/resources/limits': additional properties 'gpu' not allowed",
        ),
    ]
}

fn all_refused() -> Vec<(Value, &'static str)> {
    [refused(), refused_for_the_probe(), crate::relay::refused()].concat()
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused_by_name() {
    for (values, message) in all_refused() {
        match template("steading", &values, &[]).await {
            Ok(_) => panic!("{values} was taken, but should be refused with: {message}"),
            Err(said) => assert!(said.contains(message), "{values} should be refused with:\n{message}\nbut:\n{said}"),
        }
    }
}

#[tokio::test]
async fn every_value_of_the_schema_has_a_refused_input() {
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(chart("steading").join("values.schema.json")).unwrap()).unwrap();
    let said: Vec<&str> = all_refused().into_iter().map(|(_, message)| message).collect();
    let mut untried = Vec::new();
    leaves(&schema, &mut String::new(), &mut untried);
    untried.retain(|path| !said.iter().any(|message| message.contains(&format!("'{path}"))));
    // Not read by the chart.
    untried.retain(|path| path != "/global");
    // Both halves have one schema, and one of them is tried.
    untried.retain(|path| !path.ends_with("/resources/requests"));
    assert!(untried.is_empty(), "no refused input for {untried:?}");
}

/// The paths of all properties that have no properties of their own.
fn leaves(schema: &Value, path: &mut String, found: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        found.push(path.clone());
        return;
    };
    for (name, property) in properties {
        let length = path.len();
        path.push('/');
        path.push_str(name);
        leaves(property, path, found);
        path.truncate(length);
    }
}

#[tokio::test]
async fn the_other_chart_refuses_what_it_does_not_know() {
    for (values, message) in [
        (json!({ "keep": "yes" }), "at '/keep': got string, want boolean"),
        (json!({ "annotations": { "a": 1 } }), "at '/annotations/a': got number, want string"),
        (json!({ "enabled": true }), "at '': additional properties 'enabled' not allowed"),
    ] {
        let said = template("steading-crds", &values, &[]).await.unwrap_err();
        assert!(said.contains(message), "{said}");
    }
}

#[tokio::test]
async fn both_charts_can_be_part_of_another() {
    assert!(!render("steading", &with(json!({ "global": { "anything": 1 } }))).await.is_empty());
    assert!(!render("steading-crds", &json!({ "global": { "anything": 1 } })).await.is_empty());
}

#[tokio::test]
async fn a_cluster_older_than_the_fence_is_refused() {
    for chart in ["steading", "steading-crds"] {
        let said = template(
            chart,
            &if chart == "steading" { with(json!({})) } else { json!({}) },
            &["--kube-version", "1.32.9"],
        )
        .await
        .unwrap_err();
        assert!(said.contains("chart requires kubeVersion: >=1.33.0-0"), "{said}");
    }
}
