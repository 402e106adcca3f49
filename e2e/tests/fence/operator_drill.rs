//! `steading-operator`: what a thief of the operator's token could do with what is restored for a drill.

use serde_json::{Value, json};

use crate::caller::{apply, create, delete, every_change};
use crate::kinds::{self, CLUSTER, DATABASE_ROLE};
use crate::rules::{OPERATOR_CLUSTER, OPERATOR_DATABASE_METADATA, OPERATOR_DRILL_CLUSTER, Rule};
use crate::scene::Scene;

#[tokio::test]
async fn the_operators_token_restores_backups_beside_the_database_and_removes_what_it_restored() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let cluster = stack.of(CLUSTER.api, "clusters/database-drill");
    let role = stack.of(DATABASE_ROLE.api, "databaseroles/database-drill");
    // First bare, so that no stranger's object is taken over, then whole.
    let mut bare = kinds::drill_cluster();
    bare.as_object_mut().unwrap().remove("spec");
    operator.may(&create(&stack.of(CLUSTER.api, "clusters"), bare)).await;
    operator.may(&apply(&cluster, kinds::drill_cluster())).await;
    operator.may(&apply(&role, kinds::drill_role())).await;
    operator.may(&delete(&role)).await;
    operator.may(&delete(&cluster)).await;
    let canary = stack.of(DATABASE_ROLE.api, "databaseroles/database-canary");
    operator.may(&apply(&canary, kinds::canary_role())).await;
    operator.may(&delete(&canary)).await;
}

/// Asserts that the operator can have no such Cluster changed like this, neither at first nor later.
async fn refused(scene: &Scene, openings: &[(&str, Value)], rule: Rule) {
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of(CLUSTER.api, "clusters");
    let item = format!("{path}/database-drill");
    for (pointer, value) in openings {
        let mut bad = kinds::drill_cluster();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = value.clone();
        operator.may_not_any(&[create(&path, bad.clone()), apply(&item, bad)], rule).await;
    }
    operator.may(&create(&path, kinds::drill_cluster())).await;
    for (pointer, value) in openings {
        let changes = every_change(&scene.admin(), &item, pointer, value.clone()).await;
        operator.may_not_any(&changes, rule).await;
    }
}

#[tokio::test]
async fn the_operators_token_makes_no_drill_that_archives_or_is_more_than_one_instance() {
    let scene = Scene::set().await;
    let archiver = json!({ "name": "barman-cloud.cloudnative-pg.io", "isWALArchiver": true });
    let idle = json!({ "name": "barman-cloud.cloudnative-pg.io", "isWALArchiver": false });
    let openings = [
        ("/spec/instances", json!(2)),
        ("/spec/plugins", json!([archiver])),
        ("/spec/plugins", json!([idle])),
        ("/spec/backup", json!({ "barmanObjectStore": { "destinationPath": "s3://other/" } })),
    ];
    refused(&scene, &openings, OPERATOR_DRILL_CLUSTER).await;
}

#[tokio::test]
async fn the_operators_token_makes_no_drill_that_opens_a_way_or_is_taken_for_the_database() {
    let scene = Scene::set().await;
    let from = |name: &str, store: &str| {
        let plugin = json!({ "name": "barman-cloud.cloudnative-pg.io", "parameters": { "barmanObjectName": store } });
        json!([{ "name": name, "plugin": plugin }])
    };
    let openings = [
        ("/spec/enableSuperuserAccess", json!(true)),
        ("/spec/serviceAccountName", json!("database")),
        ("/spec/externalClusters", from("database-origin", "database-origin")),
        ("/spec/externalClusters", from("database-backup", "database-backup")),
        (
            "/spec/externalClusters",
            json!([{ "name": "database-origin", "connectionParameters": { "host": "203.0.113.7" } }]),
        ),
        ("/spec/inheritedMetadata/labels", json!({ "steading.dev/part": "database" })),
        ("/spec/inheritedMetadata/labels", json!({ "steading.dev/part": "canary" })),
        ("/spec/inheritedMetadata/labels", json!({ "steading.dev/part": "drill", "team": "payments" })),
    ];
    refused(&scene, &openings, OPERATOR_CLUSTER).await;
    let orders = [("/metadata/annotations", json!({ "cnpg.io/podPatch": "[]" }))];
    refused(&scene, &orders, OPERATOR_DATABASE_METADATA).await;
}
