//! Following databases. In: watches. Out: what [`Databases`] and [`Children`] know, and a wake for each Workspace whose database changed.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Debug,
    net::SocketAddr,
};

use desired::fields::Kind;
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::{Job, JobStatus},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta, PartialObjectMetaExt as _},
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;

use super::{
    Available, Databases, Ended, Known, Place, Role, Stage,
    seen::{Cluster, DatabaseRole, ObjectStore, ScheduledBackup},
};
use crate::{
    client,
    engine::{
        children::{Child, ChildMirror, Children},
        watches::{self, Change, Mirror, Reflected},
    },
    wakes::Wakes,
};

/// Where the API server tells its own addresses.
const API_SERVER_NAMESPACE: &str = "default";
const API_SERVER_SELECTOR: &str = "kubernetes.io/service-name=kubernetes";

/// Follows databases from when a class first offers any, until the future is dropped.
pub async fn follow(databases: Databases, client: Client, children: Children, wakes: Wakes) {
    databases.until(Stage::Wanted).await;
    tokio::join!(api_server(&databases, &client, &wakes), async {
        databases.until(Stage::Installed).await;
        tokio::join!(
            kind::<Cluster>(Kind::Cluster, &databases, &client, &children, &wakes, |known, place, object| {
                put(&mut known.clusters, place, object.and_then(|object| object.status))
            }),
            kind::<ObjectStore>(Kind::ObjectStore, &databases, &client, &children, &wakes, |known, place, object| {
                put(&mut known.stores, place, object.and_then(|object| object.status))
            }),
            // Nothing is read of it but that it is there.
            kind::<ScheduledBackup>(Kind::ScheduledBackup, &databases, &client, &children, &wakes, |_, _, _| false),
            kind::<DatabaseRole>(Kind::DatabaseRole, &databases, &client, &children, &wakes, |known, place, object| {
                let seen = object.map(|object| Role {
                    login: object.spec.login,
                    generation: object.metadata.generation.unwrap_or_default(),
                    status: object.status.unwrap_or_default(),
                });
                put(&mut known.roles, place, seen)
            }),
            kind::<Deployment>(Kind::Deployment, &databases, &client, &children, &wakes, |known, place, object| {
                put(&mut known.deployments, place, object.and_then(|object| available(&object)))
            }),
            kind::<Job>(Kind::Job, &databases, &client, &children, &wakes, |known, place, object| {
                put(&mut known.jobs, place, object.and_then(|object| ended(&object.status?)))
            }),
        );
    });
}

/// What the cluster says of a Deployment as it is asked for, once it does. One that is to have no pods calls itself available, which says
/// nothing of pods.
fn available(deployment: &Deployment) -> Option<Available> {
    let status = deployment.status.as_ref()?;
    let told = status.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Available")?;
    let since = told.last_transition_time.as_ref().map(|time| time.0)?;
    let is = told.status == "True";
    let is_current = status.observed_generation >= deployment.metadata.generation;
    (is_current && (!is || status.available_replicas.is_some_and(|pods| pods > 0))).then_some(Available { is, since })
}

/// Whether a Job is over.
fn ended(status: &JobStatus) -> Option<Ended> {
    let holds = |name: &str| {
        status.conditions.iter().flatten().any(|condition| condition.type_ == name && condition.status == "True")
    };
    if holds("Complete") { Some(Ended::Complete) } else { holds("Failed").then_some(Ended::Failed) }
}

/// Follows the addresses of the API server.
async fn api_server(databases: &Databases, client: &Client, wakes: &Wakes) {
    let (mirror, store) = Reflected::<EndpointSlice>::new();
    let api = Api::<DeserializeGuard<EndpointSlice>>::namespaced(client.clone(), API_SERVER_NAMESPACE);
    let config = watcher::Config::default().labels(API_SERVER_SELECTOR).timeout(client::WATCH_SECONDS);
    let note = || {
        let addresses = store.state().iter().flat_map(|slice| addresses_of(slice)).collect();
        let before = std::mem::replace(&mut databases.write().api_server, addresses);
        if databases.read().api_server != before {
            wakes.databases_changed();
        }
    };
    watches::follow("EndpointSlice", watcher(api, config).default_backoff(), mirror, |_| note(), note).await;
}

/// Every address with every port. An endpoint that is not ready is let through as well: it may be before the watch tells.
fn addresses_of(slice: &EndpointSlice) -> BTreeSet<SocketAddr> {
    let ports = slice.ports.iter().flatten().filter_map(|port| u16::try_from(port.port?).ok());
    let ports: Vec<u16> = ports.collect();
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let addresses = addresses.filter_map(|address| address.parse().ok());
    addresses.flat_map(|address| ports.iter().map(move |port| SocketAddr::new(address, *port))).collect()
}

