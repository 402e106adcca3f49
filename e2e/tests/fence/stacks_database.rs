//! `steading-stacks`: what is lent to those who keep a stack's database: CloudNativePG's operator, its plugin's, and the instances.

use serde_json::{Value, json};

use crate::caller::{Caller, Request, apply, changes_through, create, delete, every_change, merge, read, replace};
use crate::kinds::{self, BACKUP, CLUSTER, FAILOVER_QUORUM, OBJECT_STORE};
use crate::rules::{KEEPER_NAME, QUOTA_STATUS, WAY_INTO_STACK, WRITE_IN_STACK};
use crate::scene::{Scene, Stood};
use crate::stacks::{attacks_on, one_of_each, pod, template};

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// The label by which policies select the pods of a database; CloudNativePG inherits it from the Cluster.
fn labels() -> Value {
    json!({ "steading.dev/part": "database", "cnpg.io/cluster": "database" })
}

/// A pod of an instance.
pub fn instance_pod(name: &str) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = labels();
    pod["spec"]["serviceAccountName"] = json!("database");
    pod["spec"]["containers"][0]["name"] = json!("postgres");
    pod
}

/// A job that makes an instance.
pub fn instance_job(name: &str) -> Value {
    let mut template = template();
    template["metadata"]["labels"] = labels();
    template["spec"]["restartPolicy"] = json!("Never");
    template["spec"]["serviceAccountName"] = json!("database");
    json!({ "metadata": { "name": name, "labels": labels() }, "spec": { "template": template } })
}

/// The binding that CloudNativePG makes for the instances.
pub fn instance_binding(stack: &Stood, name: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": labels() },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": "database", "namespace": stack.namespace }],
    })
}

/// The Service of the primary.
pub fn instance_service() -> Value {
    let metadata = json!({ "name": "database-rw", "labels": labels() });
    json!({ "metadata": metadata, "spec": { "selector": labels(), "ports": [{ "port": 5432 }] } })
}

fn plain(name: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": labels() } })
}

/// What CloudNativePG makes for a Cluster, in an order in which it can be made, by the paths of the kinds.
pub fn of_cnpg(stack: &Stood) -> Vec<(String, Value)> {
    let (core, of) = (|plural: &str| stack.core(plural), |group: &str, plural: &str| stack.of(group, plural));
    let with = |name: &str, key: &str, value: Value| {
        let mut object = plain(name);
        object[key] = value;
        object
    };
    let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    let budget = json!({ "minAvailable": 1, "selector": { "matchLabels": labels() } });
    let clusters = json!([{ "apiGroups": ["postgresql.cnpg.io"], "resources": ["clusters"], "verbs": ["get"] }]);
    vec![
        (core("serviceaccounts"), plain("database")),
        (core("secrets"), with("database-ca", "stringData", json!({ "ca.key": "k" }))),
        (core("configmaps"), plain("cnpg-default-monitoring")),
        (core("services"), instance_service()),
        (core("persistentvolumeclaims"), with("database-1", "spec", claim)),
        (core("pods"), instance_pod("database-1")),
        (of("batch/v1", "jobs"), instance_job("database-1-initdb")),
        (of("policy/v1", "poddisruptionbudgets"), with("database-primary", "spec", budget)),
        (of(RBAC, "roles"), with("database", "rules", clusters)),
        (of(RBAC, "rolebindings"), instance_binding(stack, "database")),
        (of("coordination.k8s.io/v1", "leases"), plain("database")),
        (of(FAILOVER_QUORUM.api, "failoverquorums"), FAILOVER_QUORUM.object("database", &json!({}))),
        (of(BACKUP.api, "backups"), BACKUP.object("database-backup-20261123", &json!({ "method": "plugin" }))),
    ]
}

/// A stack with a database, made by those who make it.
pub async fn stack_with_database(scene: &Scene) -> Stood {
    let stack = scene.stack().await;
    let operator = scene.operator().await;
    for (path, object) in kinds::of_steading(&stack.namespace) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        operator.may(&apply(&format!("{path}/{name}"), object)).await;
    }
    for (path, object) in of_cnpg(&stack) {
        scene.cnpg().may(&create(&path, object)).await;
    }
    stack
}

