//! Whatever others do to what Steading made, or to what it may do: nothing is lost, nothing is done twice, and status names the cause.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod midway;
mod orphans;
mod owners;
mod reinstalled;
mod rights;
mod rival;

use anyhow::Result;
use api::{Tenant, Workspace, conditions as names};
use e2e::story::{Manifest, Platform, class, condition, tenant, workspace};
use e2e::{plane::Calls, unique};

/// A Tenant with one Workspace, both Ready.
async fn ready_pair(platform: &Platform) -> Result<(Manifest<Tenant>, Manifest<Workspace>)> {
    let onprem = platform.applied(class(&unique("onprem"))).await?;
    let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem).deleting_data()).await?;
    let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
    platform.until_ready(&acme).await?;
    platform.until_ready(&finance).await?;
    Ok((acme, finance))
}

/// The message of Ready.
fn told(workspace: &Workspace) -> &str {
    &condition(workspace, names::READY).expect("Ready is always there").message
}

/// Writes of the operator that were carried out, but for its Lease and the trials of the fence.
fn writes(calls: &Calls) -> Calls {
    let ours = calls.by_service_account("steading-system", "steading").writes();
    ours.filter(|call| call.code() < 300 && !call.is_dry_run() && !call.target().starts_with("leases"))
}