/// Follows one kind; `note` takes in what became of an object, and says whether that matters to its Workspace.
async fn kind<K>(
    kind: Kind,
    databases: &Databases,
    client: &Client,
    children: &Children,
    wakes: &Wakes,
    note: fn(&mut Known, &Place, Option<K>) -> bool,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let config = watcher::Config::default().labels(api::labels::MANAGED_SELECTOR).timeout(client::WATCH_SECONDS);
    let stream = watcher(Api::<DeserializeGuard<K>>::all(client.clone()), config).default_backoff();
    let children = ChildMirror::<K>::new(kind, children.clone());
    let mirror = Followed {
        children,
        databases: databases.clone(),
        wakes: wakes.clone(),
        note,
        seen: HashSet::new(),
        listed: HashSet::new(),
    };
    let tell = |change: &Change<Child>| wakes.child_changed(change);
    let synced = || {
        databases.write().synced.insert(kind);
        wakes.databases_changed();
    };
    watches::follow(kind.name(), stream, mirror, tell, synced).await;
}

/// A mirror of children of which more is kept than of others.
struct Followed<K> {
    children: ChildMirror<K>,
    databases: Databases,
    wakes: Wakes,
    note: fn(&mut Known, &Place, Option<K>) -> bool,
    /// Where there is one, and where a list under way has named one.
    seen: HashSet<Place>,
    listed: HashSet<Place>,
}

impl<K> Followed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    fn note(&mut self, guard: &DeserializeGuard<K>, is_gone: bool) {
        let place = place_of(guard);
        let object = match &guard.0 {
            Ok(object) => object,
            Err(invalid) => {
                let (kind, error) = (K::kind(&()), &invalid.error);
                tracing::error!(%kind, namespace = place.0, error, "an object of CloudNativePG cannot be read and counts as it was last read");
                return;
            }
        };
        if is_gone {
            self.seen.remove(&place);
        } else {
            self.seen.insert(place.clone());
        }
        let now = (!is_gone).then(|| object.clone());
        let matters = (self.note)(&mut self.databases.write(), &place, now);
        if let Some(parent) = Child::of(object).parent.filter(|_| matters) {
            self.wakes.workspace(&parent);
        }
    }

    /// What a complete list does not name is gone; the children's own mirror wakes whom it was for.
    fn forget_unlisted(&mut self) {
        for gone in self.seen.difference(&self.listed) {
            (self.note)(&mut self.databases.write(), gone, None);
        }
        self.seen.clone_from(&self.listed);
    }
}

impl<K> Mirror for Followed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    type Object = DeserializeGuard<K>;
    type Kept = Child;

    fn absorb(&mut self, event: watcher::Event<DeserializeGuard<K>>) -> Vec<Change<Child>> {
        match &event {
            watcher::Event::Apply(object) => self.note(object, false),
            watcher::Event::InitApply(object) => {
                self.listed.insert(place_of(object));
                self.note(object, false);
            }
            watcher::Event::Delete(object) => self.note(object, true),
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitDone => self.forget_unlisted(),
        }
        self.children.absorb(metadata_only(event))
    }
}

fn place_of<K: ResourceExt>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn metadata_only<K: Resource<DynamicType = ()>>(
    event: watcher::Event<DeserializeGuard<K>>,
) -> watcher::Event<PartialObjectMeta<K>> {
    let bare = |guard: DeserializeGuard<K>| guard.meta().clone().into_response_partial::<K>();
    match event {
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitDone => watcher::Event::InitDone,
        watcher::Event::InitApply(object) => watcher::Event::InitApply(bare(object)),
        watcher::Event::Apply(object) => watcher::Event::Apply(bare(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(bare(object)),
    }
}

/// Keeps the status, and says whether it is another than before.
fn put<S: PartialEq>(all: &mut HashMap<Place, S>, place: &Place, status: Option<S>) -> bool {
    let before = match status {
        Some(status) => {
            if all.get(place) == Some(&status) {
                return false;
            }
            all.insert(place.clone(), status);
            return true;
        }
        None => all.remove(place),
    };
    before.is_some()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};

    use super::*;

    #[test]
    fn every_address_of_the_api_server_counts_with_every_port() {
        let endpoint = |address: &str| Endpoint { addresses: vec![address.to_owned()], ..Endpoint::default() };
        let slice = EndpointSlice {
            endpoints: vec![endpoint("10.0.0.1"), endpoint("fd00::1"), endpoint("not an address")],
            ports: Some(vec![EndpointPort { port: Some(6443), ..EndpointPort::default() }]),
            ..EndpointSlice::default()
        };
        let found: Vec<String> = addresses_of(&slice).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1:6443", "[fd00::1]:6443"]);
    }

    #[test]
    fn only_a_status_that_is_another_matters() {
        let mut all = HashMap::new();
        let place = ("stack".to_owned(), "database".to_owned());
        let told: Vec<bool> =
            [Some(1), Some(1), Some(2), None, None].map(|status| put(&mut all, &place, status)).into();
        assert_eq!(told, [true, false, true, true, false]);
    }
}
