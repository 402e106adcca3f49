//! `steading-stacks`: what is lent to the keepers of databases for those who sign in from elsewhere.

use serde_json::{Value, json};

use crate::caller::{Caller, Request, apply, changes_through, create, delete, every_change, merge, replace};
use crate::kinds::{self, CONSUMER, DATABASE_ROLE};
use crate::rules::{KEEPER_LABELS, KEEPER_ROLE, WRITE_IN_STACK};
use crate::scene::{Scene, Stood, child_labels};
use crate::stacks_database::stack_with_database;

const FINALIZER: &str = "cnpg.io/deleteRole";

/// A stack with a database and this role of a consumer, as the operator makes it; and the path of the role.
async fn consumed(scene: &Scene, role: Value) -> (Stood, String) {
    let stack = stack_with_database(scene).await;
    let path = stack.of(DATABASE_ROLE.api, DATABASE_ROLE.plural);
    let item = format!("{path}/{CONSUMER}");
    let mut role = role;
    role["metadata"]["labels"] = json!(child_labels(&stack.facts));
    scene.operator().await.may(&apply(&item, role)).await;
    (stack, item)
}

#[tokio::test]
async fn cloudnativepg_and_an_instance_hold_the_role_of_a_consumer_and_let_it_go() {
    let scene = Scene::set().await;
    let (stack, item) = consumed(&scene, kinds::consumer()).await;
    for caller in [scene.cnpg(), scene.instance(&stack.namespace)] {
        for finalizers in [json!([FINALIZER]), json!([])] {
            // Each of them would undo nothing, so that the others are a change as well.
            for way in 0..3 {
                let changes = every_change(&scene.admin(), &item, "/metadata/finalizers", finalizers.clone()).await;
                caller.may(&changes[way]).await;
            }
        }
        let status = json!({ "applied": true, "observedGeneration": 1 });
        for write in &changes_through(&scene.admin(), &item, "/status", "/status", status).await[..2] {
            caller.may(write).await;
        }
    }
    // The certificate is CloudNativePG's to write, to renew and to take away.
    let certificate = json!({
        "metadata": { "name": format!("{CONSUMER}-client-cert"), "labels": { "app.kubernetes.io/managed-by": "cloudnative-pg" } },
        "type": "kubernetes.io/tls", "stringData": { "tls.crt": "c", "tls.key": "k" },
    });
    let secrets = stack.core("secrets");
    scene.cnpg().may(&create(&secrets, certificate)).await;
    let secret = format!("{secrets}/{CONSUMER}-client-cert");
    scene.cnpg().may(&merge(&secret, json!({ "stringData": { "tls.crt": "d" } }))).await;
    scene.cnpg().may(&delete(&secret)).await;
}

#[tokio::test]
async fn an_instance_that_writes_a_whole_role_leaves_out_what_is_false_or_empty() {
    let scene = Scene::set().await;
    let (stack, item) = consumed(&scene, kinds::locked_consumer()).await;
    let instance = scene.instance(&stack.namespace);
    let mut whole = scene.admin().get(&item).await;
    whole["metadata"]["finalizers"] = json!([FINALIZER]);
    let spec = whole["spec"].as_object_mut().unwrap();
    assert_eq!((spec.remove("login"), spec.remove("inRoles")), (Some(json!(false)), Some(json!([]))));
    instance.may(&replace(&item, whole)).await;
    // The operator says it again, and takes the role away.
    let operator = scene.operator().await;
    operator.may(&apply(&item, kinds::locked_consumer())).await;
    operator.may(&delete(&item)).await;
    instance.may(&merge(&item, json!({ "metadata": { "finalizers": null } }))).await;
    // What says something is not left out.
    let (stack, item) = consumed(&scene, kinds::consumer()).await;
    let mut attacks = Vec::new();
    for field in ["login", "inRoles", "disablePassword", "clientCertificate", "connectionLimit"] {
        attacks.extend(every_change(&scene.admin(), &item, &format!("/spec/{field}"), Value::Null).await);
    }
    for caller in [scene.cnpg(), scene.instance(&stack.namespace)] {
        caller.may_not_any(&attacks, KEEPER_ROLE).await;
    }
}

