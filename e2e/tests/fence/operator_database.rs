//! `steading-operator`: what a thief of the operator's token could do with a stack's database.

use serde_json::{Value, json};

use crate::caller::{Request, apply, create, delete, every_change, merge};
use crate::kinds::{self, BACKUP, CLUSTER, OBJECT_STORE, SCHEDULED_BACKUP};
use crate::rules::{
    KEEPER_NAME, OPERATOR_BACKUP, OPERATOR_CLUSTER, OPERATOR_DATABASE_METADATA, OPERATOR_DATABASE_NAME, OPERATOR_KIND,
    OPERATOR_ROLE, OPERATOR_SECRET_TYPE, OPERATOR_SUBJECT,
};
use crate::scene::{OWN_NAMESPACE, Scene, Stood};

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Every way to have an object in a stack: to make it, and to apply it.
fn ways(path: &str, object: Value) -> [Request; 2] {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    [create(path, object.clone()), apply(&format!("{path}/{name}"), object)]
}

/// Backups to begin with, as the Cluster names them.
fn origin(name: &str, object_store: &str) -> Value {
    let parameters = json!({ "barmanObjectName": object_store, "serverName": "database-01234567" });
    json!({ "name": name, "plugin": { "name": "barman-cloud.cloudnative-pg.io", "parameters": parameters } })
}

#[tokio::test]
async fn the_operators_token_makes_a_cluster_that_begins_with_backups_of_its_own() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let mut cluster = kinds::cluster();
    cluster["spec"]["externalClusters"] = json!([origin("database-origin", "database-origin")]);
    operator.may(&create(&stack.of(CLUSTER.api, "clusters"), cluster)).await;
    let store = OBJECT_STORE.object("database-origin", &json!({ "configuration": { "destinationPath": "s3://b/" } }));
    operator.may(&create(&stack.of(OBJECT_STORE.api, "objectstores"), store)).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "database-origin" }, "type": "Opaque",
    });
    operator.may(&create(&stack.core("secrets"), secret)).await;
    // CloudNativePG has no business with it.
    scene.cnpg().may_not(&delete(&stack.core("secrets/database-origin")), KEEPER_NAME).await;
}

/// Has the operator write what it writes for a database.
async fn furnish(scene: &Scene, stack: &Stood) {
    let operator = scene.operator().await;
    for (path, object) in kinds::of_steading(&stack.namespace) {
        // First bare, so that no stranger's object is taken over, then whole.
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut bare = object.clone();
        bare.as_object_mut().unwrap().retain(|key, _| key != "spec" && key != "stringData");
        operator.may(&create(&path, bare)).await;
        operator.may(&apply(&format!("{path}/{name}"), object)).await;
    }
}

#[tokio::test]
async fn the_operators_token_writes_one_database_in_a_stack_by_its_name() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    furnish(&scene, &stack).await;
    let glass = scene.break_glass();
    for (path, mut object) in kinds::of_steading(&stack.namespace) {
        for name in ["other", "database-ca", "database-1"] {
            object["metadata"]["name"] = json!(name);
            operator.may_not_any(&ways(&path, object.clone()), OPERATOR_DATABASE_NAME).await;
        }
        glass.may(&create(&path, object)).await;
        let item = format!("{path}/database-1");
        let mut attacks =
            every_change(&scene.admin(), &item, "/metadata/annotations", json!({ "steading.dev/a": "b" })).await;
        attacks.push(delete(&item));
        operator.may_not_any(&attacks, OPERATOR_DATABASE_NAME).await;
    }
}

#[tokio::test]
async fn the_operators_token_writes_no_other_kind_and_no_status_of_a_database() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    furnish(&scene, &stack).await;
    let status = json!({ "status": { "phase": "x" } });
    let mut attacks = Vec::new();
    for kind in [kinds::POOLER, kinds::FAILOVER_QUORUM] {
        attacks.push(create(&stack.of(kind.api, kind.plural), kind.object("database", &json!({}))));
    }
    for (kind, name) in
        [(CLUSTER, "database"), (SCHEDULED_BACKUP, "database-backup"), (OBJECT_STORE, "database-backup")]
    {
        let path = stack.of(kind.api, &format!("{}/{name}/status", kind.plural));
        attacks.push(merge(&path, status.clone()));
    }
    operator.may_not_any(&attacks, OPERATOR_KIND).await;
}

