//! A volume that is full. In: a customer whose database has one instance. Out: that status says so, that the way out it names is one, and that
//! nothing is lost that was acknowledged.

use anyhow::{Context as _, Result, ensure};
use api::conditions as names;
use e2e::story::condition;
use e2e::wait::until;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::changed::{LARGER, to_larger_volumes};
use crate::database::PATIENCE;
use crate::world::{Customer, World};
use crate::writer::{Through, Writer};

/// So much log, in MiB, fills what PostgreSQL still has of files that it uses again.
const LOG: u32 = 256;

/// Somebody else fills the volume; PostgreSQL stops once its log has no room. Says what the writer counted.
pub async fn is_told_and_the_way_out_is_one(world: &World, customer: &Customer) -> Result<String> {
    let database = &customer.database;
    let writer = Writer::begin(Through::Instance(database.clone())).await?;
    let instance = database.primary().await?;
    let pods = Api::<Pod>::namespaced(world.client()?, &customer.stack);
    let claims = Api::<PersistentVolumeClaim>::namespaced(world.client()?, &customer.stack);
    let node = pods.get(&instance).await?.spec.and_then(|spec| spec.node_name).context("it is on no node")?;
    let volume = claims.get(&instance).await?.spec.and_then(|spec| spec.volume_name).context("it has no volume")?;
    world.plane().disks()?.fill(&node, &volume)?;
    let fill =
        format!("SELECT pg_logical_emit_message(false, 'log', repeat('x', 1048576)) FROM generate_series(1, {LOG})");
    until(&format!("the log of {} has no room", customer.stack), PATIENCE, async || {
        Ok(database.sql(&fill).await.is_err())
    })
    .await?;
    let platform = world.platform();
    let (part, reason) = (names::DATABASE_READY, names::DATABASE_VOLUME_FULL);
    let told = platform.until_condition(&customer.workspace, part, "False", reason).await?;
    let message = &condition(&told, part).context("no condition")?.message;
    ensure!(message.contains(&customer.stack), "{message}");

    // What the reason says is to be done.
    let larger = Patch::Merge(json!({ "spec": { "resources": { "requests": { "storage": LARGER } } } }));
    claims.patch(&instance, &PatchParams::default(), &larger).await?;
    to_larger_volumes(world, customer).await?;
    database.until_healthy(1).await?;
    writer.end(database).await.map(|(told, _)| told)
}
