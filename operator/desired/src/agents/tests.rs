use std::{collections::BTreeMap, path::Path, time::Duration};

use api::{AgentPool, AgentSet, agent_set::AgentRelay};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{IDENTITY, json_of};

const IMAGE: &str = "registry.example/desktop@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const NOW: i64 = 1_000_000;

fn wanted(replicas: usize) -> Wanted {
    Wanted {
        name: "pool".to_owned(),
        revision: "new".to_owned(),
        replicas,
        max_unavailable: 1,
        max_surge: 1,
        max_starting: 10,
        room: None,
        held: false,
        protect: Duration::from_hours(1),
    }
}

/// A desktop of the newest template that is not claimed.
fn agent(number: u32, stage: Stage) -> Agent {
    Agent {
        name: format!("pool-{number}"),
        uid: format!("uid-{number}"),
        version: u64::from(number) + 1,
        revision: "new".to_owned(),
        created: at(NOW - 1000 + i64::from(number)),
        claimed: false,
        going: None,
        stage,
        protected: false,
        protected_until: None,
    }
}

fn claimed(number: u32) -> Agent {
    Agent { claimed: true, protected: true, protected_until: Some(at(NOW + 60)), ..agent(number, Stage::Ready) }
}

fn old(number: u32, stage: Stage) -> Agent {
    Agent { revision: "old".to_owned(), ..agent(number, stage) }
}

fn view(agents: impl IntoIterator<Item = Agent>) -> View {
    let mut view = View::default();
    view.looked(agents.into_iter().collect(), 0);
    view
}

fn decided(wanted: &Wanted, agents: impl IntoIterator<Item = Agent>) -> Decision {
    decide(wanted, &view(agents), 0, at(NOW))
}

fn names(agents: &[Agent]) -> Vec<&str> {
    agents.iter().map(|agent| agent.name.as_str()).collect()
}

#[test]
fn what_is_missing_is_made_under_the_lowest_free_names_and_a_claimed_one_does_not_count() {
    let decision = decided(&wanted(3), [agent(1, Stage::Ready), claimed(2)]);
    assert_eq!(decision.make, ["pool-0", "pool-3"]);
    assert_eq!((decision.counts.replicas, decision.counts.ready, decision.counts.claimed), (1, 1, 1));
}

#[test]
fn no_more_start_at_one_time_than_may() {
    let few = Wanted { max_starting: 2, ..wanted(9) };
    assert_eq!(decided(&few, []).make.len(), 2);
    assert_eq!(decided(&few, [agent(0, Stage::Waiting)]).make, ["pool-1"]);
    assert!(decided(&few, [agent(0, Stage::Waiting), agent(1, Stage::Starting { since: at(NOW) })]).make.is_empty());
}

#[test]
fn what_holds_it_up_is_told_and_nothing_more_is_made() {
    let one = |stage| decided(&wanted(5), [agent(0, stage)]);
    for (stage, hold) in [
        (Stage::Unschedulable, Hold::Unschedulable("pool-0".to_owned())),
        (Stage::NotPulled, Hold::NotPulled("pool-0".to_owned())),
    ] {
        let decision = one(stage);
        assert_eq!((decision.make.len(), decision.hold), (0, Some(hold)));
    }
    let held = decided(&Wanted { held: true, ..wanted(5) }, [old(0, Stage::Ready)]);
    assert_eq!((held.make.len(), held.remove.len(), held.hold), (0, 0, Some(Hold::Held)));
    let full = decided(&Wanted { room: Some(0), ..wanted(5) }, [agent(0, Stage::Ready)]);
    assert_eq!((full.make.len(), full.hold), (0, Some(Hold::NoRoom)));
    assert_eq!(decided(&Wanted { room: Some(2), ..wanted(5) }, []).make.len(), 2);
    assert_eq!(decided(&Wanted { room: Some(0), ..wanted(1) }, [agent(0, Stage::Ready)]).hold, None);
}

