use std::collections::BTreeMap;

use api::TenantClassSpec;
use k8s_openapi::{
    api::{apps::v1::DaemonSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use probe::{Finding, Route, Verdict};
use serde_json::json;
use tokio::time::advance;

use super::{
    judge::{Probe, judge},
    *,
};
use crate::engine::conditions::State;

const LONG_AGO: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-02T00:00:00Z";

/// A probe on `node` under `runtime`.
fn pod(node: &str, runtime: &str, ready: bool) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": format!("probe-{runtime}-{node}"), "labels": { "steading.dev/runtime": runtime } },
        "spec": { "nodeName": node, "containers": [] },
        "status": { "conditions": [{
            "type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": LONG_AGO,
        }], "containerStatuses": [{
            "name": "probe", "image": "x", "imageID": "y", "restartCount": 0, "ready": ready, "containerID": "containerd://7",
        }]},
    }))
    .unwrap()
}

fn set(runtime: &str, wanted: i32) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("steading-probe-{runtime}"), "generation": 2, "labels": { "steading.dev/runtime": runtime },
        },
        "status": {
            "observedGeneration": 2, "desiredNumberScheduled": wanted, "currentNumberScheduled": wanted,
            "numberMisscheduled": 0, "numberReady": 0,
        },
    }))
    .unwrap()
}

fn judged(sets: &[DaemonSet], pods: &[Pod], logged: &[(&str, Verdict)]) -> Seen {
    let probes: Vec<Probe<'_>> = pods.iter().map(Probe).collect();
    let logged: BTreeMap<String, Verdict> =
        logged.iter().map(|(name, verdict)| ((*name).to_owned(), verdict.clone())).collect();
    judge("steading-system", sets, &probes, &logged, NOW.parse().unwrap())
}

fn leak() -> Verdict {
    let mut verdict = Verdict::new("node-2", &[]);
    verdict.add(Route::ApiServer, Finding::Leaks);
    verdict
}

fn why(seen: &Seen) -> &str {
    match seen {
        Seen::Unknown { why, .. } | Seen::Leaks(why) => why,
        Seen::Enforced { .. } => "enforced",
    }
}

#[test]
fn it_is_enforced_where_each_node_shows_it_under_each_runtime() {
    let pods = [pod("node-1", "default", true), pod("node-2", "default", true), pod("node-1", "gvisor", true)];
    let seen = judged(&[set("default", 2), set("gvisor", 1)], &pods, &[]);
    assert_eq!(seen, Seen::Enforced { runtimes: vec!["default".to_owned(), "gvisor".to_owned()] });
}

#[test]
fn without_probes_or_nodes_nothing_is_known() {
    assert!(why(&judged(&[], &[], &[])).contains("set probe.enabled"));
    assert!(why(&judged(&[set("default", 0)], &[], &[])).contains("0 of 0 probes run"));
}

#[test]
fn a_node_without_its_probe_is_noticed_though_all_others_are_ready() {
    let pods = [pod("node-1", "default", true), pod("node-1", "gvisor", true), pod("node-2", "gvisor", true)];
    let seen = judged(&[set("default", 2), set("gvisor", 2)], &pods, &[]);
    assert_eq!(
        why(&seen),
        "1 of 2 probes run: see kubectl -n steading-system describe daemonset steading-probe-default"
    );
}

#[test]
fn probes_of_an_older_template_are_not_counted_as_those_of_this_one() {
    let mut set = set("default", 1);
    set.metadata.generation = Some(3);
    assert!(why(&judged(&[set], &[pod("node-1", "default", true)], &[])).contains("1 of 1 probes run"));
}

/// Not ready for so long.
fn unready_for(mut pod: Pod, time: Duration) -> Pod {
    let since = NOW.parse::<Timestamp>().unwrap() - time;
    pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].last_transition_time = Some(Time(since));
    pod
}

#[test]
fn a_probe_that_is_renewed_is_passed_over_for_a_while_if_others_of_its_runtime_show_something() {
    let renewed = |time| unready_for(pod("node-2", "default", false), time);
    let of = |other: Pod, time| judged(&[set("default", 2)], &[other, renewed(time)], &[]);
    let ready = || pod("node-1", "default", true);
    assert!(matches!(of(ready(), GRACE / 2), Seen::Enforced { .. }));
    assert!(why(&of(ready(), GRACE)).starts_with("nothing is known of node-2 under default: see"));
    let both_are_new = of(unready_for(pod("node-1", "default", false), GRACE / 2), GRACE / 2);
    assert!(why(&both_are_new).starts_with("nothing is known of node-1 under default; node-2 under default"));
    let of_another = judged(&[set("default", 1)], &[pod("node-1", "gvisor", true), renewed(GRACE / 2)], &[]);
    assert!(why(&of_another).starts_with("nothing is known of node-2 under default"), "{of_another:?}");
    let leaks = judged(&[set("default", 2)], &[ready(), renewed(GRACE / 2)], &[("probe-default-node-2", leak())]);
    assert!(matches!(leaks, Seen::Leaks(_)), "{leaks:?}");
}

#[test]
fn a_fake_node_shows_nothing_though_its_probe_is_called_ready() {
    let mut fake = pod("kwok-1", "default", true);
    fake.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0].container_id = None;
    let seen = judged(&[set("default", 2)], &[fake, pod("node-1", "default", true)], &[]);
    assert!(why(&seen).starts_with("nothing is known of kwok-1 under default: see kubectl"), "{seen:?}");
}

