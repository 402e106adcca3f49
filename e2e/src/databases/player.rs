//! CloudNativePG, its plugin and the controllers of Deployments and Jobs, played for every stack at once on a plane that has none of them. In:
//! a plane with CloudNativePG's kinds. Out: what the operator makes is told to run, to be backed up, restored and looked at, as soon as it
//! is there and as long as this is held.
//!
//! The first full backup has failed a while ago, so that another one is asked for; the next one is good. A canary's pod has written for long
//! enough that a restore drill is due.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::task::JoinSet;

use super::drill::{CANARY, DRILL, ago, good};
use super::keeper::{Keeper, objects};

/// Whose objects are answered.
const PLAYED: [(&str, &str); 5] = [
    ("postgresql.cnpg.io", "Cluster"),
    ("postgresql.cnpg.io", "DatabaseRole"),
    ("postgresql.cnpg.io", "Backup"),
    ("apps", "Deployment"),
    ("batch", "Job"),
];

const CLUSTER: &str = "database";

/// When certificates end.
const EXPIRES: &str = "2027-01-01T00:00:00Z";

/// When the first full backup failed, in minutes. Within as much again only one other is asked for.
const FAILED: u64 = 10;

/// Since when a canary's pod is ready, in minutes.
const WRITES: u64 = 11;

/// How often something is tried to be said that is not taken.
const TRIES: u32 = 5;

/// At work until it is dropped.
#[must_use = "it stops when it is dropped"]
pub struct Player {
    _tasks: JoinSet<()>,
}

impl Player {
    /// Begins; `client` may change what is in stack namespaces.
    pub fn start(client: &Client) -> Self {
        let mut tasks = JoinSet::new();
        for (group, kind) in PLAYED {
            tasks.spawn(follow(client.clone(), group, kind));
        }
        Self { _tasks: tasks }
    }
}

/// Answers whatever is made or changed of one kind, one after the other.
async fn follow(client: Client, group: &'static str, kind: &'static str) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let mut seen = watcher(all, watcher::Config::default()).default_backoff().applied_objects().boxed();
    while let Some(event) = seen.next().await {
        let Ok(object) = event else { continue };
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        for wait in 1..=TRIES {
            let Err(error) = answer(&client, group, kind, &namespace, &name).await else { break };
            tracing::debug!(kind, namespace, name, error = format!("{error:#}"), "not taken");
            tokio::time::sleep(Duration::from_millis(100) * wait).await;
        }
    }
}

/// Says of an object what would be said of it as it is now, unless that is said.
async fn answer(client: &Client, group: &str, kind: &str, namespace: &str, name: &str) -> Result<()> {
    let Some(object) = objects(client, namespace, group, kind).get_opt(name).await? else { return Ok(()) };
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let keeper = Keeper::new(client.clone(), namespace.to_owned());
    let said = object.data.get("status").cloned().unwrap_or_default();
    let is_new = object.metadata.generation != said.get("observedGeneration").and_then(Value::as_i64);
    match (kind, name) {
        ("Cluster", CLUSTER) => runs_or_rests(&keeper, &object, &said).await,
        ("Cluster", DRILL) if said.get("phase").is_none() => keeper.restored().await,
        ("DatabaseRole", _) if is_new => keeper.has_role(name, &format!("certificate of {name}"), EXPIRES).await,
        ("Backup", _) => keeper.backed_up(&server_of(client, namespace).await?, now()).await,
        ("Deployment", CANARY) if is_new => {
            let writes = object.data.pointer("/spec/replicas").and_then(Value::as_u64) != Some(0);
            keeper.canary_writes(writes, ago(WRITES)).await
        }
        ("Job", DRILL) if said.get("completionTime").is_none() => keeper.looked(true, &good(ago(4))).await,
        _ => Ok(()),
    }
}

async fn runs_or_rests(keeper: &Keeper, object: &DynamicObject, said: &Value) -> Result<()> {
    let must_rest = object.annotations().get("cnpg.io/hibernation").is_some_and(|it| it == "on");
    let conditions = said.get("conditions").and_then(Value::as_array);
    let rests =
        conditions.is_some_and(|all| all.iter().any(|it| it.get("type").is_some_and(|it| it == "cnpg.io/hibernation")));
    if must_rest && !rests {
        return keeper.hibernates().await;
    }
    if must_rest || (conditions.is_some() && !rests) {
        return Ok(());
    }
    if conditions.is_none() {
        keeper.failed_to_back_up(&server(object)?, ago(FAILED)).await?;
    }
    keeper.runs(1, "True").await
}

/// What the database of a stack calls itself in its backups.
async fn server_of(client: &Client, namespace: &str) -> Result<String> {
    server(&objects(client, namespace, "postgresql.cnpg.io", "Cluster").get(CLUSTER).await?)
}

fn server(cluster: &DynamicObject) -> Result<String> {
    let server = cluster.data.pointer("/spec/plugins/0/parameters/serverName").and_then(Value::as_str);
    Ok(server.context("the Cluster has no name for its backups")?.to_owned())
}

fn now() -> Timestamp {
    ago(0)
}
