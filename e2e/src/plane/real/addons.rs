//! What every cluster with real nodes has besides nodes. In: an API server. Out: gVisor as a `RuntimeClass`, rights of the enforcer, DNS
//! that answers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt as _};

use crate::wait::until;

const MANIFEST: &str = include_str!("addons.yaml");

/// Longest wait until names resolve.
const PATIENCE: Duration = Duration::from_mins(2);

/// Applies all of it.
pub(super) async fn apply(client: &Client) -> Result<()> {
    let objects: Vec<DynamicObject> = serde_saphyr::from_multiple(MANIFEST).context("addons.yaml cannot be read")?;
    for object in objects {
        let types = object.types.clone().context("an object of addons.yaml has no kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let name = object.name_any();
        let parameters = PatchParams::apply("steading-e2e").force();
        api.patch(&name, &parameters, &Patch::Apply(&object))
            .await
            .with_context(|| format!("cannot apply {} {name}", types.kind))?;
    }
    Ok(())
}

/// Waits until names are resolved.
pub(super) async fn until_ready(client: &Client) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
    until("the cluster's DNS is ready", PATIENCE, async || {
        let found = deployments.get_opt("coredns").await?;
        Ok(found.and_then(|it| it.status).is_some_and(|status| status.ready_replicas == Some(1)))
    })
    .await
}
