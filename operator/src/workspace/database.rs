//! The Workspace's database: CloudNativePG's objects, kept as they must be, and what it says of them.
//!
//! In: a stack that stands, a class that offers databases. Out: a bucket for backups, credentials for it, the objects of crate
//! `desired`, and the parts `DatabaseReady` and `BackupFresh`. The operator never connects to a database.

mod backup;
mod rest;

use std::time::Duration;

use api::{
    Tenant, TenantClass, Workspace,
    amounts::format_bytes,
    conditions as names,
    database::{BackupStatus, ClassDatabase, DatabaseStatus},
};
use desired::{
    database::{self as desired_database, BACKUP, BackupPlace, Database, WRITING_SERVICE},
    fields::Kind,
    workspace::Facts as StackFacts,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{Facts, WOKEN_ANYWAY, isolate};
use crate::{
    clock,
    context::Context,
    databases::judge::{self, Seen},
    engine::{apply::Applier, children::Key, conditions::Part, fault::Fault, round::Round},
};

pub use rest::rest;

/// How long a full backup that failed is left before it is tried again.
const RETRY: Duration = Duration::from_mins(5);

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
        round.parts.push(Part::faulty(names::DATABASE_READY, fault));
    }
}

impl Scene<'_> {
    async fn see_to(&self, offered: &ClassDatabase, round: &mut Round<Facts>) -> Result<(), Fault> {
        let databases = &self.context.databases;
        databases.usable(&self.context.engine.client).await?;
        databases.synced()?;
        let known = self.workspace.status.as_ref().and_then(|status| status.database.as_ref());
        let wanted = Database::of(offered, self.workspace, known.map(|known| known.storage.as_str()))
            .map_err(|error| Fault::stalled(names::INVALID_SPEC, error.to_string()))?;
        self.fits(&wanted)?;
        if self.facts.database.is_none() {
            let message = "the addresses of the API server are not known yet, so the database could not reach it";
            return Err(Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message));
        }
        let (place, backup) = backup::ready(self, round, &self.status(&wanted)).await?;
        self.retry(round).await?;
        self.apply(&wanted, &place, round).await?;
        self.tell(&wanted, backup, round);
        Ok(())
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

    /// A full backup that failed is not left until its next time comes: a `ScheduledBackup` that is made anew begins with one.
    async fn retry(&self, round: &mut Round<Facts>) -> Result<(), Fault> {
        let namespace = self.facts.namespace().to_string();
        let store = self.context.databases.store(&namespace);
        let Some(failed) = store.as_ref().and_then(|store| judge::failed_since(&judge::window(store, &server(round))))
        else {
            return Ok(());
        };
        let age = Duration::try_from(clock::now().duration_since(failed)).unwrap_or_default();
        if let Some(left) = RETRY.checked_sub(age).filter(|left| !left.is_zero()) {
            round.look_again(left);
            return Ok(());
        }
        let key = Key { kind: Kind::ScheduledBackup, namespace: Some(namespace.clone()), name: BACKUP.to_owned() };
        let Some(known) = self.context.children.get(&key) else { return Ok(()) };
        if !known.deleting && self.context.databases.is_to_be_retried(&namespace, failed) {
            tracing::info!(workspace = self.name(), %failed, "a full backup failed and is tried again");
            self.applier(round).delete(&key, &known.uid).await?;
        }
        Ok(())
    }

    fn applier(&self, round: &Round<Facts>) -> Applier<'_> {
        let mut applier = isolate::applier(self.context, &self.facts.identity.to_string());
        applier.namespace = round.facts.namespace.as_ref().map(|namespace| namespace.uid.clone()).unwrap_or_default();
        applier
    }

    async fn apply(&self, wanted: &Database, place: &BackupPlace, round: &Round<Facts>) -> Result<(), Fault> {
        let applier = self.applier(round);
        for (kind, object) in desired_database::objects(self.facts, wanted, place) {
            applier.apply(kind, &object, None).await?;
        }
        Ok(())
    }

    fn tell(&self, wanted: &Database, backup: BackupStatus, round: &mut Round<Facts>) {
        let namespace = self.facts.namespace().to_string();
        let (cluster, store) = (self.context.databases.cluster(&namespace), self.context.databases.store(&namespace));
        let server = server(round);
        let seen =
            Seen { namespace: &namespace, server: &server, wanted, cluster: cluster.as_ref(), store: store.as_ref() };
        round.parts.push(seen.ready());
        let (part, left) = seen.backed_up(clock::now());
        round.parts.push(part);
        if let Some(left) = left {
            round.look_again(left + Duration::from_secs(1));
        }
        let window = seen.window();
        let failed = judge::failed_since(&window);
        round.facts.database = Some(DatabaseStatus {
            ready_instances: cluster.as_ref().map_or(0, |cluster| cluster.ready_instances),
            primary: cluster.and_then(|cluster| cluster.current_primary).filter(|primary| !primary.is_empty()),
            backup: Some(BackupStatus {
                last_full: window.last_successful_backup_time,
                recoverable_since: window.first_recoverability_point,
                last_failure: failed.map(Time),
                ..backup
            }),
            ..self.status(wanted)
        });
    }

    /// The database in status as it is intended; what was observed of it stays.
    fn status(&self, wanted: &Database) -> DatabaseStatus {
        let before = self.workspace.status.as_ref().and_then(|status| status.database.clone()).unwrap_or_default();
        DatabaseStatus {
            service: format!("{WRITING_SERVICE}.{}.svc", self.facts.namespace()),
            instances: i32::try_from(wanted.instances).unwrap_or(i32::MAX),
            storage: format_bytes(wanted.storage),
            image: Some(wanted.image.clone()),
            ..before
        }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.workspace.namespace().unwrap_or_default(), self.workspace.name_any())
    }
}

/// What the database calls itself in its backups.
fn server(round: &Round<Facts>) -> String {
    desired_database::server(round.facts.namespace.as_ref().map_or("", |namespace| &namespace.uid))
}
