//! `steading-operator`: what a thief of the operator's token could run in a stack.

use serde_json::{Value, json};

use crate::caller::{Request, apply, create, delete, every_change, merge};
use crate::rules::{
    OPERATOR_CANARY_ACCOUNT, OPERATOR_CANARY_CONTAINER, OPERATOR_CANARY_METADATA, OPERATOR_CANARY_NAME,
    OPERATOR_CANARY_VOLUMES, OPERATOR_KIND, Rule,
};
use crate::scene::{Scene, Stood, child_labels};
use crate::stacks::pod;

/// A source of the certificates: these entries of a Secret.
fn entries(secret: &str, keys: &[&str]) -> Value {
    let items: Vec<Value> = keys.iter().map(|key| json!({ "key": key, "path": key })).collect();
    json!({ "secret": { "name": secret, "items": items } })
}

/// The certificates of a canary from these sources, and where it notes when it last wrote.
fn volumes(sources: &Value) -> Value {
    let certificates = json!({ "name": "certificates", "projected": { "defaultMode": 0o440, "sources": sources } });
    json!([certificates, { "name": "state", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } }])
}

/// The pods of a canary.
fn template(certificate: &str, authority: &str) -> Value {
    let mut spec = pod("x")["spec"].clone();
    spec["securityContext"]["fsGroup"] = json!(65532);
    spec["volumes"] = volumes(&json!([entries(certificate, &["tls.crt", "tls.key"]), entries(authority, &["ca.crt"])]));
    let container = &mut spec["containers"][0];
    container["args"] = json!(["write"]);
    container["env"] = json!([{ "name": "STEADING_CANARY_PERIOD", "value": "300s" }]);
    container["volumeMounts"] = json!([
        { "name": "certificates", "mountPath": "/run/canary/certificates", "readOnly": true },
        { "name": "state", "mountPath": "/run/canary/state" },
    ]);
    let labels = json!({ "steading.dev/part": "canary", "app.kubernetes.io/name": "steading-canary" });
    json!({ "metadata": { "labels": labels }, "spec": spec })
}

/// What writes into a database all the time.
pub fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "database-canary" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app.kubernetes.io/name": "steading-canary" } },
            "template": template("database-canary-client-cert", "database-ca"),
        },
    })
}

/// What looks at what was restored for a drill.
pub fn job() -> Value {
    let mut template = template("database-drill-client-cert", "database-drill-ca");
    template["spec"]["restartPolicy"] = json!("Never");
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "database-drill" },
        "spec": { "backoffLimit": 0, "template": template },
    })
}

/// Both, by the paths of their kinds, with Steading's labels.
pub fn both(stack: &Stood) -> [(String, Value); 2] {
    let labelled = |mut object: Value| {
        object["metadata"]["labels"] = json!(child_labels(&stack.facts));
        object
    };
    [(stack.of("apps/v1", "deployments"), labelled(deployment())), (stack.of("batch/v1", "jobs"), labelled(job()))]
}

fn item(path: &str, object: &Value) -> String {
    format!("{path}/{}", object["metadata"]["name"].as_str().unwrap())
}

fn ways(path: &str, object: &Value) -> [Request; 2] {
    [create(path, object.clone()), apply(&item(path, object), object.clone())]
}

#[tokio::test]
async fn the_operators_token_runs_a_canary_and_a_drill_and_ends_them() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    for (path, object) in both(&stack) {
        let item = item(&path, &object);
        let mut hashed = object.clone();
        hashed["metadata"]["annotations"] = json!({ "steading.dev/desired-hash": "x" });
        // Both ways to make them, and to say it again.
        operator.may(&create(&path, object)).await;
        operator.may(&delete(&format!("{item}?propagationPolicy=Background"))).await;
        operator.may(&apply(&item, hashed.clone())).await;
        operator.may(&apply(&item, hashed)).await;
        operator.may(&delete(&format!("{item}?propagationPolicy=Background"))).await;
    }
}

#[tokio::test]
async fn what_others_noted_on_a_canary_does_not_stop_the_operator() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let (path, mut object) = both(&stack)[0].clone();
    let item = item(&path, &object);
    operator.may(&apply(&item, object.clone())).await;
    let counted = json!({ "metadata": { "annotations": { "deployment.kubernetes.io/revision": "1" } } });
    scene.controller().may(&merge(&item, counted)).await;
    let again =
        json!({ "annotations": { "kubectl.kubernetes.io/restartedAt": "now" }, "labels": { "incident": "4711" } });
    scene.break_glass().may(&merge(&item, json!({ "spec": { "template": { "metadata": again } } }))).await;
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("local.test/main:2");
    operator.may(&apply(&item, object)).await;
}

