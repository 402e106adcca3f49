//! The judge. In: a history. Out: every point at which conditions, kstatus, the Lua health and what was there disagree.

use std::collections::BTreeMap;

use api::Amounts;
use api::amounts::ResourceText;
use api::conditions::{Consequence, reason};
use serde_json::Value;

use super::kstatus::{Status, compute};
use super::lua::health;
use super::record::Write;

mod of_database;

/// What each stack must hold, by kind and name.
const STACK: [(&str, &str); 8] = [
    ("NetworkPolicy", "deny-all"),
    ("NetworkPolicy", "allow-parts-ingress"),
    ("NetworkPolicy", "allow-parts-egress"),
    ("NetworkPolicy", "allow-dns"),
    ("ResourceQuota", "steading"),
    ("LimitRange", "steading"),
    ("RoleBinding", "steading-viewers"),
    ("RoleBinding", "steading-editors"),
];

/// What there is at one point of the history: kind, namespace and name of each object.
type Present = BTreeMap<(String, String, String), Value>;

/// What was found.
pub struct Judgement {
    /// How many writes of a Tenant or Workspace that carried a status were judged.
    pub judged: usize,
    /// What disagrees, with the object and its revision.
    pub disagreements: Vec<String>,
    /// Each pair of verdicts that occurred.
    pub verdicts: BTreeMap<String, usize>,
}

/// Goes through the history and judges every status in it.
pub fn judge(history: &[Write]) -> Judgement {
    let mut judgement = Judgement { judged: 0, disagreements: Vec::new(), verdicts: BTreeMap::new() };
    let mut present = Present::new();
    let mut observed: BTreeMap<String, i64> = BTreeMap::new();
    for write in history {
        let object = &write.object;
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = (write.kind.clone(), text("namespace"), text("name"));
        if write.is_gone {
            present.remove(&key);
            continue;
        }
        present.insert(key, object.clone());
        if !matches!(write.kind.as_str(), "Tenant" | "Workspace") {
            continue;
        }
        judgement.judged += 1;
        let at = format!("{} {}/{} at {}", write.kind, text("namespace"), text("name"), write.revision);
        let before = observed.insert(text("uid"), object["status"]["observedGeneration"].as_i64().unwrap_or(-1));
        let mut found = conditions_disagree(object, before);
        let kstatus = compute(object);
        let lua = health(object).map_or_else(|error| format!("nothing but {error:#}"), |(status, _)| status);
        found.extend(verdicts_disagree(object, kstatus, &lua));
        if kstatus == Status::Failed && write.kind == "Workspace" && !is_founded(object, &present) {
            found.push("it is called failed for a quota that its newest spec does not break".to_owned());
        }
        if kstatus == Status::Current {
            found.extend(missing(write, &present).into_iter().map(|what| format!("it is called done without {what}")));
        }
        *judgement.verdicts.entry(format!("{kstatus:?}/{lua}")).or_default() += 1;
        judgement.disagreements.extend(found.into_iter().map(|found| format!("{at}: {found}\n  {}", object["status"])));
    }
    judgement
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// What is wrong with the conditions among themselves.
fn conditions_disagree(object: &Value, observed_before: Option<i64>) -> Vec<String> {
    let mut found = Vec::new();
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    let observed = object["status"]["observedGeneration"].as_i64();
    let Some(observed) = observed else { return vec!["there is no observedGeneration".to_owned()] };
    if observed > generation || observed_before.is_some_and(|before| observed < before) {
        found
            .push(format!("observedGeneration goes from {observed_before:?} to {observed} at generation {generation}"));
    }
    if observed == -1 {
        let conditions = object["status"]["conditions"].as_array();
        found.extend(conditions.map(|_| "conditions of an object that nobody has looked at".to_owned()));
        return found;
    }
    let Some(ready) = condition(object, "Ready") else {
        found.push("there is no Ready".to_owned());
        return found;
    };
    let abnormal: Vec<_> = ["Reconciling", "Stalled"].into_iter().filter_map(|kind| condition(object, kind)).collect();
    let is_paused = ready["reason"] == "Paused";
    match (ready["status"].as_str().unwrap_or_default(), abnormal.as_slice()) {
        ("True", []) => {}
        ("Unknown", []) if is_paused => {}
        ("False" | "Unknown", [one]) if one["status"] == "True" && !is_paused => {
            let fits = match reason(one["reason"].as_str().unwrap_or_default()).map(|reason| reason.consequence) {
                Some(Consequence::Stalled) => one["type"] == "Stalled" || one["reason"] == "Forbidden",
                Some(Consequence::Waiting | Consequence::Transient) => one["type"] == "Reconciling",
                Some(Consequence::Good) | None => false,
            };
            if !fits {
                found.push(format!("{} is {} though its reason means something else", one["type"], one["reason"]));
            }
        }
        (status, others) => found.push(format!("Ready is {status} beside {others:?}")),
    }
    for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
        let name = condition["reason"].as_str().unwrap_or_default();
        if reason(name).is_none() {
            found.push(format!("{} has the reason {name}, which is not documented", condition["type"]));
        }
        if condition["observedGeneration"].as_i64().is_some_and(|seen| seen > observed) {
            found.push(format!("{} claims a later generation than the status", condition["type"]));
        }
    }
    found
}

