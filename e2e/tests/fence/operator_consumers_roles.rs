//! `steading-operator`: whom a thief of the operator's token could let sign in to a stack's database.

use serde_json::{Value, json};

use crate::caller::{apply, create, delete, every_change, merge};
use crate::kinds::{self, CONSUMER, DATABASE_ROLE};
use crate::rules::{
    OPERATOR_CANARY_ROLE, OPERATOR_CONSUMER_ROLE, OPERATOR_DATABASE_METADATA, OPERATOR_DATABASE_NAME, OPERATOR_KIND,
    OPERATOR_ROLE_RIGHTS, Rule,
};
use crate::scene::{Scene, Stood, child_labels};

/// The role of a consumer with its marks.
fn marked(role: Value, labels: &Value) -> Value {
    let mut role = role;
    role["metadata"]["labels"] = labels.clone();
    role
}

/// Changes of the role of a consumer that would make it more than that.
fn openings() -> Vec<(&'static str, Value)> {
    vec![
        ("/spec/cluster", json!({ "name": "other" })),
        ("/spec/cluster", json!({ "name": "database-drill" })),
        ("/spec/cluster", json!({})),
        ("/spec/name", json!("mallory")),
        ("/spec/name", json!("app")),
        ("/spec/name", json!("steading_canary")),
        ("/spec/name", Value::Null),
        ("/spec/inRoles", json!(["pg_read_all_data", "pg_execute_server_program"])),
        ("/spec/inRoles", json!(["pg_read_server_files"])),
        ("/spec/inRoles", json!(["streaming_replica"])),
        ("/spec/inRoles", json!(["consumer_depot_robot"])),
        ("/spec", Value::Null),
    ]
}

/// Changes of any role by which it could do more than what it is a member of.
fn rights() -> Vec<(&'static str, Value)> {
    vec![
        ("/spec/superuser", json!(true)),
        ("/spec/createdb", json!(true)),
        ("/spec/createrole", json!(true)),
        ("/spec/replication", json!(true)),
        ("/spec/bypassrls", json!(true)),
        ("/spec/passwordSecret", json!({ "name": "mine" })),
        ("/spec/disablePassword", json!(false)),
        ("/spec/disablePassword", Value::Null),
        ("/spec/ensure", json!("absent")),
        ("/spec/databaseRoleReclaimPolicy", json!("delete")),
    ]
}

/// Asserts that the operator has no role changed like this, neither at first nor later.
async fn refused(scene: &Scene, stack: &Stood, role: &Value, openings: &[(&str, Value)], refuses: Rule) {
    let operator = scene.operator().await;
    let path = stack.of(DATABASE_ROLE.api, DATABASE_ROLE.plural);
    let item = format!("{path}/{}", role["metadata"]["name"].as_str().unwrap());
    let mut bad = Vec::new();
    for (pointer, value) in openings {
        let mut role = role.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = role.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        drop(if value.is_null() { parent.remove(key) } else { parent.insert(key.to_owned(), value.clone()) });
        bad.extend([create(&path, role.clone()), apply(&item, role)]);
    }
    operator.may_not_any(&bad, refuses).await;
    operator.may(&create(&path, role.clone())).await;
    for (pointer, value) in openings {
        // A merge patch of nothing changes nothing.
        let changes = every_change(&scene.admin(), &item, pointer, value.clone()).await;
        let keeps = |index: usize| index == 1 && *value == json!({});
        let changes: Vec<_> =
            changes.into_iter().enumerate().filter(|(index, _)| !keeps(*index)).map(|(_, change)| change).collect();
        operator.may_not_any(&changes, refuses).await;
    }
    operator.may(&delete(&item)).await;
}

