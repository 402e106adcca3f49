//! What is known of the desktops of one set: what watches told, what our own requests were answered with, and what was asked for and
//! not yet seen.
//!
//! In: events and answers, in any order, late or twice. Out: desktops, names that are on their way, and whether the view is to be trusted
//! before something is made. Where it may lack a desktop that is there, it says so.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::Agent;

/// What is known of the desktops of one set.
#[derive(Clone, Debug)]
pub struct View {
    agents: BTreeMap<String, Agent>,
    coming: BTreeSet<String>,
    /// UIDs that a watch told gone while a request for their name was not answered yet.
    buried: BTreeSet<String>,
    /// Versions up to which a list has told everything.
    listed: u64,
    /// UIDs of those that were made or looked at since a watch last began to list: its list may be too old to have them.
    since: BTreeSet<String>,
    doubtful: bool,
    /// Whether some are known that a list did not have. They may have come after it, or may be gone for ever.
    unconfirmed: bool,
}

impl Default for View {
    /// Nothing was seen, so nothing is made before it was looked at.
    fn default() -> Self {
        Self {
            agents: BTreeMap::new(),
            coming: BTreeSet::new(),
            buried: BTreeSet::new(),
            listed: 0,
            since: BTreeSet::new(),
            doubtful: true,
            unconfirmed: false,
        }
    }
}

impl View {
    /// The desktops that are known.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// Names that were asked for and not answered yet.
    #[must_use]
    pub const fn coming(&self) -> &BTreeSet<String> {
        &self.coming
    }

    /// All that take room: those that are known, and those on their way.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.agents.len() + self.coming.len()
    }

    /// Whether it may lack a desktop that is there: then it has to be looked at before one is made.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Whether it may have a desktop that is gone, of which no watch will tell: then it has to be looked at whatever is decided.
    #[must_use]
    pub const fn is_unconfirmed(&self) -> bool {
        self.unconfirmed
    }

    /// Somebody else may have made some.
    pub fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Whether nothing is known and nothing is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.coming.is_empty()
    }

    /// A watch tells of a desktop. What a list that is newer did not have is gone, whatever a watch that is late says.
    pub fn told(&mut self, agent: Agent) {
        if agent.version > self.listed || self.agents.contains_key(&agent.name) {
            self.take(agent);
        }
    }

    /// A watch tells that one is gone.
    pub fn gone(&mut self, name: &str, uid: &str) {
        if self.coming.contains(name) {
            self.buried.insert(uid.to_owned());
        }
        if self.agents.get(name).is_some_and(|known| known.uid == uid) {
            self.agents.remove(name);
        }
    }

    /// A watch begins to list anew.
    pub fn list_begins(&mut self) {
        self.since.clear();
    }

    /// It found these. Whatever else was known is gone, but for what was made or looked at meanwhile.
    pub fn list_ends(&mut self, found: Vec<Agent>) {
        let names: BTreeSet<String> = found.iter().map(|agent| agent.name.clone()).collect();
        let since = std::mem::take(&mut self.since);
        self.agents.retain(|name, known| names.contains(name) || since.contains(&known.uid));
        self.unconfirmed |= self.agents.keys().any(|name| !names.contains(name));
        for agent in found {
            self.told(agent);
        }
    }

    /// A look at the API server itself found these, and no others. `version` is that of the list.
    pub fn looked(&mut self, found: Vec<Agent>, version: u64) {
        self.agents.retain(|_, known| known.version > version);
        self.listed = self.listed.max(version);
        (self.doubtful, self.unconfirmed) = (false, false);
        self.since.extend(found.iter().map(|agent| agent.uid.clone()));
        for agent in found {
            self.take(agent);
        }
    }

    /// A desktop of this name is about to be asked for.
    pub fn asks(&mut self, name: &str) {
        self.coming.insert(name.to_owned());
    }

    /// It was made.
    pub fn made(&mut self, agent: Agent) {
        self.coming.remove(&agent.name);
        if !self.buried.remove(&agent.uid) {
            self.since.insert(agent.uid.clone());
            self.take(agent);
        }
        self.bury_no_more();
    }

    /// It was certainly not made.
    pub fn refused(&mut self, name: &str) {
        self.coming.remove(name);
        self.bury_no_more();
    }

    /// Nobody knows whether it was made, or one of its name was there already.
    pub fn unanswered(&mut self, name: &str) {
        self.refused(name);
        self.doubtful = true;
    }

    /// A desktop was told to go, by then at the latest.
    pub fn goes(&mut self, name: &str, uid: &str, by: Timestamp) {
        if let Some(known) = self.agents.get_mut(name).filter(|known| known.uid == uid) {
            known.going.get_or_insert(by);
        }
    }

    /// An older version says what is known already. A namesake that came later is newer.
    fn take(&mut self, agent: Agent) {
        if self.agents.get(&agent.name).is_none_or(|known| known.version < agent.version) {
            self.agents.insert(agent.name.clone(), agent);
        }
    }

    fn bury_no_more(&mut self) {
        if self.coming.is_empty() {
            self.buried.clear();
        }
    }
}
