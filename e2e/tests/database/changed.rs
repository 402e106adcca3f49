//! Databases that change while they are used. In: customers whose databases run. Out: every instance has another image, volumes are larger, and
//! nothing is lost.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::Workspace;
use e2e::databases::POSTGRES;
use e2e::wait::until;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::ListParams;

use crate::world::{Customer, World};

/// Longest wait until all instances of all databases were made anew, one after the other.
const ROLLED_OUT_AFTER: Duration = Duration::from_mins(5);

/// The size that volumes are given.
pub const LARGER: &str = "2Gi";

/// The class offers its image by another name, as if it were the next minor version: PostgreSQL itself is the same, rolling it out is not.
pub async fn to_another_image(world: &World, customers: [&Customer; 2]) -> Result<()> {
    world.offers("database.image", POSTGRES).await?;
    for customer in customers {
        let pods = Api::<Pod>::namespaced(world.client()?, &customer.stack);
        let instances = ListParams::default().labels("cnpg.io/cluster=database,cnpg.io/podRole=instance");
        let what = format!("every instance in {} runs {POSTGRES}", customer.stack);
        until(&what, ROLLED_OUT_AFTER, async || {
            let found = pods.list(&instances).await?.items;
            Ok(!found.is_empty() && found.iter().all(|pod| image_of(pod) == Some(POSTGRES)))
        })
        .await?;
        let shown = world.platform().until_ready(&customer.workspace).await?;
        let told = shown.status.and_then(|status| status.database).context("status says nothing of a database")?;
        ensure!(told.image.as_deref() == Some(POSTGRES), "status tells of another image: {told:?}");
    }
    Ok(())
}

fn image_of(pod: &Pod) -> Option<&str> {
    let containers = &pod.spec.as_ref()?.containers;
    containers.iter().find(|container| container.name == "postgres")?.image.as_deref()
}

/// A Workspace asks for larger volumes, and gets them under the database that runs.
pub async fn to_larger_volumes(world: &World, customer: &Customer) -> Result<()> {
    let larger = customer.workspace.clone().with("database.storage.size", LARGER);
    world.platform().apply(&larger).await?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(world.client()?, &customer.stack);
    let of_database = ListParams::default().labels("cnpg.io/cluster=database");
    until(&format!("the volumes in {} have {LARGER}", customer.stack), ROLLED_OUT_AFTER, async || {
        let found = claims.list(&of_database).await?.items;
        Ok(!found.is_empty() && found.iter().all(|claim| capacity_of(claim) == Some(LARGER)))
    })
    .await?;
    let told = |shown: &Workspace| {
        let database = shown.status.as_ref().and_then(|status| status.database.as_ref());
        database.is_some_and(|database| database.storage == LARGER)
    };
    world.platform().until(&larger, "tells of the larger volumes", told).await?;
    world.platform().until_ready(&larger).await.map(drop)
}

fn capacity_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.capacity.as_ref()?.get("storage").map(|size| size.0.as_str())
}