/// Where kstatus, Argo CD's health and the conditions say different things.
fn verdicts_disagree(object: &Value, kstatus: Status, lua: &str) -> Vec<String> {
    let is_observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let is = |kind: &str| is_observed && condition(object, kind).is_some_and(|condition| condition["status"] == "True");
    let is_paused = object["spec"]["paused"] == true
        || (is_observed && condition(object, "Ready").is_some_and(|ready| ready["reason"] == "Paused"));
    let is_going = object["metadata"]["deletionTimestamp"].is_string();
    let expected = match () {
        () if is_paused => (Status::InProgress, "Suspended"),
        () if is("Stalled") => (Status::Failed, "Degraded"),
        () if is("Ready") => (Status::Current, "Healthy"),
        () => (Status::InProgress, "Progressing"),
    };
    // kstatus knows of deletion; Argo CD does too, before it asks Lua.
    let expected = if is_going { (Status::Terminating, expected.1) } else { expected };
    let mut found = Vec::new();
    if (kstatus, lua) != expected {
        found.push(format!("kstatus says {kstatus:?} and Argo CD {lua}, where {expected:?} is meant"));
    }
    if is_going && lua == "Healthy" {
        found.push("it goes, and is called healthy".to_owned());
    }
    found
}

/// What a Tenant or Workspace that is called done lacks.
fn missing(write: &Write, present: &Present) -> Vec<String> {
    if write.kind == "Tenant" {
        let key = write.object["status"]["key"]["name"].as_str().unwrap_or_default();
        return if write.outside.contains(key) { Vec::new() } else { vec![format!("a usable key {key:?}")] };
    }
    let (spec, status) = (&write.object["spec"], &write.object["status"]);
    let stack = status["namespace"]["name"].as_str().unwrap_or_default();
    let get = |kind: &str, namespace: &str, name: &str| present.get(&(kind.into(), namespace.into(), name.into()));
    let mut missing = Vec::new();
    let namespace = get("Namespace", "", stack);
    let is_ours = |namespace: &Value| {
        namespace["metadata"]["uid"] == status["namespace"]["uid"]
            && namespace["metadata"]["deletionTimestamp"].is_null()
    };
    if !namespace.is_some_and(is_ours) {
        missing.push(format!("its namespace {stack:?}"));
    }
    missing.extend(
        STACK
            .iter()
            .filter(|(kind, name)| get(kind, stack, name).is_none())
            .map(|(kind, name)| format!("{kind} {name}")),
    );
    let quota =
        get("ResourceQuota", stack, "steading").map_or(&Value::Null, |quota| &quota["spec"]["hard"]["requests.cpu"]);
    if spec["quota"]["cpu"].is_string() && *quota != spec["quota"]["cpu"] {
        missing.push(format!("its quota: cpu is {quota}, not {}", spec["quota"]["cpu"]));
    }
    for member in spec["members"].as_array().into_iter().flatten() {
        let binding = if member["role"] == "viewer" { "steading-viewers" } else { "steading-editors" };
        let subjects = get("RoleBinding", stack, binding).and_then(|binding| binding["subjects"].as_array());
        if !subjects.is_some_and(|subjects| subjects.iter().any(|subject| subject["name"] == member["name"])) {
            missing.push(format!("its member {}", member["name"]));
        }
    }
    let bucket = status["bucket"]["name"].as_str().unwrap_or_default();
    if spec["bucket"]["disabled"] != true && !write.outside.contains(bucket) {
        missing.push(format!("its bucket {bucket:?}"));
    }
    missing.extend(of_database::missing(write, stack, &get));
    missing
}

