//! How a Tenant goes: its Workspaces first, then its store and its key by its deletion policy, then the finalizer.
//!
//! It needs less than provisioning: no bounds are checked and no ledger is kept. Each step may be repeated.

use std::time::Duration;

use api::{Tenant, Workspace, conditions as names, tenant::DeletionPolicy};
use kube::{Api, ResourceExt, api::ListParams};
use providers::external;

use super::{Facts, Tenants, authorize, observe};
use crate::{
    connections,
    context::Context,
    engine::{conditions::Phase, drive::Story, fault::Fault, finalize, round::Round},
};

/// Removes or releases what the Tenant stands for, as far as it goes in one round.
pub async fn tell(context: &Context, tenant: &Tenant, round: &mut Round<Facts>) -> Result<(), Fault> {
    if !finalize::is_held(tenant) {
        round.over = true;
        return Ok(());
    }
    if tenant.spec.paused {
        round.phase = Phase::Paused("spec.paused is true: deletion waits until it is false".to_owned());
        return Ok(());
    }
    round.phase = Phase::Deleting;
    no_workspaces(context, tenant).await?;
    if !finalize::is_there(&Tenants::api(&context.engine.client, tenant), tenant).await? {
        round.over = true;
        return Ok(());
    }
    match context.identity_of_tenant(tenant) {
        Ok(identity) => {
            store(context, tenant, identity).await?;
            key(context, tenant, identity).await?;
        }
        // Whose identity another object holds never made anything.
        Err(fault) if fault.reason == names::IDENTITY_TAKEN => {}
        Err(fault) => return Err(fault),
    }
    finalize::release(&Tenants::api(&context.engine.client, tenant), tenant).await?;
    round.over = true;
    Ok(())
}

/// The Tenant's quota, class and policy are needed as long as it has Workspaces.
async fn no_workspaces(context: &Context, tenant: &Tenant) -> Result<(), Fault> {
    let namespace = tenant.namespace().unwrap_or_default();
    let mut remaining: Vec<String> =
        context.workspaces_of(&namespace).iter().map(|workspace| workspace.name_any()).collect();
    if remaining.is_empty() {
        // The watch may lag behind: ask once before the key goes.
        let api: Api<Workspace> = Api::namespaced(context.engine.client.clone(), &namespace);
        let list = api.list_metadata(&ListParams::default().limit(6)).await;
        let list = list.map_err(|error| Fault::api(&error, &format!("list Workspaces in {namespace}")))?;
        remaining = list.items.iter().map(ResourceExt::name_any).collect();
    }
    if remaining.is_empty() {
        return Ok(());
    }
    remaining.sort();
    let shown = remaining.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    let more = if remaining.len() > 5 { " and more" } else { "" };
    let message =
        format!("Workspaces remain in {namespace}: {shown}{more}; delete them, and the Tenant goes by itself");
    Err(Fault::waiting(Duration::from_secs(30), names::WORKSPACES_REMAIN, message))
}

/// Deletes the store with all that is in it, or keeps it without the owners. Status names it before it is made.
async fn store(context: &Context, tenant: &Tenant, identity: api::Identity) -> Result<(), Fault> {
    if tenant.status.as_ref().is_none_or(|status| status.authorization.is_none()) {
        return Ok(());
    }
    let class = observe::class(context, tenant)?;
    let spec = authorize::spec(context, tenant, identity)?;
    let stores = context.connections.stores(&class).await?;
    let gone = match tenant.spec.deletion_policy {
        DeletionPolicy::Retain => external::ensure_released(&stores, &spec).await.map(|_| ()),
        DeletionPolicy::Delete => external::ensure_gone(&stores, &spec).await,
    };
    connections::count(&context.engine.metrics, "authorization", "remove", &gone);
    gone.map_err(|fault| context.connections.failed(&class, fault))
}

/// Disables or releases the key. Status names it before it is made, so where none is named there is none.
async fn key(context: &Context, tenant: &Tenant, identity: api::Identity) -> Result<(), Fault> {
    if tenant.status.as_ref().is_none_or(|status| status.key.is_none()) {
        return Ok(());
    }
    let class = observe::class(context, tenant)?;
    let spec = providers::keys::KeySpec {
        installation: connections::installation(&context.installation)?,
        tenant: connections::identity(&identity)?,
        rotation_period: providers::keys::SHORTEST_ROTATION_PERIOD,
        rotate: None,
    };
    let keys = context.connections.keys(&class)?;
    let gone = match tenant.spec.deletion_policy {
        DeletionPolicy::Retain => external::ensure_released(&keys, &spec).await.map(|_| ()),
        DeletionPolicy::Delete => external::ensure_gone(&keys, &spec).await,
    };
    connections::count(&context.engine.metrics, "keys", "remove", &gone);
    gone.map_err(|fault| context.connections.failed(&class, fault))
}
