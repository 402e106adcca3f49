//! Doing what was decided: pods are made, taken away and marked.
//!
//! Each request may come late, twice or for nothing: names are deterministic, so what two leaders make is made once; and what is taken
//! away or marked must still be as it was seen, so a claim that came meanwhile wins.

use std::time::Duration;

use api::{AgentSet, conditions as names, labels};
use desired::agents::{Agent, Decision, Note, SELECTOR, View, Wanted, decide, pod};
use futures::future::join_all;
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde_json::{Value, json};

use crate::{
    agents::Place,
    clock,
    context::Context,
    engine::{fault::Fault, known::version_of},
};

/// How long to wait for room.
const NO_ROOM: Duration = Duration::from_secs(30);

/// Decides, after a look at the API server itself if something is to be made and what is known may lack a pod that is there. What is to be
/// made counts as taken from here on.
pub async fn decision(
    context: &Context,
    set: &AgentSet,
    place: &Place,
    wanted: Wanted,
    failures: u32,
    now: Timestamp,
) -> Result<(Decision, Wanted), Fault> {
    let refused = context.agents.refusal(place).is_some();
    let most = set.spec.most_of_workspace.map(|most| usize::try_from(most).unwrap_or(0));
    let try_it = |view: &mut View, taken: usize| {
        let room = most.map(|most| most.saturating_sub(taken));
        let wanted = Wanted { room: if refused { Some(0) } else { room }, ..wanted.clone() };
        let decision = decide(&wanted, view, failures, now);
        if view.is_unconfirmed() || view.is_doubtful() && !decision.make.is_empty() {
            return None;
        }
        decision.make.iter().for_each(|name| view.asks(name));
        Some((decision, wanted))
    };
    if let Some(decided) = context.agents.with(place, try_it) {
        return Ok(decided);
    }
    look(context, place).await?;
    let doubted =
        || Fault::transient(names::CONFLICT, "its pods were changed at the same time; they are looked at again");
    context.agents.with(place, try_it).ok_or_else(doubted)
}

/// Reads the pods of a set from the API server.
async fn look(context: &Context, (namespace, set): &Place) -> Result<(), Fault> {
    let selector = format!("{SELECTOR}={set}");
    let params = ListParams::default().labels(&selector);
    let found = api(context, namespace).list(&params).await;
    let found = found.map_err(|error| Fault::api(&error, &format!("list pods of {namespace}/{set}")))?;
    let version = version_of(found.metadata.resource_version.as_deref());
    let agents = found.items.iter().filter_map(Agent::of).collect();
    context.agents.with(&(namespace.clone(), set.clone()), |view, _| view.looked(agents, version));
    Ok(())
}

/// Carries it out. The first thing that went wrong is told; the others are tried all the same.
pub async fn carry_out(context: &Context, set: &AgentSet, place: &Place, decision: &Decision) -> Result<(), Fault> {
    let removed = join_all(decision.remove.iter().map(|agent| remove(context, place, agent))).await;
    let noted = join_all(decision.note.iter().map(|(agent, note)| mark(context, place, agent, note))).await;
    let made = join_all(decision.make.iter().map(|name| make(context, set, place, name))).await;
    removed.into_iter().chain(noted).chain(made).find_map(Result::err).map_or(Ok(()), Err)
}

async fn make(context: &Context, set: &AgentSet, place: &Place, name: &str) -> Result<(), Fault> {
    let params = PostParams { field_manager: Some(labels::MANAGER_AGENTS.to_owned()), ..PostParams::default() };
    let answer = api(context, &place.0).create(&params, &pod(set, name)).await;
    let known = |act: &dyn Fn(&mut View)| context.agents.with(place, |view, _| act(view));
    let doing = format!("create pod {}/{name}", place.0);
    match answer {
        Ok(made) => {
            match Agent::of(&made) {
                Some(agent) => known(&|view| view.made(agent.clone())),
                None => known(&|view| view.unanswered(name)),
            }
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            known(&|view| view.unanswered(name));
            Err(Fault::transient(names::CONFLICT, format!("cannot {doing}: one of this name is there")))
        }
        Err(error) => {
            match &error {
                kube::Error::Api(status) if (400..500).contains(&status.code) => known(&|view| view.refused(name)),
                _ => known(&|view| view.unanswered(name)),
            }
            if let Some(what) = full(&error) {
                context.agents.was_refused(place, what.clone());
                return Err(exceeded(&place.0, &what));
            }
            // In a namespace that was made just now.
            let uncounted =
                matches!(&error, kube::Error::Api(status) if status.message.contains("status unknown for quota"));
            if uncounted {
                let message = format!("the cluster has not counted the quota of {} yet", place.0);
                return Err(Fault::waiting(Duration::from_secs(2), names::PROGRESSING, message));
            }
            Err(Fault::api(&error, &doing))
        }
    }
}