#[tokio::test]
async fn the_operators_token_lets_a_consumer_in_locks_it_out_and_deletes_it() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of(DATABASE_ROLE.api, DATABASE_ROLE.plural);
    let item = format!("{path}/{CONSUMER}");
    let labels = json!(child_labels(&stack.facts));
    operator.may(&create(&path, marked(kinds::consumer(), &labels))).await;
    let mut reader = marked(kinds::consumer(), &labels);
    reader["spec"]["inRoles"] = json!(["pg_read_all_data"]);
    reader["metadata"]["annotations"] = json!({ "steading.dev/desired-hash": "x" });
    // CloudNativePG's finalizer is in nobody's way.
    let held = json!({ "metadata": { "finalizers": ["cnpg.io/deleteRole"] } });
    scene.cnpg().may(&merge(&item, held)).await;
    for role in [reader, marked(kinds::locked_consumer(), &labels)] {
        operator.may(&apply(&item, role)).await;
    }
    operator.may(&delete(&item)).await;
    let released = json!({ "metadata": { "finalizers": null } });
    scene.instance(&stack.namespace).may(&merge(&item, released)).await;
    // Applied before anything is there, it is made.
    operator.may(&apply(&item, marked(kinds::consumer(), &labels))).await;
    operator.may(&delete(&item)).await;
}

#[tokio::test]
async fn the_operators_token_makes_no_role_that_is_more_than_a_consumer() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    refused(&scene, &stack, &kinds::consumer(), &openings(), OPERATOR_CONSUMER_ROLE).await;
}

#[tokio::test]
async fn the_operators_token_makes_no_canary_that_reads_more_than_it_wrote_but_in_a_drill() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let of_both = [
        ("/spec/name", json!("app")),
        ("/spec/name", json!("consumer_shop_billing")),
        ("/spec/name", Value::Null),
        ("/spec/cluster", json!({ "name": "other" })),
        ("/spec/inRoles", json!(["app"])),
        ("/spec/inRoles", json!(["pg_read_all_data", "pg_write_all_data"])),
        ("/spec/inRoles", json!(["pg_read_server_files"])),
        ("/spec", Value::Null),
    ];
    let of_canary =
        [("/spec/cluster", json!({ "name": "database-drill" })), ("/spec/inRoles", json!(["pg_read_all_data"]))];
    let of_drill = [("/spec/cluster", json!({ "name": "database" }))];
    for (role, own) in [(kinds::canary_role(), &of_canary[..]), (kinds::drill_role(), &of_drill[..])] {
        refused(&scene, &stack, &role, &[&of_both[..], own].concat(), OPERATOR_CANARY_ROLE).await;
    }
}

#[tokio::test]
async fn the_operators_token_makes_no_role_with_a_password_or_rights_of_its_own() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    for role in [kinds::consumer(), kinds::canary_role(), kinds::drill_role()] {
        refused(&scene, &stack, &role, &rights(), OPERATOR_ROLE_RIGHTS).await;
    }
}

#[tokio::test]
async fn the_operators_token_writes_roles_by_the_names_of_consumers_and_no_status_of_them() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of(DATABASE_ROLE.api, DATABASE_ROLE.plural);
    for name in ["database", "database-other", "database-consumer", "consumer-shop.billing", "database-canary-2"] {
        let mut role = kinds::consumer();
        role["metadata"]["name"] = json!(name);
        let item = format!("{path}/{name}");
        let ways = [create(&path, role.clone()), apply(&item, role.clone())];
        operator.may_not_any(&ways, OPERATOR_DATABASE_NAME).await;
        scene.break_glass().may(&create(&path, role)).await;
        let mut attacks = every_change(&scene.admin(), &item, "/spec/login", json!(false)).await;
        attacks.extend([delete(&item), delete(&path)]);
        operator.may_not_any(&attacks, OPERATOR_DATABASE_NAME).await;
    }
    operator.may(&create(&path, kinds::consumer())).await;
    let applied = merge(&format!("{path}/{CONSUMER}/status"), json!({ "status": { "applied": true } }));
    operator.may_not(&applied, OPERATOR_KIND).await;
}

#[tokio::test]
async fn the_operators_token_gives_cloudnativepg_no_orders_by_the_metadata_of_a_role() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of(DATABASE_ROLE.api, DATABASE_ROLE.plural);
    let item = format!("{path}/{CONSUMER}");
    operator.may(&create(&path, kinds::consumer())).await;
    for (pointer, value) in [
        ("/metadata/annotations", json!({ "cnpg.io/reconciliationLoop": "disabled" })),
        ("/metadata/annotations", json!({ "cnpg.io/hibernation": "on" })),
        ("/metadata/labels", json!({ "team": "payments" })),
    ] {
        let attacks = every_change(&scene.admin(), &item, pointer, value).await;
        operator.may_not_any(&attacks, OPERATOR_DATABASE_METADATA).await;
    }
}