#[tokio::test]
async fn a_database_is_made_kept_and_taken_away_by_its_keepers() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let (cnpg, plugin, instance) = (scene.cnpg(), scene.plugin(), scene.instance(&stack.namespace));
    for (path, object) in of_cnpg(&stack) {
        let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
        let note = json!({ "cnpg.io/operatorVersion": "1.30.0" });
        for change in every_change(&scene.admin(), &path, "/metadata/annotations", note).await {
            // The first of them makes a replace out of date.
            let answer = cnpg.tries(&change).await;
            assert!(answer.as_ref().err().is_none_or(|no| no.code == 409), "{path}: {answer:?}");
        }
    }
    for (plural, object) in [
        ("roles", json!({ "metadata": { "name": "database-barman-cloud" }, "rules": [] })),
        ("rolebindings", instance_binding(&stack, "database-barman-cloud")),
    ] {
        plugin.may(&create(&stack.of(RBAC, plural), object)).await;
        let labelled = json!({ "metadata": { "labels": { "cnpg.io/cluster": "database" } } });
        plugin.may(&merge(&format!("{}/database-barman-cloud", stack.of(RBAC, plural)), labelled)).await;
    }
    let lease = stack.of("coordination.k8s.io/v1", "leases/database");
    let held = every_change(&scene.admin(), &lease, "/spec", json!({ "holderIdentity": "database-1" })).await;
    instance.may(&held[0]).await;
    for (kind, name) in [
        (CLUSTER, "database"),
        (BACKUP, "database-backup-20261123"),
        (FAILOVER_QUORUM, "database"),
        (OBJECT_STORE, "database-backup"),
    ] {
        let path = stack.of(kind.api, &format!("{}/{name}", kind.plural));
        for caller in [&cnpg, &instance] {
            let status = json!({ "phase": caller.name });
            let writes = changes_through(&scene.admin(), &path, "/status", "/status", status).await;
            caller.may(&writes[0]).await;
            caller.may(&writes[1]).await;
        }
    }
    instance.may(&delete(&stack.of(BACKUP.api, "backups/database-backup-20261123"))).await;
    for (path, object) in of_cnpg(&stack).into_iter().rev().filter(|(path, _)| !path.ends_with("/backups")) {
        cnpg.may(&delete(&format!("{path}/{}", object["metadata"]["name"].as_str().unwrap()))).await;
    }
    // The Cluster goes with the stack.
    let operator = scene.operator().await;
    for (path, object) in
        kinds::of_steading(&stack.namespace).into_iter().filter(|(path, _)| !path.ends_with("/clusters"))
    {
        operator.may(&delete(&format!("{path}/{}", object["metadata"]["name"].as_str().unwrap()))).await;
    }
}

/// Creates of every kind but those, with names that would be right.
fn creates_of_others(stack: &Stood, theirs: &[&str]) -> Vec<Request> {
    let is_theirs = |path: &str| theirs.iter().any(|plural| path.ends_with(&format!("/{plural}")));
    let others = one_of_each(stack).into_iter().filter(|(path, _)| !is_theirs(path));
    let named = |(path, mut object): (String, Value)| {
        object["metadata"] = json!({ "name": "database" });
        create(&path, object)
    };
    others.map(named).collect()
}

#[tokio::test]
async fn the_keepers_of_databases_write_no_other_kind_in_a_stack() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let made: Vec<String> = of_cnpg(&stack).into_iter().map(|(path, _)| path).collect();
    let made: Vec<&str> = made.iter().map(|path| path.rsplit_once('/').unwrap().1).collect();
    let others = creates_of_others(&stack, &made);
    assert_eq!(others.len(), one_of_each(&stack).len() - made.len());
    scene.cnpg().may_not_any(&others, WRITE_IN_STACK).await;
    let plugins = creates_of_others(&stack, &["roles", "rolebindings"]);
    scene.plugin().may_not_any(&plugins, WRITE_IN_STACK).await;
    // An instance makes nothing at all.
    scene.instance(&stack.namespace).may_not_any(&creates_of_others(&stack, &[]), WRITE_IN_STACK).await;
}

