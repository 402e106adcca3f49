//! `steading-stacks`: what is lent to the keepers of databases for a drill, and that what Steading itself runs is not theirs.

use serde_json::{Value, json};

use crate::caller::{Request, apply, changes_through, create, delete, every_change, merge};
use crate::kinds::{self, BACKUP, CLUSTER, DATABASE_ROLE};
use crate::operator_canary::both;
use crate::rules::{
    KEEPER_ACCOUNT, KEEPER_BINDING, KEEPER_CLUSTER, KEEPER_LABELS, KEEPER_NAME, KEEPER_ROLE, KEEPER_SERVICE,
    WAY_INTO_STACK, WRITE_IN_STACK,
};
use crate::scene::{Scene, Stood};
use crate::stacks::pod;
use crate::stacks_database::{
    backup_command, instance_binding, instance_job, instance_pod, instance_service, of_cnpg, passes,
    stack_with_database,
};

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const LEASES: &str = "coordination.k8s.io/v1";
const FINALIZER: &str = "cnpg.io/deleteRole";

/// What stands for the Cluster `database`, as it stands for `database-drill`.
fn of_drill(object: &Value) -> Value {
    let text = object.to_string().replace("\"database", "\"database-drill");
    let text = text.replace("\"steading.dev/part\":\"database-drill\"", "\"steading.dev/part\":\"drill\"");
    serde_json::from_str(&text).unwrap()
}

/// What CloudNativePG makes for a drill, by the paths of the kinds. It is never backed up, and has the same queries for metrics.
fn of_cnpg_for_drill(stack: &Stood) -> Vec<(String, Value)> {
    let theirs = of_cnpg(stack).into_iter();
    let theirs = theirs.filter(|(path, _)| !path.ends_with("/backups") && !path.ends_with("/configmaps"));
    theirs.map(|(path, object)| (path, of_drill(&object))).collect()
}

fn item(path: &str, object: &Value) -> String {
    format!("{path}/{}", object["metadata"]["name"].as_str().unwrap())
}

/// A stack with a database, a canary in it, and a drill.
async fn drilled(scene: &Scene) -> Stood {
    let stack = stack_with_database(scene).await;
    let operator = scene.operator().await;
    operator.may(&apply(&stack.of(CLUSTER.api, "clusters/database-drill"), kinds::drill_cluster())).await;
    for role in [kinds::canary_role(), kinds::drill_role()] {
        let path = stack.of(DATABASE_ROLE.api, DATABASE_ROLE.plural);
        operator.may(&apply(&item(&path, &role), role)).await;
    }
    for (path, object) in both(&stack) {
        operator.may(&apply(&item(&path, &object), object)).await;
    }
    for (path, object) in of_cnpg_for_drill(&stack) {
        scene.cnpg().may(&create(&path, object)).await;
    }
    stack
}

/// A finalizer on a `DatabaseRole`, in every way to write it.
async fn holds(scene: &Scene, stack: &Stood, role: &str) -> Vec<Request> {
    let path = stack.of(DATABASE_ROLE.api, &format!("databaseroles/{role}"));
    every_change(&scene.admin(), &path, "/metadata/finalizers", json!([FINALIZER])).await
}

#[tokio::test]
async fn a_drill_is_made_kept_and_taken_away_like_the_database() {
    let scene = Scene::set().await;
    let stack = drilled(&scene).await;
    let (cnpg, plugin, instance) = (scene.cnpg(), scene.plugin(), scene.drill_instance(&stack.namespace));
    for (path, object) in of_cnpg_for_drill(&stack) {
        let note = json!({ "metadata": { "annotations": { "cnpg.io/operatorVersion": "1.30.0" } } });
        cnpg.may(&merge(&item(&path, &object), note)).await;
    }
    for (plural, object) in [
        ("roles", json!({ "metadata": { "name": "database-drill-barman-cloud" }, "rules": [] })),
        ("rolebindings", of_drill(&instance_binding(&stack, "database-barman-cloud"))),
    ] {
        let path = stack.of(RBAC, plural);
        plugin.may(&create(&path, object.clone())).await;
        let labelled = json!({ "metadata": { "labels": { "cnpg.io/cluster": "database-drill" } } });
        plugin.may(&merge(&item(&path, &object), labelled)).await;
    }
    let lease = stack.of(LEASES, "leases/database-drill");
    let held = every_change(&scene.admin(), &lease, "/spec", json!({ "holderIdentity": "database-drill-1" })).await;
    instance.may(&held[0]).await;
    let cluster = stack.of(CLUSTER.api, "clusters/database-drill");
    let filled = json!({ "spec": { "logLevel": "info", "monitoring": { "disableDefaultQueries": false } } });
    cnpg.may(&merge(&cluster, filled)).await;
    for caller in [&cnpg, &instance] {
        let status = json!({ "phase": caller.name });
        caller.may(&changes_through(&scene.admin(), &cluster, "/status", "/status", status).await[1]).await;
        let role = stack.of(DATABASE_ROLE.api, "databaseroles/database-drill");
        caller.may(&holds(&scene, &stack, "database-drill").await[1]).await;
        let status = json!({ "applied": true });
        caller.may(&changes_through(&scene.admin(), &role, "/status", "/status", status).await[1]).await;
        caller.may(&merge(&role, json!({ "metadata": { "finalizers": null } }))).await;
    }
    let operator = scene.operator().await;
    operator.may(&delete(&stack.of("batch/v1", "jobs/database-drill?propagationPolicy=Background"))).await;
    operator.may(&delete(&stack.of(DATABASE_ROLE.api, "databaseroles/database-drill"))).await;
    operator.may(&delete(&cluster)).await;
    for (path, object) in of_cnpg_for_drill(&stack).into_iter().rev() {
        cnpg.may(&delete(&item(&path, &object))).await;
    }
}

