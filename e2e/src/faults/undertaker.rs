//! Plays the namespace controller on a plane that has none, so that namespaces go at once instead of after its five seconds. In: a
//! plane. Out: namespaces that are asked to go are emptied and gone, as long as this is held.
//!
//! Deletion with the real controller is what `tests/deletion` is about.

use std::future::ready;
use std::time::Duration;

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

/// So many namespaces are removed beside each other.
const AT_ONCE: usize = 8;

/// How often a namespace is tried to be removed, and the time between two.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// At work until it is dropped.
#[must_use = "it stops when it is dropped"]
pub struct Undertaker(JoinHandle<()>);

impl Undertaker {
    /// Begins; `client` may change what is in stack namespaces.
    pub fn start(client: Client) -> Self {
        Self(tokio::spawn(async move {
            let namespaces: Api<Namespace> = Api::all(client.clone());
            let seen = watcher(namespaces, watcher::Config::default()).default_backoff().applied_objects();
            let going = seen.filter_map(|event| {
                let is_going = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
                ready(event.ok().filter(is_going).map(|namespace| namespace.name_any()))
            });
            // Beside each other: on a busy machine they would wait for each other for minutes.
            going.for_each_concurrent(AT_ONCE, |name| bury_patiently(&client, name)).await;
        }))
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tries again what the API server refuses for a moment: nobody would tell of the namespace again.
async fn bury_patiently(client: &Client, name: String) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for _ in 0..TRIES {
        let Err(error) = bury(client, &name).await else { return };
        if matches!(namespaces.get_opt(&name).await, Ok(None)) {
            return;
        }
        tracing::warn!(%error, name, "a namespace could not be removed");
        tokio::time::sleep(PAUSE).await;
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
    // Jobs would else wait for somebody who lets go of their pods.
    match api.delete_collection(&DeleteParams::background(), &ListParams::default()).await {
        // Where a whole group is unknown, the answer is no Status.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        emptied => Ok(emptied.map(drop)?),
    }
}
