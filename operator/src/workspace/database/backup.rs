//! Where a database's backups go: a bucket that nothing else uses, under the tenant's key, and credentials for that bucket alone.

use std::time::Duration;

use api::{
    TenantClass, conditions as names,
    database::{BackupStatus, DatabaseStatus},
    status::{EncryptionPlace, KeyOwner},
    tenant_class::S3,
};
use desired::database::{BACKUP, BackupPlace, Database};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use providers::{Access, BucketObserved, BucketSpec, External as _, Purpose, buckets::Feature, external};

use super::{
    super::{Facts, Workspaces, provision},
    Scene,
    credentials::{Outcome, Wanted},
    lifecycle, log_of, server,
};
use crate::{
    clock, connections,
    databases::{
        drill::since,
        judge::{Log, Seen},
    },
    engine::{drive, fault::Fault, round::Round},
};

/// How soon the store is asked again for a log that it must have.
const LOG_LOOKED_AT_AGAIN: Duration = Duration::from_mins(1);

/// A bucket with credentials for it.
pub struct Readied {
    /// Where backups go.
    pub place: BackupPlace,
    /// It in status.
    pub status: BackupStatus,
    /// Why it could not be looked at, or the credentials not be renewed; what was seen and written before may still do.
    pub trouble: Option<Fault>,
}

/// Makes the bucket be there with credentials for it. Fails only if they were never there.
pub async fn ready(scene: &Scene<'_>, round: &mut Round<Facts>, wanted: &Database) -> Result<Readied, Fault> {
    let class = scene.class;
    let status = &scene.status(wanted);
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
    let left = until_next_look(scene, round, wanted, &backup);
    let is_due = left.is_zero();
    if is_due || !lifecycle::is_told(spec.lifecycle.as_ref(), backup.lifecycle.as_ref()) {
        match look(scene, round, status, &spec, &backup).await {
            Ok(Looked { seen, newest, conflict }) => {
                round.facts.encryption.extend([provision::place("backup", class, &seen), volume(class)]);
                // Until there is no conflict each round looks, and a status that changed each time would bring the next one.
                if is_due || conflict.is_none() {
                    note_log(scene, round, wanted, &mut backup, Log { newest, at: clock::now(), missing_since: None });
                }
                let kept_without_end = seen.lacking.contains(&Feature::VersionExpiry);
                let settled = spec.lifecycle.as_ref().filter(|_| conflict.is_none());
                backup.lifecycle = settled.map(|wanted| lifecycle::status(wanted, kept_without_end)).transpose()?;
                trouble = conflict;
                round.look_again(until_next_look(scene, round, wanted, &backup));
            }
            Err(fault) if observed.is_some() => trouble = Some(fault),
            Err(fault) => return Err(fault),
        }
    } else {
        round.look_again(left);
    }
    let wanted = Wanted { secret: BACKUP, spec: &spec, access: Access::ReadWrite, s3 };
    match wanted.see_to(scene, round, backup.credentials_expire_at.as_ref()).await? {
        Outcome::Stands => {}
        Outcome::Issued(end) => backup.credentials_expire_at = Some(Time(end)),
        Outcome::Troubled(fault) => trouble = Some(fault),
    }
    let place = BackupPlace {
        bucket: spec.name(),
        server: backup.server_name.clone(),
        endpoint: s3.endpoint.clone(),
        has_ca: s3.ca_bundle.is_some(),
    };
    Ok(Readied { place, status: backup, trouble })
}

/// The bucket as it is intended, before it was ever seen.
fn intended(spec: &BucketSpec, s3: &S3) -> BackupStatus {
    BackupStatus {
        bucket: spec.name(),
        server_name: String::new(),
        endpoint: s3.endpoint.clone(),
        key: spec.key_name(),
        lifecycle: None,
        observed_at: None,
        credentials_expire_at: None,
        last_log: None,
        log_missing_since: None,
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

/// A bucket that backups can go to.
struct Looked {
    seen: BucketObserved,
    /// When the newest piece of the log in it was written.
    newest: Option<Timestamp>,
    /// What of it is not as asked for; it keeps nobody from writing there.
    conflict: Option<Fault>,
}

/// Looks at the bucket, and makes it what it must be. Status names it before it is made.
async fn look(
    scene: &Scene<'_>,
    round: &mut Round<Facts>,
    status: &DatabaseStatus,
    spec: &BucketSpec,
    backup: &BackupStatus,
) -> Result<Looked, Fault> {
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
    let known = |fault| context.connections.failed(class, fault);
    let (conflict, seen) = match seen {
        Ok(seen) => (buckets.conflict(spec, &seen).map(known), seen),
        // Asked for last: everything else is as it must be.
        Err(fault) if fault.reason == names::STORAGE_CLASS_REFUSED => {
            let seen = buckets.observe(spec).await.map_err(known)?.ok_or_else(|| known(fault.clone()))?;
            (Some(known(fault)), seen)
        }
        Err(fault) => return Err(known(fault)),
    };
    let newest = buckets.newest(spec, &format!("{}/wals/", backup.server_name)).await.map_err(known)?;
    Ok(Looked { seen, newest, conflict })
}

/// Notes what a look has shown of the log.
fn note_log(scene: &Scene<'_>, round: &Round<Facts>, wanted: &Database, backup: &mut BackupStatus, seen: Log) {
    let before = log_of(backup).filter(|before| seen.newest <= before.newest);
    let log = Log { missing_since: before.and_then(|before| before.missing_since), ..seen };
    let namespace = scene.facts.namespace().to_string();
    let (full, canary) = (scene.full_backups(round), scene.context.databases.canary(&namespace));
    let judged = Seen { namespace: &namespace, wanted, cluster: None, full: &full, log: Some(log), canary };
    backup.log_missing_since = judged.lacks_log().then(|| Time(log.missing_since.unwrap_or(log.at)));
    (backup.observed_at, backup.last_log) = (Some(Time(log.at)), log.newest.map(Time));
}

/// Until half of the evidence's validity is over; sooner if the log was behind, or a full backup says that there must be one.
fn until_next_look(scene: &Scene<'_>, round: &Round<Facts>, wanted: &Database, backup: &BackupStatus) -> Duration {
    let usual = scene.context.until_next_look(backup.observed_at.as_ref().map(|time| time.0));
    let Some(log) = log_of(backup) else { return usual };
    let is_expected = log.newest.is_none() && scene.full_backups(round).last.is_some();
    // Also while a canary that was away would excuse it.
    let canary = scene.context.databases.canary(scene.facts.namespace().as_str());
    let is_old = canary.is_some() && log.newest.is_some_and(|newest| since(newest, log.at) > wanted.rpo);
    if is_expected || is_old || log.missing_since.is_some() {
        return usual.min(LOG_LOOKED_AT_AGAIN.saturating_sub(since(log.at, clock::now())));
    }
    usual
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
