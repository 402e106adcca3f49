//! The Workspace's database: CloudNativePG's objects, kept as they must be, and what it says of them.
//!
//! In: a stack that stands, a class that offers databases. Out: a bucket for backups, credentials for it, the objects of crate
//! `desired`, and the parts `DatabaseReady`, `BackupFresh` and `RestoreProven`. The operator never connects to a database.

mod backup;
mod canary;
mod credentials;
mod drill;
pub mod lifecycle;
mod origin;
mod rest;

use std::time::Duration;

use api::{
    Tenant, TenantClass, Workspace,
    amounts::format_bytes,
    conditions as names,
    database::{BackupStatus, ClassDatabase, DatabaseStatus, OriginStatus},
    labels,
};
use desired::{
    database::{self as desired_database, BackupPlace, Database, Origin, WRITING_SERVICE},
    workspace::Facts as StackFacts,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::Value;

use super::{Facts, WOKEN_ANYWAY, Workspaces, isolate};
use crate::{
    clock,
    context::Context,
    databases::{
        full::{Another, FullBackups},
        judge::{Log, Seen},
    },
    engine::{apply::Applier, conditions::Part, fault::Fault, round::Round},
};
use backup::Readied;

pub use rest::rest;

/// What all steps look at.
struct Scene<'a> {
    context: &'a Context,
    tenant: &'a Tenant,
    workspace: &'a Workspace,
    class: &'a TenantClass,
    facts: &'a StackFacts,
}

/// Sees to the database, if the class offers any and the Workspace wants one.
pub async fn database(
    context: &Context,
    tenant: &Tenant,
    workspace: &Workspace,
    class: &TenantClass,
    facts: &StackFacts,
    round: &mut Round<Facts>,
) {
    let Some(offered) = &class.spec.database else { return };
    if !workspace.spec.wants_database() {
        round.parts.push(Part::good(names::DATABASE_READY, names::DISABLED, "database.disabled is true"));
        return;
    }
    let scene = Scene { context, tenant, workspace, class, facts };
    if let Err(fault) = scene.see_to(offered, round).await {
        let known = scene.known().and_then(|known| known.backup.as_ref());
        if let Some(backup) = known {
            let observed = backup.observed_at.as_ref().map(|time| time.0);
            context.look_failed::<Workspaces>(workspace, round, names::BACKUP_FRESH, observed, &fault);
        }
        round.parts.push(Part::faulty(names::DATABASE_READY, fault));
    }
}

