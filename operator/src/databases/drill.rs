//! What follows from restore drills. In: what status remembers of them, what is said of the canary and of full backups, the time. Out: whether
//! one is due, what the last one has shown against what the class promises, the part `RestoreProven`. Pure.

use std::time::Duration;

use api::{
    conditions as names,
    drill::{RestoreDrillStatus, RestoreFailure, RestoreProof},
};
use desired::{
    canary::{CANARY, DRILL, PATIENCE},
    database::Database,
};
use k8s_openapi::jiff::Timestamp;

use super::{Available, full::FullBackups};
use crate::engine::{conditions::Part, fault::Fault};

/// A change is told by a watch; this is only in case that it is not.
const TOLD_ANYWAY: Duration = Duration::from_mins(5);

/// What is known before a round.
pub struct Seen<'a> {
    /// The stack namespace.
    pub namespace: &'a str,
    /// The database as it is wanted.
    pub wanted: &'a Database,
    /// What status remembers.
    pub known: &'a RestoreDrillStatus,
    /// Whether the canary writes, if anything is known of it.
    pub canary: Option<Available>,
    /// The full backups.
    pub full: &'a FullBackups,
    /// How long to wait at least before what failed is tried again.
    pub pause: Duration,
}

/// When the next drill begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// After this time.
    In(Duration),
    /// Not before this has happened.
    When(String),
}

