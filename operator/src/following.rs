//! Following all kinds that are watched from the start.
//!
//! In: the stores that are to be kept up to date. Out: tasks that do so until the operator stops, and wakes for what each change is about.

use std::{fmt::Debug, future::Future};

use api::{AgentPool, AgentSet, Tenant, TenantClass, Workspace, labels};
use desired::{agents::SELECTOR, fields::Kind};
use k8s_openapi::api::{
    core::v1::{LimitRange, Namespace, Pod, ResourceQuota, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    node::v1::RuntimeClass,
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    agents::{AgentMirror, Agents, Place},
    client,
    engine::{
        children::{Child, ChildMirror, Children},
        watches::{self, Change, Reflected},
    },
    http::Health,
    wakes::Wakes,
};

/// What fills the stores of whole objects.
pub(crate) struct Mirrors {
    pub classes: Reflected<TenantClass>,
    pub tenants: Reflected<Tenant>,
    pub workspaces: Reflected<Workspace>,
    pub pools: Reflected<AgentPool>,
    pub sets: Reflected<AgentSet>,
    pub runtimes: Reflected<RuntimeClass>,
    pub services: Reflected<Service>,
}

/// What each watch needs.
#[derive(Clone)]
pub(crate) struct Following {
    pub client: Client,
    pub health: Health,
    pub stopping: CancellationToken,
    pub wakes: Wakes,
}

impl Following {
    /// All of them. `relay` is namespace and name of the Service of the relay, if there is one.
    pub fn all(
        &self,
        tasks: &mut JoinSet<()>,
        mirrors: Mirrors,
        relay: Option<(&str, &str)>,
        children: &Children,
        agents: &Agents,
    ) {
        let Mirrors { classes, tenants, workspaces, pools, sets, runtimes, services } = mirrors;
        tasks.spawn(self.whole("TenantClass", classes, Wakes::class_changed));
        tasks.spawn(self.whole("Tenant", tenants, Wakes::tenant_changed));
        tasks.spawn(self.whole("Workspace", workspaces, Wakes::workspace_changed));
        tasks.spawn(self.whole("AgentPool", pools, Wakes::pool_changed));
        tasks.spawn(self.whole("AgentSet", sets, Wakes::set_changed));
        tasks.spawn(self.whole("RuntimeClass", runtimes, |wakes, _| wakes.ground_changed()));
        if let Some((namespace, name)) = relay {
            let api = Api::namespaced(self.client.clone(), namespace);
            tasks.spawn(self.selected("Service", api, Some(name), services, |wakes, _| wakes.ground_changed()));
        }
        tasks.spawn(self.pods(agents.clone()));
        tasks.spawn(self.children::<Namespace>(Kind::Namespace, children));
        tasks.spawn(self.children::<NetworkPolicy>(Kind::NetworkPolicy, children));
        tasks.spawn(self.children::<ResourceQuota>(Kind::ResourceQuota, children));
        tasks.spawn(self.children::<LimitRange>(Kind::LimitRange, children));
        tasks.spawn(self.children::<RoleBinding>(Kind::RoleBinding, children));
        tasks.spawn(self.children::<ServiceAccount>(Kind::ServiceAccount, children));
        tasks.spawn(self.children::<PodDisruptionBudget>(Kind::PodDisruptionBudget, children));
    }

    /// Whole objects of one kind.
    fn whole<K>(
        &self,
        what: &'static str,
        mirror: Reflected<K>,
        tell: fn(&Wakes, &Change<K>),
    ) -> impl Future<Output = ()> + Send + use<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.selected(what, Api::all(self.client.clone()), None, mirror, tell)
    }

    /// Whole objects of one kind, or the one of this name.
    fn selected<K>(
        &self,
        what: &'static str,
        api: Api<DeserializeGuard<K>>,
        name: Option<&str>,
        mirror: Reflected<K>,
        tell: fn(&Wakes, &Change<K>),
    ) -> impl Future<Output = ()> + Send + use<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let (following, alive) = (self.clone(), self.health.expect(what)); // before any store can be complete
        let config = watcher::Config::default().timeout(client::WATCH_SECONDS);
        let config = match name {
            Some(name) => config.fields(&format!("metadata.name={name}")),
            None => config,
        };
        async move {
            let stream = watcher(api, config).default_backoff();
            let tell = |change: &Change<K>| tell(&following.wakes, change);
            let follow = watches::follow(what, stream, mirror, tell, || following.health.synced(what));
            following.stopping.run_until_cancelled(follow).await;
            drop(alive);
        }
    }

    /// The pods of pools.
    fn pods(&self, agents: Agents) -> impl Future<Output = ()> + Send + use<> {
        let what = "Pod";
        let (following, alive) = (self.clone(), self.health.expect(what)); // before any store can be complete
        async move {
            let config = watcher::Config::default().labels(SELECTOR).timeout(client::WATCH_SECONDS);
            let stream = watcher(Api::<Pod>::all(following.client.clone()), config).default_backoff();
            let tell = |change: &Change<Place>| following.wakes.agents_changed(change);
            let mirror = AgentMirror::new(agents);
            let follow = watches::follow(what, stream, mirror, tell, || following.health.synced(what));
            following.stopping.run_until_cancelled(follow).await;
            drop(alive);
        }
    }

    /// What is stamped out of one kind, as far as its metadata tell.
    fn children<K>(&self, kind: Kind, children: &Children) -> impl Future<Output = ()> + Send + use<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let what = kind.name();
        let (following, alive) = (self.clone(), self.health.expect(what)); // before any store can be complete
        let mirror = ChildMirror::<K>::new(kind, children.clone());
        async move {
            let config = watcher::Config::default().labels(labels::MANAGED_SELECTOR).timeout(client::WATCH_SECONDS);
            let stream = watcher(Api::<PartialObjectMeta<K>>::all(following.client.clone()), config).default_backoff();
            let tell = |change: &Change<Child>| following.wakes.child_changed(change);
            let follow = watches::follow(what, stream, mirror, tell, || following.health.synced(what));
            following.stopping.run_until_cancelled(follow).await;
            drop(alive);
        }
    }
}
