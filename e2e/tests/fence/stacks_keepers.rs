//! `steading-stacks`: of the kinds that are lent to CloudNativePG it makes only what belongs to a database.

use serde_json::{Value, json};

use crate::caller::{Request, apply, create, delete, every_change, merge};
use crate::kinds::CLUSTER;
use crate::rules::{
    KEEPER_ACCOUNT, KEEPER_BINDING, KEEPER_CLUSTER, KEEPER_LABELS, KEEPER_NAME, KEEPER_SERVICE, WRITE_IN_STACK,
};
use crate::scene::Scene;
use crate::stacks_database::{instance_binding, instance_job, instance_pod, instance_service, stack_with_database};

const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn renamed(mut object: Value, name: &str) -> Value {
    object["metadata"]["name"] = json!(name);
    object
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
    object
}

#[tokio::test]
async fn cloudnativepg_writes_nothing_that_does_not_bear_the_name_of_the_database() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    scene.break_glass().may(&create(&stack.core("pods"), renamed(instance_pod("x"), "agent-1"))).await;
    let mut attacks = Vec::new();
    for name in ["agent", "databases", "steading", "cnpg-default-monitoring"] {
        attacks.extend([
            create(&stack.core("pods"), instance_pod(name)),
            create(&stack.core("services"), renamed(instance_service(), name)),
            create(&stack.core("secrets"), json!({ "metadata": { "name": name } })),
            create(&stack.core("serviceaccounts"), json!({ "metadata": { "name": name } })),
            create(&stack.of("batch/v1", "jobs"), instance_job(name)),
            create(&stack.of(RBAC, "roles"), json!({ "metadata": { "name": name }, "rules": [] })),
            create(&stack.of(RBAC, "rolebindings"), instance_binding(&stack, name)),
        ]);
    }
    let metadata = json!({ "metadata": { "annotations": { "a": "b" } } });
    attacks.extend([
        delete(&stack.core("pods/agent-1")),
        merge(&stack.core("pods/agent-1"), metadata.clone()),
        delete(&stack.core("serviceaccounts/default")),
        merge(&stack.core("serviceaccounts/default"), metadata.clone()),
        create(&stack.core("configmaps"), json!({ "metadata": { "name": "kube-root-ca.crt" } })),
        // The credentials of the backups are Steading's.
        delete(&stack.core("secrets/database-backup")),
        merge(&stack.core("secrets/database-backup"), metadata),
    ]);
    let endpoint = json!({ "accessKeyID": "bWluZQ==" });
    attacks.extend(every_change(&scene.admin(), &stack.core("secrets/database-backup"), "/data", endpoint).await);
    scene.cnpg().may_not_any(&attacks, KEEPER_NAME).await;
    let mut plugins = Vec::new();
    for name in ["database", "database-other", "barman-cloud"] {
        let role = json!({ "metadata": { "name": name }, "rules": [] });
        plugins.push(create(&stack.of(RBAC, "roles"), role));
        plugins.push(create(&stack.of(RBAC, "rolebindings"), instance_binding(&stack, name)));
    }
    plugins.push(delete(&stack.of(RBAC, "rolebindings/database")));
    plugins.push(merge(&stack.of(RBAC, "roles/database"), json!({ "rules": [] })));
    scene.plugin().may_not_any(&plugins, KEEPER_NAME).await;
}

#[tokio::test]
async fn cloudnativepg_gives_no_label_that_opens_another_parts_way_or_looks_like_steadings() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let mut attacks = Vec::new();
    for (label, value) in [
        ("steading.dev~1part", "agent"),
        ("steading.dev~1stack", "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b"),
        ("steading.dev~1owner", "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b"),
        ("app.kubernetes.io~1managed-by", "steading"),
    ] {
        let pointer = format!("/metadata/labels/{label}");
        attacks.push(create(&stack.core("pods"), with(instance_pod("database-9"), &pointer, json!(value))));
        attacks.extend(every_change(&scene.admin(), &stack.core("pods/database-1"), &pointer, json!(value)).await);
        let template = format!("/spec/template{pointer}");
        let job = with(instance_job("database-9-join"), &template, json!(value));
        attacks.push(create(&stack.of("batch/v1", "jobs"), job));
        let binding = with(instance_binding(&stack, "database-9"), &pointer, json!(value));
        attacks.push(create(&stack.of(RBAC, "rolebindings"), binding));
    }
    scene.cnpg().may_not_any(&attacks, KEEPER_LABELS).await;
}

#[tokio::test]
async fn cloudnativepg_binds_only_its_own_role_and_only_to_the_instances_of_the_stack() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let (name, path) = ("database-barman-cloud", stack.of(RBAC, "rolebindings"));
    let group = "rbac.authorization.k8s.io";
    let mia = json!({ "apiGroup": group, "kind": "User", "name": "mia" });
    let account =
        |name: &str, namespace: &str| json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace });
    let instances = account("database", &stack.namespace);
    let good = instance_binding(&stack, name);
    let bad = [
        with(good.clone(), "/roleRef/name", json!("steading-stack-editor")),
        with(
            good.clone(),
            "/roleRef",
            json!({ "apiGroup": group, "kind": "ClusterRole", "name": "database-barman-cloud" }),
        ),
        with(good.clone(), "/subjects", json!([instances, mia])),
        with(
            good.clone(),
            "/subjects",
            json!([{ "apiGroup": group, "kind": "Group", "name": "system:serviceaccounts" }]),
        ),
        with(good.clone(), "/subjects", json!([account("database", "acme")])),
        with(good.clone(), "/subjects", json!([account("default", &stack.namespace)])),
    ];
    let attacks: Vec<Request> = bad.into_iter().map(|binding| create(&path, binding)).collect();
    for caller in [scene.cnpg(), scene.plugin()] {
        caller.may_not_any(&attacks, KEEPER_BINDING).await;
    }
    let changes = every_change(&scene.admin(), &format!("{path}/database"), "/subjects", json!([instances, mia])).await;
    scene.cnpg().may_not_any(&changes, KEEPER_BINDING).await;
}

