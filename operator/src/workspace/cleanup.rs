//! How a Workspace goes: its members' rights and its stack, so that nothing writes any more, then its buckets by the Tenant's deletion policy,
//! then the finalizer.
//!
//! It needs less than provisioning: a bad spec, a missing Tenant or a spent quota does not hold it up. Each step may be repeated.

use std::time::Duration;

use api::{Identity, StackNamespace, Workspace, conditions as names, labels, tenant::DeletionPolicy};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use providers::{Purpose, external};

use super::{Facts, Workspaces, authorize, consumers, database, isolate, observe, provision};
use crate::{
    connections,
    context::Context,
    engine::{conditions::Phase, drive::Story, fault::Fault, finalize, round::Round},
};

/// Removes what the Workspace stands for, as far as it goes in one round.
pub async fn tell(context: &Context, workspace: &Workspace, round: &mut Round<Facts>) -> Result<(), Fault> {
    if !finalize::is_held(workspace) {
        round.over = true;
        return Ok(());
    }
    if let Some(paused) = observe::paused(context, workspace) {
        round.phase = Phase::Paused(paused);
        return Ok(());
    }
    round.phase = Phase::Deleting;
    let api = Workspaces::api(&context.engine.client, workspace);
    match context.identity_of_workspace(workspace) {
        Ok(identity) => {
            // Rights end at once, whatever holds the stack up; and a server that does not answer does not hold up the stack.
            let revoked = authorize::revoke(context, workspace, &identity).await;
            let ended = consumers::end_all(context, workspace, round).await;
            let taken_back = consumers::revoke_all(context, workspace, round).await;
            stack(context, workspace, &identity, round).await?;
            if round.over || !finalize::is_there(&api, workspace).await? {
                round.over = true;
                return Ok(());
            }
            revoked?;
            ended?;
            buckets(context, workspace, &identity).await?;
            taken_back?;
        }
        // Whose identity another object holds never made anything.
        Err(fault) if fault.reason == names::IDENTITY_TAKEN => {}
        Err(fault) => return Err(fault),
    }
    finalize::release(&api, workspace).await?;
    round.over = true;
    Ok(())
}

/// Deletes the namespace and waits until it is gone; what holds it is named. The round is over if the Workspace itself was gone first.
async fn stack(
    context: &Context,
    workspace: &Workspace,
    identity: &Identity,
    round: &mut Round<Facts>,
) -> Result<(), Fault> {
    let name = StackNamespace::of(
        &workspace.namespace().unwrap_or_default().parse()?,
        &workspace.name_any().parse()?,
        identity,
    );
    let api: Api<Namespace> = Api::all(context.engine.client.clone());
    let found =
        api.get_opt(name.as_str()).await.map_err(|error| Fault::api(&error, &format!("read namespace {name}")))?;
    let ours = found.filter(|namespace| namespace.labels().get(labels::STACK) == Some(&identity.to_string()));
    let Some(namespace) = ours else { return Ok(()) };
    if namespace.metadata.deletion_timestamp.is_none() {
        if !finalize::is_there(&Workspaces::api(&context.engine.client, workspace), workspace).await? {
            round.over = true;
            return Ok(());
        }
        database::rest(context, workspace, name.as_str()).await?;
        let applier = isolate::applier(context, &identity.to_string());
        applier.delete(&isolate::namespace_key(name.as_str()), &namespace.uid().unwrap_or_default()).await?;
        return Err(Fault::waiting(
            Duration::from_secs(5),
            names::DELETING,
            format!("namespace {name} is being deleted"),
        ));
    }
    match blocker(&namespace) {
        None => {
            Err(Fault::waiting(Duration::from_secs(5), names::DELETING, format!("namespace {name} is being deleted")))
        }
        Some(blocker) => {
            let message =
                format!("namespace {name} is held: {blocker}; remove what holds it, and deletion goes on by itself");
            Err(Fault::waiting(Duration::from_secs(15), names::NAMESPACE_TERMINATING, message))
        }
    }
}

