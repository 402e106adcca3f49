//! What a database begins with, if not empty: the backups of another Workspace of the same Tenant, there or gone. They are looked for once,
//! read until the database has come up, and never written.

use std::time::Duration;

use api::{
    Amounts, Identity, Workspace,
    amounts::{ResourceText, format_bytes},
    conditions as names,
    database::{DatabaseStatus, OriginStatus, RestoreFrom},
    tenant_class::S3,
};
use desired::database::{BackupPlace, Database, ORIGIN, Origin};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use providers::{Access, BucketSpec, External as _, Purpose};

use super::{
    super::{Facts, Workspaces, provision},
    Scene,
    credentials::{Outcome, Wanted},
};
use crate::{
    clock,
    engine::{drive, fault::Fault, round::Round},
};

/// How long until it is looked again for what is not there: nobody wakes this Workspace when another comes or has its first backup.
const AGAIN: Duration = Duration::from_secs(15);

/// How long it takes at most to send a log that was closed.
const SENDING: Duration = Duration::from_mins(1);

/// The origin, ready to be read; `None` if the database begins empty.
pub async fn ready(
    scene: &Scene<'_>,
    round: &mut Round<Facts>,
    status: &DatabaseStatus,
    s3: &S3,
    wanted: &Database,
) -> Result<Option<(Origin, OriginStatus)>, Fault> {
    let asked = scene.workspace.spec.database.as_ref().and_then(|database| database.restore_from.as_ref());
    let Some(asked) = asked else { return Ok(None) };
    let mut origin = match &status.restored_from {
        Some(known) => known.clone(),
        None => scene.resolve(asked, wanted)?,
    };
    let spec = spec(scene, &origin)?;
    origin.bucket = spec.name();
    let uid = round.facts.namespace.as_ref().map(|namespace| namespace.uid.clone()).unwrap_or_default();
    if origin.namespace_uid != uid {
        origin = OriginStatus { namespace_uid: uid, credentials_expire_at: None, completed_at: None, ..origin };
    }
    if origin.completed_at.is_none() {
        if origin.credentials_expire_at.is_none() {
            is_there(scene, &spec, &origin).await?;
        }
        if status.restored_from.is_none() {
            intend(scene, round, status, &origin).await?;
        }
        let wanted = Wanted { secret: ORIGIN, spec: &spec, access: Access::Read, s3 };
        match wanted.see_to(scene, round, origin.credentials_expire_at.as_ref()).await? {
            Outcome::Stands => {}
            Outcome::Issued(end) => origin.credentials_expire_at = Some(Time(end)),
            Outcome::Troubled(fault) => round.look_failed(&fault),
        }
    }
    let place = BackupPlace {
        bucket: origin.bucket.clone(),
        server: origin.server_name.clone(),
        endpoint: s3.endpoint.clone(),
        has_ca: s3.ca_bundle.is_some(),
    };
    let time = origin.time.as_deref().map(moment).transpose()?;
    Ok(Some((Origin { place, time }, origin)))
}

impl Scene<'_> {
    /// Whose backups are meant.
    fn resolve(&self, asked: &RestoreFrom, wanted: &Database) -> Result<OriginStatus, Fault> {
        let time = asked.time.clone();
        let begun = |identity: String, server_name: String| OriginStatus {
            identity,
            bucket: String::new(),
            server_name,
            time,
            namespace_uid: String::new(),
            credentials_expire_at: None,
            completed_at: None,
        };
        if let (Some(identity), Some(server)) = (&asked.identity, &asked.server_name) {
            if let Some(time) = asked.time.as_deref() {
                within(identity, moment(time)?, None, wanted.rpo)?;
            }
            return Ok(begun(identity.parse::<Identity>()?.to_string(), server.clone()));
        }
        let name = asked.workspace.as_deref().unwrap_or_default();
        let found = self.sibling(name)?;
        let status = found.status.as_ref();
        let backup = status.and_then(|status| status.database.as_ref()?.backup.as_ref());
        let known = status.and_then(|status| status.identity.clone()).zip(backup);
        let (identity, backup) = known.ok_or_else(|| waiting(&format!("Workspace {name} has no backups")))?;
        let Some(since) = &backup.recoverable_since else {
            return Err(waiting(&format!("Workspace {name} has no full backup yet")));
        };
        if let Some(time) = asked.time.as_deref() {
            within(name, moment(time)?, Some(since.0), wanted.rpo)?;
        }
        holds(wanted, name, status.and_then(|status| status.database.as_ref()).map(|it| it.storage.as_str()))?;
        Ok(begun(identity, backup.server_name.clone()))
    }

    /// Another Workspace of the same Tenant.
    fn sibling(&self, name: &str) -> Result<std::sync::Arc<Workspace>, Fault> {
        let namespace = self.workspace.namespace().unwrap_or_default();
        if name == self.workspace.name_any() {
            let message =
                "database.restoreFrom.workspace names this Workspace itself: name the one whose data is wanted";
            return Err(Fault::stalled(names::INVALID_SPEC, message));
        }
        let found = self.context.workspaces.get(&ObjectRef::new(name).within(&namespace));
        let found = found.filter(|found| found.metadata.deletion_timestamp.is_none());
        found.ok_or_else(|| waiting(&format!("Workspace {namespace}/{name} does not exist")))
    }
}

