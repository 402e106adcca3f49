//! The Workspace's bucket: made, kept as it must be, looked at again at half its evidence's validity.

use api::{
    Identity, Tenant, TenantClass, Workspace, conditions as names,
    status::{EncryptionPlace, KeyOwner},
    workspace::BucketStatus,
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;
use providers::{
    buckets::{BucketObserved, BucketSpec, DefaultEncryption, WantedEncryption},
    external,
};

use super::Facts;
use crate::{
    clock, connections,
    context::Context,
    engine::{
        conditions::{Part, State},
        fault::Fault,
        round::Round,
    },
};

/// Sees to the bucket, if there is to be one and it is time to look at it.
pub async fn bucket(
    context: &Context,
    tenant: &Tenant,
    workspace: &Workspace,
    class: &TenantClass,
    round: &mut Round<Facts>,
) {
    if !workspace.spec.wants_bucket() {
        round.parts.push(Part::good(names::BUCKET_READY, names::DISABLED, "bucket.disabled is true"));
        return;
    }
    let known = workspace.status.as_ref().and_then(|status| status.bucket.as_ref());
    let observed = known.and_then(|bucket| bucket.observed_at.as_ref()).map(|time| time.0);
    if is_settled(workspace) && !context.until_next_look(observed).is_zero() {
        round.look_again(context.until_next_look(observed));
        return;
    }
    match look(context, tenant, class, round.facts.identity).await {
        Ok((bucket, spec)) => {
            round.parts.push(Part::good(
                names::BUCKET_READY,
                names::AVAILABLE,
                format!("bucket {} is as it must be", bucket.name),
            ));
            round.facts.encryption = Some(vec![place(class, &bucket)]);
            round.facts.bucket = Some(status(class, &bucket, &spec));
            round.look_again(context.evidence / 2);
        }
        Err(fault) => {
            let state = unseen(context, workspace, observed, fault.clone());
            if matches!(state, State::Good { .. }) {
                round.look_failed(&fault);
            }
            round.parts.push(Part { name: names::BUCKET_READY, state });
        }
    }
}

/// Nothing changed since the bucket was last seen as it must be.
fn is_settled(workspace: &Workspace) -> bool {
    ready_condition(workspace).is_some() && workspace.status.as_ref().is_some_and(|status| status.bucket.is_some())
}

fn ready_condition(workspace: &Workspace) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    workspace.status.as_ref()?.conditions.iter().find(|condition| {
        condition.type_ == names::BUCKET_READY
            && condition.status == "True"
            && condition.observed_generation == workspace.metadata.generation
    })
}

/// One look that fails leaves the condition as it is until its evidence is too old; then nobody knows.
fn unseen(context: &Context, workspace: &Workspace, observed: Option<Timestamp>, fault: Fault) -> State {
    match ready_condition(workspace) {
        Some(condition) if fault.tells_nothing() && context.is_valid(observed) => {
            State::Good { reason: names::AVAILABLE, message: condition.message.clone() }
        }
        Some(_) if fault.tells_nothing() => State::Unknown(fault),
        _ => State::Faulty(fault),
    }
}

async fn look(
    context: &Context,
    tenant: &Tenant,
    class: &TenantClass,
    identity: Option<Identity>,
) -> Result<(BucketObserved, BucketSpec), Fault> {
    let owner = tenant.status.as_ref().and_then(|status| status.identity.clone()).unwrap_or_default();
    let identity = identity.ok_or_else(|| Fault::transient(names::CONFLICT, "the Workspace has no identity yet"))?;
    let spec = spec(context, class, &owner.parse()?, &identity)?;
    if let Err(why) = context.fence.stands() {
        return Err(Fault::waiting(std::time::Duration::from_secs(30), names::FENCE_DOWN, why));
    }
    let buckets = context.connections.buckets(class).await?;
    let seen = external::ensure(&buckets, &spec).await;
    connections::count(&context.engine.metrics, "buckets", "ensure", &seen);
    Ok((seen.map_err(|fault| context.connections.failed(class, fault))?, spec))
}

/// The bucket as it must be.
pub fn spec(
    context: &Context,
    class: &TenantClass,
    tenant: &Identity,
    workspace: &Identity,
) -> Result<BucketSpec, Fault> {
    let Some(s3) = &class.spec.buckets.s3 else {
        return Err(Fault::stalled(
            names::INVALID_SPEC,
            format!("TenantClass {} names no place for buckets: set buckets.s3", class.name_any()),
        ));
    };
    let encryption = match s3.key_server {
        Some(_) => WantedEncryption::TenantKey,
        None => WantedEncryption::ProviderManaged { consented: s3.allow_provider_managed_encryption },
    };
    Ok(BucketSpec {
        installation: connections::installation(&context.installation)?,
        tenant: connections::identity(tenant)?,
        workspace: connections::identity(workspace)?,
        encryption,
    })
}

fn status(class: &TenantClass, bucket: &BucketObserved, spec: &BucketSpec) -> BucketStatus {
    let s3 = class.spec.buckets.s3.as_ref();
    BucketStatus {
        name: bucket.name.clone(),
        endpoint: s3.map(|s3| s3.endpoint.clone()).unwrap_or_default(),
        region: s3.map(|s3| s3.region.clone()).unwrap_or_default(),
        key: spec.key_name(),
        observed_at: Some(Time(clock::now())),
    }
}

/// Where the Workspace's data rests, in the words of what the store itself answered.
fn place(class: &TenantClass, bucket: &BucketObserved) -> EncryptionPlace {
    let endpoint = class.spec.buckets.s3.as_ref().map_or("", |s3| s3.endpoint.as_str());
    let proof = if bucket.evidence.is_empty() { format!("read at {endpoint}") } else { bucket.evidence.clone() };
    let (key, owner, rotation) = match &bucket.settings.encryption {
        DefaultEncryption::Key { name } => {
            (Some(name.clone()), KeyOwner::Tenant, "never: the key server cannot rotate")
        }
        DefaultEncryption::ProviderManaged => (None, KeyOwner::Provider, "unknown: the store keeps its key to itself"),
        DefaultEncryption::None => (None, KeyOwner::Unknown, "none"),
    };
    EncryptionPlace { place: "bucket".to_owned(), key, owner, rotation: rotation.to_owned(), proof }
}
