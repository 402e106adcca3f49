//! Status of an AgentSet, and what can be said of its pods. Pure but for what a quota refused lately.

use std::time::Duration;

use api::{AgentSet, agent_set::AgentSetStatus, conditions as names};
use desired::agents::{Counts, Decision, Hold, Wanted};
use serde_json::Value;

use super::{Facts, act};
use crate::{
    agents::Place,
    context::Context,
    engine::{conditions::Part, fault::Fault},
};

/// How long to wait for what a change of a pod tells anyway.
const TOLD_ANYWAY: Duration = Duration::from_mins(1);

/// Status without conditions and observedGeneration.
pub fn status(set: &AgentSet, facts: &Facts) -> Value {
    let before = set.status.clone().unwrap_or_default();
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let status = match facts.counts {
        None => AgentSetStatus { observed_generation: 0, conditions: Vec::new(), ..before },
        Some(Counts { replicas, ready, starting, updated, updated_ready: _, claimed }) => AgentSetStatus {
            observed_generation: 0,
            replicas: number(replicas),
            ready: number(ready),
            starting: number(starting),
            updated: number(updated),
            claimed: number(claimed),
            revision: facts.revision.clone().or(before.revision),
            failures: facts.failures.map_or(before.failures, |failures| i32::try_from(failures).unwrap_or(i32::MAX)),
            conditions: Vec::new(),
        },
    };
    serde_json::to_value(status).unwrap_or_default()
}

/// The part `AgentsReady`. `done` is what became of what was decided.
pub fn part(
    context: &Context,
    set: &AgentSet,
    place: &Place,
    wanted: &Wanted,
    decision: &Decision,
    done: Result<(), Fault>,
) -> Part {
    if let Err(fault) = done {
        return Part::faulty(names::AGENTS_READY, fault);
    }
    if let Some(hold) = &decision.hold {
        return Part::faulty(names::AGENTS_READY, held(context, set, place, hold));
    }
    let Counts { replicas, updated, updated_ready, .. } = decision.counts;
    let needed = wanted.replicas.saturating_sub(wanted.max_unavailable).max(wanted.replicas.min(1));
    let (message, progressing) = if updated < replicas {
        ("desktops are being replaced by those of the newest spec", true)
    } else if updated_ready < needed {
        ("desktops are starting", true)
    } else if wanted.replicas == 0 {
        ("no desktop is asked for", false)
    } else {
        ("desktops stand ready, and no more are missing than may be", false)
    };
    if progressing {
        Part::faulty(names::AGENTS_READY, Fault::waiting(TOLD_ANYWAY, names::PROGRESSING, message))
    } else {
        Part::good(names::AGENTS_READY, names::AVAILABLE, message)
    }
}

/// What holds it up, with the pod to look at.
fn held(context: &Context, set: &AgentSet, place: &Place, hold: &Hold) -> Fault {
    let namespace = &place.0;
    let see = |pod: &str| format!("see kubectl -n {namespace} describe pod {pod}");
    let waiting = |reason, message: String| Fault::waiting(TOLD_ANYWAY, reason, message);
    match hold {
        Hold::Held => {
            let reason = set.spec.held.as_deref().and_then(names::reason).map_or(names::PROGRESSING, |it| it.name);
            waiting(reason, "no desktop is made before what its AgentPool names is right".to_owned())
        }
        Hold::Unschedulable(pod) => waiting(
            names::UNSCHEDULABLE,
            format!("pod {pod} finds no node, and no more are made before it has: {}", see(pod)),
        ),
        Hold::NotPulled(pod) => waiting(
            names::IMAGE_NOT_PULLED,
            format!("the image of pod {pod} cannot be pulled, and no more are made before it can: {}", see(pod)),
        ),
        Hold::Failing(pod) => waiting(
            names::DESKTOP_NOT_READY,
            format!("pod {pod} has ended by itself or cannot be used, and is replaced after a while: {}", see(pod)),
        ),
        Hold::NoRoom => match (context.agents.refusal(place), set.spec.most_of_workspace) {
            (Some(asked), _) => act::exceeded(namespace, &asked),
            (None, most) => {
                let most = most.unwrap_or_default();
                waiting(
                    names::AGENTS_EXCEEDED,
                    format!(
                        "the Workspace's quota of {most} desktops is spent by its pools: raise spec.quota.agents of the Workspace, or lower replicas"
                    ),
                )
            }
        },
    }
}