#[test]
fn a_leak_is_told_with_node_runtime_and_way_whatever_else_is_not_known() {
    let pods = [pod("node-2", "gvisor", false), pod("node-1", "default", false)];
    let Seen::Leaks(told) = judged(&[], &pods, &[("probe-gvisor-node-2", leak())]) else { panic!("no leak") };
    assert!(
        told.starts_with("on node-2 under gvisor packets pass to the API server; mend the network there"),
        "{told}"
    );
}

#[test]
fn a_ready_probe_is_believed_over_what_it_logged_before() {
    let pods = [pod("node-2", "gvisor", true)];
    let seen = judged(&[set("gvisor", 1)], &pods, &[("probe-gvisor-node-2", leak())]);
    assert!(matches!(seen, Seen::Enforced { .. }), "{seen:?}");
}

#[test]
fn many_places_are_told_in_one_order_and_cut_off() {
    let mut pods: Vec<Pod> = (1..=5).map(|number| pod(&format!("node-{number}"), "default", false)).collect();
    let told = judged(&[set("default", 5)], &pods, &[]);
    pods.reverse();
    assert_eq!(why(&judged(&[set("default", 5)], &pods, &[])), why(&told));
    assert!(why(&told).contains("node-1 under default; node-2 under default; node-3 under default; and 2 more"));
}

fn class(enforcement: &str) -> TenantClass {
    let spec: TenantClassSpec = serde_json::from_value(json!({
        "residency": { "regions": ["site-a"] }, "keys": {}, "buckets": {}, "network": { "enforcement": enforcement },
    }))
    .unwrap();
    TenantClass::new("onprem", spec)
}

fn condition(status: &str) -> Condition {
    Condition {
        type_: names::NETWORK_ENFORCED.to_owned(),
        status: status.to_owned(),
        reason: names::AVAILABLE.to_owned(),
        message: "as it was".to_owned(),
        observed_generation: Some(1),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// The part of an object of this class, with what stood in status before.
fn part(enforcement: &Enforcement, class: &TenantClass, before: &[Condition]) -> Part {
    let before = Before { conditions: before, generation: Some(1) };
    enforcement.part(class, names::NETWORK_ENFORCED, "policies stand", &before)
}

fn told(part: &Part) -> (&'static str, &str) {
    match &part.state {
        State::Good { reason, message } | State::Open { reason, message } => (reason, message),
        State::Faulty(fault) | State::Unknown(fault) => (fault.reason, &fault.message),
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_shown_outlives_a_moment_of_silence_and_no_more() {
    let (enforcement, before) = (Enforcement::default(), [condition("True")]);
    let required = class("Required");
    assert_eq!(told(&part(&enforcement, &required, &before)), (names::AVAILABLE, "as it was"));
    advance(GRACE / 2).await;
    // A silence that goes on began when it began, whatever the reason is by now.
    enforcement.note(Seen::Unknown { since: Instant::now(), why: "1 of 2 probes run".to_owned() });
    assert_eq!(told(&part(&enforcement, &required, &before)).0, names::AVAILABLE);
    advance(GRACE / 2).await;
    let silent = part(&enforcement, &required, &before);
    assert!(matches!(silent.state, State::Unknown(_)), "{silent:?}");
    let message = told(&silent).1;
    assert!(message.contains("TenantClass onprem requires proof"), "{message}");
    assert!(message.contains("1 of 2 probes run"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_class_that_was_never_shown_to_be_enforced_is_not_for_a_moment() {
    let fresh = part(&Enforcement::default(), &class("Required"), &[]);
    assert!(matches!(fresh.state, State::Faulty(_)), "{fresh:?}");
    assert_eq!(told(&fresh).0, names::ENFORCEMENT_UNPROVEN);
}

#[tokio::test(start_paused = true)]
async fn a_leak_counts_at_once_and_is_said_of_classes_that_vouch_too() {
    let enforcement = Enforcement::default();
    assert!(enforcement.note(Seen::Leaks("on node-2 packets pass".to_owned())));
    assert!(!enforcement.note(Seen::Leaks("on node-2 packets pass".to_owned())), "the same is nothing new");
    let required = part(&enforcement, &class("Required"), &[condition("True")]);
    assert!(matches!(required.state, State::Faulty(_)), "{required:?}");
    assert_eq!(told(&required), (names::NOT_ENFORCED, "policies stand, but on node-2 packets pass"));
    let assumed = part(&enforcement, &class("Assumed"), &[]);
    assert_eq!(told(&assumed).0, names::ASSUMED);
    assert!(told(&assumed).1.ends_with("vouches that the network enforces them, although on node-2 packets pass"));
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_names_the_runtimes() {
    let enforcement = Enforcement::default();
    enforcement.note(Seen::Enforced { runtimes: vec!["default".to_owned(), "gvisor".to_owned()] });
    let shown = part(&enforcement, &class("Required"), &[]);
    let message = "policies stand; probes show that every node enforces them, under default and gvisor";
    assert_eq!(told(&shown), (names::AVAILABLE, message));
    let message = "policies stand; TenantClass onprem vouches that the network enforces them";
    assert_eq!(told(&part(&enforcement, &class("Assumed"), &[])), (names::ASSUMED, message));
}
