//! What the probes of a cluster show together. In: their `DaemonSet`s and pods, the verdicts that some have logged. Out: [`Seen`]. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::{
    api::{apps::v1::DaemonSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::ResourceExt;
use probe::{State, Verdict};
use tokio::time::Instant;

use super::{GRACE, Seen};

/// The label that names the runtime of a probe.
pub const RUNTIME: &str = "steading.dev/runtime";

/// How many places a message names.
const TOLD: usize = 3;

/// A pod of a probe, as far as it matters here.
pub struct Probe<'a>(pub &'a Pod);

impl Probe<'_> {
    /// Its name.
    pub fn name(&self) -> String {
        self.0.name_any()
    }

    fn runtime(&self) -> &str {
        self.0.labels().get(RUNTIME).map_or("default", String::as_str)
    }

    fn node(&self) -> &str {
        self.0.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node")
    }

    fn place(&self) -> String {
        format!("{} under {}", self.node(), self.runtime())
    }

    /// Whether a kubelet says that it is ready. Fake nodes say so too, but run no container that has an id.
    pub fn is_shown(&self) -> bool {
        let statuses = self.0.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or(&[]);
        let is_real = |id: &Option<String>| id.as_deref().is_some_and(|id| !id.is_empty());
        !statuses.is_empty() && statuses.iter().all(|it| it.ready && is_real(&it.container_id))
    }

    /// Whether it stopped being ready, or came, only now: it is being renewed or replaced, or its node has joined.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let conditions = self.0.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        let since = ready.and_then(|ready| ready.last_transition_time.as_ref());
        let since = since.or(self.0.metadata.creation_timestamp.as_ref());
        // By a clock that is ahead of ours it was just now.
        let is_old = |since: &Time| Duration::try_from(now.duration_since(since.0)).is_ok_and(|age| age >= GRACE);
        !since.is_some_and(is_old)
    }

    /// Whether it is on its way out, and its successor counts.
    pub fn is_leaving(&self) -> bool {
        self.0.metadata.deletion_timestamp.is_some()
    }
}

/// What they show together. `logged` holds the verdicts of pods that are not ready, by name. In a large cluster some probe is renewed at
/// any time: it is passed over while others of its runtime are ready.
pub fn judge(
    namespace: &str,
    sets: &[DaemonSet],
    pods: &[Probe<'_>],
    logged: &BTreeMap<String, Verdict>,
    now: Timestamp,
) -> Seen {
    let leaks: Vec<String> = pods
        .iter()
        .filter(|pod| !pod.is_shown())
        .filter_map(|pod| {
            let verdict = logged.get(&pod.name()).filter(|verdict| verdict.state() == State::Leaks)?;
            Some(format!("on {} {}", pod.place(), verdict.leaks()))
        })
        .collect();
    if !leaks.is_empty() {
        return Seen::Leaks(format!(
            "{}; mend the network there and delete the probe's pod: kubectl -n {namespace} get pods -l app.kubernetes.io/name=steading-probe",
            some_of(leaks)
        ));
    }
    let unknown = |why: String| Seen::Unknown { since: Instant::now(), why };
    if sets.is_empty() {
        return unknown(format!(
            "no probe runs in namespace {namespace}: set probe.enabled in the values of the chart"
        ));
    }
    let is_passed_over = |pod: &Probe<'_>| {
        pod.is_fresh(now) && pods.iter().any(|other| other.runtime() == pod.runtime() && other.is_shown())
    };
    let silent = pods.iter().filter(|pod| !pod.is_shown() && !is_passed_over(pod));
    let silent: Vec<String> = silent.map(Probe::place).collect();
    if !silent.is_empty() {
        return unknown(format!(
            "nothing is known of {}: see kubectl -n {namespace} describe pods -l app.kubernetes.io/name=steading-probe",
            some_of(silent)
        ));
    }
    for set in sets {
        let runtime = set.labels().get(RUNTIME).map_or("default", String::as_str);
        let running = pods.iter().filter(|pod| pod.runtime() == runtime).count();
        let status = set.status.as_ref();
        let wanted = status.map_or(0, |status| status.desired_number_scheduled);
        let is_current = status.and_then(|status| status.observed_generation) == set.metadata.generation;
        if !is_current || wanted == 0 || usize::try_from(wanted) != Ok(running) {
            return unknown(format!(
                "{running} of {wanted} probes run: see kubectl -n {namespace} describe daemonset {}",
                set.name_any()
            ));
        }
    }
    let runtimes: BTreeSet<&str> = pods.iter().map(Probe::runtime).collect();
    Seen::Enforced { runtimes: runtimes.into_iter().map(str::to_owned).collect() }
}

/// Some of them and how many more there are, always in the same order, so that status is written only when that changes.
fn some_of(mut places: Vec<String>) -> String {
    places.sort();
    let more = places.len().saturating_sub(TOLD);
    places.truncate(TOLD);
    let told = places.join("; ");
    if more > 0 { format!("{told}; and {more} more") } else { told }
}
