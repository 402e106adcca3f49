//! What is known of the desktops of all pools: their pods, by a watch and by the answers to our own requests.
//!
//! In: events of the watch, answers. Out: [`Agents`], which hands out a set's [`View`] under a lock, so that two rounds never promise the
//! same room to two desktops, and remembers what a quota refused. A pod costs a few hundred bytes, whatever its size.

mod watch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use desired::agents::View;
use tokio::time::Instant;

pub use watch::AgentMirror;

/// How long a quota that refused one is not asked again.
const PAUSE: Duration = Duration::from_secs(10);

/// Which AgentSet: its namespace, and its name.
pub type Place = (String, String);

/// What is known, for those who ask. Cheap to clone; clones agree.
#[derive(Clone, Default)]
pub struct Agents(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    views: HashMap<Place, View>,
    /// What a quota refused, and until when it is not asked again.
    refused: HashMap<Place, (Instant, String)>,
}

impl Agents {
    /// Does something with what is known of a set, while nobody else does. `taken` counts the desktops of all sets of its namespace.
    pub fn with<T>(&self, place: &Place, act: impl FnOnce(&mut View, usize) -> T) -> T {
        let mut known = self.known();
        let taken =
            known.views.iter().filter(|((namespace, _), _)| *namespace == place.0).map(|(_, view)| view.taken()).sum();
        act(known.views.entry(place.clone()).or_default(), taken)
    }

    /// Whether nothing of a set is known to be there.
    #[must_use]
    pub fn is_empty(&self, place: &Place) -> bool {
        self.known().views.get(place).is_none_or(View::is_empty)
    }

    /// Somebody else may have made some: each set is looked at before one more is made.
    pub fn doubt(&self) {
        self.known().views.values_mut().for_each(View::doubt);
    }

    /// A quota refused one, in these words.
    pub fn was_refused(&self, place: &Place, why: String) {
        self.known().refused.insert(place.clone(), (Instant::now() + PAUSE, why));
    }

    /// What a quota refused lately.
    #[must_use]
    pub fn refusal(&self, place: &Place) -> Option<String> {
        let known = self.known();
        let (until, why) = known.refused.get(place)?;
        (Instant::now() < *until).then(|| why.clone())
    }

    /// The set is gone.
    pub fn forget(&self, place: &Place) {
        let mut known = self.known();
        known.refused.remove(place);
        if known.views.get(place).is_some_and(View::is_empty) {
            known.views.remove(place);
        }
    }

    /// Nothing that runs under this lock can panic half-way through a change.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(set: &str) -> Place {
        ("acme-finance-k3x9qa".to_owned(), set.to_owned())
    }

    #[test]
    fn the_desktops_of_all_pools_of_a_workspace_are_counted_together_with_those_on_their_way() {
        let agents = Agents::default();
        agents.with(&place("one"), |view, taken| {
            assert_eq!(taken, 0);
            view.asks("one-0");
        });
        assert_eq!(agents.with(&place("other"), |_, taken| taken), 1);
        assert_eq!(agents.with(&("globex-finance-ab12cd".to_owned(), "one".to_owned()), |_, taken| taken), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_quota_refused_is_remembered_for_a_while() {
        let agents = Agents::default();
        agents.was_refused(&place("one"), "limits.cpu".to_owned());
        assert_eq!(agents.refusal(&place("one")).as_deref(), Some("limits.cpu"));
        assert_eq!(agents.refusal(&place("other")), None);
        tokio::time::advance(PAUSE).await;
        assert_eq!(agents.refusal(&place("one")), None);
    }

    #[test]
    fn a_set_that_is_gone_is_forgotten_once_nothing_of_it_is_there() {
        let agents = Agents::default();
        agents.with(&place("one"), |view, _| view.asks("one-0"));
        agents.forget(&place("one"));
        assert!(!agents.is_empty(&place("one")));
        agents.with(&place("one"), |view, _| view.refused("one-0"));
        agents.forget(&place("one"));
        assert!(agents.known().views.is_empty());
    }
}