/// What the namespace controller says holds a namespace, in its own words: which finalizers, and of which kinds.
fn blocker(namespace: &Namespace) -> Option<String> {
    let conditions = namespace.status.as_ref()?.conditions.as_ref()?;
    let holds = [
        "NamespaceFinalizersRemaining",
        "NamespaceContentRemaining",
        "NamespaceDeletionContentFailure",
        "NamespaceDeletionGroupVersionParsingFailure",
    ];
    let told =
        |kind: &&str| conditions.iter().find(|condition| condition.type_ == **kind && condition.status == "True");
    let told: Vec<&str> = holds.iter().filter_map(told).filter_map(|condition| condition.message.as_deref()).collect();
    (!told.is_empty()).then(|| told.join("; ").chars().take(400).collect())
}

/// Removes or releases the buckets. Status names each before it is made, so where none is named there is none.
async fn buckets(context: &Context, workspace: &Workspace, identity: &Identity) -> Result<(), Fault> {
    let status = workspace.status.as_ref();
    let data = status.and_then(|status| status.bucket.as_ref()).map(|bucket| bucket.observed_at.is_some());
    let backup = status.and_then(|status| status.database.as_ref()?.backup.as_ref());
    let backup = backup.map(|backup| backup.observed_at.is_some());
    for (purpose, was_seen) in [(Purpose::Data, data), (Purpose::Backup, backup)] {
        if let Some(was_seen) = was_seen {
            bucket(context, workspace, identity, purpose, was_seen).await?;
        }
    }
    Ok(())
}

/// Waits for those who are still being restored from the backups of this Workspace, and names one.
fn nobody_begins_with(context: &Context, workspace: &Workspace, identity: &Identity) -> Result<(), Fault> {
    let reads = |other: &Workspace| {
        let database = other.status.as_ref().and_then(|status| status.database.as_ref());
        let origin = database.and_then(|database| database.restored_from.as_ref());
        other.metadata.deletion_timestamp.is_none()
            && origin.is_some_and(|it| it.completed_at.is_none() && it.identity == identity.to_string())
    };
    let siblings = context.workspaces_of(&workspace.namespace().unwrap_or_default());
    let Some(reader) = siblings.iter().find(|other| reads(other)) else { return Ok(()) };
    let message = format!(
        "Workspace {} is still being restored from the backups, which go when it is Ready; delete it too if it is not wanted",
        reader.name_any()
    );
    Err(Fault::waiting(Duration::from_secs(15), names::DELETING, message))
}

async fn bucket(
    context: &Context,
    workspace: &Workspace,
    identity: &Identity,
    purpose: Purpose,
    was_seen: bool,
) -> Result<(), Fault> {
    let Some(tenant) = context.tenant(&workspace.namespace().unwrap_or_default()) else {
        // Nobody is left to say that data may go, so it stays.
        tracing::warn!(workspace = %workspace.name_any(), "its Tenant is gone, so its buckets stay as they are");
        return Ok(());
    };
    let Some(owner) = tenant.status.as_ref().and_then(|status| status.identity.as_ref()) else { return Ok(()) };
    let class = observe::class(context, &tenant)?;
    let spec = provision::spec(context, &class, &owner.parse()?, identity, purpose)?;
    let buckets = context.connections.buckets(&class).await?;
    let gone = match tenant.spec.deletion_policy {
        DeletionPolicy::Retain => external::ensure_released(&buckets, &spec).await.map(|_| ()),
        DeletionPolicy::Delete => {
            if purpose == Purpose::Backup {
                nobody_begins_with(context, workspace, identity)?;
            }
            external::ensure_gone(&buckets, &spec).await
        }
    };
    connections::count(&context.engine.metrics, "buckets", "remove", &gone);
    match gone {
        // Somebody else got the name before us, so there was never a bucket of ours.
        Err(fault) if fault.reason == names::FOREIGN && !was_seen => Ok(()),
        gone => gone.map_err(|fault| context.connections.failed(&class, fault)),
    }
}