/// Whether a Workspace that is called failed for its quota does ask for too much or too little.
fn is_founded(workspace: &Value, present: &Present) -> bool {
    let (namespace, uid) =
        (workspace["metadata"]["namespace"].as_str().unwrap_or_default(), &workspace["metadata"]["uid"]);
    let reason = condition(workspace, "Stalled").map_or(&Value::Null, |stalled| &stalled["reason"]);
    let Some(tenant) = present.get(&("Tenant".to_owned(), namespace.to_owned(), namespace.to_owned())) else {
        return true;
    };
    let (wanted, limit) = (amounts(&workspace["spec"]["quota"]), amounts(&tenant["spec"]["quota"]));
    let reservations = tenant["status"]["quota"]["reservations"].as_array().cloned().unwrap_or_default();
    let others = reservations.iter().filter(|reservation| reservation["uid"] != *uid);
    let held = others.fold(Amounts::default(), |sum, reservation| sum.plus(amounts(&reservation["held"])));
    let breaks = |breaks: &dyn Fn(Option<u64>, u64, u64) -> bool| {
        let all = wanted.named().into_iter().zip(limit.named()).zip(held.named());
        all.into_iter()
            .any(|((wanted, limit), held)| limit.1.is_some_and(|most| breaks(wanted.1, most, held.1.unwrap_or(0))))
    };
    match reason.as_str() {
        Some("QuotaExceeded") => breaks(&|wanted, most, held| wanted.unwrap_or(0) + held > most),
        Some("QuotaRequired") => breaks(&|wanted, _, _| wanted.is_none()),
        _ => true,
    }
}

