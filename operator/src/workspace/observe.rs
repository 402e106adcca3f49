//! What a Workspace depends on: its Tenant, the class, what the ledger grants it. Reads stores, writes nothing.

use std::sync::Arc;

use api::{Amounts, Tenant, TenantClass, Workspace, conditions as names, tenant::LedgerStatus};
use desired::ledger::{Refusal, Standing};
use kube::ResourceExt;

use super::{Facts, WOKEN_ANYWAY};
use crate::{
    context::Context,
    engine::{conditions::Part, fault::Fault, round::Round},
};

/// What the ledger grants.
pub struct Grant {
    /// What the ResourceQuota is to be set to.
    pub amounts: Amounts,
    /// The grant's number.
    pub revision: i64,
}

/// On whose word nothing is changed, if on anybody's.
pub fn paused(context: &Context, workspace: &Workspace) -> Option<String> {
    if workspace.spec.paused {
        return Some("spec.paused is true: nothing is changed until it is false".to_owned());
    }
    let tenant = context.tenant(&workspace.namespace().unwrap_or_default())?;
    tenant
        .spec
        .paused
        .then(|| format!("spec.paused is true on Tenant {}: nothing is changed until it is false", tenant.name_any()))
}

/// The Tenant, with its identity settled.
pub fn tenant(context: &Context, workspace: &Workspace) -> Result<Arc<Tenant>, Fault> {
    let namespace = workspace.namespace().unwrap_or_default();
    let Some(tenant) = context.tenant(&namespace) else {
        let message = format!("no Tenant stands in namespace {namespace}: apply one named {namespace}");
        return Err(Fault::waiting(WOKEN_ANYWAY, names::TENANT_NOT_FOUND, message));
    };
    if tenant.metadata.deletion_timestamp.is_some() {
        let message = format!(
            "Tenant {namespace} is being deleted: delete this Workspace too, or wait and apply the Tenant anew"
        );
        return Err(Fault::waiting(WOKEN_ANYWAY, names::TENANT_NOT_READY, message));
    }
    let settled = tenant.status.as_ref().is_some_and(|status| status.identity.is_some());
    if settled {
        return Ok(tenant);
    }
    let message = format!(
        "Tenant {namespace} has no identity yet: see its conditions with kubectl -n {namespace} describe tenant {namespace}"
    );
    Err(Fault::waiting(WOKEN_ANYWAY, names::TENANT_NOT_READY, message))
}

/// The Tenant's class.
pub fn class(context: &Context, tenant: &Tenant) -> Result<Arc<TenantClass>, Fault> {
    context.class(&tenant.spec.class).ok_or_else(|| {
        let message =
            format!("TenantClass {} of Tenant {} does not exist: apply it", tenant.spec.class, tenant.name_any());
        Fault::waiting(WOKEN_ANYWAY, names::CLASS_NOT_FOUND, message)
    })
}

/// What the Tenant's ledger grants this Workspace. Notes the part `QuotaReserved`; `None` if there is nothing to build on.
pub fn grant(
    context: &Context,
    tenant: &Tenant,
    workspace: &Workspace,
    round: &mut Round<Facts>,
) -> Result<Option<Grant>, Fault> {
    let ledger = tenant.status.as_ref().and_then(|status| status.quota.clone()).unwrap_or_default();
    let standing = Standing::of(&ledger, &workspace.uid().unwrap_or_default());
    let (part, grant) = match standing.map_err(|error| Fault::stalled(names::INVALID_SPEC, error.to_string()))? {
        Standing::Pending => (pending(tenant), None),
        Standing::Refused(refusal) => (refused(&refusal), None),
        Standing::Granted { amounts, revision, refused: Some(refusal) } => {
            (refused(&refusal), Some(Grant { amounts, revision }))
        }
        Standing::Granted { amounts, revision, refused: None } => {
            let part = if amounts == Amounts::default() {
                Part::good(
                    names::QUOTA_RESERVED,
                    names::NOT_LIMITED,
                    "neither the Workspace nor its Tenant limits anything",
                )
            } else {
                Part::good(
                    names::QUOTA_RESERVED,
                    names::RESERVED,
                    format!("{amounts} reserved from Tenant {}", tenant.name_any()),
                )
            };
            (part, Some(Grant { amounts, revision }))
        }
    };
    let part = if is_answered(context, tenant, workspace)? { part } else { pending(tenant) };
    round.parts.push(part);
    Ok(grant)
}

/// Whether the ledger has answered what the Workspace asks for now: what was granted or refused to an earlier wish says nothing
/// of this one. It has if settling it again would change nothing for this Workspace.
fn is_answered(context: &Context, tenant: &Tenant, workspace: &Workspace) -> Result<bool, Fault> {
    let settled = crate::tenant::ledger(context, tenant)?;
    let answer = |ledger: &LedgerStatus| {
        let mine = ledger.reservations.iter().find(|entry| Some(&entry.uid) == workspace.metadata.uid.as_ref());
        mine.map(|entry| (entry.granted.clone(), entry.reason.clone(), entry.refused.clone()))
    };
    Ok(tenant.status.as_ref().and_then(|status| status.quota.as_ref()).and_then(answer) == answer(&settled))
}

fn pending(tenant: &Tenant) -> Part {
    let message = format!("the ledger of Tenant {} has not yet answered", tenant.name_any());
    Part::faulty(names::QUOTA_RESERVED, Fault::waiting(WOKEN_ANYWAY, names::QUOTA_PENDING, message))
}

fn refused(refusal: &Refusal) -> Part {
    Part::faulty(names::QUOTA_RESERVED, Fault::stalled(refusal.reason.as_str(), refusal.message.clone()))
}