#[tokio::test]
async fn the_keepers_of_databases_touch_nothing_that_isolates_a_stack() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let is_binding = |path: &str| path.contains("/rolebindings/");
    for path in stack.isolation() {
        let attacks = attacks_on(&scene, &path).await;
        // Bindings they may make, but not these.
        let rule = if is_binding(&path) { KEEPER_NAME } else { WRITE_IN_STACK };
        scene.cnpg().may_not_any(&attacks, rule).await;
        scene.plugin().may_not_any(&attacks, rule).await;
        scene.instance(&stack.namespace).may_not_any(&attacks, WRITE_IN_STACK).await;
    }
    let (quota, hard) = (stack.core("resourcequotas/steading"), json!({ "hard": { "pods": "100000" } }));
    let more = changes_through(&scene.admin(), &quota, "/status", "/status", hard).await;
    for caller in [scene.cnpg(), scene.plugin(), scene.instance(&stack.namespace)] {
        caller.may_not_any(&more, QUOTA_STATUS).await;
    }
}

#[tokio::test]
async fn the_keepers_of_databases_neither_make_nor_remove_what_steading_asks_for() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let store = stack.of(OBJECT_STORE.api, "objectstores/database-backup");
    let cluster = stack.of(CLUSTER.api, "clusters/database");
    let schedule = stack.of(CLUSTER.api, "scheduledbackups/database-backup");
    let mut attacks = vec![
        create(&stack.of(CLUSTER.api, "clusters"), CLUSTER.object("database-2", &json!({}))),
        delete(&cluster),
        delete(&schedule),
        delete(&store),
    ];
    for (path, pointer) in [(&store, "/spec/retentionPolicy"), (&schedule, "/spec/schedule")] {
        attacks.extend(every_change(&scene.admin(), path, pointer, json!("1d")).await);
    }
    for caller in [scene.cnpg(), scene.plugin(), scene.instance(&stack.namespace)] {
        caller.may_not_any(&attacks, WRITE_IN_STACK).await;
    }
    let changes = every_change(&scene.admin(), &cluster, "/spec/instances", json!(1)).await;
    for caller in [scene.plugin(), scene.instance(&stack.namespace)] {
        caller.may_not_any(&changes, WRITE_IN_STACK).await;
    }
    let token =
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] } });
    let pod = stack.core("pods/database-1");
    let restricted = instance_pod("x")["spec"]["containers"][0]["securityContext"].clone();
    let debugger = json!([{ "name": "debugger", "image": "local.test/x:1", "securityContext": restricted }]);
    let attacks = [
        create(&stack.core("serviceaccounts/database/token"), token),
        merge(&format!("{pod}/ephemeralcontainers"), json!({ "spec": { "ephemeralContainers": debugger } })),
    ];
    for caller in [scene.cnpg(), scene.plugin(), scene.instance(&stack.namespace)] {
        caller.may_not_any(&attacks, WRITE_IN_STACK).await;
    }
}

#[tokio::test]
async fn an_instance_holds_the_lease_of_its_database_and_deletes_backups_and_no_more() {
    let scene = Scene::set().await;
    let (stack, other) = (stack_with_database(&scene).await, stack_with_database(&scene).await);
    let leases = stack.of("coordination.k8s.io/v1", "leases");
    scene.break_glass().may(&create(&leases, json!({ "metadata": { "name": "other" } }))).await;
    let held = json!({ "holderIdentity": "me" });
    let mut attacks = every_change(&scene.admin(), &format!("{leases}/other"), "/spec", held.clone()).await;
    attacks.push(delete(&format!("{leases}/database")));
    let backup = stack.of(BACKUP.api, "backups/database-backup-20261123");
    attacks.extend(every_change(&scene.admin(), &backup, "/spec/method", json!("barmanObjectStore")).await);
    for secret in ["database-ca", "database-backup"] {
        attacks.push(delete(&stack.core(&format!("secrets/{secret}"))));
    }
    attacks.push(delete(&stack.core("pods/database-1")));
    scene.instance(&stack.namespace).may_not_any(&attacks, WRITE_IN_STACK).await;
    // And in another stack nothing, whatever RBAC says.
    let mut there = every_change(&scene.admin(), &format!("{leases}/database"), "/spec", held).await;
    there.push(delete(&backup));
    scene.instance(&other.namespace).may_not_any(&there, WRITE_IN_STACK).await;
}

