//! The recorder. In: a control plane and the world outside. Out: every write of Tenants, Workspaces and what is stamped out,
//! in the order in which the API server took them, each with the world outside as it was on arrival.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use kube::api::{ListParams, WatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, WatchEvent};
use kube::{Api, Client};
use providers::memory::World;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::wait::until;

/// What is recorded.
const KINDS: [(&str, &str, &str); 7] = [
    ("steading.dev", "v1alpha1", "Tenant"),
    ("steading.dev", "v1alpha1", "Workspace"),
    ("", "v1", "Namespace"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "ResourceQuota"),
    ("", "v1", "LimitRange"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
];

/// The same of databases and those who use them, where the plane knows these kinds.
pub const OF_DATABASES: [(&str, &str, &str); 5] = [
    ("postgresql.cnpg.io", "v1", "Cluster"),
    ("postgresql.cnpg.io", "v1", "DatabaseRole"),
    ("apps", "v1", "Deployment"),
    ("batch", "v1", "Job"),
    ("", "v1", "Secret"),
];

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The revision of the store, which orders the writes of all kinds.
    pub revision: u64,
    /// The kind of the object.
    pub kind: String,
    /// Whether the object is gone with it.
    pub is_gone: bool,
    /// The object as it is after the write.
    pub object: Value,
    /// Keys and buckets that exist and can be used.
    pub outside: BTreeSet<String>,
}

impl Write {
    /// The namespace of the object, or its own name if it is one.
    pub fn namespace(&self) -> &str {
        let field = if self.kind == "Namespace" { "name" } else { "namespace" };
        self.object["metadata"][field].as_str().unwrap_or_default()
    }
}

/// What was recorded, and why no more was.
#[derive(Default)]
struct Record {
    writes: Vec<Write>,
    gap: Option<String>,
}

/// Records until it is dropped.
pub struct Recorder {
    record: Arc<Mutex<Record>>,
    _watches: JoinSet<()>,
}

impl Recorder {
    /// Begins to record; what is written from now on is not missed.
    pub async fn start(client: &Client, world: &World) -> Result<Self> {
        Self::start_with(client, world, &[]).await
    }

    /// The same, of these kinds too.
    pub async fn start_with(
        client: &Client,
        world: &World,
        more: &[(&'static str, &'static str, &'static str)],
    ) -> Result<Self> {
        let record = Arc::<Mutex<Record>>::default();
        let mut watches = JoinSet::new();
        for (group, version, kind) in KINDS.iter().chain(more).copied() {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let list = api.list(&ListParams::default()).await?;
            let revision = list.metadata.resource_version.context("a list without a revision")?;
            let (record, world) = (Arc::clone(&record), world.clone());
            watches.spawn(async move {
                if let Err(gap) = follow(&api, kind, revision, &record, &world).await {
                    lock(&record).gap = Some(format!("the record of {kind} has a gap: {gap:#}"));
                }
            });
        }
        Ok(Self { record, _watches: watches })
    }

    /// Waits until the record of this kind has come to the present, so that what is done next comes after it.
    pub async fn catch_up(&self, kind: &str, revision: u64) -> Result<()> {
        until("the record has caught up", Duration::from_secs(30), async || {
            Ok(lock(&self.record).writes.iter().any(|write| write.kind == kind && write.revision >= revision))
        })
        .await
    }

    /// All writes so far, in order.
    pub fn history(&self) -> Result<Vec<Write>> {
        self.history_of(|_| true)
    }

    /// Those writes so far for which this holds, in order.
    pub fn history_of(&self, belongs: impl Fn(&Write) -> bool) -> Result<Vec<Write>> {
        let record = lock(&self.record);
        if let Some(gap) = &record.gap {
            bail!("{gap}");
        }
        let mut history: Vec<Write> = record.writes.iter().filter(|write| belongs(write)).cloned().collect();
        history.sort_by_key(|write| write.revision);
        Ok(history)
    }

    /// Forgets the writes for which this holds.
    pub fn forget(&self, belongs: impl Fn(&Write) -> bool) {
        lock(&self.record).writes.retain(|write| !belongs(write));
    }
}

/// Records one kind; returns only with the reason why it cannot go on.
async fn follow(
    api: &Api<DynamicObject>,
    kind: &str,
    mut revision: String,
    record: &Mutex<Record>,
    world: &World,
) -> Result<()> {
    loop {
        let mut events = api.watch(&WatchParams::default(), &revision).await?.boxed();
        while let Some(event) = events.next().await {
            let (object, is_gone) = match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(error) => bail!("{error:?}"),
            };
            revision = object.metadata.resource_version.clone().context("an object without a revision")?;
            let write = Write {
                revision: revision.parse()?,
                kind: kind.to_owned(),
                is_gone,
                object: serde_json::to_value(object)?,
                outside: outside(world),
            };
            lock(record).writes.push(write);
        }
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What exists outside the cluster and can be used.
fn outside(world: &World) -> BTreeSet<String> {
    let keys = world.keys().into_iter().filter(|(_, key)| key.enabled).map(|(name, _)| name);
    keys.chain(world.buckets().into_keys()).collect()
}
