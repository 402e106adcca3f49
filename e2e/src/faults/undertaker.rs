//! Plays the namespace controller on a plane that has none, so that namespaces go at once instead of after its five seconds. In: a
//! plane. Out: namespaces that are asked to go are emptied and gone, as long as this is held.
//!
//! Deletion with the real controller is what `tests/deletion` is about.

use anyhow::Result;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::end_state::OF_DATABASES;

/// What may lie in a namespace here, in the order in which it goes, with what databases have in between; kinds that the plane does not know lie
/// nowhere.
const FIRST: [(&str, &str); 2] = [("rbac.authorization.k8s.io", "RoleBinding"), ("networking.k8s.io", "NetworkPolicy")];
const LAST: [(&str, &str); 6] = [
    ("", "Pod"),
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("events.k8s.io", "Event"),
];

/// At work until it is dropped.
#[must_use = "it stops when it is dropped"]
pub struct Undertaker(JoinHandle<()>);

impl Undertaker {
    /// Begins; `client` may change what is in stack namespaces.
    pub fn start(client: Client) -> Self {
        Self(tokio::spawn(async move {
            let namespaces: Api<Namespace> = Api::all(client.clone());
            let mut seen = watcher(namespaces, watcher::Config::default()).default_backoff().applied_objects().boxed();
            while let Some(event) = seen.next().await {
                let Ok(namespace) = event else { continue };
                if namespace.metadata.deletion_timestamp.is_some()
                    && let Err(error) = bury(&client, &namespace.name_any()).await
                {
                    tracing::warn!(%error, namespace = namespace.name_any(), "a namespace could not be removed");
                }
            }
        }))
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn bury(client: &Client, name: &str) -> Result<()> {
    for (group, kind) in FIRST.into_iter().chain(OF_DATABASES).chain(LAST) {
        empty(client, name, group, kind).await?;
    }
    let uri = format!("/api/v1/namespaces/{name}");
    let mut namespace: Value = client.request(http::Request::get(&uri).body(Vec::new())?).await?;
    if let Some(spec) = namespace.get_mut("spec") {
        *spec = json!({ "finalizers": [] });
    }
    let request = http::Request::put(format!("{uri}/finalize")).header("content-type", "application/json");
    client.request::<Value>(request.body(serde_json::to_vec(&namespace)?)?).await?;
    Ok(())
}

async fn empty(client: &Client, namespace: &str, group: &str, kind: &str) -> Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    match api.delete_collection(&DeleteParams::default(), &ListParams::default()).await {
        // Where a whole group is unknown, the answer is no Status.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        emptied => Ok(emptied.map(drop)?),
    }
}