#[test]
fn a_desktop_that_fails_keeps_its_place_ever_longer_and_then_one_at_a_time_is_made() {
    let over = |ago| agent(0, Stage::Over { at: at(NOW - ago) });
    let decision = decided(&wanted(3), [over(9)]);
    assert_eq!((decision.remove.len(), decision.again), (0, Some(Duration::from_secs(1))));
    assert_eq!(decision.hold, Some(Hold::Failing("pool-0".to_owned())));
    assert_eq!(decision.make, ["pool-1"], "one at a time");
    let decision = decided(&wanted(3), [over(10)]);
    assert_eq!((names(&decision.remove), decision.failures), (vec!["pool-0"], 1));
    for (failures, pause) in [(1, 20), (2, 40), (5, 300), (30, 300)] {
        let after = |ago| decide(&wanted(3), &view([over(ago)]), failures, at(NOW)).remove.len();
        assert_eq!((after(pause - 1), after(pause)), (0, 1), "{failures}");
    }
    let well = decide(&wanted(1), &view([agent(0, Stage::Ready)]), 7, at(NOW));
    assert_eq!(well.failures, 0, "all are ready");
}

#[test]
fn a_desktop_that_never_becomes_ready_fails_after_five_minutes() {
    let since = |ago| decided(&wanted(1), [agent(0, Stage::Starting { since: at(NOW - ago) })]);
    assert_eq!((since(299).hold, since(299).again), (None, Some(Duration::from_secs(1))));
    assert_eq!(since(300).hold, Some(Hold::Failing("pool-0".to_owned())));
    assert_eq!(since(310).remove.len(), 1);
}

#[test]
fn a_new_template_replaces_warm_desktops_step_by_step_and_leaves_claimed_ones_alone() {
    let claimed = Agent { revision: "old".to_owned(), ..claimed(9) };
    let first =
        decided(&wanted(3), [old(0, Stage::Ready), old(1, Stage::Ready), old(2, Stage::Ready), claimed.clone()]);
    assert_eq!((names(&first.remove), first.make), (vec!["pool-0"], vec!["pool-3".to_owned()]));
    let idle =
        decided(&wanted(3), [old(0, Stage::Waiting), old(1, Stage::Ready), old(2, Stage::Ready), claimed.clone()]);
    assert_eq!(names(&idle.remove), ["pool-0"], "what cannot be used goes first");
    let last = decided(
        &wanted(3),
        [agent(3, Stage::Ready), agent(4, Stage::Ready), old(1, Stage::Ready), old(2, Stage::Ready), claimed],
    );
    assert_eq!((names(&last.remove), last.make.len()), (vec!["pool-1", "pool-2"], 0));
    let careful = Wanted { max_unavailable: 0, ..wanted(2) };
    let decision = decided(&careful, [old(0, Stage::Ready), old(1, Stage::Ready), agent(2, Stage::Waiting)]);
    assert!(decision.remove.is_empty() && decision.make.is_empty(), "{decision:?}");
}

#[test]
fn of_too_many_those_go_first_that_cannot_be_used_then_the_youngest_and_never_a_claimed_one() {
    let agents =
        [agent(0, Stage::Ready), agent(1, Stage::Ready), agent(2, Stage::Waiting), agent(3, Stage::Ready), claimed(4)];
    assert_eq!(names(&decided(&wanted(1), agents.clone()).remove), ["pool-2", "pool-3", "pool-1"]);
    assert_eq!(names(&decided(&wanted(0), agents).remove).len(), 4);
}

#[test]
fn a_claimed_desktop_is_protected_for_its_time_and_no_longer() {
    let fresh = Agent { protected: false, protected_until: None, ..claimed(0) };
    let decision = decided(&wanted(0), [fresh.clone()]);
    assert_eq!(decision.note, [(fresh, Note::Protect(at(NOW + 3600)))]);
    let decision = decided(&wanted(0), [claimed(0)]);
    assert_eq!((decision.note.len(), decision.again), (0, Some(Duration::from_mins(1))));
    let stripped = Agent { protected: false, ..claimed(0) };
    assert_eq!(decided(&wanted(0), [stripped.clone()]).note, [(stripped, Note::Protect(at(NOW + 60)))]);
    let due = Agent { protected_until: Some(at(NOW)), ..claimed(0) };
    assert_eq!(decided(&wanted(0), [due.clone()]).note, [(due.clone(), Note::Expose)]);
    assert!(decided(&wanted(0), [Agent { protected: false, ..due }]).note.is_empty());
}

#[test]
fn a_claimed_desktop_that_has_ended_is_taken_away_after_a_while() {
    let over = |ago| Agent { claimed: true, ..agent(0, Stage::Over { at: at(NOW - ago) }) };
    assert!(decided(&wanted(0), [over(299)]).remove.is_empty());
    assert_eq!(decided(&wanted(0), [over(300)]).remove.len(), 1);
}