impl Scene<'_> {
    /// Fails only where nothing can be said of a database, or there is none yet.
    async fn see_to(&self, offered: &ClassDatabase, round: &mut Round<Facts>) -> Result<(), Fault> {
        let databases = &self.context.databases;
        databases.usable(&self.context.engine.client).await?;
        databases.synced()?;
        let wanted = Database::of(offered, self.workspace, self.known().map(|known| known.storage.as_str()))
            .map_err(|error| Fault::stalled(names::INVALID_SPEC, error.to_string()))?;
        if self.known().is_none() {
            // Nothing is made outside for what could not run.
            self.has_room(&wanted)?;
        }
        // Before anything that could be refused: what runs keeps its credentials.
        let backup = backup::ready(self, round, &wanted).await?;
        let (made, origin) = self.make(&wanted, &backup.place, round).await;
        let drill = match made {
            Ok(()) => Some(self.drill(&wanted, &backup.place, round).await),
            // What is to be restored is not there yet, or not as it should be.
            Err(_) => None,
        };
        self.tell(&wanted, backup, made, origin, round);
        if let (Some(drill), Some(database)) = (drill, &mut round.facts.database) {
            database.restore_drill = Some(drill);
        }
        Ok(())
    }

    fn known(&self) -> Option<&DatabaseStatus> {
        self.workspace.status.as_ref().and_then(|status| status.database.as_ref())
    }

    /// Makes the objects be as they should, and says what the database begins with.
    async fn make(
        &self,
        wanted: &Database,
        place: &BackupPlace,
        round: &mut Round<Facts>,
    ) -> (Result<(), Fault>, Option<OriginStatus>) {
        let origin = match self.origin(wanted, round).await {
            Ok(origin) => origin,
            Err(fault) => return (Err(fault), None),
        };
        let (origin, status) = origin.unzip();
        let made = async {
            self.has_room(wanted)?;
            self.apply(wanted, place, origin.as_ref(), round).await
        };
        let made = made.await;
        if let (Ok(()), Err(fault)) = (&made, self.another_backup(wanted, round).await) {
            // What runs, runs: `BackupFresh` tells what is missing.
            round.look_failed(&fault);
        }
        (made, status)
    }

    async fn origin(
        &self,
        wanted: &Database,
        round: &mut Round<Facts>,
    ) -> Result<Option<(Origin, OriginStatus)>, Fault> {
        let Some(s3) = self.class.spec.buckets.s3.as_ref() else { return Ok(None) };
        origin::ready(self, round, &self.status(wanted), s3, wanted).await
    }

    fn has_room(&self, wanted: &Database) -> Result<(), Fault> {
        self.fits(wanted)?;
        if self.facts.database.is_some() {
            return Ok(());
        }
        let message =
            "the addresses of the API server or of the store are not known yet, so the database could not reach them";
        Err(Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message))
    }

    /// Or the pods could not be made, and only events of the stack would say why.
    fn fits(&self, wanted: &Database) -> Result<(), Fault> {
        if wanted.fits(self.facts.granted) {
            return Ok(());
        }
        let message = format!(
            "the database with {} instances needs {} in all, and spec.quota grants {}: raise spec.quota, or lower spec.database",
            wanted.instances,
            wanted.needs(),
            self.facts.granted
        );
        Err(Fault::stalled(names::DATABASE_TOO_LARGE, message))
    }

    /// A full backup that failed, or was not made, is not left until its next time comes.
    async fn another_backup(&self, wanted: &Database, round: &mut Round<Facts>) -> Result<(), Fault> {
        let (context, namespace) = (self.context, self.facts.namespace().to_string());
        let runs = context.databases.cluster(&namespace).is_some_and(|cluster| cluster.ready_instances > 0);
        if wanted.suspended || !runs {
            // It would wait for an instance, and the next one beside it.
            return Ok(());
        }
        let another = self.full_backups(round).another(clock::now(), context.engine.stalled, wanted.full_within());
        let name = match another {
            None => return Ok(()),
            Some(Another::In(left)) => {
                round.look_again(left);
                return Ok(());
            }
            Some(Another::Named(name, next)) => {
                round.look_again(next);
                name
            }
        };
        if context.databases.asked(&namespace).as_ref() == Some(&name) {
            return Ok(());
        }
        tracing::info!(workspace = self.name(), name, "a full backup failed or was not made, and another is asked for");
        let backup = desired_database::another_backup(self.facts, &name);
        match self.create(&backup).await {
            // By whoever led before.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            made => drop(made.map_err(|error| Fault::api(&error, &format!("create Backup {namespace}/{name}")))?),
        }
        context.databases.has_asked(&namespace, name);
        Ok(())
    }

    async fn create(&self, backup: &Value) -> kube::Result<DynamicObject> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "Backup"));
        let namespace = self.facts.namespace();
        let backups = Api::namespaced_with(self.context.engine.client.clone(), namespace.as_str(), &kind);
        let params = PostParams { field_manager: Some(labels::MANAGER_WORKSPACE.to_owned()), ..PostParams::default() };
        backups.create(&params, &serde_json::from_value(backup.clone()).map_err(kube::Error::SerdeError)?).await
    }

    fn full_backups(&self, round: &Round<Facts>) -> FullBackups {
        let (databases, namespace) = (&self.context.databases, self.facts.namespace().to_string());
        let (cluster, store) = (databases.cluster(&namespace), databases.store(&namespace));
        FullBackups::of(cluster.as_ref(), store.as_ref(), &server(round))
    }

    fn applier(&self, round: &Round<Facts>) -> Applier<'_> {
        let mut applier = isolate::applier(self.context, &self.facts.identity.to_string());
        applier.namespace = round.facts.namespace.as_ref().map(|namespace| namespace.uid.clone()).unwrap_or_default();
        applier
    }

    async fn apply(
        &self,
        wanted: &Database,
        place: &BackupPlace,
        origin: Option<&Origin>,
        round: &Round<Facts>,
    ) -> Result<(), Fault> {
        let applier = self.applier(round);
        for (kind, object) in desired_database::objects(self.facts, wanted, place, origin) {
            applier.apply(kind, &object, None).await?;
        }
        if wanted.suspended {
            // Or the database would be said to be at rest while somebody still calls it.
            self.canary(wanted, round).await?;
        }
        Ok(())
    }

    /// Says what there is, also where something could not be made or looked at.
    fn tell(
        &self,
        wanted: &Database,
        backup: Readied,
        made: Result<(), Fault>,
        origin: Option<OriginStatus>,
        round: &mut Round<Facts>,
    ) {
        let namespace = self.facts.namespace().to_string();
        let (cluster, full) = (self.context.databases.cluster(&namespace), self.full_backups(round));
        let log = log_of(&backup.status);
        let canary = self.context.databases.canary(&namespace);
        let seen = Seen { namespace: &namespace, wanted, cluster: cluster.as_ref(), full: &full, log, canary };
        let storage = made.is_ok().then(|| format_bytes(wanted.storage));
        round.parts.push(match made {
            Ok(()) => seen.ready(),
            Err(fault) => Part::faulty(names::DATABASE_READY, fault),
        });
        self.tell_of_backups(&seen, &backup, round);
        let intended = self.status(wanted);
        let is_up = round.parts.iter().any(|part| part.name == names::DATABASE_READY && part.fault().is_none());
        let origin = origin.map(|origin| OriginStatus {
            completed_at: origin.completed_at.or_else(|| is_up.then(|| Time(clock::now()))),
            ..origin
        });
        round.facts.database = Some(DatabaseStatus {
            ready_instances: cluster.as_ref().map_or(0, |cluster| cluster.ready_instances),
            primary: cluster.and_then(|cluster| cluster.current_primary).filter(|primary| !primary.is_empty()),
            storage: storage.unwrap_or_else(|| intended.storage.clone()),
            backup: Some(BackupStatus {
                last_full: full.last.map(Time),
                recoverable_since: full.recoverable_since.map(Time),
                last_failure: full.failed.as_ref().map(|failed| Time(failed.at)),
                ..backup.status
            }),
            restored_from: origin.or_else(|| intended.restored_from.clone()),
            ..intended
        });
    }

    /// What CloudNativePG says of them, unless it is good and the store or its credentials are not.
    fn tell_of_backups(&self, seen: &Seen<'_>, backup: &Readied, round: &mut Round<Facts>) {
        let (part, left) = seen.backed_up(clock::now());
        if let Some(left) = left {
            round.look_again(left + Duration::from_secs(1));
        }
        match &backup.trouble {
            Some(fault) if part.fault().is_none() => {
                let observed = backup.status.observed_at.as_ref().map(|time| time.0);
                self.context.look_failed::<Workspaces>(self.workspace, round, names::BACKUP_FRESH, observed, fault);
            }
            trouble => {
                if let Some(fault) = trouble {
                    round.look_failed(fault);
                }
                round.parts.push(part);
            }
        }
    }

    /// The database in status as it is intended; what was observed of it stays, and the size that its volumes were given.
    fn status(&self, wanted: &Database) -> DatabaseStatus {
        let before = self.known().cloned().unwrap_or_default();
        DatabaseStatus {
            service: format!("{WRITING_SERVICE}.{}.svc", self.facts.namespace()),
            instances: i32::try_from(wanted.instances).unwrap_or(i32::MAX),
            image: Some(wanted.image.clone()),
            ..before
        }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.workspace.namespace().unwrap_or_default(), self.workspace.name_any())
    }
}

/// What was seen of the log at the store.
fn log_of(backup: &BackupStatus) -> Option<Log> {
    let at = backup.observed_at.as_ref()?.0;
    let moment = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    Some(Log { newest: moment(&backup.last_log), at, missing_since: moment(&backup.log_missing_since) })
}

/// What the database calls itself in its backups.
fn server(round: &Round<Facts>) -> String {
    desired_database::server(round.facts.namespace.as_ref().map_or("", |namespace| &namespace.uid))
}
