//! The Workspace's bucket: made, kept as it must be, looked at again at half its evidence's validity.

use std::time::Duration;

use api::{
    Identity, Tenant, TenantClass, Workspace, conditions as names,
    status::{EncryptionPlace, KeyOwner},
    workspace::BucketStatus,
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;
use providers::{
    External as _,
    buckets::{BucketObserved, BucketSpec, DefaultEncryption, Purpose, WantedEncryption},
    external,
};

use super::{Facts, Workspaces, database::lifecycle};
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
    if is_settled(context, tenant, class, workspace, round.facts.identity)
        && !context.until_next_look(observed).is_zero()
    {
        round.look_again(context.until_next_look(observed));
        return;
    }
    match look(context, tenant, workspace, class, round).await {
        Ok((bucket, spec)) => {
            round.parts.push(Part::good(
                names::BUCKET_READY,
                names::AVAILABLE,
                format!("bucket {} is as it must be", bucket.name),
            ));
            round.facts.encryption.push(place("bucket", class, &bucket));
            round.facts.bucket = Some(status(class, &spec, Some(clock::now())));
            round.look_again(context.evidence / 2);
        }
        Err(fault) => context.look_failed::<Workspaces>(workspace, round, names::BUCKET_READY, observed, &fault),
    }
}

/// Nothing changed since the bucket was last seen as it must be: neither the Workspace nor what the class makes of it.
fn is_settled(
    context: &Context,
    tenant: &Tenant,
    class: &TenantClass,
    workspace: &Workspace,
    identity: Option<Identity>,
) -> bool {
    let Some(bucket) = workspace.status.as_ref().and_then(|status| status.bucket.as_ref()) else { return false };
    let Ok(spec) = wanted(context, tenant, class, identity) else { return false };
    conditions::holding(Workspaces::conditions(workspace), names::BUCKET_READY, workspace.metadata.generation).is_some()
        && spec.key_name() == bucket.key
        && spec.encryption != WantedEncryption::ProviderManaged { consented: false }
}

fn wanted(
    context: &Context,
    tenant: &Tenant,
    class: &TenantClass,
    identity: Option<Identity>,
) -> Result<BucketSpec, Fault> {
    let owner = tenant.status.as_ref().and_then(|status| status.identity.clone()).unwrap_or_default();
    let identity = identity.ok_or_else(|| Fault::transient(names::CONFLICT, "the Workspace has no identity yet"))?;
    spec(context, class, &owner.parse()?, &identity, Purpose::Data)
}

async fn look(
    context: &Context,
    tenant: &Tenant,
    workspace: &Workspace,
    class: &TenantClass,
    round: &mut Round<Facts>,
) -> Result<(BucketObserved, BucketSpec), Fault> {
    let spec = wanted(context, tenant, class, round.facts.identity)?;
    context.fence.stands().map_err(|why| Fault::waiting(Duration::from_secs(30), names::FENCE_DOWN, why))?;
    let buckets = context.connections.buckets(class).await?;
    if workspace.status.as_ref().is_none_or(|status| status.bucket.is_none()) {
        // Looked at first, so that a store that never answered is nothing that deletion must wait for.
        buckets.observe(&spec).await.map_err(|fault| context.connections.failed(class, fault))?;
        round.facts.bucket = Some(status(class, &spec, None));
        let making = format!("bucket {} is being made", spec.name());
        let (known, engine) = (&context.workspaces, &context.engine);
        drive::intend::<Workspaces>(known, engine, workspace, round, names::BUCKET_READY, making).await?;
    }
    let seen = external::ensure(&buckets, &spec).await;
    connections::count(&context.engine.metrics, "buckets", "ensure", &seen);
    Ok((seen.map_err(|fault| context.connections.failed(class, fault))?, spec))
}

/// The bucket of this purpose as it must be.
pub fn spec(
    context: &Context,
    class: &TenantClass,
    tenant: &Identity,
    workspace: &Identity,
    purpose: Purpose,
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
        purpose,
        encryption,
        lifecycle: match purpose {
            Purpose::Data => None,
            Purpose::Backup => lifecycle::wanted(class)?,
        },
    })
}

/// The bucket in status; one that was not seen yet is only intended.
fn status(class: &TenantClass, spec: &BucketSpec, observed: Option<Timestamp>) -> BucketStatus {
    let s3 = class.spec.buckets.s3.as_ref();
    BucketStatus {
        name: spec.name(),
        endpoint: s3.map(|s3| s3.endpoint.clone()).unwrap_or_default(),
        region: s3.map(|s3| s3.region.clone()).unwrap_or_default(),
        key: spec.key_name(),
        observed_at: observed.map(Time),
    }
}

/// Where the Workspace's data rests, in the words of what the store itself answered.
pub fn place(what: &str, class: &TenantClass, bucket: &BucketObserved) -> EncryptionPlace {
    let endpoint = class.spec.buckets.s3.as_ref().map_or("", |s3| s3.endpoint.as_str());
    let proof = if bucket.evidence.is_empty() { format!("read at {endpoint}") } else { bucket.evidence.clone() };
    let (key, owner, rotation) = match &bucket.settings.encryption {
        DefaultEncryption::Key { name } => {
            (Some(name.clone()), KeyOwner::Tenant, "never: the key server cannot rotate")
        }
        DefaultEncryption::ProviderManaged => (None, KeyOwner::Provider, "unknown: the store keeps its key to itself"),
        DefaultEncryption::None => (None, KeyOwner::Unknown, "none"),
    };
    EncryptionPlace { place: what.to_owned(), key, owner, rotation: rotation.to_owned(), proof }
}