#[tokio::test]
async fn what_is_of_the_one_cluster_bears_nothing_of_the_other() {
    let scene = Scene::set().await;
    let stack = drilled(&scene).await;
    let cnpg = scene.cnpg();
    let part = |object: &Value, part: &str| {
        let mut object = object.clone();
        object["metadata"]["labels"]["steading.dev/part"] = json!(part);
        object
    };
    let named = |object: &Value, name: &str| {
        let mut object = object.clone();
        object["metadata"]["name"] = json!(name);
        object
    };
    let (own, drill) = (instance_pod("database-9"), of_drill(&instance_pod("database-9")));
    let pods = stack.core("pods");
    let mut relabelled = every_change(
        &scene.admin(),
        &stack.core("pods/database-drill-1"),
        "/metadata/labels/steading.dev~1part",
        json!("database"),
    )
    .await;
    relabelled.extend([create(&pods, part(&drill, "database")), create(&pods, part(&own, "drill"))]);
    cnpg.may_not_any(&relabelled, KEEPER_LABELS).await;

    let (jobs, job) = (stack.of("batch/v1", "jobs"), instance_job("database-9-join"));
    let account = |name: &str, object: Value, pointer: &str| {
        let mut object = object;
        *object.pointer_mut(pointer).unwrap() = json!(name);
        object
    };
    let attacks = [
        create(&pods, account("database", drill, "/spec/serviceAccountName")),
        create(&pods, account("database-drill", own, "/spec/serviceAccountName")),
        create(&jobs, account("database", of_drill(&job), "/spec/template/spec/serviceAccountName")),
        create(&jobs, account("database-drill", job, "/spec/template/spec/serviceAccountName")),
    ];
    cnpg.may_not_any(&attacks, KEEPER_ACCOUNT).await;

    let bindings = stack.of(RBAC, "rolebindings");
    let binding = instance_binding(&stack, "database-barman-cloud");
    let swapped = |mut binding: Value, name: &str| {
        binding["subjects"][0]["name"] = json!(name);
        create(&bindings, binding)
    };
    let attacks = [swapped(of_drill(&binding), "database"), swapped(binding, "database-drill")];
    for caller in [&cnpg, &scene.plugin()] {
        caller.may_not_any(&attacks, KEEPER_BINDING).await;
    }

    let (services, service) = (stack.core("services"), part(&instance_service(), "drill"));
    let other = part(&of_drill(&service), "database");
    let attacks =
        [create(&services, named(&service, "database-drill-r")), create(&services, named(&other, "database-r"))];
    cnpg.may_not_any(&attacks, KEEPER_SERVICE).await;
}

