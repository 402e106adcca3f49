//! The platform team. In: manifests. Out: objects as the API server has them, once they are as waited for.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::{Tenant, Workspace, conditions as names};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::manifest::{Manifest, Told, condition};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// As whom it applies.
const MANAGER: &str = "platform";

/// A client with which objects are applied and watched.
#[derive(Clone)]
pub struct Platform {
    /// Of somebody who may write our kinds and control namespaces.
    pub client: Client,
    patience: Duration,
}

impl Platform {
    /// Applies as `client`.
    pub fn new(client: Client) -> Self {
        Self { client, patience: PATIENCE }
    }

    /// The same, waiting longer: for what takes minutes on a busy machine.
    #[must_use]
    pub fn patient(&self, patience: Duration) -> Self {
        Self { client: self.client.clone(), patience }
    }

    /// Makes a namespace, as for a new customer.
    pub async fn control_namespace(&self, name: &str) -> Result<()> {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(namespace)).await?;
        Ok(())
    }

    /// Applies it, after its control namespace, and returns it as the API server has it.
    pub async fn apply<K: Told>(&self, manifest: &Manifest<K>) -> Result<K> {
        if !manifest.namespace().is_empty() {
            self.control_namespace(manifest.namespace()).await?;
        }
        let patch = Patch::Apply(manifest.object());
        let params = PatchParams::apply(MANAGER).force();
        let applied = manifest.api(&self.client).patch(manifest.name(), &params, &patch).await;
        applied.with_context(|| format!("cannot apply {}", told(manifest)))
    }

    /// Applies it and hands it back: to be used where it is written.
    pub async fn applied<K: Told>(&self, manifest: Manifest<K>) -> Result<Manifest<K>> {
        self.apply(&manifest).await?;
        Ok(manifest)
    }

    /// It as it is now.
    pub async fn get<K: Told>(&self, manifest: &Manifest<K>) -> Result<K> {
        manifest.api(&self.client).get(manifest.name()).await.with_context(|| format!("cannot read {}", told(manifest)))
    }

    /// Asks for its deletion.
    pub async fn delete<K: Told>(&self, manifest: &Manifest<K>) -> Result<()> {
        let deleted = manifest.api(&self.client).delete(manifest.name(), &DeleteParams::default()).await;
        deleted.with_context(|| format!("cannot delete {}", told(manifest)))?;
        Ok(())
    }

    /// Waits until it is so, and returns it as it was then. `what` completes "until Tenant acme/acme …".
    pub async fn until<K: Told>(&self, manifest: &Manifest<K>, what: &str, holds: impl Fn(&K) -> bool) -> Result<K> {
        let holds = |object: Option<&K>| object.is_some_and(&holds);
        let waiting = await_condition(manifest.api(&self.client), manifest.name(), holds);
        match tokio::time::timeout(self.patience, waiting).await {
            Ok(found) => found?.with_context(|| format!("{} is gone", told(manifest))),
            Err(_) => bail!(
                "waited {} s in vain until {} {what}; it is {}",
                self.patience.as_secs(),
                told(manifest),
                self.seen(manifest).await
            ),
        }
    }

    /// Waits until Ready is True for the newest generation.
    pub async fn until_ready<K: Told>(&self, manifest: &Manifest<K>) -> Result<K> {
        self.until(manifest, "is Ready", |object| is(object, names::READY, "True", None)).await
    }

    /// Waits until Ready has this reason for the newest generation.
    pub async fn until_reason<K: Told>(&self, manifest: &Manifest<K>, reason: &str) -> Result<K> {
        let what = format!("gives the reason {reason}");
        self.until(manifest, &what, |object| {
            ["True", "False", "Unknown"].iter().any(|status| is(object, names::READY, status, Some(reason)))
        })
        .await
    }

    /// Waits until the condition is this for the newest generation.
    pub async fn until_condition<K: Told>(
        &self,
        manifest: &Manifest<K>,
        condition: &str,
        status: &str,
        reason: &str,
    ) -> Result<K> {
        let what = format!("says {condition}={status} for {reason}");
        self.until(manifest, &what, |object| is(object, condition, status, Some(reason))).await
    }

    /// Waits until the object with this UID is gone.
    pub async fn until_gone<K: Told>(&self, manifest: &Manifest<K>, object: &K) -> Result<()> {
        let uid = object.uid().unwrap_or_default();
        let waiting = await_condition(manifest.api(&self.client), manifest.name(), is_deleted(&uid));
        if tokio::time::timeout(self.patience, waiting).await.is_err() {
            bail!(
                "waited {} s in vain until {} is gone; it is {}",
                self.patience.as_secs(),
                told(manifest),
                self.seen(manifest).await
            );
        }
        Ok(())
    }

    /// Waits until an object of any kind is so, and returns it as it was then. `what` completes "until steading …".
    pub async fn until_object<K>(&self, api: Api<K>, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> Result<K>
    where
        K: Clone + Debug + Send + DeserializeOwned + 'static,
        K: kube::Resource,
    {
        let holds = |object: Option<&K>| object.is_some_and(&holds);
        match tokio::time::timeout(self.patience, await_condition(api.clone(), name, holds)).await {
            Ok(found) => found?.with_context(|| format!("{name} is gone")),
            Err(_) => bail!(
                "waited {} s in vain until {name} {what}; it is {:#?}",
                self.patience.as_secs(),
                api.get_opt(name).await
            ),
        }
    }

    /// Name of the stack namespace that the Workspace shows.
    pub async fn stack_of(&self, workspace: &Manifest<Workspace>) -> Result<String> {
        let shown = self.get(workspace).await?.status.and_then(|status| status.namespace);
        Ok(shown.with_context(|| format!("{} shows no stack namespace", told(workspace)))?.name)
    }

    /// Name of the key that the Tenant shows.
    pub async fn key_of(&self, tenant: &Manifest<Tenant>) -> Result<String> {
        let shown = self.get(tenant).await?.status.and_then(|status| status.key);
        Ok(shown.with_context(|| format!("{} shows no key", told(tenant)))?.name)
    }

    /// Name of the bucket that the Workspace shows.
    pub async fn bucket_of(&self, workspace: &Manifest<Workspace>) -> Result<String> {
        let shown = self.get(workspace).await?.status.and_then(|status| status.bucket);
        Ok(shown.with_context(|| format!("{} shows no bucket", told(workspace)))?.name)
    }

    /// What a failed wait tells of it.
    async fn seen<K: Told>(&self, manifest: &Manifest<K>) -> String {
        match manifest.api(&self.client).get_opt(manifest.name()).await {
            Ok(None) => "not there".to_owned(),
            Ok(Some(object)) => {
                let (generation, observed) =
                    (object.meta().generation.unwrap_or_default(), object.observed_generation());
                let deleting = object.meta().deletion_timestamp.is_some();
                let conditions = serde_json::to_string_pretty(object.conditions()).unwrap_or_default();
                format!("at generation {generation}, observed {observed}, deleting: {deleting}, {conditions}")
            }
            Err(error) => format!("not readable: {error}"),
        }
    }
}

/// Whether the condition is this for the newest generation.
fn is<K: Told>(object: &K, name: &str, status: &str, reason: Option<&str>) -> bool {
    let generation = object.meta().generation;
    Some(object.observed_generation()) == generation
        && condition(object, name).is_some_and(|condition| {
            condition.status == status
                && condition.observed_generation == generation
                && reason.is_none_or(|reason| condition.reason == reason)
        })
}

fn told<K: Told>(manifest: &Manifest<K>) -> String {
    let place = if manifest.namespace().is_empty() { String::new() } else { format!("{}/", manifest.namespace()) };
    format!("{} {place}{}", K::kind(&()), manifest.name())
}
