//! One desktop, as its pod tells.
//!
//! In: a pod that bears the label of a pool. Out: what decides about it.

use api::labels;
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

/// How far a desktop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a node, or for its image.
    Waiting,
    /// No node has room for it.
    Unschedulable,
    /// Its image cannot be pulled.
    NotPulled,
    /// It runs and cannot be used yet, or not any more.
    Starting {
        /// Since when.
        since: Timestamp,
    },
    /// It can be used.
    Ready,
    /// It has ended by itself.
    Over {
        /// When.
        at: Timestamp,
    },
}

/// A desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Name of its pod.
    pub name: String,
    /// UID of its pod.
    pub uid: String,
    /// Version of what is known of it.
    pub version: u64,
    /// Digest of what it was made of.
    pub revision: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether a session has claimed it.
    pub claimed: bool,
    /// By when it is to be gone, if it is being deleted.
    pub going: Option<Timestamp>,
    /// How far it is.
    pub stage: Stage,
    /// Whether it is kept from being evicted.
    pub protected: bool,
    /// Until when it is, or was.
    pub protected_until: Option<Timestamp>,
}

/// Words of a kubelet for an image that it cannot have.
const NOT_PULLED: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
];

impl Agent {
    /// What a pod tells; `None` if it is not one that an API server has made.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let note = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key));
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0)?;
        Some(Self {
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            version: metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0),
            revision: note(labels::REVISION).cloned().unwrap_or_default(),
            created,
            claimed: note(labels::SESSION).is_some_and(|session| !session.is_empty()),
            going: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            stage: pod.status.as_ref().map_or(Stage::Waiting, |status| stage(status, created)),
            protected: metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(labels::PROTECTED)),
            protected_until: note(labels::PROTECTED_UNTIL).and_then(|until| until.parse().ok()),
        })
    }
}

fn stage(status: &PodStatus, created: Timestamp) -> Stage {
    let container = status.container_statuses.as_deref().and_then(<[_]>::first);
    let condition = |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    if let Some("Failed" | "Succeeded") = status.phase.as_deref() {
        return Stage::Over { at: ended(container).or_else(|| since(condition("Ready"))).unwrap_or(created) };
    }
    if condition("Ready").is_some_and(|ready| ready.status == "True") {
        return Stage::Ready;
    }
    let state = container.and_then(|container| container.state.as_ref());
    if let Some(running) = state.and_then(|state| state.running.as_ref()) {
        let started = running.started_at.as_ref().map_or(created, |time| time.0);
        // One that could be used until just now gets as much time again.
        return Stage::Starting { since: since(condition("Ready")).map_or(started, |lost| lost.max(started)) };
    }
    let waits_for = state.and_then(|state| state.waiting.as_ref()?.reason.as_deref());
    if waits_for.is_some_and(|reason| NOT_PULLED.contains(&reason)) {
        return Stage::NotPulled;
    }
    let refused = condition("PodScheduled")
        .is_some_and(|it| it.status == "False" && it.reason.as_deref() == Some("Unschedulable"));
    if refused { Stage::Unschedulable } else { Stage::Waiting }
}

fn ended(container: Option<&ContainerStatus>) -> Option<Timestamp> {
    let terminated = container?.state.as_ref()?.terminated.as_ref()?;
    terminated.finished_at.as_ref().map(|Time(at)| *at)
}

fn since(condition: Option<&PodCondition>) -> Option<Timestamp> {
    condition?.last_transition_time.as_ref().map(|Time(at)| *at)
}