#[tokio::test]
async fn the_operators_token_runs_nothing_else_in_a_stack() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    for (path, mut object) in both(&stack) {
        let own = object["metadata"]["name"].clone();
        for name in ["agent", "database", "database-canary-2", "database-drill-1", "database-drill", "database-canary"]
        {
            if json!(name) == own {
                continue;
            }
            object["metadata"]["name"] = json!(name);
            operator.may_not_any(&ways(&path, &object), OPERATOR_CANARY_NAME).await;
            scene.break_glass().may(&create(&path, object.clone())).await;
            let item = item(&path, &object);
            let note = json!({ "steading.dev/a": "b" });
            let mut attacks = every_change(&scene.admin(), &item, "/metadata/annotations", note).await;
            attacks.extend([delete(&item), delete(&path)]);
            operator.may_not_any(&attacks, OPERATOR_CANARY_NAME).await;
        }
    }
    // Nor of its own anything but what it is.
    let (path, object) = both(&stack)[0].clone();
    operator.may(&create(&path, object.clone())).await;
    let scaled = merge(&format!("{}/scale", item(&path, &object)), json!({ "spec": { "replicas": 3 } }));
    let told = merge(&format!("{}/status", item(&path, &object)), json!({ "status": { "replicas": 3 } }));
    operator.may_not_any(&[scaled, told], OPERATOR_KIND).await;
}

/// Asserts that the operator can have neither of the two with a field changed like this: at first, and where it can be, later.
async fn refused(scene: &Scene, openings: &[(&str, Value)], rule: Rule) {
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let both = both(&stack);
    for (pointer, value) in openings {
        for (path, object) in &both {
            let mut bad = object.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/");
            let parent = bad.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            drop(if value.is_null() { parent.remove(&key) } else { parent.insert(key, value.clone()) });
            operator.may_not_any(&ways(path, &bad), rule).await;
        }
    }
    // The pods of a Job stay as they are.
    let (path, object) = &both[0];
    operator.may(&create(path, object.clone())).await;
    for (pointer, value) in openings {
        let changes = every_change(&scene.admin(), &item(path, object), pointer, value.clone()).await;
        operator.may_not_any(&changes, rule).await;
    }
}

#[tokio::test]
async fn the_operators_token_runs_nothing_with_a_token() {
    let scene = Scene::set().await;
    let openings = [
        ("/spec/template/spec/automountServiceAccountToken", json!(true)),
        ("/spec/template/spec/automountServiceAccountToken", Value::Null),
        ("/spec/template/spec/serviceAccountName", json!("database")),
        ("/spec/template/spec/serviceAccountName", json!("database-drill")),
    ];
    refused(&scene, &openings, OPERATOR_CANARY_ACCOUNT).await;
}

#[tokio::test]
async fn the_operators_token_runs_one_container_that_is_told_everything_in_plain() {
    let scene = Scene::set().await;
    let main = || template("a", "b")["spec"]["containers"][0].clone();
    let mut second = main();
    second["name"] = json!("second");
    let with = |key: &str, value: Value| {
        let mut container = main();
        container[key] = value;
        json!([container])
    };
    let from =
        |source: Value| with("env", json!([{ "name": "A", "value": "b" }, { "name": "B", "valueFrom": source }]));
    let openings = [
        ("/spec/template/spec/containers", json!([main(), second])),
        ("/spec/template/spec/initContainers", json!([second])),
        ("/spec/template/spec/containers", with("envFrom", json!([{ "secretRef": { "name": "database-superuser" } }]))),
        ("/spec/template/spec/containers", with("envFrom", json!([{ "configMapRef": { "name": "x" } }]))),
        ("/spec/template/spec/containers", from(json!({ "secretKeyRef": { "name": "database-ca", "key": "ca.key" } }))),
        ("/spec/template/spec/containers", from(json!({ "fieldRef": { "fieldPath": "metadata.name" } }))),
    ];
    refused(&scene, &openings, OPERATOR_CANARY_CONTAINER).await;
}

