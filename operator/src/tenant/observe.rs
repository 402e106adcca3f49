//! What a Tenant depends on: its name, its class, its Workspaces' claims. Reads stores, writes nothing.

use std::sync::Arc;

use api::{Tenant, TenantClass, conditions as names, tenant::LedgerStatus};
use desired::ledger;
use kube::ResourceExt;

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
