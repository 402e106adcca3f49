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
    database::{self as desired_database, BackupPlace, Database, WRITING_SERVICE},
    workspace::Facts as StackFacts,
};
use kube::ResourceExt;

use super::{Facts, WOKEN_ANYWAY, isolate};
use crate::{
    clock,
    context::Context,
    databases::judge::Seen,
    engine::{conditions::Part, fault::Fault, round::Round},
};

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

    async fn apply(&self, wanted: &Database, place: &BackupPlace, round: &Round<Facts>) -> Result<(), Fault> {
        let mut applier = isolate::applier(self.context, &self.facts.identity.to_string());
        applier.namespace = round.facts.namespace.as_ref().map(|namespace| namespace.uid.clone()).unwrap_or_default();
        for (kind, object) in desired_database::objects(self.facts, wanted, place) {
            applier.apply(kind, &object, None).await?;
        }
        Ok(())
    }

    fn tell(&self, wanted: &Database, backup: BackupStatus, round: &mut Round<Facts>) {
        let namespace = self.facts.namespace().to_string();
        let (cluster, store) = (self.context.databases.cluster(&namespace), self.context.databases.store(&namespace));
        let seen = Seen { namespace: &namespace, wanted, cluster: cluster.as_ref(), store: store.as_ref() };
        round.parts.push(seen.ready());
        let (part, left) = seen.backed_up(clock::now());
        round.parts.push(part);
        if let Some(left) = left {
            round.look_again(left + Duration::from_secs(1));
        }
        let window = seen.window();
        let has_failed_since = window.last_failed_backup_time.as_ref().map(|time| time.0)
            > window.last_successful_backup_time.as_ref().map(|time| time.0);
        round.facts.database = Some(DatabaseStatus {
            ready_instances: cluster.as_ref().map_or(0, |cluster| cluster.ready_instances),
            primary: cluster.and_then(|cluster| cluster.current_primary).filter(|primary| !primary.is_empty()),
            backup: Some(BackupStatus {
                last_full: window.last_successful_backup_time,
                recoverable_since: window.first_recoverability_point,
                last_failure: window.last_failed_backup_time.filter(|_| has_failed_since),
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
