//! Restoring: another Workspace of the Tenant begins with what a database held. In: a customer, whose Workspace may be gone. Out: databases
//! as they were.

use anyhow::{Context as _, Result, ensure};
use api::Workspace;
use e2e::story::{Manifest, workspace};
use serde_json::json;

use crate::database::Database;
use crate::world::{Customer, World};

/// Makes a Workspace that begins with what the database of a Workspace held that is gone, as it was at a moment, or as it was last.
pub async fn begun(
    world: &World,
    customer: &Customer,
    name: &str,
    moment: Option<&str>,
) -> Result<Manifest<Workspace>> {
    let identity = customer.shown.status.as_ref().and_then(|status| status.identity.clone());
    let identity = identity.context("the Workspace showed no identity")?;
    let mut from = json!({ "identity": identity, "serverName": customer.server });
    if let Some(moment) = moment {
        from["time"] = moment.into();
    }
    world.platform().applied(workspace(name).of_tenant(&customer.tenant).with("database.restoreFrom", from)).await
}

/// Waits until its database is there.
pub async fn done(world: &World, customer: &Customer, workspace: &Manifest<Workspace>) -> Result<Database> {
    let platform = world.platform();
    let shown = platform.until_ready(workspace).await?;
    let database = shown.status.and_then(|status| status.database).context("status says nothing of a database")?;
    let origin = database.restored_from.context("status does not say what it began with")?;
    ensure!(origin.bucket == customer.store.bucket && origin.completed_at.is_some(), "{origin:?}");
    let backup = database.backup.context("it has no backups of its own")?;
    ensure!(backup.bucket != origin.bucket, "it writes to the backups that it began with");
    let stack = platform.stack_of(workspace).await?;
    Ok(Database::new("database", &stack, world.client()?))
}