#[tokio::test]
async fn cloudnativepg_runs_nothing_as_anybody_but_the_instances_and_makes_no_token() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let other = json!("default");
    let token = json!({
        "metadata": { "name": "database-token", "annotations": { "kubernetes.io/service-account.name": "database" } },
        "type": "kubernetes.io/service-account-token",
    });
    let job = instance_job("database-9-join");
    let attacks = [
        create(&stack.core("pods"), with(instance_pod("database-9"), "/spec/serviceAccountName", other.clone())),
        create(&stack.of("batch/v1", "jobs"), with(job, "/spec/template/spec/serviceAccountName", other)),
        create(&stack.core("secrets"), token),
    ];
    scene.cnpg().may_not_any(&attacks, KEEPER_ACCOUNT).await;
}

#[tokio::test]
async fn a_service_of_cloudnativepg_leads_to_the_database_and_nowhere_else() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let service = || renamed(instance_service(), "database-other");
    let path = stack.core("services");
    let attacks = [
        create(&path, with(service(), "/spec/externalIPs", json!(["203.0.113.7"]))),
        create(&path, with(service(), "/spec/type", json!("NodePort"))),
        create(&path, with(service(), "/spec/type", json!("LoadBalancer"))),
        create(&path, with(service(), "/spec", json!({ "type": "ExternalName", "externalName": "evil.example" }))),
        create(&path, with(service(), "/spec/selector", json!({ "app": "agent" }))),
        create(&path, with(service(), "/spec/selector", Value::Null)),
    ];
    scene.cnpg().may_not_any(&attacks, KEEPER_SERVICE).await;
    let elsewhere = json!(["203.0.113.7"]);
    let path = format!("{path}/database-rw");
    let changes = every_change(&scene.admin(), &path, "/spec/externalIPs", elsewhere).await;
    scene.cnpg().may_not_any(&changes, KEEPER_SERVICE).await;
}

#[tokio::test]
async fn cloudnativepg_fills_in_what_a_cluster_leaves_out_and_fences_instances() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let path = stack.of(CLUSTER.api, "clusters/database");
    // As it does where its webhooks are not installed.
    let defaults = json!({
        "metadata": { "annotations": { "cnpg.io/fencedInstances": "[\"database-1\"]" } },
        "spec": {
            "bootstrap": { "initdb": { "encoding": "UTF8", "localeCType": "C" } },
            "postgresql": {
                "parameters": { "wal_level": "logical" },
                "syncReplicaElectionConstraint": { "enabled": false },
                "synchronous": { "failoverQuorum": false },
                "enableAlterSystem": null,
            },
            "logLevel": "info",
            "monitoring": { "disableDefaultQueries": false },
            "replicationSlots": { "highAvailability": { "enabled": true } },
            "probes": { "liveness": { "isolationCheck": { "enabled": true } } },
        },
    });
    scene.cnpg().may(&merge(&path, defaults)).await;
    // Steading's own apply goes on working beside that.
    let operator = scene.operator().await;
    operator.may(&apply(&path, crate::kinds::cluster())).await;
}

#[tokio::test]
async fn cloudnativepg_changes_nothing_that_steading_said_of_a_cluster() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let path = stack.of(CLUSTER.api, "clusters/database");
    let mut attacks = Vec::new();
    for (pointer, value) in [
        ("/metadata/labels", json!({ "team": "payments" })),
        ("/metadata/finalizers", json!(["example.com/pinned"])),
        ("/metadata/ownerReferences", json!([{ "apiVersion": "v1", "kind": "Secret", "name": "gone", "uid": "u" }])),
        ("/spec/imageName", json!("registry.example/other:18.4")),
        ("/spec/instances", json!(1)),
        ("/spec/instances", Value::Null),
        ("/spec/inheritedMetadata/labels", json!({ "steading.dev/part": "agent" })),
        ("/spec/enableSuperuserAccess", json!(true)),
        ("/spec/externalClusters", json!([{ "name": "foreign" }])),
        ("/spec/env", json!([{ "name": "A", "value": "b" }])),
        ("/spec/managed", json!({ "services": {} })),
        ("/spec/serviceAccountName", json!("default")),
        ("/spec/postgresql/enableAlterSystem", json!(true)),
        ("/spec/postgresql/synchronous/number", json!(0)),
        ("/spec/postgresql/synchronous", Value::Null),
        ("/spec/postgresql/ldap", json!({ "server": "203.0.113.7" })),
        ("/spec/postgresql/pg_hba", json!(["host all all all trust"])),
        ("/spec/postgresql", Value::Null),
    ] {
        attacks.extend(every_change(&scene.admin(), &path, pointer, value).await);
    }
    scene.cnpg().may_not_any(&attacks, KEEPER_CLUSTER).await;
    scene.cnpg().may_not(&delete(&path), WRITE_IN_STACK).await;
}
