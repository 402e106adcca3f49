//! The tenant's store of authorization: made, given our module and the Tenant's owners, rid of what Workspaces left that vanished. Looked at
//! again at half its evidence's validity, and when a Workspace goes.

use std::{collections::BTreeSet, time::Duration};

use api::{Tenant, Workspace, conditions as names, tenant::StoreStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt, api::ListParams, core::DeserializeGuard};
use providers::{
    External as _, StoreObserved, StoreSpec, Stores,
    authorization::{StoreId, tuples},
    external,
};

use super::{Class, Facts, Tenants};
use crate::{
    clock, connections,
    context::Context,
    engine::{
        conditions::{self, Part},
        drive::{self, Story as _},
        fault::Fault,
        round::Round,
    },
    identity,
    workspace::knows_callers,
};

/// Sees to the store, if the class offers one and it is time to look at it.
pub async fn store(context: &Context, tenant: &Tenant, class: &Class, round: &mut Round<Facts>) {
    if class.spec.authorization.is_none() {
        return;
    }
    let known = tenant.status.as_ref().and_then(|status| status.authorization.as_ref());
    let observed = known.and_then(|store| store.observed_at.as_ref()).map(|time| time.0);
    let (rest, before) = (context.until_next_look(observed), Tenants::conditions(tenant));
    let is_settled = conditions::holding(before, names::AUTHORIZATION_READY, tenant.metadata.generation).is_some();
    let may_be_left = knows_callers(class) && is_one_less(tenant, round);
    if is_settled && !rest.is_zero() && !may_be_left {
        round.look_again(rest);
        return;
    }
    match look(context, tenant, class, round).await {
        Ok((spec, store)) => {
            let message = format!("store {} knows who owns the Tenant", store.id);
            round.parts.push(Part::good(names::AUTHORIZATION_READY, names::AVAILABLE, message));
            round.facts.authorization = Some(StoreStatus {
                store_id: Some(store.id.to_string()),
                model_id: store.model.map(|model| model.id),
                observed_at: Some(Time(clock::now())),
                ..intended(&spec, class)
            });
            round.look_again(context.evidence / 2);
        }
        Err(fault) => context.look_failed::<Tenants>(tenant, round, names::AUTHORIZATION_READY, observed, &fault),
    }
}

/// Whether a Workspace is gone since status was written: by its story, or without it.
fn is_one_less(tenant: &Tenant, round: &Round<Facts>) -> bool {
    let before = tenant.status.iter().filter_map(|status| status.quota.as_ref()).flat_map(|quota| &quota.reservations);
    let now = round.facts.ledger.as_ref();
    let stays = |uid: &str| now.is_none_or(|now| now.reservations.iter().any(|kept| kept.uid == uid));
    before.into_iter().any(|entry| !stays(&entry.uid))
}

async fn look(
    context: &Context,
    tenant: &Tenant,
    class: &Class,
    round: &mut Round<Facts>,
) -> Result<(StoreSpec, StoreObserved), Fault> {
    let identity = round.facts.identity.map_or_else(|| context.identity_of_tenant(tenant), Ok)?;
    let spec = spec(context, tenant, identity)?;
    context.fence.stands().map_err(|why| Fault::waiting(Duration::from_secs(30), names::FENCE_DOWN, why))?;
    let stores = context.connections.stores(class).await?;
    if tenant.status.as_ref().is_none_or(|status| status.authorization.is_none()) {
        // Looked at first, so that a server that never answered is nothing that deletion must wait for.
        stores.observe(&spec).await.map_err(|fault| context.connections.failed(class, fault))?;
        round.facts.authorization = Some(intended(&spec, class));
        let making = format!("store `{}` is being made", spec.name());
        let (known, engine) = (&context.tenants, &context.engine);
        drive::intend::<Tenants>(known, engine, tenant, round, names::AUTHORIZATION_READY, making).await?;
    }
    let seen = external::ensure(&stores, &spec).await;
    connections::count(&context.engine.metrics, "authorization", "ensure", &seen);
    let seen = seen.map_err(|fault| context.connections.failed(class, fault))?;
    sweep(context, tenant, class, &stores, &spec, &seen).await?;
    Ok((spec, seen))
}

/// Shuts out the applications of Workspaces that are no more. The links were seen before the API server is asked, and a Workspace is there
/// before its link: so none of a new one is taken for a leftover.
async fn sweep(
    context: &Context,
    tenant: &Tenant,
    class: &Class,
    stores: &Stores,
    spec: &StoreSpec,
    seen: &StoreObserved,
) -> Result<(), Fault> {
    let namespace = tenant.namespace().unwrap_or_default();
    let known = context.workspaces_of(&namespace);
    let known: BTreeSet<String> = known.iter().filter_map(|workspace| object(workspace)).collect();
    let mut dead: BTreeSet<String> = seen.linked().filter(|it| !known.contains(*it)).map(str::to_owned).collect();
    if dead.is_empty() {
        return Ok(());
    }
    // The watch may be behind another leader.
    let api: Api<DeserializeGuard<Workspace>> = Api::namespaced(context.engine.client.clone(), &namespace);
    let list = api.list(&ListParams::default()).await;
    let list = list.map_err(|error| Fault::api(&error, &format!("list Workspaces in {namespace}")))?;
    for DeserializeGuard(workspace) in list.items {
        match workspace.ok().as_ref().and_then(object) {
            Some(alive) => _ = dead.remove(&alive),
            None => return Ok(()), // it may be the one that a link is of
        }
    }
    if dead.is_empty() {
        return Ok(());
    }
    tracing::info!(tenant = %tenant.name_any(), ?dead, "shutting out the applications of Workspaces that are gone");
    let swept = stores.sweep(spec, seen, &dead).await;
    connections::count(&context.engine.metrics, "authorization", "remove", &swept);
    swept.map_err(|fault| context.connections.failed(class, fault))
}

/// How access control calls a Workspace.
fn object(workspace: &Workspace) -> Option<String> {
    let identity = identity::derived(workspace)?;
    providers::Identity::new(&identity).ok().map(|identity| tuples::workspace(&identity))
}

/// The store as it should be.
pub fn spec(context: &Context, tenant: &Tenant, identity: api::Identity) -> Result<StoreSpec, Fault> {
    let known = tenant.status.as_ref().and_then(|status| status.authorization.as_ref()?.store_id.as_deref());
    Ok(StoreSpec {
        installation: connections::installation(&context.installation)?,
        tenant: connections::identity(&identity)?,
        // What is no id names no store, and one is looked for by its name.
        known: known.and_then(|id| StoreId::new(id).ok()),
        going: tenant.metadata.deletion_timestamp.is_some(),
        owners: tenant.spec.owners.iter().map(|owner| connections::subject(owner.kind, &owner.name)).collect(),
    })
}

/// The store before it was ever seen.
fn intended(spec: &StoreSpec, class: &Class) -> StoreStatus {
    let openfga = class.spec.authorization.as_ref().and_then(|place| place.openfga.as_ref());
    StoreStatus {
        endpoint: openfga.map(|openfga| openfga.endpoint.clone()).unwrap_or_default(),
        store_id: None,
        model_id: None,
        object: tuples::tenant(&spec.tenant),
        observed_at: None,
    }
}