#[tokio::test]
async fn namesakes_of_the_keepers_are_lent_nothing() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    let pod = stack.core("pods/database-1");
    for caller in scene.namesakes() {
        for (path, object) in of_cnpg(&stack) {
            let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
            let attacks = [delete(&path), merge(&path, json!({ "metadata": { "annotations": { "a": "b" } } }))];
            caller.may_not_any(&attacks, WRITE_IN_STACK).await;
        }
        let way = format!("{pod}/exec?{}", backup_command("database-backup-20261123"));
        caller.may_not(&create(&way, Value::Null), WAY_INTO_STACK).await;
    }
}

pub fn backup_command(backup: &str) -> String {
    format!(
        "container=postgres&stdout=true&stderr=true&command=%2Fcontroller%2Fmanager&command=backup&command={backup}"
    )
}

/// Whether the fence let a request pass; there is no kubelet behind it.
pub async fn passes(caller: &Caller, request: &Request) -> bool {
    caller.tries(request).await.is_err_and(|no| !no.message.contains("steading: ") && no.code != 403)
}

#[tokio::test]
async fn cloudnativepg_starts_backups_in_the_pods_of_instances_and_does_nothing_else_there() {
    let scene = Scene::set().await;
    let stack = stack_with_database(&scene).await;
    scene.break_glass().may(&create(&stack.core("pods"), pod("target"))).await;
    let command = backup_command("database-backup-20261123");
    let path = |pod: &str, way: &str| stack.core(&format!("pods/{pod}/{way}"));
    let good = path("database-1", &format!("exec?{command}"));
    assert!(passes(&scene.cnpg(), &create(&good, Value::Null)).await);
    assert!(passes(&scene.cnpg(), &read(&good)).await);
    let ways = [
        path("target", &format!("exec?{command}")),
        path("database-1", "attach?container=postgres&stdout=true"),
        path("database-1", "portforward?ports=5432"),
        path("database-1", "proxy"),
        path("database-1", "exec?container=postgres&command=sh&stdout=true"),
        path("database-1", &format!("exec?{command}&stdin=true")),
        path("database-1", &format!("exec?{command}&tty=true")),
        path("database-1", &format!("exec?{command}&command=more")),
        path("database-1", &format!("exec?{}", command.replace("=postgres", "=plugin-barman-cloud"))),
        path("database-1", &format!("exec?{}", command.replace("=backup&", "=instance&"))),
        path("database-1", &format!("exec?{}", command.replace("manager", "other"))),
        path("database-1", &format!("exec?{}", backup_command("--log-destination=x"))),
        stack.core("services/database-rw/proxy"),
    ];
    for way in ways {
        scene.cnpg().may_not(&create(&way, Value::Null), WAY_INTO_STACK).await;
        scene.cnpg().may_not(&read(&way), WAY_INTO_STACK).await;
    }
    for caller in [scene.plugin(), scene.instance(&stack.namespace)] {
        caller.may_not(&create(&good, Value::Null), WAY_INTO_STACK).await;
    }
}

#[tokio::test]
async fn a_write_of_cloudnativepg_outside_of_stacks_is_nobodys_business() {
    let scene = Scene::set().await;
    let place = scene.namespace("theirs").await;
    let path = format!("/apis/{}/namespaces/{place}/clusters", CLUSTER.api);
    let theirs = CLUSTER.object("any", &json!({ "instances": 1, "externalClusters": [] }));
    let made = scene.cnpg().may(&create(&path, theirs)).await;
    scene.cnpg().may(&replace(&format!("{path}/any"), made)).await;
    scene.cnpg().may(&delete(&format!("{path}/any"))).await;
}