#[test]
fn those_on_their_way_out_count_until_their_node_must_be_lost() {
    let going = |by| Agent { going: Some(at(by)), ..agent(0, Stage::Ready) };
    let tight = Wanted { max_surge: 0, ..wanted(1) };
    assert!(decided(&tight, [going(NOW)]).make.is_empty());
    assert_eq!(decided(&tight, [going(NOW - 60)]).make, ["pool-1"]);
}

#[test]
fn a_watch_that_tells_of_the_end_before_the_answer_of_the_beginning_is_believed() {
    let mut view = view([]);
    view.asks("pool-0");
    view.told(agent(0, Stage::Waiting));
    view.gone("pool-0", "uid-0");
    view.made(agent(0, Stage::Waiting));
    assert!(view.is_empty());
}

#[test]
fn what_was_made_while_a_watch_lists_anew_is_not_forgotten() {
    let mut view = view([]);
    view.list_begins();
    view.asks("pool-7");
    view.made(agent(7, Stage::Waiting));
    view.list_ends(vec![agent(1, Stage::Ready)]);
    assert_eq!(view.agents().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["pool-1", "pool-7"]);
    view.list_begins();
    view.list_ends(vec![agent(1, Stage::Ready)]);
    assert_eq!(view.agents().count(), 1);
}

#[test]
fn a_view_that_may_lack_something_says_so_until_it_was_looked_at() {
    let mut view = View::default();
    assert!(view.is_doubtful(), "nothing was seen yet");
    view.looked(vec![agent(0, Stage::Ready)], 9);
    assert!(!view.is_doubtful());
    view.asks("pool-1");
    assert_eq!(view.taken(), 2);
    view.unanswered("pool-1");
    assert!(view.is_doubtful());
    // A watch that is behind tells of one that the list did not have any more.
    view.looked(vec![agent(0, Stage::Ready)], 9);
    view.told(Agent { version: 8, ..agent(5, Stage::Ready) });
    assert_eq!(view.taken(), 1);
}

#[test]
fn a_list_that_is_older_than_a_look_takes_nothing_away_that_the_look_found() {
    let mut view = View::default();
    view.list_begins();
    view.looked(vec![agent(3, Stage::Ready)], 9);
    view.list_ends(Vec::new());
    assert_eq!(view.taken(), 1);
    // It may as well have gone before the list, and then no watch would ever tell.
    assert!(view.is_unconfirmed());
    view.looked(Vec::new(), 10);
    assert!(!view.is_unconfirmed() && view.is_empty());
}

fn pod_with(status: &Value) -> Agent {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "pool-0", "uid": "u", "resourceVersion": "7", "creationTimestamp": at(NOW).to_string() },
        "status": status,
    }))
    .unwrap();
    Agent::of(&pod).unwrap()
}

#[test]
fn how_far_a_desktop_is_its_pod_tells() {
    let (t1, t2) = (at(NOW + 10), at(NOW + 20));
    let ready = |status: &str| json!({ "type": "Ready", "status": status, "lastTransitionTime": t2.to_string() });
    let state = |state: Value| json!([{ "name": "desktop", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state }]);
    let running = state(json!({ "running": { "startedAt": t1.to_string() } }));
    for (status, stage) in [
        (json!({}), Stage::Waiting),
        (
            json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] }),
            Stage::Unschedulable,
        ),
        (
            json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" }] }),
            Stage::Waiting,
        ),
        (
            json!({ "phase": "Pending", "containerStatuses": state(json!({ "waiting": { "reason": "ImagePullBackOff" } })) }),
            Stage::NotPulled,
        ),
        (
            json!({ "phase": "Pending", "containerStatuses": state(json!({ "waiting": { "reason": "ContainerCreating" } })) }),
            Stage::Waiting,
        ),
        (json!({ "phase": "Running", "containerStatuses": running }), Stage::Starting { since: t1 }),
        (
            json!({ "phase": "Running", "containerStatuses": running, "conditions": [ready("False")] }),
            Stage::Starting { since: t2 },
        ),
        (json!({ "phase": "Running", "containerStatuses": running, "conditions": [ready("True")] }), Stage::Ready),
        (
            json!({ "phase": "Failed", "containerStatuses": state(json!({ "terminated": { "exitCode": 1, "finishedAt": t1.to_string() } })) }),
            Stage::Over { at: t1 },
        ),
        (json!({ "phase": "Failed", "reason": "Evicted" }), Stage::Over { at: at(NOW) }),
    ] {
        assert_eq!(pod_with(&status).stage, stage, "{status}");
    }
}