#[tokio::test]
async fn the_operators_token_asks_for_full_backups_of_the_database_by_its_plugin_and_has_no_other_say_in_them() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of(BACKUP.api, "backups");
    let asked = |name: &str| {
        let plugin = json!({ "name": "barman-cloud.cloudnative-pg.io" });
        let spec = json!({
            "cluster": { "name": "database" }, "method": "plugin", "pluginConfiguration": plugin, "target": "prefer-standby",
        });
        BACKUP.object(name, &spec)
    };
    let name = "database-backup-again-1763892000-0";
    let mut attacks = Vec::new();
    for (pointer, value) in [
        ("/spec/cluster", json!({ "name": "database-drill" })),
        ("/spec/cluster", json!({})),
        ("/spec/method", json!("barmanObjectStore")),
        ("/spec/method", json!("volumeSnapshot")),
        ("/spec/pluginConfiguration", json!({ "name": "other" })),
        ("/spec/online", json!(false)),
    ] {
        let mut other = asked(name);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        other.pointer_mut(parent).unwrap()[key] = value;
        attacks.extend(ways(&path, other));
    }
    operator.may_not_any(&attacks, OPERATOR_BACKUP).await;
    let others = ["other", "database-backup-20261123133142", "database-drill"].map(|name| ways(&path, asked(name)));
    operator.may_not_any(&others.concat(), OPERATOR_DATABASE_NAME).await;
    operator.may(&create(&path, asked(name))).await;
    let item = format!("{path}/{name}");
    let mut attacks = every_change(&scene.admin(), &item, "/spec/method", json!("barmanObjectStore")).await;
    attacks.push(delete(&item));
    operator.may_not_any(&attacks, OPERATOR_DATABASE_NAME).await;
}

#[tokio::test]
async fn the_operators_token_has_no_token_written_into_a_secret() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    for (kind, data) in
        [("kubernetes.io/service-account-token", json!({})), ("kubernetes.io/basic-auth", json!({ "username": "a" }))]
    {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind, "stringData": data,
            "metadata": {
                "name": "database-backup", "annotations": { "kubernetes.io/service-account.name": "default" },
            },
        });
        operator.may_not_any(&ways(&stack.core("secrets"), secret), OPERATOR_SECRET_TYPE).await;
    }
}

#[tokio::test]
async fn the_operators_token_makes_no_cluster_that_opens_a_way() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of(CLUSTER.api, "clusters");
    let openings = [
        ("/spec/enableSuperuserAccess", json!(true)),
        ("/spec/postgresql/enableAlterSystem", json!(true)),
        (
            "/spec/managed",
            json!({ "services": { "additional": [{ "serviceTemplate": { "spec": { "type": "LoadBalancer" } } }] } }),
        ),
        ("/spec/managed", json!({ "roles": [{ "name": "mallory", "superuser": true, "login": true }] })),
        ("/spec/env", json!([{ "name": "LD_PRELOAD", "value": "/tmp/x.so" }])),
        ("/spec/envFrom", json!([{ "secretRef": { "name": "other" } }])),
        (
            "/spec/projectedVolumeTemplate",
            json!({ "sources": [{ "serviceAccountToken": { "path": "t", "audience": "openbao" } }] }),
        ),
        ("/spec/externalClusters", json!([{ "name": "foreign", "connectionParameters": { "host": "203.0.113.7" } }])),
        ("/spec/externalClusters", json!([origin("database-origin", "database-backup")])),
        ("/spec/externalClusters", json!([origin("foreign", "database-origin")])),
        (
            "/spec/externalClusters",
            json!([origin("database-origin", "database-origin"), origin("database-origin", "database-origin")]),
        ),
        ("/spec/replica", json!({ "enabled": true, "source": "foreign" })),
        ("/spec/certificates", json!({ "clientCASecret": "mine" })),
        ("/spec/superuserSecret", json!({ "name": "mine" })),
        ("/spec/serviceAccountName", json!("default")),
        (
            "/spec/serviceAccountTemplate",
            json!({ "metadata": { "annotations": { "eks.amazonaws.com/role-arn": "arn:x" } } }),
        ),
        ("/spec/inheritedMetadata/labels", json!({ "steading.dev/part": "agent" })),
        ("/spec/inheritedMetadata/labels", json!({ "steading.dev/part": "database", "team": "payments" })),
        ("/spec/inheritedMetadata/annotations", json!({ "k8s.v1.cni.cncf.io/networks": "outside" })),
    ];
    let mut bad = Vec::new();
    for (pointer, value) in &openings {
        let mut cluster = kinds::cluster();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        cluster.pointer_mut(parent).unwrap()[key] = value.clone();
        bad.extend(ways(&path, cluster));
    }
    operator.may_not_any(&bad, OPERATOR_CLUSTER).await;
    furnish(&scene, &stack).await;
    for (pointer, value) in openings {
        let changes = every_change(&scene.admin(), &format!("{path}/database"), pointer, value).await;
        operator.may_not_any(&changes, OPERATOR_CLUSTER).await;
    }
}