fn waiting(what: &str) -> Fault {
    let message = format!("{what}: see database.restoreFrom, which says what this database begins with");
    Fault::waiting(AGAIN, names::ORIGIN_NOT_FOUND, message)
}

fn moment(text: &str) -> Result<Timestamp, Fault> {
    text.parse().map_err(|_| {
        let message =
            format!("database.restoreFrom.time is {text:?}: write a moment in UTC, such as 2026-11-23T10:15:00Z");
        Fault::stalled(names::INVALID_SPEC, message)
    })
}

/// Refuses what nobody could go back to, and waits for the log of what just was: PostgreSQL goes on to the first change after the moment, and
/// fails if that is not archived.
fn within(name: &str, time: Timestamp, since: Option<Timestamp>, rpo: Duration) -> Result<(), Fault> {
    let message = if let Some(since) = since.filter(|since| time < *since) {
        format!("database.restoreFrom.time is {time}, and the backups of Workspace {name} reach back to {since}")
    } else if time > clock::now() {
        format!("database.restoreFrom.time is {time}, which is yet to come")
    } else {
        let age = Duration::try_from(clock::now().duration_since(time)).unwrap_or_default();
        // One that is gone has archived all it had.
        let takes = since.map_or(Duration::ZERO, |_| rpo / 3 + SENDING);
        let left = takes.saturating_sub(age);
        let message =
            format!("the log of {time} is archived in {} s at the latest", left.as_secs().next_multiple_of(60));
        return if left.is_zero() { Ok(()) } else { Err(Fault::waiting(left, names::PROGRESSING, message)) };
    };
    Err(Fault::stalled(names::INVALID_SPEC, format!("{message}: create another Workspace with another time")))
}

/// Refuses volumes that are smaller than those whose content is to go there.
fn holds(wanted: &Database, name: &str, have: Option<&str>) -> Result<(), Fault> {
    let have = have.map(|have| ResourceText { storage: Some(have.to_owned()), ..ResourceText::default() });
    let have = have.as_ref().and_then(|have| Amounts::parse(have).ok()?.storage).unwrap_or_default();
    if wanted.storage >= have {
        return Ok(());
    }
    let (wanted, have) = (format_bytes(wanted.storage), format_bytes(have));
    let message = format!(
        "database.storage.size is {wanted}, and the volumes of Workspace {name} have {have}: raise it to at least {have}"
    );
    Err(Fault::stalled(names::INVALID_SPEC, message))
}

/// Writes into status what the database begins with, before it does: what is found later may be something else.
async fn intend(
    scene: &Scene<'_>,
    round: &mut Round<Facts>,
    status: &DatabaseStatus,
    origin: &OriginStatus,
) -> Result<(), Fault> {
    let before = round.facts.database.clone().unwrap_or_else(|| status.clone());
    round.facts.database = Some(DatabaseStatus { restored_from: Some(origin.clone()), ..before });
    let making = format!("it begins with the backups {} in bucket {}", origin.server_name, origin.bucket);
    let (known, engine) = (&scene.context.workspaces, &scene.context.engine);
    drive::intend::<Workspaces>(known, engine, scene.workspace, round, names::DATABASE_READY, making).await
}

/// The bucket of these backups. That it is the Tenant's own is seen by its marks, when it is looked at.
fn spec(scene: &Scene<'_>, origin: &OriginStatus) -> Result<BucketSpec, Fault> {
    let owner = scene.tenant.status.as_ref().and_then(|status| status.identity.clone()).unwrap_or_default();
    provision::spec(scene.context, scene.class, &owner.parse()?, &origin.identity.parse()?, Purpose::Backup)
}

async fn is_there(scene: &Scene<'_>, spec: &BucketSpec, origin: &OriginStatus) -> Result<(), Fault> {
    let buckets = scene.context.connections.buckets(scene.class).await?;
    let missing = || waiting(&format!("the Tenant has no bucket {} with backups of {}", spec.name(), origin.identity));
    match buckets.observe(spec).await.map_err(|fault| scene.context.connections.failed(scene.class, fault)) {
        Ok(found) => found.map(drop).ok_or_else(missing),
        // Another Tenant's, for example.
        Err(fault) if fault.reason == names::FOREIGN => Err(missing()),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_moment_that_backups_reach_can_be_gone_back_to() {
        let now = clock::now();
        let ago = |minutes: u64| now - Duration::from_mins(minutes);
        let rpo = Duration::from_mins(6);
        assert!(within("finance", ago(5), Some(ago(10)), rpo).is_ok());
        assert!(within("finance", ago(2), None, rpo).is_ok(), "what is gone has archived all");
        assert!(within("finance", now + Duration::from_hours(1), None, rpo).is_err());
        assert!(within("finance", ago(2), Some(ago(10)), rpo).unwrap_err().message.contains("archived in"));
        for (time, said) in [(ago(20), "reach back to"), (now + Duration::from_hours(1), "yet to come")] {
            assert!(within("finance", time, Some(ago(10)), rpo).unwrap_err().message.contains(said));
        }
    }
}
