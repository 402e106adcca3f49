//! Where a database's backups go: a bucket that nothing else uses, under the tenant's key, and credentials for that bucket alone, in a
//! Secret of the stack. They are renewed at half their life, so that backups go on for days without Steading.

use std::{collections::BTreeMap, time::Duration};

use api::{
    TenantClass, conditions as names,
    database::{BackupStatus, DatabaseStatus},
    labels,
    status::{EncryptionPlace, KeyOwner},
    tenant_class::S3,
};
use desired::{
    database::{ACCESS_KEY_ID, BACKUP, BackupPlace, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN, STORE_CA},
    hash,
};
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use providers::{
    Access, BucketObserved, BucketSpec, External as _, IdentitySpec, IssuedCredentials, Purpose, external,
    identities::LONGEST_BACKUP_LIFE,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::{
    super::{Facts, Workspaces, provision},
    Scene, server,
};
use crate::{
    clock, connections,
    databases::judge,
    engine::{drive, fault::Fault, round::Round},
};

/// How much clocks may differ, and a call may take.
const ALLOWANCE: Duration = Duration::from_hours(1);

/// How long credentials are used while the log is stuck.
const STUCK: Duration = Duration::from_mins(10);

/// A bucket with credentials for it.
pub struct Readied {
    /// Where backups go.
    pub place: BackupPlace,
    /// It in status.
    pub status: BackupStatus,
    /// Why it could not be looked at, or the credentials not be renewed; what was seen and written before may still do.
    pub trouble: Option<Fault>,
}

/// Makes the bucket be there with credentials for it. `status` is the database as it is intended. Fails only if they were never there.
pub async fn ready(scene: &Scene<'_>, round: &mut Round<Facts>, status: &DatabaseStatus) -> Result<Readied, Fault> {
    let (context, class) = (scene.context, scene.class);
    let spec = spec(scene, round)?;
    let s3 =
        class.spec.buckets.s3.as_ref().ok_or_else(|| {
            Fault::stalled(names::INVALID_SPEC, "the class names no place for buckets: set buckets.s3")
        })?;
    let known = status.backup.clone().filter(|known| known.key == spec.key_name());
    let known = known.unwrap_or_else(|| intended(&spec, s3));
    let mut backup = BackupStatus { server_name: server(round), ..known };
    let observed = backup.observed_at.as_ref().map(|time| time.0);
    let mut trouble = None;
    if context.until_next_look(observed).is_zero() {
        match look(scene, round, status, &spec, &backup).await {
            Ok(seen) => {
                round.facts.encryption.extend([provision::place("backup", class, &seen), volume(class)]);
                backup.observed_at = Some(Time(clock::now()));
                round.look_again(context.evidence / 2);
            }
            Err(fault) if observed.is_some() => trouble = Some(fault),
            Err(fault) => return Err(fault),
        }
    } else {
        round.look_again(context.until_next_look(observed));
    }
    let is_stuck =
        context.databases.cluster(&scene.facts.namespace().to_string()).is_some_and(|it| judge::stuck(&it).is_some());
    let left = until_renewal(backup.credentials_expire_at.as_ref(), is_stuck);
    let digest = open_part(scene, s3, round);
    // Read first, so that nothing is issued before it is known that it can be written.
    let stands = is_as_written(scene, &digest).await?;
    if stands && !left.is_zero() {
        round.look_again(left);
    } else {
        match credentials(scene, &spec, s3, &digest).await {
            Ok(end) => backup.credentials_expire_at = Some(Time(end)),
            Err(fault) if stands => trouble = trouble.or(Some(fault)),
            Err(fault) => return Err(fault),
        }
    }
    let place = BackupPlace {
        bucket: spec.name(),
        server: backup.server_name.clone(),
        endpoint: s3.endpoint.clone(),
        has_ca: s3.ca_bundle.is_some(),
    };
    Ok(Readied { place, status: backup, trouble })
}

/// How long credentials that end then are good enough; zero if there are none. Where the log is stuck it may be for them: whoever changes
/// the store's account ends what was issued by it.
fn until_renewal(end: Option<&Time>, is_stuck: bool) -> Duration {
    let left = end.and_then(|end| Duration::try_from(end.0.duration_since(clock::now())).ok()).unwrap_or_default();
    let used = if is_stuck { STUCK } else { LONGEST_BACKUP_LIFE / 2 };
    left.saturating_sub(LONGEST_BACKUP_LIFE.saturating_sub(used))
}

/// Whether the Secret stands with what of it is no secret. Read once, and then remembered: nobody but us may write it.
async fn is_as_written(scene: &Scene<'_>, digest: &str) -> Result<bool, Fault> {
    let namespace = scene.facts.namespace().to_string();
    let databases = &scene.context.databases;
    if let Some(written) = databases.written(&namespace) {
        return Ok(written == digest);
    }
    let api: Api<Secret> = Api::namespaced(scene.context.engine.client.clone(), &namespace);
    let doing = format!("read Secret {namespace}/{BACKUP}");
    let found = api.get_metadata_opt(BACKUP).await.map_err(|error| Fault::api(&error, &doing))?;
    let is_right =
        found.is_some_and(|found| found.annotations().get(labels::DESIRED_HASH).is_some_and(|hash| hash == digest));
    if is_right {
        databases.wrote(&namespace, digest.to_owned());
    }
    Ok(is_right)
}

/// A digest of what of the Secret is no secret, and of the very namespace that it is for: one that is made anew has none yet.
fn open_part(scene: &Scene<'_>, s3: &S3, round: &Round<Facts>) -> String {
    let part = json!([scene.facts.labels(), s3.region, s3.endpoint, s3.ca_bundle, s3.credentials.secret]);
    hash::of(&part, round.facts.namespace.as_ref().map(|namespace| namespace.uid.as_str()))
}

/// The bucket as it is intended, before it was ever seen.
fn intended(spec: &BucketSpec, s3: &S3) -> BackupStatus {
    BackupStatus {
        bucket: spec.name(),
        server_name: String::new(),
        endpoint: s3.endpoint.clone(),
        key: spec.key_name(),
        observed_at: None,
        credentials_expire_at: None,
        last_full: None,
        recoverable_since: None,
        last_failure: None,
    }
}

fn spec(scene: &Scene<'_>, round: &Round<Facts>) -> Result<BucketSpec, Fault> {
    let owner = scene.tenant.status.as_ref().and_then(|status| status.identity.clone()).unwrap_or_default();
    let identity =
        round.facts.identity.ok_or_else(|| Fault::transient(names::CONFLICT, "the Workspace has no identity yet"))?;
    provision::spec(scene.context, scene.class, &owner.parse()?, &identity, Purpose::Backup)
}

/// Looks at the bucket, and makes it what it must be. Status names it before it is made.
async fn look(
    scene: &Scene<'_>,
    round: &mut Round<Facts>,
    status: &DatabaseStatus,
    spec: &BucketSpec,
    backup: &BackupStatus,
) -> Result<BucketObserved, Fault> {
    let (context, class) = (scene.context, scene.class);
    context.fence.stands().map_err(|why| Fault::waiting(Duration::from_secs(30), names::FENCE_DOWN, why))?;
    let buckets = context.connections.buckets(class).await?;
    if status.backup.is_none() {
        // Looked at first, so that a store that never answered is nothing that deletion must wait for.
        buckets.observe(spec).await.map_err(|fault| context.connections.failed(class, fault))?;
        round.facts.database = Some(DatabaseStatus { backup: Some(backup.clone()), ..status.clone() });
        let making = format!("backup bucket {} is being made", spec.name());
        let (known, engine) = (&context.workspaces, &context.engine);
        drive::intend::<Workspaces>(known, engine, scene.workspace, round, names::DATABASE_READY, making).await?;
    }
    let seen = external::ensure(&buckets, spec).await;
    connections::count(&context.engine.metrics, "buckets", "ensure", &seen);
    seen.map_err(|fault| context.connections.failed(class, fault))
}

/// Where the database itself rests. Who encrypts a volume is between its StorageClass and the disks.
fn volume(class: &TenantClass) -> EncryptionPlace {
    let named = class.spec.database.as_ref().and_then(|database| database.storage.storage_class.as_deref());
    EncryptionPlace {
        place: "database".to_owned(),
        key: None,
        owner: KeyOwner::Unknown,
        rotation: "unknown".to_owned(),
        proof: format!(
            "nobody can tell: {} decides",
            named
                .map_or_else(|| "the cluster's default StorageClass".to_owned(), |name| format!("StorageClass {name}"))
        ),
    }
}

/// Issues credentials and writes them into the stack. Returns when they end. If we die in between, the next round issues others, and
/// these end by themselves.
async fn credentials(scene: &Scene<'_>, spec: &BucketSpec, s3: &S3, digest: &str) -> Result<Timestamp, Fault> {
    let (context, class) = (scene.context, scene.class);
    let asked = IdentitySpec {
        bucket: spec.name(),
        purpose: spec.purpose,
        key_name: spec.key_name(),
        access: Access::ReadWrite,
        session_name: format!("backup@{}", scene.facts.workspace),
        life: LONGEST_BACKUP_LIFE,
    };
    let issued = context.connections.identities(class).await?.issue(&asked).await;
    connections::count(&context.engine.metrics, "identities", "issue", &issued);
    let issued = issued.map_err(|fault| context.connections.failed(class, fault))?;
    let granted = Duration::try_from(issued.expires_at.duration_since(clock::now())).unwrap_or_default();
    if granted + ALLOWANCE < LONGEST_BACKUP_LIFE {
        let message = format!(
            "the STS at {} issues credentials for less than 7 days (until {}): allow sessions of 7 days there",
            s3.endpoint, issued.expires_at
        );
        return Err(Fault::stalled(names::PROVIDER_REFUSED, message));
    }
    let namespace = scene.facts.namespace().to_string();
    let api: Api<Secret> = Api::namespaced(context.engine.client.clone(), &namespace);
    let params = PatchParams::apply(labels::MANAGER_WORKSPACE).force();
    let written = api.patch(BACKUP, &params, &Patch::Apply(secret(scene, &namespace, s3, digest, &issued))).await;
    written.map_err(|error| Fault::api(&error, &format!("apply Secret {namespace}/{BACKUP}")))?;
    context.databases.wrote(&namespace, digest.to_owned());
    tracing::info!(workspace = scene.name(), bucket = spec.name(), until = %issued.expires_at, "credentials for backups were issued");
    Ok(issued.expires_at)
}

fn secret(scene: &Scene<'_>, namespace: &str, s3: &S3, digest: &str, issued: &IssuedCredentials) -> Secret {
    let bytes = |secret: &SecretString| ByteString(secret.expose_secret().as_bytes().to_vec());
    let mut data = BTreeMap::from([
        (ACCESS_KEY_ID.to_owned(), ByteString(issued.access_key_id.as_bytes().to_vec())),
        (SECRET_ACCESS_KEY.to_owned(), bytes(&issued.secret_access_key)),
        (SESSION_TOKEN.to_owned(), bytes(&issued.session_token)),
        (REGION.to_owned(), ByteString(s3.region.as_bytes().to_vec())),
    ]);
    if let Some(bundle) = &s3.ca_bundle {
        data.insert(STORE_CA.to_owned(), ByteString(bundle.as_bytes().to_vec()));
    }
    let metadata = ObjectMeta {
        name: Some(BACKUP.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(scene.facts.labels()),
        annotations: Some(BTreeMap::from([(labels::DESIRED_HASH.to_owned(), digest.to_owned())])),
        ..ObjectMeta::default()
    };
    Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_at_half_their_life_and_every_ten_minutes_while_the_log_is_stuck() {
        let (life, minute) = (LONGEST_BACKUP_LIFE, Duration::from_mins(1));
        let ends_in = |left: Duration| Time(clock::now() + left);
        assert!(until_renewal(None, false).is_zero() && until_renewal(None, true).is_zero());
        assert!(until_renewal(Some(&ends_in(life)), false) > (life / 2).saturating_sub(minute));
        assert!(until_renewal(Some(&ends_in((life / 2).saturating_sub(minute))), false).is_zero());
        assert!(!until_renewal(Some(&ends_in(life.saturating_sub(9 * minute))), true).is_zero());
        assert!(until_renewal(Some(&ends_in(life.saturating_sub(11 * minute))), true).is_zero());
        assert!(!until_renewal(Some(&ends_in(life.saturating_sub(11 * minute))), false).is_zero());
    }
}
