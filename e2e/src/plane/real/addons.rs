//! What every cluster with real nodes has besides nodes. In: an API server. Out: gVisor as a `RuntimeClass`, rights of the enforcer, DNS
//! that answers.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};

use crate::manifests;
use crate::wait::until;

const MANIFEST: &str = include_str!("addons.yaml");

/// Longest wait until names resolve.
const PATIENCE: Duration = Duration::from_mins(2);

/// Applies all of it.
pub(super) async fn apply(client: &Client) -> Result<()> {
    for object in manifests::parse("addons.yaml", MANIFEST)? {
        manifests::apply(client, &object).await?;
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
