//! Who may do what in the Workspace, as the tenant's store of authorization says it: written, kept, taken away when the Workspace goes.

mod applications;

pub use applications::knows_callers;

use std::time::Duration;

use api::{
    Identity, Tenant, TenantClass, Workspace, conditions as names,
    subject::Role,
    workspace::{ApplicationStatus, MembershipStatus},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use providers::{
    MembershipSpec,
    authorization::{self, StoreId, tuples},
    external,
};

use super::{Facts, WOKEN_ANYWAY, Workspaces, observe};
use crate::{
    clock, connections,
    context::Context,
    engine::{
        conditions::{self, Part},
        drive::{self, Story as _},
        fault::Fault,
        round::Round,
    },
};

/// Sees to the members, if the class offers a store and it is time to look.
pub async fn members(
    context: &Context,
    tenant: &Tenant,
    workspace: &Workspace,
    class: &TenantClass,
    round: &mut Round<Facts>,
) {
    if class.spec.authorization.is_none() {
        return;
    }
    let known = workspace.status.as_ref().and_then(|status| status.authorization.as_ref());
    let observed = known.and_then(|members| members.observed_at.as_ref()).map(|time| time.0);
    let (rest, generation) = (context.until_next_look(observed), workspace.metadata.generation);
    let store = tenant.status.as_ref().and_then(|status| status.authorization.as_ref()?.store_id.as_ref());
    let wanted = applications::wanted(context, workspace, class);
    let is_settled = conditions::holding(Workspaces::conditions(workspace), names::AUTHORIZATION_READY, generation)
        .is_some()
        && known.map(|members| &members.store_id) == store
        && wanted.as_ref().is_ok_and(|wanted| known.is_some_and(|known| known.applications == *wanted));
    if is_settled && !rest.is_zero() {
        round.look_again(rest);
        return;
    }
    match look(context, tenant, workspace, class, wanted, round).await {
        Ok((spec, applications)) => {
            let object = tuples::workspace(&spec.workspace);
            let message = format!("store {} knows the members as {object}{}", spec.store, told(&applications));
            round.parts.push(Part::good(names::AUTHORIZATION_READY, names::AVAILABLE, message));
            let observed_at = Some(Time(clock::now()));
            round.facts.authorization = Some(MembershipStatus { observed_at, applications, ..intended(&spec) });
            round.look_again(context.evidence / 2);
        }
        Err(fault) => context.look_failed::<Workspaces>(workspace, round, names::AUTHORIZATION_READY, observed, &fault),
    }
}

fn told(applications: &[ApplicationStatus]) -> String {
    match applications.len() {
        0 => String::new(),
        1 => ", and 1 consumer may call for it".to_owned(),
        many => format!(", and {many} consumers may call for it"),
    }
}

async fn look(
    context: &Context,
    tenant: &Tenant,
    workspace: &Workspace,
    class: &TenantClass,
    applications: Result<Vec<ApplicationStatus>, Fault>,
    round: &mut Round<Facts>,
) -> Result<(MembershipSpec, Vec<ApplicationStatus>), Fault> {
    let spec = wanted(tenant, workspace, round)?;
    context.fence.stands().map_err(|why| Fault::waiting(Duration::from_secs(30), names::FENCE_DOWN, why))?;
    let memberships = context.connections.memberships(class).await?;
    let known = workspace.status.as_ref().and_then(|status| status.authorization.as_ref());
    if known.is_none_or(|known| known.store_id != spec.store.as_str()) {
        // An earlier store answers whoever has its id, even if it is deleted.
        if let Some(earlier) = known.and_then(|known| StoreId::new(&known.store_id).ok()) {
            let of_earlier = MembershipSpec { store: earlier, ..spec.clone() };
            applications::ensure(context, class, &of_earlier, &[]).await?;
            let gone = external::ensure_gone(&memberships, &of_earlier).await;
            gone.map_err(|fault| context.connections.failed(class, fault))?;
        }
        round.facts.authorization = Some(intended(&spec));
        let making = format!("the members are being written to store {}", spec.store);
        let (known, engine) = (&context.workspaces, &context.engine);
        drive::intend::<Workspaces>(known, engine, workspace, round, names::AUTHORIZATION_READY, making).await?;
    }
    // First: one that may write could keep the members from ever being as they should.
    let let_in = match &applications {
        Ok(applications) => applications::ensure(context, class, &spec, applications).await,
        Err(fault) => Err(fault.clone()),
    };
    let seen = external::ensure(&memberships, &spec).await;
    connections::count(&context.engine.metrics, "authorization", "ensure", &seen);
    let_in?;
    seen.map_err(|fault| context.connections.failed(class, fault))?;
    Ok((spec, applications?))
}

/// The members as they should stand in the store.
fn wanted(tenant: &Tenant, workspace: &Workspace, round: &Round<Facts>) -> Result<MembershipSpec, Fault> {
    let status = tenant.status.as_ref();
    let store = status.and_then(|status| status.authorization.as_ref());
    let Some((store, model)) = store.and_then(|store| Some((store.store_id.as_ref()?, store.model_id.as_ref()?)))
    else {
        let message = format!("Tenant {} has no store yet: see its condition AuthorizationReady", tenant.name_any());
        return Err(Fault::waiting(WOKEN_ANYWAY, names::TENANT_NOT_READY, message));
    };
    let owner: Identity = status.and_then(|status| status.identity.clone()).unwrap_or_default().parse()?;
    let identity =
        round.facts.identity.ok_or_else(|| Fault::transient(names::CONFLICT, "the Workspace has no identity yet"))?;
    let role = |role: Role| match role {
        Role::Viewer => authorization::Role::Viewer,
        Role::Editor => authorization::Role::Editor,
    };
    let members = workspace.spec.members.iter();
    Ok(MembershipSpec {
        store: StoreId::new(store)?,
        model: model.clone(),
        tenant: connections::identity(&owner)?,
        workspace: connections::identity(&identity)?,
        members: members.map(|member| (connections::subject(member.kind, &member.name), role(member.role))).collect(),
    })
}

fn intended(spec: &MembershipSpec) -> MembershipStatus {
    MembershipStatus {
        store_id: spec.store.to_string(),
        object: tuples::workspace(&spec.workspace),
        applications: Vec::new(),
        observed_at: None,
    }
}

/// Takes the rights of members and applications away, whatever is kept of the Workspace. Status names the store before anything is written
/// to it. Where it names none, as after a restore that brought no status back, the Tenant's is looked into; but who never had anything there
/// does not wait for a server that does not answer, and what is missed the Tenant's next look finds.
pub async fn revoke(context: &Context, workspace: &Workspace, identity: &Identity) -> Result<(), Fault> {
    // Without its Tenant nobody knows where the store is; it went with it, or stays as it is.
    let Some(tenant) = context.tenant(&workspace.namespace().unwrap_or_default()) else { return Ok(()) };
    let Some(status) = tenant.status.as_ref() else { return Ok(()) };
    let Some(owner) = status.identity.as_ref() else { return Ok(()) };
    let known = workspace.status.as_ref().and_then(|status| status.authorization.as_ref());
    let of_tenant = status.authorization.as_ref().and_then(|store| store.store_id.as_ref());
    // What is no id names no store.
    let Some(store) = known.map(|known| &known.store_id).or(of_tenant).and_then(|id| StoreId::new(id).ok()) else {
        return Ok(());
    };
    let spec = MembershipSpec {
        store,
        model: String::new(), // nothing is written
        tenant: connections::identity(&owner.parse()?)?,
        workspace: connections::identity(identity)?,
        members: std::collections::BTreeSet::new(),
    };
    match remove(context, &tenant, &spec).await {
        Err(fault) if known.is_none() => {
            tracing::info!(workspace = %workspace.name_any(), %fault, "what it may have in the store is not looked for longer");
            Ok(())
        }
        removed => removed,
    }
}

async fn remove(context: &Context, tenant: &Tenant, spec: &MembershipSpec) -> Result<(), Fault> {
    let class = &*observe::class(context, tenant)?;
    // First: one that may write could keep the members' tuples from ever being gone.
    applications::ensure(context, class, spec, &[]).await?;
    let gone = external::ensure_gone(&context.connections.memberships(class).await?, spec).await;
    connections::count(&context.engine.metrics, "authorization", "remove", &gone);
    gone.map_err(|fault| context.connections.failed(class, fault))
}
