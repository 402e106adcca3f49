//! Which namespaces let which Workspaces make consumers of them.
//!
//! In: a metadata-only watch of namespaces that are no stacks, from when some Workspace first names a consumer. Out: [`Consents`], for those
//! who ask, and a wake for each Workspace about which a namespace changed its mind.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use api::{ConsumerNamespace, TenantName, WorkspaceName, consumer, labels};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use tokio::sync::watch as channel;

use crate::{
    client,
    engine::{
        children::Parent,
        patience::Patience,
        watches::{self, Change, Mirror},
    },
    wakes::Wakes,
};

/// A stack is nobody's consumer.
const NO_STACK: &str = "!steading.dev/stack";

/// What a namespace says to a Workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Namespaces were not listed yet.
    Unknown,
    /// It does not exist, or does not consent.
    No,
    /// It consents.
    Yes {
        /// UID of the namespace: what was made in a namesake before is gone.
        uid: String,
    },
}

/// What is known, for those who ask. Cheap to clone; clones agree.
#[derive(Clone, Default)]
pub struct Consents(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: RwLock<Known>,
    is_wanted: channel::Sender<bool>,
    patience: Patience,
}

#[derive(Default)]
struct Known {
    is_complete: bool,
    namespaces: HashMap<String, Consenting>,
}

/// A namespace that consents to something.
#[derive(Clone, PartialEq)]
struct Consenting {
    uid: String,
    to: BTreeSet<(TenantName, WorkspaceName)>,
}

impl Consents {
    /// Waits for a moment until all namespaces were listed. From here on they are followed.
    pub async fn listed(&self) {
        self.0.is_wanted.send_if_modified(|is_wanted| !std::mem::replace(is_wanted, true));
        self.0.patience.until(|| self.read().is_complete).await;
    }

    /// What a namespace says. From the first question on, namespaces are followed.
    #[must_use]
    pub fn of(&self, namespace: &ConsumerNamespace, tenant: &TenantName, workspace: &WorkspaceName) -> Answer {
        self.0.is_wanted.send_if_modified(|is_wanted| !std::mem::replace(is_wanted, true));
        let known = self.read();
        if !known.is_complete {
            return Answer::Unknown;
        }
        let consenting = known.namespaces.get(namespace.as_str());
        let consenting = consenting.filter(|it| it.to.contains(&(tenant.clone(), workspace.clone())));
        consenting.map_or(Answer::No, |it| Answer::Yes { uid: it.uid.clone() })
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows namespaces from when a Workspace first names a consumer, until the future is dropped.
pub async fn follow(consents: Consents, client: Client, wakes: Wakes) {
    // The sender lives as long as `consents`, so this cannot fail.
    let _ = consents.0.is_wanted.subscribe().wait_for(|is_wanted| *is_wanted).await;
    let config = watcher::Config::default().labels(NO_STACK).timeout(client::WATCH_SECONDS);
    let stream = watcher(Api::<PartialObjectMeta<Namespace>>::all(client), config).default_backoff();
    let mirror = Followed { consents: consents.clone(), wakes: wakes.clone(), listed: HashSet::new() };
    let synced = || {
        consents.write().is_complete = true;
        wakes.consents_listed();
    };
    watches::follow("Namespace that consents", stream, mirror, |_| (), synced).await;
}

struct Followed {
    consents: Consents,
    wakes: Wakes,
    /// What a list under way has named.
    listed: HashSet<String>,
}

impl Followed {
    /// Takes in what a namespace says now, and wakes those to whom it said something else before.
    fn note(&self, name: &str, now: Option<Consenting>) {
        let before = match now.clone() {
            Some(now) => self.consents.write().namespaces.insert(name.to_owned(), now),
            None => self.consents.write().namespaces.remove(name),
        };
        if before == now {
            return;
        }
        let concerned = [before, now].into_iter().flatten().flat_map(|it| it.to).collect::<BTreeSet<_>>();
        for (tenant, workspace) in concerned {
            self.wakes.workspace(&Parent { tenant: tenant.to_string(), workspace: workspace.to_string() });
        }
    }

    fn seen(&self, namespace: &PartialObjectMeta<Namespace>) {
        self.note(&namespace.name_any(), consenting(namespace));
    }
}

/// What its annotation says. One that is on its way out consents to nothing more.
fn consenting(namespace: &PartialObjectMeta<Namespace>) -> Option<Consenting> {
    let to = consumer::consents(namespace.annotations().get(labels::CONSUMES)?);
    let counts = !to.is_empty() && namespace.metadata.deletion_timestamp.is_none();
    counts.then(|| Consenting { uid: namespace.uid().unwrap_or_default(), to })
}

impl Mirror for Followed {
    type Object = PartialObjectMeta<Namespace>;
    type Kept = ();

    fn absorb(&mut self, event: Event<Self::Object>) -> Vec<Change<()>> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(namespace) => {
                self.listed.insert(namespace.name_any());
                self.seen(&namespace);
            }
            Event::InitDone => {
                let known: Vec<String> = self.consents.read().namespaces.keys().cloned().collect();
                known.iter().filter(|name| !self.listed.contains(*name)).for_each(|name| self.note(name, None));
            }
            Event::Apply(namespace) => self.seen(&namespace),
            Event::Delete(namespace) => self.note(&namespace.name_any(), None),
        }
        Vec::new()
    }
}