fn pool() -> AgentPool {
    serde_json::from_value(json!({
        "apiVersion": "steading.dev/v1alpha1", "kind": "AgentPool",
        "metadata": { "name": "desktops", "namespace": "acme" },
        "spec": {
            "workspace": "finance", "replicas": 5,
            "desktop": { "image": IMAGE, "resources": { "cpu": "1", "memory": "2Gi" }, "home": { "size": "5Gi" } },
        },
    }))
    .unwrap()
}

fn acme_finance_desktops() -> AgentSet {
    let within = Set {
        tenant: "acme".parse().unwrap(),
        workspace: "finance".parse().unwrap(),
        identity: IDENTITY.parse().unwrap(),
        runtime_class: "gvisor".to_owned(),
        relay: Some(AgentRelay {
            name: "steading-relay.steading-system.svc".to_owned(),
            address: "10.96.42.22".to_owned(),
            authority: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned(),
        }),
        most: Some(20),
        held: None,
    };
    let mut set = set(&pool(), &within).unwrap();
    set.metadata.uid = Some("0d6f1f0e-5c1b-4a57-9d3c-2f0a6f4f7a10".to_owned());
    set
}

#[test]
fn the_set_and_its_pods_are_exactly_these() {
    let set = acme_finance_desktops();
    let found = json!({ "set": json_of(&set), "pod": json_of(&pod(&set, "desktops-0")) });
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agents/acme-finance.json");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap_or_default()).unwrap_or_default();
    assert_eq!(found, expected, "if this is meant: UPDATE_SNAPSHOTS=1 cargo test -p desired");
}

#[test]
fn a_pod_is_what_the_strictest_pod_security_asks_for_and_more() {
    let pod = json_of(&pod(&acme_finance_desktops(), "desktops-0"));
    let spec = &pod["spec"];
    for (path, value) in [
        ("/automountServiceAccountToken", json!(false)),
        ("/serviceAccountName", json!("agent")),
        ("/runtimeClassName", json!("gvisor")),
        ("/restartPolicy", json!("Never")),
        ("/securityContext/runAsNonRoot", json!(true)),
        ("/securityContext/runAsUser", json!(65532)),
        ("/securityContext/seccompProfile/type", json!("RuntimeDefault")),
        ("/containers/0/securityContext/readOnlyRootFilesystem", json!(true)),
        ("/containers/0/securityContext/allowPrivilegeEscalation", json!(false)),
        ("/containers/0/securityContext/capabilities", json!({ "drop": ["ALL"] })),
        ("/containers/0/readinessProbe/exec/command", json!(["steading-agent", "ready"])),
    ] {
        assert_eq!(spec.pointer(path), Some(&value), "{path}");
    }
    assert_eq!(spec["containers"][0]["resources"]["requests"], spec["containers"][0]["resources"]["limits"]);
    assert!(spec.pointer("/containers/0/ports").is_none() && spec["containers"].as_array().unwrap().len() == 1);
    let volumes: BTreeMap<&str, bool> = spec["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| (volume["name"].as_str().unwrap(), volume.pointer("/emptyDir/sizeLimit").is_some()))
        .collect();
    assert_eq!(volumes, [("home", true), ("relay", false), ("run", true), ("tmp", true)].into());
    let token = json!({ "audience": "steading-relay", "expirationSeconds": 600, "path": "token" });
    let sources = spec.pointer("/volumes/3/projected/sources").unwrap();
    assert_eq!(sources[0], json!({ "serviceAccountToken": token }));
    assert!(sources.as_array().unwrap().len() == 2 && sources[1].get("downwardAPI").is_some(), "{sources}");
    assert!(pod.pointer("/metadata/labels/steading.dev~1part").is_none(), "no part of the stack lets it in");
    assert_eq!(pod.pointer("/metadata/labels/steading.dev~1pool"), Some(&json!("desktops")));
}

#[test]
fn whatever_changes_a_desktop_changes_its_revision_and_nothing_else_does() {
    let set = acme_finance_desktops();
    let first = revision(&set.spec.template);
    let mut other = set.clone();
    (other.spec.replicas, other.spec.held) = (9, Some("EnforcementUnproven".to_owned()));
    assert_eq!(revision(&other.spec.template), first);
    other.spec.template.runtime_class = "kata".to_owned();
    assert_ne!(revision(&other.spec.template), first);
    let mut other = set.clone();
    other.spec.template.relay.as_mut().unwrap().authority.push(' ');
    assert_ne!(revision(&other.spec.template), first, "by the old certificates the relay is not known any more");
}
