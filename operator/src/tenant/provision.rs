//! The tenant's key: made, kept as asked, rotated once for each request, looked at again at half its evidence's validity.

use std::time::Duration;

use api::{
    Tenant, conditions as names,
    labels::ROTATE_REQUESTED_AT,
    status::{EncryptionPlace, KeyOwner},
    tenant::{KeyStatus, RotationStatus},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use providers::{
    External as _, external,
    keys::{KeyObserved, KeySpec, RotateOnce},
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
};

/// The place where who may do what rests.
const AUTHORIZATION: &str = "authorization";

/// Longest part of a request that is kept in status.
const REQUEST_MAX: usize = 64;

/// Sees to the key, if it is time to look at it.
pub async fn key(context: &Context, tenant: &Tenant, class: &Class, round: &mut Round<Facts>) {
    let known = tenant.status.as_ref().and_then(|status| status.key.as_ref());
    let observed = known.and_then(|key| key.observed_at.as_ref()).map(|time| time.0);
    if is_settled(tenant, class, known) && !context.until_next_look(observed).is_zero() {
        round.look_again(context.until_next_look(observed));
        return;
    }
    match look(context, tenant, class, round).await {
        Ok(key) => {
            let rotation = rotation(tenant, known, &key);
            let pending = rotation
                .as_ref()
                .filter(|rotation| !is_done(rotation, i64::try_from(key.latest_version).unwrap_or(i64::MAX)));
            match pending {
                // The intent reaches status first; the next round, a moment later, carries it out.
                Some(_) => round.parts.push(Part::faulty(
                    names::KEY_READY,
                    Fault::waiting(
                        Duration::from_millis(50),
                        names::PROGRESSING,
                        format!("key {} is being rotated as requested", key.name),
                    ),
                )),
                None => round.parts.push(Part::good(
                    names::KEY_READY,
                    names::AVAILABLE,
                    format!("key {} has version {}", key.name, key.latest_version),
                )),
            }
            round.facts.encryption = Some(places(tenant, class, &key));
            round.facts.key = Some(status(&key, rotation));
            round.look_again(context.evidence / 2);
        }
        Err(fault) => context.look_failed::<Tenants>(tenant, round, names::KEY_READY, observed, &fault),
    }
}

/// Nothing changed since the key was last seen as asked for: neither the Tenant nor what the class makes of it.
fn is_settled(tenant: &Tenant, class: &Class, known: Option<&KeyStatus>) -> bool {
    let Some(key) = known else { return false };
    let told =
        tenant.status.as_ref().is_some_and(|status| status.encryption.iter().any(|it| it.place == AUTHORIZATION));
    if told != class.spec.authorization.is_some() {
        return false;
    }
    conditions::holding(Tenants::conditions(tenant), names::KEY_READY, tenant.metadata.generation).is_some()
        && rotation_period(tenant, class).is_ok_and(|period| shown(period) == key.rotation_period)
        && requested(tenant).is_none_or(|request| {
            key.rotation
                .as_ref()
                .is_some_and(|rotation| rotation.requested == request && is_done(rotation, key.version))
        })
}

async fn look(
    context: &Context,
    tenant: &Tenant,
    class: &Class,
    round: &mut Round<Facts>,
) -> Result<KeyObserved, Fault> {
    let spec = spec(context, tenant, class, round.facts.identity)?;
    context.fence.stands().map_err(|why| Fault::waiting(Duration::from_secs(30), names::FENCE_DOWN, why))?;
    let keys = context.connections.keys(class)?;
    if tenant.status.as_ref().is_none_or(|status| status.key.is_none()) {
        // Looked at first, so that a server that never answered is nothing that deletion must wait for.
        keys.observe(&spec).await.map_err(|fault| context.connections.failed(class, fault))?;
        round.facts.key = Some(intended(&spec));
        let making = format!("key {} is being made", spec.name());
        drive::intend::<Tenants>(&context.tenants, &context.engine, tenant, round, names::KEY_READY, making).await?;
    }
    let seen = external::ensure(&keys, &spec).await;
    connections::count(&context.engine.metrics, "keys", "ensure", &seen);
    seen.map_err(|fault| context.connections.failed(class, fault))
}

/// The key before it was ever seen.
fn intended(spec: &KeySpec) -> KeyStatus {
    KeyStatus {
        name: spec.name(),
        version: 0,
        rotation_period: shown(spec.rotation_period),
        observed_at: None,
        rotation: None,
    }
}

/// The key as it should be.
pub fn spec(
    context: &Context,
    tenant: &Tenant,
    class: &Class,
    identity: Option<api::Identity>,
) -> Result<KeySpec, Fault> {
    let identity = identity.map_or_else(|| context.identity_of_tenant(tenant), Ok)?;
    Ok(KeySpec {
        installation: connections::installation(&context.installation)?,
        tenant: connections::identity(&identity)?,
        rotation_period: rotation_period(tenant, class)?,
        rotate: order(tenant),
    })
}

/// The rotation that status holds as intended. What is not in status yet is not ordered yet.
fn order(tenant: &Tenant) -> Option<RotateOnce> {
    let rotation = tenant.status.as_ref()?.key.as_ref()?.rotation.as_ref()?;
    (requested(tenant).as_deref() == Some(rotation.requested.as_str())).then(|| RotateOnce {
        request: rotation.requested.clone(),
        version_before: u64::try_from(rotation.from_version).unwrap_or_default(),
    })
}

/// The rotation period, if it is within the bounds of the class.
fn rotation_period(tenant: &Tenant, class: &Class) -> Result<Duration, Fault> {
    let Some(openbao) = &class.spec.keys.openbao else {
        return Err(Fault::stalled(
            names::INVALID_SPEC,
            format!("TenantClass {} names no place for keys: set keys.openbao", class.name_any()),
        ));
    };
    let bounds = &openbao.rotation_period;
    let asked = tenant.spec.encryption.as_ref().and_then(|encryption| encryption.rotation_period.as_ref());
    let period = asked.unwrap_or(&bounds.default);
    if (bounds.min.to_std()?..=bounds.max.to_std()?).contains(&period.to_std()?) {
        return Ok(period.to_std()?);
    }
    let message = format!(
        "encryption.rotationPeriod {period} is outside the bounds of TenantClass {}: choose from {} to {}",
        class.name_any(),
        bounds.min,
        bounds.max
    );
    Err(Fault::stalled(names::ROTATION_OUT_OF_BOUNDS, message))
}

fn requested(tenant: &Tenant) -> Option<String> {
    let request = tenant.annotations().get(ROTATE_REQUESTED_AT)?;
    let request: String = request.chars().filter(|c| !c.is_control()).take(REQUEST_MAX).collect();
    (!request.is_empty()).then_some(request)
}

fn is_done(rotation: &RotationStatus, version: i64) -> bool {
    version > rotation.from_version
}

/// What status must hold of rotations: a new request starts from the version that was just seen.
fn rotation(tenant: &Tenant, known: Option<&KeyStatus>, key: &KeyObserved) -> Option<RotationStatus> {
    let recorded = known.and_then(|key| key.rotation.clone());
    match requested(tenant) {
        Some(request) if recorded.as_ref().is_none_or(|rotation| rotation.requested != request) => {
            Some(RotationStatus {
                requested: request,
                from_version: i64::try_from(key.latest_version).unwrap_or(i64::MAX),
            })
        }
        _ => recorded,
    }
}

fn status(key: &KeyObserved, rotation: Option<RotationStatus>) -> KeyStatus {
    KeyStatus {
        name: key.name.clone(),
        version: i64::try_from(key.latest_version).unwrap_or(i64::MAX),
        rotation_period: key.rotation_period.map_or_else(|| "never".to_owned(), shown),
        observed_at: Some(Time(clock::now())),
        rotation,
    }
}

/// Where data of the tenant as a whole rests.
fn places(tenant: &Tenant, class: &Class, key: &KeyObserved) -> Vec<EncryptionPlace> {
    let rotation = key.rotation_period.map_or_else(|| "never".to_owned(), |period| format!("every {}", shown(period)));
    let address = class.spec.keys.openbao.as_ref().map_or("", |openbao| openbao.address.as_str());
    let store =
        class.spec.authorization.as_ref().and_then(|place| place.openfga.as_ref()).map(|openfga| EncryptionPlace {
            place: AUTHORIZATION.to_owned(),
            key: None,
            owner: KeyOwner::Unknown,
            rotation: "unknown".to_owned(),
            proof: format!(
                "only whoever runs the server at {} can tell whether its database is encrypted",
                openfga.endpoint
            ),
        });
    let known = [
        EncryptionPlace {
            place: "envelope".to_owned(),
            key: Some(key.name.clone()),
            owner: KeyOwner::Tenant,
            rotation,
            proof: if key.evidence.is_empty() { format!("read at {address}") } else { key.evidence.clone() },
        },
        EncryptionPlace {
            place: "etcd".to_owned(),
            key: None,
            owner: KeyOwner::Unknown,
            rotation: "unknown".to_owned(),
            proof: format!(
                "nobody inside the cluster can tell whether etcd encrypts what Tenant {} stores in it",
                tenant.name_any()
            ),
        },
    ];
    known.into_iter().chain(store).collect()
}

/// `90d`, `12h` or `90m`.
fn shown(period: Duration) -> String {
    let minutes = period.as_secs() / 60;
    match minutes {
        m if m > 0 && m.is_multiple_of(1_440) => format!("{}d", m / 1_440),
        m if m > 0 && m.is_multiple_of(60) => format!("{}h", m / 60),
        m => format!("{m}m"),
    }
}
