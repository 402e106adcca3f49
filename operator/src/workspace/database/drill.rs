//! Restoring a database beside itself from its backups, to see what comes back. One step in each round; what was begun stands in status, so
//! that whoever leads next goes on with it. What it makes is made once and not touched while it lasts: the drill shows how things were.

use api::{
    amounts::format_bytes,
    drill::{RestoreDrillStatus, RestoreFailure, RestoreProof},
};
use desired::{
    canary::{self, DRILL, OF_DRILL},
    database::{BackupPlace, Database},
    fields::Kind,
};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

use super::{super::Facts, Scene};
use crate::{
    clock,
    databases::{
        drill::{Due, Seen, misses, since, told},
        judge,
    },
    engine::{
        children::Key,
        conditions::Part,
        fault::{Class, Fault},
        round::Round,
    },
};
use outcome::Outcome;

mod outcome;

impl Scene<'_> {
    /// Goes on with the drill that is under way, or begins one that is due. Returns what status is to remember.
    pub(super) async fn drill(
        &self,
        wanted: &Database,
        place: &BackupPlace,
        round: &mut Round<Facts>,
    ) -> RestoreDrillStatus {
        let mut known = self.known().and_then(|known| known.restore_drill.clone()).unwrap_or_default();
        let stepped = self.step(wanted, place, &mut known, round).await;
        let namespace = self.facts.namespace().to_string();
        let (canary, full) = (self.context.databases.canary(&namespace), self.full_backups(round));
        let seen = self.seen(wanted, &namespace, &known, canary, &full);
        match stepped {
            Err(fault) if matches!(fault.class, Class::Stalled | Class::Forbidden) => {
                round.parts.push(Part::faulty(api::conditions::RESTORE_PROVEN, fault));
            }
            stepped => {
                if let Err(fault) = stepped {
                    round.look_failed(&fault);
                }
                let (part, left) = seen.proven(clock::now());
                round.parts.push(part);
                if let Some(left) = left {
                    round.look_again(left);
                }
            }
        }
        known
    }

    fn seen<'a>(
        &self,
        wanted: &'a Database,
        namespace: &'a str,
        known: &'a RestoreDrillStatus,
        canary: Option<crate::databases::Available>,
        full: &'a crate::databases::full::FullBackups,
    ) -> Seen<'a> {
        Seen { namespace, wanted, known, canary, full, pause: self.context.engine.stalled }
    }

    async fn step(
        &self,
        wanted: &Database,
        place: &BackupPlace,
        known: &mut RestoreDrillStatus,
        round: &mut Round<Facts>,
    ) -> Result<(), Fault> {
        // That it stops is part of suspending the database, not of what drills need.
        let canary = if wanted.suspended { Ok(()) } else { self.canary(wanted, round).await };
        let ended = match known.started_at.clone() {
            Some(_) if wanted.suspended => {
                // The canary writes no more, so its newest row would seem to be old. Another drill begins when both are back.
                (known.started_at, known.restored_at) = (None, None);
                round.look_again(std::time::Duration::ZERO);
                None
            }
            Some(started) => self.go_on(wanted, place, started.0, known, round).await?,
            None if self.is_anything_left() => return self.clear(round).await.and(canary),
            None => {
                self.begin(wanted, known, round);
                None
            }
        };
        if let (Some(ended), Some(started)) = (ended, known.started_at.clone()) {
            self.end(ended, started, wanted, place, known);
            // What is left is removed in the next round: status says first what came of it.
            round.look_again(std::time::Duration::ZERO);
        }
        canary
    }

    /// Begins one if it is due. Status says so before anything is made.
    fn begin(&self, wanted: &Database, known: &mut RestoreDrillStatus, round: &mut Round<Facts>) {
        let namespace = self.facts.namespace().to_string();
        let (canary, full) = (self.context.databases.canary(&namespace), self.full_backups(round));
        let now = clock::now();
        match self.seen(wanted, &namespace, known, canary, &full).due(now) {
            Due::Now if self.context.fence.stands().is_ok() => {
                known.started_at = Some(Time(now));
                round.look_again(std::time::Duration::ZERO);
            }
            Due::Now => round.look_again(std::time::Duration::from_secs(30)),
            Due::In(left) => round.look_again(left),
            Due::When(_) => {}
        }
    }

    /// One step. Says how it ended, once it has.
    async fn go_on(
        &self,
        wanted: &Database,
        place: &BackupPlace,
        started: Timestamp,
        known: &mut RestoreDrillStatus,
        round: &mut Round<Facts>,
    ) -> Result<Option<Result<Outcome, String>>, Fault> {
        let namespace = self.facts.namespace().to_string();
        let full = self.full_backups(round);
        let patience = self.seen(wanted, &namespace, known, None, &full);
        let restored = self.context.databases.restored(&namespace);
        if let Some(overdue) = patience.overdue(started, clock::now()) {
            let said = restored.as_ref().map(|cluster| format!("; CloudNativePG says {:?}", judge::said(cluster)));
            return Ok(Some(Err(format!("{overdue}{}", said.unwrap_or_default()))));
        }
        round.look_again(wanted.rto);
        self.once(canary::restored(self.facts, wanted, place), round).await?;
        let Some(restored) = restored else { return Ok(None) };
        if judge::is_hopeless(&restored) {
            return Ok(Some(Err(format!("CloudNativePG says {:?}", judge::said(&restored)))));
        }
        if known.restored_at.is_none() && !judge::is_up(&restored, 1) {
            return Ok(None);
        }
        known.restored_at.get_or_insert(Time(clock::now()));
        self.once(canary::reader(self.facts), round).await?;
        if !self.can_sign_in(DRILL) {
            return Ok(None);
        }
        self.once(canary::look(self.facts, wanted, &self.context.image), round).await?;
        match self.context.databases.looked(&namespace) {
            None => Ok(None),
            Some(_) => self.outcome(&namespace).await.map(Some),
        }
    }

    /// Makes an object unless one of its name stands.
    async fn once(&self, object: (Kind, Value), round: &Round<Facts>) -> Result<(), Fault> {
        let key = self.key(object.0);
        if self.context.children.get(&key).is_some() { Ok(()) } else { self.stand(object, round).await }
    }

    fn key(&self, kind: Kind) -> Key {
        Key { kind, namespace: Some(self.facts.namespace().to_string()), name: DRILL.to_owned() }
    }

    /// What the pod of the Job that stands has told.
    async fn outcome(&self, namespace: &str) -> Result<Result<Outcome, String>, Fault> {
        let job = self.context.children.get(&self.key(Kind::Job)).map(|job| job.uid.clone()).unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.context.engine.client.clone(), namespace);
        let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={DRILL}"));
        let pods = pods.list(&of_job).await;
        let pods = pods.map_err(|error| Fault::api(&error, &format!("list pods of Job {namespace}/{DRILL}")))?;
        let is_of_it = |pod: &&Pod| pod.owner_references().iter().any(|owner| owner.uid == job);
        let told = pods.items.iter().filter(is_of_it).find_map(terminated);
        Ok(told.map_or_else(
            || Err(format!("the pod of Job {namespace}/{DRILL} told nothing")),
            |told| outcome::read(told, clock::now()),
        ))
    }

    /// Takes down what came of it.
    fn end(
        &self,
        ended: Result<Outcome, String>,
        started: Time,
        wanted: &Database,
        place: &BackupPlace,
        known: &mut RestoreDrillStatus,
    ) {
        let (now, restored) = (clock::now(), known.restored_at.take());
        known.started_at = None;
        match ended {
            Ok(seen) => {
                let restored = restored.map_or(now, |restored| restored.0);
                tracing::info!(workspace = self.name(), rows = seen.rows, "a restore drill brought the database back");
                known.last_failure = None;
                let proof = RestoreProof {
                    completed_at: Time(now),
                    recovery_point: told(since(seen.newest_row, restored)),
                    recovery_time: told(since(started.0, restored)),
                    newest_row: Time(seen.newest_row),
                    rows: seen.rows,
                    size: format_bytes(seen.size),
                    tables: seen.tables,
                    unread: seen.unread,
                    server_name: place.server.clone(),
                };
                let first = known.missed_since.take().unwrap_or(started);
                known.missed_since = misses(wanted, &proof).then_some(first);
                known.last_success = Some(proof);
            }
            Err(message) => {
                tracing::warn!(workspace = self.name(), message, "a restore drill failed");
                known.last_failure = Some(RestoreFailure { started_at: started, at: Time(now), message });
            }
        }
    }

    fn is_anything_left(&self) -> bool {
        OF_DRILL.into_iter().any(|kind| self.context.children.get(&self.key(kind)).is_some())
    }

    /// Removes what a drill has made.
    async fn clear(&self, round: &Round<Facts>) -> Result<(), Fault> {
        for kind in OF_DRILL {
            let key = self.key(kind);
            if let Some(known) = self.context.children.get(&key).filter(|known| !known.deleting) {
                self.applier(round).delete(&key, &known.uid).await?;
            }
        }
        Ok(())
    }
}

/// What the container of a pod said when it ended.
fn terminated(pod: &Pod) -> Option<&str> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find_map(|container| container.state.as_ref()?.terminated.as_ref()?.message.as_deref())
}