#[tokio::test]
async fn cloudnativepg_and_an_instance_change_nothing_that_steading_said_of_a_consumer() {
    let scene = Scene::set().await;
    let (stack, item) = consumed(&scene, kinds::consumer()).await;
    let mut attacks = Vec::new();
    for (pointer, value) in [
        ("/metadata/labels", json!({ "team": "payments" })),
        ("/metadata/labels/steading.dev~1owner", json!("3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b")),
        ("/metadata/labels/steading.dev~1part", json!("database")),
        ("/metadata/annotations", json!({ "a": "b" })),
        ("/metadata/ownerReferences", json!([{ "apiVersion": "v1", "kind": "Secret", "name": "gone", "uid": "u" }])),
        ("/metadata/finalizers", json!(["example.com/pinned"])),
        ("/spec/name", json!("consumer_depot_robot")),
        ("/spec/cluster", json!({ "name": "other" })),
        ("/spec/inRoles", json!([])),
        ("/spec/inRoles", json!(["app", "pg_read_all_data", "pg_write_all_data", "pg_monitor"])),
        ("/spec/superuser", json!(true)),
        ("/spec/passwordSecret", json!({ "name": "mine" })),
        ("/spec/clientCertificate", json!({ "enabled": false })),
        ("/spec/databaseRoleReclaimPolicy", json!("delete")),
        ("/spec", Value::Null),
    ] {
        attacks.extend(every_change(&scene.admin(), &item, pointer, value).await);
    }
    for caller in [scene.cnpg(), scene.instance(&stack.namespace)] {
        caller.may_not_any(&attacks, KEEPER_ROLE).await;
    }
    // What they make themselves still bears no mark of a consumer's role.
    let mut certificate = json!({ "metadata": { "name": format!("{CONSUMER}-client-cert") } });
    certificate["metadata"]["labels"] = json!(child_labels(&stack.facts));
    scene.cnpg().may_not(&create(&stack.core("secrets"), certificate), KEEPER_LABELS).await;
}

/// Every way to have, hold and remove a role.
async fn writes(scene: &Scene, path: &str, name: &str) -> Vec<Request> {
    let item = format!("{path}/{name}");
    let mut writes = every_change(&scene.admin(), &item, "/metadata/finalizers", json!([FINALIZER])).await;
    let mut role = kinds::consumer();
    role["metadata"]["name"] = json!("database-consumer-depot.robot");
    writes.extend([create(path, role), delete(&item), delete(path)]);
    writes
}

#[tokio::test]
async fn roles_are_held_by_their_keepers_alone_and_neither_made_nor_removed_by_them() {
    let scene = Scene::set().await;
    let (stack, _) = consumed(&scene, kinds::consumer()).await;
    let path = stack.of(DATABASE_ROLE.api, DATABASE_ROLE.plural);
    let mut other = kinds::consumer();
    other["metadata"]["name"] = json!("database-other");
    scene.break_glass().may(&create(&path, other)).await;
    let elsewhere = scene.stack().await;
    let mut strangers: Vec<Caller> = scene.namesakes();
    strangers.extend([scene.plugin(), scene.instance(&elsewhere.namespace), scene.member()]);
    let attacks = writes(&scene, &path, CONSUMER).await;
    for caller in strangers {
        caller.may_not_any(&attacks, WRITE_IN_STACK).await;
    }
    let others = writes(&scene, &path, "database-other").await;
    for caller in [scene.cnpg(), scene.instance(&stack.namespace)] {
        // The first three hold it, which is lent.
        caller.may_not_any(&attacks[3..], WRITE_IN_STACK).await;
        caller.may_not_any(&others, WRITE_IN_STACK).await;
    }
}