#[tokio::test]
async fn an_instance_writes_nothing_of_the_other_cluster() {
    let scene = Scene::set().await;
    let stack = drilled(&scene).await;
    let held = json!({ "holderIdentity": "me" });
    let lease = async |name: &str| {
        every_change(&scene.admin(), &stack.of(LEASES, &format!("leases/{name}")), "/spec", held.clone()).await
    };
    let mut of_database = lease("database").await;
    of_database.extend(holds(&scene, &stack, "database-canary").await);
    let backup = stack.of(BACKUP.api, "backups/database-backup-20261123");
    of_database.extend([delete(&backup), delete(&stack.of(LEASES, "leases/database-drill"))]);
    scene.drill_instance(&stack.namespace).may_not_any(&of_database, WRITE_IN_STACK).await;
    let mut of_drill = lease("database-drill").await;
    of_drill.extend(holds(&scene, &stack, "database-drill").await);
    scene.instance(&stack.namespace).may_not_any(&of_drill, WRITE_IN_STACK).await;
    // Nor does that of another stack's drill.
    let other = scene.stack().await;
    scene.drill_instance(&other.namespace).may_not_any(&of_drill, WRITE_IN_STACK).await;
    // Its own canary the database's instance may hold.
    scene.instance(&stack.namespace).may(&holds(&scene, &stack, "database-canary").await[1]).await;
}

#[tokio::test]
async fn cloudnativepg_changes_nothing_that_steading_said_of_a_drill_or_a_canary() {
    let scene = Scene::set().await;
    let stack = drilled(&scene).await;
    let cluster = stack.of(CLUSTER.api, "clusters/database-drill");
    let mut attacks = Vec::new();
    for (pointer, value) in [
        ("/spec/instances", json!(3)),
        ("/spec/inheritedMetadata/labels", json!({ "steading.dev/part": "database" })),
        ("/spec/externalClusters", json!([])),
    ] {
        attacks.extend(every_change(&scene.admin(), &cluster, pointer, value).await);
    }
    scene.cnpg().may_not_any(&attacks, KEEPER_CLUSTER).await;
    scene.cnpg().may_not(&delete(&cluster), WRITE_IN_STACK).await;
    for (role, caller) in [
        ("database-canary", scene.cnpg()),
        ("database-canary", scene.instance(&stack.namespace)),
        ("database-drill", scene.cnpg()),
        ("database-drill", scene.drill_instance(&stack.namespace)),
    ] {
        let path = stack.of(DATABASE_ROLE.api, &format!("databaseroles/{role}"));
        let attacks = every_change(&scene.admin(), &path, "/spec/inRoles", json!(["pg_write_all_data"])).await;
        caller.may_not_any(&attacks, KEEPER_ROLE).await;
        caller.may_not(&delete(&path), WRITE_IN_STACK).await;
    }
}

#[tokio::test]
async fn nobody_but_steading_and_the_cluster_writes_what_steading_runs() {
    let scene = Scene::set().await;
    let stack = drilled(&scene).await;
    for (path, object) in both(&stack) {
        let item = item(&path, &object);
        let mut attacks = every_change(&scene.admin(), &item, "/metadata/annotations", json!({ "a": "b" })).await;
        attacks.extend([apply(&item, object), delete(&item)]);
        let mut callers = scene.outsiders();
        callers.extend([scene.plugin(), scene.instance(&stack.namespace), scene.drill_instance(&stack.namespace)]);
        for caller in callers {
            caller.may_not_any(&attacks, WRITE_IN_STACK).await;
        }
        // CloudNativePG has Jobs of its own, but not this one.
        let is_job = path.ends_with("/jobs");
        scene.cnpg().may_not_any(&attacks, if is_job { KEEPER_NAME } else { WRITE_IN_STACK }).await;
    }
    // Nor the pods that the cluster makes of them, although they begin with the name of the database.
    for name in ["database-canary-5d9c-x7k2p", "database-drill-q4m8z"] {
        let mut running = pod(name);
        running["metadata"]["labels"] = json!({ "steading.dev/part": "canary" });
        scene.controller().may(&create(&stack.core("pods"), running.clone())).await;
        let item = stack.core(&format!("pods/{name}"));
        let attacks = [delete(&item), merge(&item, json!({ "metadata": { "labels": { "steading.dev/part": null } } }))];
        scene.cnpg().may_not_any(&attacks, KEEPER_NAME).await;
        scene.controller().may(&delete(&item)).await;
        running["spec"]["serviceAccountName"] =
            json!(if name.contains("drill") { "database-drill" } else { "database" });
        scene.cnpg().may_not(&create(&stack.core("pods"), running), KEEPER_LABELS).await;
    }
}

#[tokio::test]
async fn no_backup_is_begun_of_what_was_restored_for_a_drill() {
    let scene = Scene::set().await;
    let stack = drilled(&scene).await;
    let exec = |pod: &str| stack.core(&format!("pods/{pod}/exec?{}", backup_command("database-backup-20261123")));
    assert!(passes(&scene.cnpg(), &create(&exec("database-1"), Value::Null)).await);
    scene.cnpg().may_not(&create(&exec("database-drill-1"), Value::Null), WAY_INTO_STACK).await;
}
