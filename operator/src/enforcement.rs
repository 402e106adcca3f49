//! Whether the network does what NetworkPolicies say, as the probes of the chart show.
//!
//! In: the probes' `DaemonSet`s and pods, by watches, and the last line of the log of those that are not ready. Out: [`Seen`], the same
//! for all classes, and a wake when it changes. A probe that is ready costs nothing: that is its verdict, and only a change is told.

mod judge;
mod watch;

use std::{sync::Arc, time::Duration};

use api::{TenantClass, conditions as names, tenant_class::Enforcement as Wanted};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use tokio::{sync::watch as channel, time::Instant};

use crate::engine::{
    conditions::{self, Part},
    fault::Fault,
};
pub use watch::follow;

/// How long probes may show nothing, as while they are replaced or a node joins, before what was shown is given up.
const GRACE: Duration = Duration::from_mins(3);

/// How often a class whose probes show nothing is looked at; a change wakes it before.
const PAUSE: Duration = Duration::from_mins(5);

/// What all probes together show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// On every node, under each of these runtimes, nothing passes.
    Enforced {
        /// The names of the runtimes, in order.
        runtimes: Vec<String>,
    },
    /// Something passes; the text says where, and what.
    Leaks(String),
    /// Not every probe says anything; the text says which.
    Unknown {
        /// Since when not.
        since: Instant,
        /// Which, and what to do.
        why: String,
    },
}

/// What the probes show, for those who ask. Cheap to clone; clones agree.
#[derive(Clone, Debug)]
pub struct Enforcement(Arc<channel::Sender<Seen>>);

impl Default for Enforcement {
    fn default() -> Self {
        let why = "the probes were not looked at yet".to_owned();
        Self(Arc::new(channel::channel(Seen::Unknown { since: Instant::now(), why }).0))
    }
}

impl Enforcement {
    /// What is known now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.0.borrow().clone()
    }

    /// Notes what is known now, and says whether that is another verdict than before. `Unknown` began when it first was.
    fn note(&self, mut seen: Seen) -> bool {
        self.0.send_if_modified(|known| {
            if let (Seen::Unknown { since, .. }, Seen::Unknown { since: begun, .. }) = (&mut seen, &*known) {
                *since = *begun;
            }
            let is_new = *known != seen;
            *known = seen;
            is_new
        })
    }

    /// The part `name` of an object of this class. `stands` says what the network would have to enforce.
    pub fn part(&self, class: &TenantClass, name: &'static str, stands: &str, before: &Before<'_>) -> Part {
        let required = class.spec.network.enforcement == Wanted::Required;
        let class = class.name_any();
        let assumed = || format!("{stands}; TenantClass {class} vouches that the network enforces them");
        match (required, self.seen()) {
            (false, Seen::Leaks(leaks)) => Part::good(name, names::ASSUMED, format!("{}, although {leaks}", assumed())),
            (false, _) => Part::good(name, names::ASSUMED, assumed()),
            (true, Seen::Enforced { runtimes }) => {
                let under = runtimes.join(" and ");
                let message = format!("{stands}; probes show that every node enforces them, under {under}");
                Part::good(name, names::AVAILABLE, message)
            }
            (true, Seen::Leaks(leaks)) => {
                Part::faulty(name, Fault::stalled(names::NOT_ENFORCED, format!("{stands}, but {leaks}")))
            }
            (true, Seen::Unknown { since, why }) => {
                let message = format!(
                    "{stands}, but TenantClass {class} requires proof that the network enforces them, and {why}; with network.enforcement: Assumed you vouch for it yourself"
                );
                let fault = Fault::waiting(PAUSE, names::ENFORCEMENT_UNPROVEN, message);
                let counts = since.elapsed() < GRACE;
                let state = conditions::after_failed_look(name, before.conditions, before.generation, counts, fault);
                Part { name, state }
            }
        }
    }
}

/// What stood in status before.
pub struct Before<'a> {
    /// Conditions of the object.
    pub conditions: &'a [Condition],
    /// Its generation.
    pub generation: Option<i64>,
}

#[cfg(test)]
mod tests;
