//! Databases as a cluster has them that runs CloudNativePG. In: a plane. Out: its kinds alone, on any tier; or, on real nodes, its operator
//! and its plugin for backups at work, with volumes for them.
//!
//! Nothing of it is ours but the images, which are packed here, and the volumes: manifests come from the modules that the programs are
//! built from.

mod bucket;
mod consumer;
mod database;
mod drill;
mod images;
mod keeper;
mod player;
mod refusal;
mod upstream;
mod visitor;
mod volumes;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};

use crate::components::{Component, build_all};
use crate::manifests;
use crate::plane::Plane;
use crate::wait::until;

pub use bucket::{Bucket, Read, lists, read, with_credentials, with_what_was_given};
pub use consumer::{CONSENT, Consumer, ROWS, Use, host};
pub use database::{Database, PATIENCE, PLUGIN, apply, exec};
pub use drill::{CANARY, DRILL, ago, good};
pub use images::POSTGRES;
pub use keeper::{Keeper, objects};
pub use player::Player;
pub use refusal::{ANOTHER_AUTHORITY, ANOTHER_NAME, LOCKED, UNANSWERED, is_late, is_refused};
pub use visitor::{Session, Visitor, Way};
pub use volumes::{STORAGE_CLASS, Volumes};

/// The namespace of the operator of databases, which holds the plugin too.
pub const NAMESPACE: &str = "cnpg-system";

/// Longest wait for each step of the installation.
const INSTALLED_AFTER: Duration = Duration::from_mins(5);

/// Selects the node that no test loses. What everybody needs runs there, as in a cluster whose own programs have nodes to themselves.
fn kept_node() -> serde_json::Value {
    serde_json::json!({ "kubernetes.io/hostname": "node-1" })
}

/// CloudNativePG at work. Dropping it ends the making of volumes; the rest goes with its plane.
pub struct CloudNativePg {
    /// The image of databases by tag and digest; [`POSTGRES`] is the same by tag alone.
    pub postgres: String,
    /// How long it took, in a sentence for whoever wants to know.
    pub times: String,
    _volumes: Volumes,
}

impl CloudNativePg {
    /// Builds the programs and packs the images beforehand.
    pub async fn build() -> Result<()> {
        build_all(&Component::DATABASE).await?;
        images::packed().await.map(drop)
    }

    /// Installs the operator and its plugin on a plane with real nodes and waits until both are at work. From then on a database of the
    /// image [`POSTGRES`] can be had, with volumes of [`STORAGE_CLASS`].
    pub async fn install(plane: &Plane) -> Result<Self> {
        build_all(&Component::DATABASE).await?;
        let images = images::packed().await?;
        let begun = Instant::now();
        let client = plane.admin()?;
        let import = async {
            plane.import_image(&images.archive).await?;
            anyhow::Ok(begun.elapsed())
        };
        let kinds = async {
            let upstream = upstream::Upstream::read().await?;
            apply_kinds(&client, &upstream).await?;
            anyhow::Ok(upstream)
        };
        let (imported, upstream, volumes) = tokio::try_join!(import, kinds, Volumes::provide(plane))?;
        for object in upstream.operators(plane.authority())? {
            manifests::apply(&client, &object).await?;
        }
        for name in upstream::DEPLOYMENTS {
            until_available(&client, name).await?;
        }
        let (all, imported) = (begun.elapsed().as_secs_f32(), imported.as_secs_f32());
        let times = format!("CloudNativePG is up after {all:.1} s, {imported:.1} s of it for its images");
        Ok(Self { postgres: images.postgres, times, _volumes: volumes })
    }
}

/// Makes the kinds of the operator and of its plugin known to a plane of any tier, and nothing that acts on them.
pub async fn install_kinds(plane: &Plane) -> Result<()> {
    apply_kinds(&plane.admin()?, &upstream::Upstream::read().await?).await
}

/// Applies the definitions of all kinds and waits until they are served.
async fn apply_kinds(client: &Client, upstream: &upstream::Upstream) -> Result<()> {
    let kinds = upstream.kinds()?;
    for kind in &kinds {
        manifests::apply(client, kind).await?;
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    until("the kinds of CloudNativePG are served", INSTALLED_AFTER, async || {
        for kind in &kinds {
            let name = kind.metadata.name.as_deref().unwrap_or_default();
            let status = definitions.get(name).await?.status;
            let mut conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
            if !conditions.any(|it| it.type_ == "Established" && it.status == "True") {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

async fn until_available(client: &Client, name: &str) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    until(&format!("{name} is available"), INSTALLED_AFTER, async || {
        let status = deployments.get(name).await.with_context(|| format!("there is no Deployment {name}"))?.status;
        Ok(status.is_some_and(|status| status.available_replicas == Some(1)))
    })
    .await
}