impl Seen<'_> {
    /// When the next drill begins, if none is under way.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Due {
        if self.wanted.suspended {
            return Due::When("spec.suspended is false".to_owned());
        }
        let RestoreDrillStatus { last_success, last_failure, .. } = self.known;
        let is_first = last_failure.is_none() && last_success.is_none();
        let rows = match self.until_rows(now, is_first) {
            Ok(left) => left,
            Err(what) => return Due::When(what),
        };
        let begins = match (last_failure, last_success) {
            (Some(RestoreFailure { started_at, at, .. }), _) => at.0 + since(started_at.0, at.0).max(self.pause),
            (None, Some(proof)) => proof.completed_at.0 + self.until_another(proof),
            (None, None) => now,
        };
        let left = since(now, begins).max(rows);
        if left.is_zero() { Due::Now } else { Due::In(left) }
    }

    /// How long after a drill that brought everything back the next one begins. One that missed its objective may have had a slow moment, so
    /// another shows soon whether it was that; of a database that is too large each costs a full restore, so after every further one as
    /// much time passes as has since the first of them.
    fn until_another(&self, proof: &RestoreProof) -> Duration {
        let every = self.wanted.drill_every;
        if !misses(self.wanted, proof) {
            return every;
        }
        let first = self.known.missed_since.as_ref().map_or(proof.completed_at.0, |first| first.0);
        since(first, proof.completed_at.0).max(self.pause).min(every)
    }

    /// How long until a row that the canary wrote since it is there must be in the backups: or a drill would only show that there is none, or
    /// for how long there was none. One that does not come is waited for no longer than the rpo, but before the first drill.
    ///
    /// # Errors
    /// What must happen first.
    fn until_rows(&self, now: Timestamp, is_first: bool) -> Result<Duration, String> {
        let Some(full) = self.full.last else { return Err("a full backup is complete".to_owned()) };
        let Some(canary) = self.canary.filter(|canary| canary.is || !is_first) else {
            return Err(format!("the pod of Deployment {}/{CANARY} is ready", self.namespace));
        };
        let archived = match canary.is {
            true if full > canary.since => Duration::ZERO,
            true => self.wanted.rpo * 2 / 3,
            false => self.wanted.rpo,
        };
        Ok(archived.saturating_sub(since(canary.since, now)))
    }

    /// Why the drill that began then is not waited for any longer.
    #[must_use]
    pub fn overdue(&self, started: Timestamp, now: Timestamp) -> Option<String> {
        let patience = self.wanted.rto * PATIENCE;
        (since(started, now) > patience)
            .then(|| format!("it was not over after {}, {PATIENCE} times the rto", told(patience)))
    }

    /// What can be said of restores, and until when.
    #[must_use]
    pub fn proven(&self, now: Timestamp) -> (Part, Option<Duration>) {
        let faulty = |fault| (Part::faulty(names::RESTORE_PROVEN, fault), None);
        if let Some(failure) = &self.known.last_failure {
            let message = format!(
                "the restore drill of {} failed at {}: {}; {}",
                failure.started_at.0,
                failure.at.0,
                failure.message,
                self.next(now)
            );
            return faulty(Fault::stalled(names::RESTORE_FAILED, message));
        }
        let Some(proof) = &self.known.last_success else {
            return (Part::open(names::RESTORE_PROVEN, names::RESTORE_PENDING, self.next(now)), None);
        };
        if misses(self.wanted, proof) {
            let message = format!("{}; {}", self.shown(proof), self.next(now));
            return faulty(Fault::stalled(names::OBJECTIVE_MISSED, message));
        }
        let away = self.canary.filter(|canary| !canary.is && !self.wanted.suspended);
        let silent = away.map(|canary| since(canary.since, now));
        let left = silent.map(|silent| self.wanted.rpo.saturating_sub(silent));
        if left.is_some_and(|left| left.is_zero()) {
            let message = format!(
                "the pod of Deployment {}/{CANARY} has not written for longer than the rpo of {}: see its events and logs",
                self.namespace,
                told(self.wanted.rpo)
            );
            return faulty(Fault::waiting(TOLD_ANYWAY, names::CANARY_NOT_WRITING, message));
        }
        (Part::good(names::RESTORE_PROVEN, names::AVAILABLE, self.shown(proof)), left)
    }

    fn shown(&self, proof: &RestoreProof) -> String {
        let Database { rto, rpo, .. } = self.wanted;
        format!(
            "{} were there again after {} (rto {}) at {}, the newest row of them {} old (rpo {})",
            proof.size,
            proof.recovery_time,
            told(*rto),
            proof.completed_at.0,
            proof.recovery_point,
            told(*rpo)
        )
    }

    /// When the next drill begins, or what the one under way is at.
    fn next(&self, now: Timestamp) -> String {
        let RestoreDrillStatus { started_at, restored_at, .. } = self.known;
        match (started_at, restored_at) {
            (Some(started), None) => {
                format!("one is under way since {}: Cluster {}/{DRILL} is being restored", started.0, self.namespace)
            }
            (Some(started), Some(restored)) => format!(
                "one is under way since {}: its database was there at {}, Job {}/{DRILL} looks at it",
                started.0, restored.0, self.namespace
            ),
            (None, _) => match self.due(now) {
                Due::Now => "a restore drill begins".to_owned(),
                Due::In(left) => format!("a restore drill begins at {}", now + left),
                Due::When(what) => format!("a restore drill begins once {what}"),
            },
        }
    }
}

/// Whether a drill took longer, or lost more, than the class promises.
#[must_use]
pub fn misses(wanted: &Database, proof: &RestoreProof) -> bool {
    let exceeds = |shown: &str, promised: Duration| {
        shown.parse::<kube::core::Duration>().map_or(Duration::MAX, Duration::from) > promised
    };
    exceeds(&proof.recovery_time, wanted.rto) || exceeds(&proof.recovery_point, wanted.rpo)
}

/// Time from one moment to a later one; none if it is not later.
#[must_use]
pub fn since(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// In hours, minutes and seconds, such as `1h0m3s`, without the larger ones that are none.
#[must_use]
pub fn told(time: Duration) -> String {
    let (hours, minutes, seconds) = (time.as_secs() / 3600, time.as_secs() / 60 % 60, time.as_secs() % 60);
    match (hours, minutes, seconds) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, 0, 0) => format!("{hours}h"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests;
