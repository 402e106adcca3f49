//! What a Tenant depends on: its name, its class, its Workspaces' claims. Reads stores, writes nothing.

use std::{sync::Arc, time::Duration};

use api::{
    Tenant, TenantClass, Workspace, conditions as names,
    tenant::{LedgerStatus, Reservation},
};
use desired::ledger;
use kube::{Api, ResourceExt};

use super::class_not_found;
use crate::{context::Context, engine::fault::Fault};

/// A Tenant must be named like its namespace, so that there is one in each.
pub fn named_like_its_namespace(tenant: &Tenant) -> Result<(), Fault> {
    let (name, namespace) = (tenant.name_any(), tenant.namespace().unwrap_or_default());
    if name == namespace {
        return Ok(());
    }
    let message = format!(
        "the Tenant is named {name} but stands in namespace {namespace}: create it as {namespace}, or in a namespace {name}"
    );
    Err(Fault::stalled(names::NAME_MISMATCH, message))
}

/// The class, unless it does not exist.
pub fn class(context: &Context, tenant: &Tenant) -> Result<Arc<TenantClass>, Fault> {
    context.class(&tenant.spec.class).ok_or_else(|| class_not_found(tenant))
}

/// The ledger as it must be, given what the Workspaces ask for and still use.
pub fn ledger(context: &Context, tenant: &Tenant) -> Result<LedgerStatus, Fault> {
    let quota = tenant.spec.quota.clone().unwrap_or_default();
    let limit = ledger::Limit { workspaces: quota.workspaces, amounts: quota.amounts()? };
    let unreadable = |error: &dyn std::fmt::Display| Fault::stalled(names::INVALID_SPEC, error.to_string());
    let before = tenant.status.as_ref().and_then(|status| status.quota.clone()).unwrap_or_default();
    let before = ledger::read(&before).map_err(|error| unreadable(&error))?;
    let workspaces = context.workspaces_of(&tenant.namespace().unwrap_or_default());
    let claims = workspaces.iter().map(|workspace| ledger::Claim::of(workspace)).collect::<Result<Vec<_>, _>>();
    Ok(ledger::settle(&limit, &before, &claims.map_err(|error| unreadable(&error))?).status())
}

/// What an entry holds is given away only once the API server itself says that its Workspace is gone: after a change of leaders the
/// watch of Workspaces may be behind the ledger.
pub async fn nothing_live_is_dropped(context: &Context, tenant: &Tenant, settled: &LedgerStatus) -> Result<(), Fault> {
    let before = tenant.status.as_ref().and_then(|status| status.quota.clone()).unwrap_or_default().reservations;
    let namespace = tenant.namespace().unwrap_or_default();
    for entry in before.iter().filter(|entry| settled.reservations.iter().all(|kept| kept.uid != entry.uid)) {
        is_gone(context, &namespace, entry).await?;
    }
    Ok(())
}

async fn is_gone(context: &Context, namespace: &str, entry: &Reservation) -> Result<(), Fault> {
    let api: Api<Workspace> = Api::namespaced(context.engine.client.clone(), namespace);
    let name = &entry.workspace;
    let found = api.get_metadata_opt(name).await;
    let found = found.map_err(|error| Fault::api(&error, &format!("read Workspace {namespace}/{name}")))?;
    if found.is_some_and(|found| found.metadata.uid.as_deref() == Some(&entry.uid)) {
        let message = format!("Workspace {namespace}/{name} is in the ledger and not yet in the watch");
        return Err(Fault::waiting(Duration::from_secs(1), names::QUOTA_PENDING, message));
    }
    Ok(())
}
