//! Status of an AgentPool. Pure: what was seen in this round, and where nobody looked what was there before.

use api::{AgentPool, AgentPoolStatus, AgentSet, conditions as names, labels};
use kube::ResourceExt;
use serde_json::Value;

use super::{Facts, WOKEN_ANYWAY, observe::Stack};
use crate::engine::{conditions::Part, fault::Fault};

/// Status without conditions and observedGeneration.
pub fn status(pool: &AgentPool, facts: &Facts) -> Value {
    let before = pool.status.clone().unwrap_or_default();
    let seen = facts.set.as_ref().and_then(|set| set.status.as_ref());
    let status = AgentPoolStatus {
        observed_generation: 0,
        namespace: facts.namespace.clone().or(before.namespace),
        replicas: seen.map(|set| set.replicas).or(before.replicas),
        ready: seen.map(|set| set.ready).or(before.ready),
        starting: seen.map(|set| set.starting).or(before.starting),
        updated: seen.map(|set| set.updated).or(before.updated),
        claimed: seen.map(|set| set.claimed).or(before.claimed),
        selector: Some(format!("{}={}", labels::POOL, pool.name_any())),
        each: facts.each.clone().or(before.each),
        conditions: Vec::new(),
    };
    serde_json::to_value(status).unwrap_or_default()
}

/// The part `AgentsReady`, in the words of the AgentSet once it speaks of what the pool asks for now.
pub fn part(set: &AgentSet, stack: &Stack) -> Part {
    let told = set.status.as_ref().filter(|status| Some(status.observed_generation) == set.metadata.generation);
    let told = told.and_then(|status| status.conditions.iter().find(|it| it.type_ == names::AGENTS_READY));
    let Some(told) = told.filter(|told| told.observed_generation == set.metadata.generation) else {
        let message = format!("AgentSet {}/{} is being looked at", stack.namespace, set.name_any());
        return Part::faulty(names::AGENTS_READY, Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message));
    };
    let known = names::reason(&told.reason);
    if told.status == "True" {
        return Part::good(names::AGENTS_READY, names::AVAILABLE, told.message.clone());
    }
    let reason = known.map_or(names::PROGRESSING, |known| known.name);
    let fault = match known.map(|known| known.consequence) {
        Some(names::Consequence::Stalled) => Fault::stalled(reason, told.message.clone()),
        _ => Fault::waiting(WOKEN_ANYWAY, reason, told.message.clone()),
    };
    Part::faulty(names::AGENTS_READY, fault)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::conditions::State;

    fn set(generation: i64, status: &serde_json::Value) -> AgentSet {
        serde_json::from_value(json!({
            "apiVersion": "steading.dev/v1alpha1", "kind": "AgentSet",
            "metadata": { "name": "desktops", "namespace": "stack", "generation": generation },
            "spec": {
                "replicas": 3, "maxUnavailable": 1, "maxSurge": 1, "maxStarting": 10, "protectSeconds": 60,
                "template": { "image": "i", "runtimeClass": "gvisor", "cpu": "1", "memory": "1Gi", "home": "1Gi", "width": 1, "height": 1 },
            },
            "status": status,
        }))
        .unwrap()
    }

    fn told(generation: i64, reason: &str, status: &str) -> serde_json::Value {
        json!({ "observedGeneration": generation, "conditions": [{
            "type": "AgentsReady", "status": status, "reason": reason, "message": "as told",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]})
    }

    fn part_of(set: &AgentSet) -> Part {
        let stack = Stack {
            workspace: std::sync::Arc::new(api::Workspace::new("finance", serde_json::from_value(json!({})).unwrap())),
            identity: "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b".parse().unwrap(),
            namespace: "stack".to_owned(),
            quota: api::Amounts::default(),
        };
        part(set, &stack)
    }

    #[test]
    fn what_the_set_says_of_an_older_spec_is_not_told_of_the_pool() {
        let late = part_of(&set(2, &told(1, "Available", "True")));
        assert_eq!(late.fault().map(|fault| fault.reason), Some(names::PROGRESSING));
        let now = part_of(&set(2, &told(2, "Available", "True")));
        assert!(matches!(now.state, State::Good { .. }), "{now:?}");
        let held = part_of(&set(2, &told(2, "Unschedulable", "False")));
        assert_eq!(held.fault().map(|it| (it.reason, it.message.as_str())), Some((names::UNSCHEDULABLE, "as told")));
    }
}