#[tokio::test]
async fn the_operators_token_gives_cloudnativepg_no_orders_by_annotation_or_label() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    furnish(&scene, &stack).await;
    let patch = json!("[{\"op\":\"add\",\"path\":\"/spec/hostNetwork\",\"value\":true}]");
    for (path, object) in kinds::of_steading(&stack.namespace) {
        let item = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
        let orders = json!({ "cnpg.io/podPatch": patch });
        let mut attacks = every_change(&scene.admin(), &item, "/metadata/annotations", orders.clone()).await;
        let team = json!({ "team": "payments" });
        attacks.extend(every_change(&scene.admin(), &item, "/metadata/labels", team).await);
        let mut ordered = object.clone();
        ordered["metadata"]["annotations"] = orders;
        attacks.extend(ways(&path, ordered));
        operator.may_not_any(&attacks, OPERATOR_DATABASE_METADATA).await;
    }
    // What CloudNativePG noted does not stop the operator.
    let cluster = stack.of(CLUSTER.api, "clusters/database");
    let noted = json!({ "metadata": { "annotations": { "cnpg.io/fencedInstances": "[\"*\"]" } } });
    scene.cnpg().may(&merge(&cluster, noted)).await;
    let mut hashed = kinds::cluster();
    hashed["metadata"]["annotations"] = json!({ "steading.dev/desired-hash": "x" });
    operator.may(&apply(&cluster, hashed)).await;
    // By this alone of all of CloudNativePG's orders a database is stopped before its stack goes.
    let stopped = json!({ "metadata": { "annotations": { "cnpg.io/hibernation": "on" } } });
    operator.may(&merge(&cluster, stopped.clone())).await;
    let scheduled = stack.of(SCHEDULED_BACKUP.api, "scheduledbackups/database-backup");
    operator.may_not_any(&[merge(&scheduled, stopped)], OPERATOR_DATABASE_METADATA).await;
}

/// The operator's binding of itself.
fn binding(name: &str, role: &str, subjects: &Value) -> Value {
    json!({
        "apiVersion": RBAC, "kind": "RoleBinding", "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": subjects,
    })
}

#[tokio::test]
async fn the_operators_token_binds_itself_to_one_role_and_nobody_else_to_that() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of(RBAC, "rolebindings");
    let account =
        |name: &str, namespace: &str| json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace });
    let itself = account("steading", OWN_NAMESPACE);
    let mia = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mia" });
    let role = "steading-stack-operator";
    operator.may_not_any(&ways(&path, binding("x", role, &json!([itself]))), OPERATOR_ROLE).await;
    let others = [
        json!([]),
        json!([mia]),
        json!([itself, mia]),
        json!([account("steading", "acme")]),
        json!([account("default", OWN_NAMESPACE)]),
        json!([itself, account("database", &stack.namespace)]),
    ];
    for subjects in &others {
        operator.may_not_any(&ways(&path, binding("steading-operator", role, subjects)), OPERATOR_SUBJECT).await;
    }
    let viewer = binding("steading-operator", "steading-stack-viewer", &json!([itself]));
    operator.may_not_any(&ways(&path, viewer), OPERATOR_SUBJECT).await;
    let item = format!("{path}/steading-operator");
    operator.may(&apply(&item, binding("steading-operator", role, &json!([itself])))).await;
    for subjects in others {
        let changes = every_change(&scene.admin(), &item, "/subjects", subjects).await;
        operator.may_not_any(&changes, OPERATOR_SUBJECT).await;
    }
    operator.may(&delete(&item)).await;
}
