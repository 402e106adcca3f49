//! Plays the namespace controller on a plane that has none, so that namespaces go at once instead of after its five seconds. In: a
//! plane. Out: namespaces that are asked to go are emptied and gone, as long as this is held.
//!
//! Deletion with the real controller is what `tests/deletion` is about.

use anyhow::Result;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

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
    empty::<RoleBinding>(client, name).await?;
    empty::<NetworkPolicy>(client, name).await?;
    empty::<ResourceQuota>(client, name).await?;
    empty::<LimitRange>(client, name).await?;
    empty::<Event>(client, name).await?;
    let uri = format!("/api/v1/namespaces/{name}");
    let mut namespace: Value = client.request(http::Request::get(&uri).body(Vec::new())?).await?;
    if let Some(spec) = namespace.get_mut("spec") {
        *spec = json!({ "finalizers": [] });
    }
    let request = http::Request::put(format!("{uri}/finalize")).header("content-type", "application/json");
    client.request::<Value>(request.body(serde_json::to_vec(&namespace)?)?).await?;
    Ok(())
}

async fn empty<K>(client: &Client, namespace: &str) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    Ok(())
}