fn amounts(quota: &Value) -> Amounts {
    let text = |name: &str| quota[name].as_str().map(str::to_owned);
    let agents = quota["agents"].as_i64().and_then(|count| count.try_into().ok());
    Amounts::parse(&ResourceText { cpu: text("cpu"), memory: text("memory"), storage: text("storage"), agents })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A history of one Workspace that is rightly Ready.
    fn history() -> Vec<Write> {
        let write = |kind: &str, object: Value| Write {
            revision: 1,
            kind: kind.to_owned(),
            is_gone: false,
            object,
            outside: ["bucket".to_owned()].into(),
        };
        let mut history = vec![write("Namespace", json!({ "metadata": { "name": "stack", "uid": "u" } }))];
        for (kind, name) in STACK {
            let object = json!({ "metadata": { "name": name, "namespace": "stack" },
                                 "spec": { "hard": { "requests.cpu": "2" } }, "subjects": [{ "name": "ada" }] });
            history.push(write(kind, object));
        }
        let ready =
            json!({ "type": "Ready", "status": "True", "reason": "Available", "message": "", "observedGeneration": 1 });
        history.push(write(
            "Workspace",
            json!({ "metadata": { "name": "finance", "namespace": "acme", "uid": "w", "generation": 1 },
                    "spec": { "quota": { "cpu": "2" }, "members": [{ "name": "ada", "role": "viewer" }] },
                    "status": { "observedGeneration": 1, "conditions": [ready], "bucket": { "name": "bucket" },
                                "namespace": { "name": "stack", "uid": "u" } } }),
        ));
        history
    }

    fn disagreements(change: impl FnOnce(&mut Vec<Write>)) -> Vec<String> {
        let mut history = history();
        change(&mut history);
        judge(&history).disagreements
    }

    fn status(history: &mut [Write]) -> &mut Value {
        &mut history.last_mut().unwrap().object["status"]
    }

    #[test]
    fn a_workspace_that_is_rightly_ready_is_believed() {
        assert_eq!(disagreements(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn whatever_is_missing_from_a_stack_that_is_called_ready_is_seen() {
        for index in 0..=STACK.len() {
            assert!(!disagreements(|history| drop(history.remove(index))).is_empty(), "{index}");
        }
        assert!(!disagreements(|history| history.last_mut().unwrap().outside.clear()).is_empty());
        assert!(!disagreements(|history| history[0].object["metadata"]["uid"] = json!("another")).is_empty());
        assert!(
            !disagreements(|history| history.last_mut().unwrap().object["spec"]["quota"]["cpu"] = json!("3"))
                .is_empty()
        );
        assert!(
            !disagreements(|history| history.last_mut().unwrap().object["spec"]["members"][0]["name"] = json!("eve"))
                .is_empty()
        );
    }

    #[test]
    fn conditions_that_contradict_each_other_are_seen() {
        let also = |kind: &str, reason: &str| {
            let condition = json!({ "type": kind, "status": "True", "reason": reason, "message": "" });
            move |history: &mut Vec<Write>| status(history)["conditions"].as_array_mut().unwrap().push(condition)
        };
        assert!(!disagreements(also("Stalled", "QuotaExceeded")).is_empty());
        assert!(!disagreements(also("Reconciling", "Progressing")).is_empty());
        let not_ready = |history: &mut Vec<Write>| status(history)["conditions"][0]["status"] = json!("False");
        assert!(!disagreements(not_ready).is_empty(), "False, and nothing says why");
        assert!(
            !disagreements(|history| {
                not_ready(history);
                also("Reconciling", "QuotaExceeded")(history);
            })
            .is_empty()
        );
        assert!(
            disagreements(|history| {
                not_ready(history);
                also("Stalled", "QuotaExceeded")(history);
            })
            .is_empty()
        );
        assert!(!disagreements(|history| status(history)["conditions"][0]["reason"] = json!("Invented")).is_empty());
        assert!(!disagreements(|history| status(history)["observedGeneration"] = json!(2)).is_empty());
        assert!(!disagreements(|history| status(history)["conditions"] = json!([])).is_empty());
    }

    #[test]
    fn a_workspace_that_is_called_failed_for_an_earlier_wish_is_seen() {
        let called_failed = |cpu: &str| {
            disagreements(|history| {
                let workspace = history.last_mut().unwrap();
                workspace.object["spec"]["quota"]["cpu"] = json!(cpu);
                workspace.object["status"]["conditions"] = json!([
                    { "type": "Ready", "status": "False", "reason": "QuotaExceeded", "message": "" },
                    { "type": "Stalled", "status": "True", "reason": "QuotaExceeded", "message": "" },
                ]);
                let held = json!([{ "uid": "other", "held": { "cpu": "5" } }, { "uid": "w", "held": { "cpu": "2" } }]);
                let mut tenant = history[0].clone();
                tenant.kind = "Tenant".to_owned();
                let conditions = json!([{ "type": "Ready", "status": "True", "reason": "Available", "message": "" }]);
                tenant.object = json!({ "metadata": { "name": "acme", "namespace": "acme", "uid": "t", "generation": 1 },
                    "spec": { "quota": { "cpu": "8" } }, "status": { "observedGeneration": 1, "conditions": conditions,
                    "key": { "name": "bucket" }, "quota": { "reservations": held } } });
                history.insert(0, tenant);
            })
        };
        assert_eq!(called_failed("4"), Vec::<String>::new(), "4 beside 5 is more than 8");
        assert_eq!(called_failed("3").len(), 1, "3 beside 5 is not");
    }

    #[test]
    fn a_generation_that_goes_back_is_seen() {
        let back = disagreements(|history| {
            let mut again = history.last().unwrap().clone();
            for (write, generation) in [(history.last_mut().unwrap(), 2), (&mut again, 1)] {
                write.object["metadata"]["generation"] = json!(2);
                write.object["status"]["observedGeneration"] = json!(generation);
            }
            history.push(again);
        });
        assert_eq!(back.len(), 1, "{back:?}");
    }
}
