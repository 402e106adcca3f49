//! The recorder. In: a control plane and the world outside. Out: every write of Tenants, Workspaces and what is stamped out,
//! in the order in which the API server took them, each with the world outside as it was on arrival.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::wait::until;
use futures::StreamExt as _;
use kube::api::{ListParams, WatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, WatchEvent};
use kube::{Api, Client};
use providers::memory::World;
use serde_json::Value;
use tokio::task::JoinSet;

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

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The revision of the store, which orders the writes of all kinds.
    pub revision: u64,
    pub kind: String,
    /// Whether the object is gone with it.
    pub is_gone: bool,
    /// The object as it is after the write.
    pub object: Value,
    /// Keys and buckets that exist and can be used.
    pub outside: BTreeSet<String>,
}

/// Records until it is dropped.
pub struct Recorder {
    history: Arc<Mutex<Vec<Write>>>,
    _watches: JoinSet<()>,
}

impl Recorder {
    /// Begins to record; what is written from now on is not missed.
    pub async fn start(client: &Client, world: &World) -> Self {
        let history = Arc::new(Mutex::new(Vec::new()));
        let mut watches = JoinSet::new();
        for (group, version, kind) in KINDS {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let list = api.list(&ListParams::default()).await.unwrap();
            let mut revision = list.metadata.resource_version.unwrap();
            let (history, world) = (Arc::clone(&history), world.clone());
            watches.spawn(async move {
                loop {
                    let mut events = api.watch(&WatchParams::default(), &revision).await.unwrap().boxed();
                    while let Some(event) = events.next().await {
                        let (object, is_gone) = match event.unwrap() {
                            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                            WatchEvent::Deleted(object) => (object, true),
                            WatchEvent::Bookmark(_) => continue,
                            WatchEvent::Error(error) => panic!("the record of {kind} has a gap: {error:?}"),
                        };
                        revision = object.metadata.resource_version.clone().unwrap();
                        let write = Write {
                            revision: revision.parse().unwrap(),
                            kind: kind.to_owned(),
                            is_gone,
                            object: serde_json::to_value(object).unwrap(),
                            outside: outside(&world),
                        };
                        history.lock().unwrap().push(write);
                    }
                }
            });
        }
        Self { history, _watches: watches }
    }

    /// Waits until the record of this kind has come to the present, so that what is done next comes after it.
    pub async fn catch_up(&self, kind: &str, revision: u64) {
        until("the record has caught up", Duration::from_secs(30), async || {
            let history = self.history.lock().unwrap();
            Ok(history.iter().any(|write| write.kind == kind && write.revision >= revision))
        })
        .await
        .unwrap();
    }

    /// All writes so far, in order.
    pub fn history(&self) -> Vec<Write> {
        let mut history = self.history.lock().unwrap().clone();
        history.sort_by_key(|write| write.revision);
        history
    }
}

/// What exists outside the cluster and can be used.
fn outside(world: &World) -> BTreeSet<String> {
    let keys = world.keys().into_iter().filter(|(_, key)| key.enabled).map(|(name, _)| name);
    keys.chain(world.buckets().into_keys()).collect()
}