/// What a desktop asks for that the quota of the namespace has no more of, in words that are the same each time.
fn full(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(status) = error else { return None };
    let Status { code: 403, message, .. } = status.as_ref() else { return None };
    if let Some((_, told)) = message.split_once("exceeded quota: ") {
        let asked = told.split_once("requested: ").map_or(told, |(_, rest)| rest);
        return Some(asked.split(", used: ").next().unwrap_or(asked).chars().take(200).collect());
    }
    let (_, told) = message.split_once("forbidden: ").filter(|(_, told)| told.contains("usage per Container"))?;
    Some(told.trim_matches(['[', ']']).chars().take(200).collect())
}

/// The quota of the namespace has no room for a desktop that asks for this.
pub fn exceeded(namespace: &str, asked: &str) -> Fault {
    let message = format!(
        "the quota of {namespace} has no room for another desktop, which asks for {asked}: raise spec.quota of the Workspace, or lower replicas"
    );
    Fault::waiting(NO_ROOM, names::AGENTS_EXCEEDED, message)
}

/// Takes one away that is as it was seen. One that changed meanwhile, as by a claim, is decided about anew when the watch has told.
async fn remove(context: &Context, place: &Place, agent: &Agent) -> Result<(), Fault> {
    let preconditions =
        Preconditions { uid: Some(agent.uid.clone()), resource_version: Some(agent.version.to_string()) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let by = clock::now() + Duration::from_secs(5);
    match api(context, &place.0).delete(&agent.name, &params).await {
        Ok(_) => {
            context.agents.with(place, |view, _| view.goes(&agent.name, &agent.uid, by));
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            context.agents.with(place, |view, _| view.gone(&agent.name, &agent.uid));
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        Err(error) => Err(Fault::api(&error, &format!("delete pod {}/{}", place.0, agent.name))),
    }
}

/// Notes on a claimed one until when nobody evicts it, or that this is over.
async fn mark(context: &Context, place: &Place, agent: &Agent, note: &Note) -> Result<(), Fault> {
    let metadata = match note {
        Note::Protect(until) => json!({
            "labels": { labels::PROTECTED: "true" }, "annotations": { labels::PROTECTED_UNTIL: until.to_string() },
        }),
        Note::Expose => json!({ "labels": { labels::PROTECTED: Value::Null } }),
    };
    let mut patch = json!({ "metadata": metadata });
    if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), agent.version.to_string().into());
        metadata.insert("uid".to_owned(), agent.uid.clone().into());
    }
    let params = PatchParams { field_manager: Some(labels::MANAGER_AGENTS.to_owned()), ..PatchParams::default() };
    match api(context, &place.0).patch(&agent.name, &params, &Patch::Merge(patch)).await {
        Ok(marked) => {
            if let Some(agent) = Agent::of(&marked) {
                context.agents.with(place, |view, _| view.told(agent.clone()));
            }
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(Fault::api(&error, &format!("mark pod {}/{}", place.0, agent.name))),
    }
}

fn api(context: &Context, namespace: &str) -> Api<Pod> {
    Api::namespaced(context.engine.client.clone(), namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, message: &str) -> kube::Error {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn what_a_quota_refuses_is_told_in_words_that_stay_the_same() {
        let told = |used: &str| {
            full(&refusal(
                403,
                &format!(
                    "pods \"desktops-3\" is forbidden: exceeded quota: steading, requested: limits.cpu=1,requests.cpu=1, used: limits.cpu={used}, limited: limits.cpu=4"
                ),
            ))
        };
        assert_eq!(told("4").as_deref(), Some("limits.cpu=1,requests.cpu=1"));
        assert_eq!(told("3500m"), told("4"));
        let larger = "pods \"d-0\" is forbidden: [maximum cpu usage per Container is 4, but limit is 8]";
        assert_eq!(
            full(&refusal(403, larger)).as_deref(),
            Some("maximum cpu usage per Container is 4, but limit is 8")
        );
        for (code, message) in [(403, "pods is forbidden: User \"x\" cannot create"), (409, "exceeded quota: x")] {
            assert_eq!(full(&refusal(code, message)), None, "{message}");
        }
    }
}