#[tokio::test]
async fn the_operators_token_mounts_no_key_but_that_of_the_certificate() {
    let scene = Scene::set().await;
    let beside = |volume: Value| {
        let mut volumes = volumes(&json!([]));
        volumes.as_array_mut().unwrap().push(volume);
        volumes
    };
    let plain = |source: Value| {
        let mut volume = json!({ "name": "other" });
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        beside(volume)
    };
    let token = json!({ "serviceAccountToken": { "path": "token", "audience": "openbao" } });
    let values = [
        plain(json!({ "secret": { "secretName": "database-ca" } })),
        plain(json!({ "secret": { "secretName": "database-backup" } })),
        plain(json!({ "configMap": { "name": "x" } })),
        plain(json!({ "downwardAPI": { "items": [] } })),
        plain(json!({ "hostPath": { "path": "/" } })),
        plain(json!({ "persistentVolumeClaim": { "claimName": "database-1" } })),
        plain(json!({ "csi": { "driver": "secrets-store.csi.k8s.io" } })),
        plain(json!({ "nfs": { "server": "203.0.113.7", "path": "/" } })),
        volumes(&json!([token])),
        volumes(&json!([{ "configMap": { "name": "x" } }])),
        // Both keys of an authority, by leaving out which.
        volumes(&json!([{ "secret": { "name": "database-ca" } }])),
        volumes(&json!([{ "secret": { "name": "database-drill-ca" } }])),
        volumes(&json!([entries("database-ca", &["ca.crt", "ca.key"])])),
        volumes(&json!([entries("database-drill-ca", &["ca.key"])])),
        volumes(&json!([entries("database-backup", &["accessKeyID"])])),
        volumes(&json!([entries("database-backup", &["tls.crt"])])),
        volumes(&json!([entries("database-consumer-shop.billing-client-cert", &["tls.crt", "tls.key"])])),
        volumes(&json!([entries("database-replication", &["tls.crt", "tls.key"])])),
        volumes(&json!([entries("database-canary-client-cert", &["ca.key"])])),
    ];
    let openings = values.map(|value| ("/spec/template/spec/volumes", value));
    refused(&scene, &openings, OPERATOR_CANARY_VOLUMES).await;
    // Nor what is the other's.
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let [canary, drill] = both(&stack);
    let entries_of = |certificate: &str, authority: &str| {
        volumes(&json!([entries(certificate, &["tls.crt", "tls.key"]), entries(authority, &["ca.crt"])]))
    };
    for ((path, object), certificate, authority) in [
        (&canary, "database-drill-client-cert", "database-ca"),
        (&canary, "database-canary-client-cert", "database-drill-ca"),
        (&drill, "database-canary-client-cert", "database-drill-ca"),
        (&drill, "database-drill-client-cert", "database-ca"),
    ] {
        let mut object = object.clone();
        object["spec"]["template"]["spec"]["volumes"] = entries_of(certificate, authority);
        operator.may_not_any(&ways(path, &object), OPERATOR_CANARY_VOLUMES).await;
    }
}

#[tokio::test]
async fn the_operators_token_runs_nothing_that_is_taken_for_an_instance_or_put_elsewhere() {
    let scene = Scene::set().await;
    let labels = |part: &str| json!({ "steading.dev/part": part, "app.kubernetes.io/name": "steading-canary" });
    let mut team = labels("canary");
    team["team"] = json!("payments");
    let mut instance = labels("canary");
    instance["cnpg.io/cluster"] = json!("database");
    let openings = [
        ("/spec/template/metadata/labels", labels("database")),
        ("/spec/template/metadata/labels", labels("drill")),
        ("/spec/template/metadata/labels", team),
        ("/spec/template/metadata/labels", instance),
        ("/spec/template/metadata/annotations", json!({ "k8s.v1.cni.cncf.io/networks": "outside" })),
        ("/metadata/labels/team", json!("payments")),
        ("/metadata/annotations", json!({ "reloader.example/auto": "true" })),
    ];
    refused(&scene, &openings, OPERATOR_CANARY_METADATA).await;
    let stack = scene.stack().await;
    let (path, mut unnamed) = both(&stack)[1].clone();
    let label = |name: &str| json!({ "steading.dev/part": "canary", "app.kubernetes.io/name": name });
    for labels in [json!({ "app.kubernetes.io/name": "steading-canary" }), label("billing")] {
        unnamed["spec"]["template"]["metadata"]["labels"] = labels;
        scene.operator().await.may_not_any(&ways(&path, &unnamed), OPERATOR_CANARY_METADATA).await;
    }
}
