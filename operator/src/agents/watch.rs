//! Following the pods of pools. In: events of their watch. Out: what [`Agents`] knows, and which set each change is about.

use std::collections::{HashMap, HashSet};

use api::labels;
use desired::agents::Agent;
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, runtime::watcher::Event};

use super::{Agents, Place};
use crate::engine::watches::{Change, Mirror};

/// Keeps [`Agents`] up to date.
pub struct AgentMirror {
    agents: Agents,
    staged: Vec<(Place, Agent)>,
}

impl AgentMirror {
    /// For what is known here.
    #[must_use]
    pub fn new(agents: Agents) -> Self {
        Self { agents, staged: Vec::new() }
    }
}

/// Of which set a pod is, and what it tells.
fn read(pod: &Pod) -> Option<(Place, Agent)> {
    let set = pod.labels().get(labels::POOL)?.clone();
    Some(((pod.namespace()?, set), Agent::of(pod)?))
}

/// A change of which nothing matters but where it was.
fn at(place: Place) -> Change<Place> {
    Change { before: None, now: Some(place.into()) }
}

/// What decides; a version alone does not.
fn essence(agent: &Agent) -> Agent {
    Agent { version: 0, ..agent.clone() }
}

impl Mirror for AgentMirror {
    type Object = Pod;
    type Kept = Place;

    fn absorb(&mut self, event: Event<Pod>) -> Vec<Change<Place>> {
        match event {
            Event::Init => {
                self.staged.clear();
                self.agents.known().views.values_mut().for_each(desired::agents::View::list_begins);
                Vec::new()
            }
            Event::InitApply(pod) => {
                self.staged.extend(read(&pod));
                Vec::new()
            }
            Event::InitDone => {
                let mut found: HashMap<Place, Vec<Agent>> = HashMap::new();
                for (place, agent) in self.staged.drain(..) {
                    found.entry(place).or_default().push(agent);
                }
                let mut known = self.agents.known();
                let places: HashSet<Place> = known.views.keys().chain(found.keys()).cloned().collect();
                for place in &places {
                    let found = found.remove(place).unwrap_or_default();
                    known.views.entry(place.clone()).or_default().list_ends(found);
                }
                places.into_iter().map(at).collect()
            }
            Event::Apply(pod) => {
                let Some((place, agent)) = read(&pod) else { return Vec::new() };
                let is_news = self.agents.with(&place, |view, _| {
                    let of_name = |it: &&Agent| it.name == agent.name;
                    let before = view.agents().find(of_name).map(essence);
                    view.told(agent.clone());
                    view.agents().find(of_name).map(essence) != before
                });
                if is_news { vec![at(place)] } else { Vec::new() }
            }
            Event::Delete(pod) => {
                let Some((place, agent)) = read(&pod) else { return Vec::new() };
                self.agents.with(&place, |view, _| view.gone(&agent.name, &agent.uid));
                vec![Change { before: Some(place.into()), now: None }]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, version: u64, ready: bool) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "stack", "uid": name, "resourceVersion": version.to_string(),
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": { "steading.dev/pool": "desktops" },
            },
            "status": { "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] },
        }))
        .unwrap()
    }

    fn known(agents: &Agents) -> Vec<String> {
        agents.with(&("stack".to_owned(), "desktops".to_owned()), |view, _| {
            view.agents().map(|agent| agent.name.clone()).collect()
        })
    }

    #[test]
    fn what_decides_wakes_and_what_does_not_wakes_nobody() {
        let agents = Agents::default();
        let mut mirror = AgentMirror::new(agents.clone());
        let mut woken = |event| mirror.absorb(event).len();
        assert_eq!(woken(Event::Apply(pod("desktops-0", 1, false))), 1);
        assert_eq!(woken(Event::Apply(pod("desktops-0", 2, false))), 0);
        assert_eq!(woken(Event::Apply(pod("desktops-0", 3, true))), 1);
        assert_eq!(woken(Event::Delete(pod("desktops-0", 4, true))), 1);
        assert!(known(&agents).is_empty());
        let stranger = Pod { metadata: kube::core::ObjectMeta::default(), ..pod("x", 1, true) };
        assert_eq!(woken(Event::Apply(stranger)), 0);
    }

    #[test]
    fn what_vanished_while_the_watch_was_away_is_known_to_be_gone() {
        let agents = Agents::default();
        let mut mirror = AgentMirror::new(agents.clone());
        mirror.absorb(Event::Apply(pod("desktops-0", 1, true)));
        mirror.absorb(Event::Apply(pod("desktops-1", 2, true)));
        mirror.absorb(Event::Init);
        mirror.absorb(Event::InitApply(pod("desktops-1", 2, true)));
        assert_eq!(mirror.absorb(Event::InitDone).len(), 1);
        assert_eq!(known(&agents), ["desktops-1"]);
    }
}
