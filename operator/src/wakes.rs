//! Who is woken by what: each change of one object, mapped to the objects whose rounds it could change.
//!
//! In: changes that the watches tell. Out: references, one channel for each kind. Status that a controller writes itself wakes nobody,
//! so a settled cluster stays silent.

use std::{collections::BTreeMap, fmt::Debug};

use api::{
    AgentPool, AgentSet, Tenant, TenantClass, Workspace, labels, tenant::Reservation, tenant_class::Enforcement,
};
use futures::{Stream, stream};
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    agents::Place,
    engine::{
        children::{Child, Parent},
        known::Known,
        watches::{Change, fingerprint},
    },
    identity::{self, Identified},
};

/// The sending ends, and the stores by which references are found. Cheap to clone.
#[derive(Clone)]
pub struct Wakes {
    classes: UnboundedSender<ObjectRef<TenantClass>>,
    tenants: UnboundedSender<ObjectRef<Tenant>>,
    workspaces: UnboundedSender<ObjectRef<Workspace>>,
    pools: UnboundedSender<ObjectRef<AgentPool>>,
    sets: UnboundedSender<ObjectRef<AgentSet>>,
    known: Kinds,
}

/// The stores of all kinds that have controllers. Cheap to clone.
#[derive(Clone)]
pub struct Kinds {
    /// TenantClasses.
    pub classes: Known<TenantClass>,
    /// Tenants.
    pub tenants: Known<Tenant>,
    /// Workspaces.
    pub workspaces: Known<Workspace>,
    /// AgentPools.
    pub pools: Known<AgentPool>,
    /// AgentSets.
    pub sets: Known<AgentSet>,
}

/// The receiving ends.
pub struct Woken {
    /// For the controller of TenantClasses.
    pub classes: UnboundedReceiver<ObjectRef<TenantClass>>,
    /// For the controller of Tenants.
    pub tenants: UnboundedReceiver<ObjectRef<Tenant>>,
    /// For the controller of Workspaces.
    pub workspaces: UnboundedReceiver<ObjectRef<Workspace>>,
    /// For the controller of AgentPools.
    pub pools: UnboundedReceiver<ObjectRef<AgentPool>>,
    /// For the controller of AgentSets.
    pub sets: UnboundedReceiver<ObjectRef<AgentSet>>,
}

/// The stream form of a receiving end.
pub fn stream_of<T: Send + 'static>(receiver: UnboundedReceiver<T>) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}

/// Sends; a receiver that is gone means that the operator is stopping.
fn send<T>(to: &UnboundedSender<T>, reference: T) {
    let _ = to.send(reference);
}

impl Wakes {
    /// Channels over these stores.
    #[must_use]
    pub fn new(known: Kinds) -> (Self, Woken) {
        let (classes, woken_classes) = unbounded_channel();
        let (tenants, woken_tenants) = unbounded_channel();
        let (workspaces, woken_workspaces) = unbounded_channel();
        let (pools, woken_pools) = unbounded_channel();
        let (sets, woken_sets) = unbounded_channel();
        let woken = Woken {
            classes: woken_classes,
            tenants: woken_tenants,
            workspaces: woken_workspaces,
            pools: woken_pools,
            sets: woken_sets,
        };
        (Self { classes, tenants, workspaces, pools, sets, known }, woken)
    }

    /// Everything: at start, and when this replica takes the lead.
    pub fn all(&self) {
        every(&self.known.classes, &self.classes);
        every(&self.known.tenants, &self.tenants);
        every(&self.known.workspaces, &self.workspaces);
        every(&self.known.pools, &self.pools);
        every(&self.known.sets, &self.sets);
    }

    /// A class matters to its Tenants, their Workspaces and pools.
    pub fn class_changed(&self, change: &Change<TenantClass>) {
        if !differs(change) {
            return;
        }
        let Some(class) = either(change) else { return };
        send(&self.classes, ObjectRef::from_obj(class));
        let name = class.name_any();
        for tenant in self.known.tenants.store().state_filter(|tenant| tenant.spec.class == name) {
            send(&self.tenants, ObjectRef::from_obj(tenant.as_ref()));
            self.within(tenant.metadata.namespace.as_deref().unwrap_or_default());
        }
    }

    /// What probes show of the network matters to every class, and to the Workspaces of those that require it.
    pub fn enforcement_changed(&self) {
        for class in self.known.classes.store().state() {
            send(&self.classes, ObjectRef::from_obj(class.as_ref()));
            if class.spec.network.enforcement == Enforcement::Required {
                for tenant in self.known.tenants.store().state_filter(|tenant| tenant.spec.class == class.name_any()) {
                    self.within(tenant.metadata.namespace.as_deref().unwrap_or_default());
                }
            }
        }
    }

    /// What is known of databases in general matters to all Workspaces of classes that offer them.
    pub fn databases_changed(&self) {
        for class in self.known.classes.store().state_filter(|class| class.spec.database.is_some()) {
            for tenant in self.known.tenants.store().state_filter(|tenant| tenant.spec.class == class.name_any()) {
                self.workspaces_of(tenant.metadata.namespace.as_deref().unwrap_or_default());
            }
        }
    }

    /// Which namespaces consent is known at last, which matters to whoever has or wants consumers.
    pub fn consents_listed(&self) {
        let has_consumers = |workspace: &Workspace| {
            let known = workspace.status.as_ref().is_some_and(|status| !status.consumers.is_empty());
            known || !workspace.spec.consumers.is_empty()
        };
        for workspace in self.known.workspaces.store().state_filter(has_consumers) {
            send(&self.workspaces, ObjectRef::from_obj(workspace.as_ref()));
        }
    }

    /// One Workspace, for which a child was made.
    pub fn workspace(&self, parent: &Parent) {
        send(&self.workspaces, ObjectRef::new(&parent.workspace).within(&parent.tenant));
    }

    /// A Tenant matters to its Workspaces: all of it to all of them, an entry of its ledger to the one that it is about.
    pub fn tenant_changed(&self, change: &Change<Tenant>) {
        let Some(tenant) = either(change) else { return };
        let namespace = tenant.metadata.namespace.clone().unwrap_or_default();
        let known = |tenant: Option<&Tenant>| {
            let status = tenant.and_then(|tenant| tenant.status.as_ref());
            let store = status.and_then(|status| status.authorization.as_ref()?.store_id.clone());
            (status.and_then(|status| status.identity.clone()), store)
        };
        let (before, now) = (change.before.as_deref(), change.now.as_deref());
        if differs(change) || known(before) != known(now) {
            send(&self.tenants, ObjectRef::from_obj(tenant));
            send(&self.classes, ObjectRef::new(&tenant.spec.class));
            self.within(&namespace);
            waiting_for(change, &self.known.tenants, &self.tenants);
            return;
        }
        let (old, new) = (reservations(before), reservations(now));
        for (uid, reservation) in &new {
            if old.get(uid) != Some(reservation) {
                send(&self.workspaces, ObjectRef::new(&reservation.workspace).within(&namespace));
            }
        }
    }

    /// A Workspace matters to the ledger of its Tenant: that it is there, what it asks for, what it has in force.
    pub fn workspace_changed(&self, change: &Change<Workspace>) {
        let Some(workspace) = either(change) else { return };
        let stake = |workspace: &Workspace| {
            let status = workspace.status.as_ref();
            (
                fingerprint(workspace),
                status.and_then(|status| status.quota.clone()),
                status.and_then(|status| status.quota_revision),
            )
        };
        if change.before.as_deref().map(stake) != change.now.as_deref().map(stake) {
            let namespace = workspace.metadata.namespace.as_deref().unwrap_or_default();
            send(&self.tenants, ObjectRef::new(namespace).within(namespace));
        }
        if differs(change) {
            send(&self.workspaces, ObjectRef::from_obj(workspace));
            waiting_for(change, &self.known.workspaces, &self.workspaces);
        }
        let ground = |workspace: &Workspace| {
            let status = workspace.status.clone().unwrap_or_default();
            let isolated = status.conditions.into_iter().find(|condition| condition.type_ == api::conditions::ISOLATED);
            let isolated = isolated.map(|isolated| (isolated.status, isolated.reason));
            (status.namespace, status.quota, isolated)
        };
        if differs(change) || change.before.as_deref().map(ground) != change.now.as_deref().map(ground) {
            let name = workspace.name_any();
            self.pools_that(|pool| pool.spec.workspace == name && pool.namespace() == workspace.namespace());
        }
    }

    /// An AgentPool matters to itself, and to its AgentSet: whether it is paused, and that it goes.
    pub fn pool_changed(&self, change: &Change<AgentPool>) {
        let Some(pool) = either(change).filter(|_| differs(change)) else { return };
        send(&self.pools, ObjectRef::from_obj(pool));
        self.sets_of(&pool.namespace().unwrap_or_default(), Some(&pool.name_any()));
    }

    /// An AgentSet matters to itself, and what its status says to its pool.
    pub fn set_changed(&self, change: &Change<AgentSet>) {
        let Some(set) = either(change) else { return };
        if differs(change) {
            send(&self.sets, ObjectRef::from_obj(set));
        }
        let status = |set: &AgentSet| set.status.clone();
        let told = change.before.as_deref().map(status) != change.now.as_deref().map(status);
        let labels = set.labels();
        if let (true, Some(tenant), Some(pool)) =
            (told || differs(change), labels.get(labels::TENANT), labels.get(labels::POOL))
        {
            send(&self.pools, ObjectRef::new(pool).within(tenant));
        }
    }

    /// Pods matter to the AgentSet of which they are; one that is gone leaves room, which matters to those beside it that wait for some.
    pub fn agents_changed(&self, change: &Change<Place>) {
        let Some((namespace, set)) = either(change) else { return };
        send(&self.sets, ObjectRef::new(set).within(namespace));
        if change.now.is_some() {
            return;
        }
        let waits = |other: &AgentSet| {
            let conditions = other.status.as_ref().map_or(&[][..], |status| &status.conditions);
            let is_beside = other.metadata.namespace.as_ref() == Some(namespace);
            is_beside && conditions.iter().any(|it| it.reason == api::conditions::AGENTS_EXCEEDED)
        };
        for waiting in self.known.sets.store().state_filter(waits) {
            send(&self.sets, ObjectRef::from_obj(waiting.as_ref()));
        }
    }

    /// Which RuntimeClasses there are, and where the relay is, matters to every pool.
    pub fn ground_changed(&self) {
        self.pools_that(|_| true);
    }

    /// A child matters to the Workspace for which it was made, also if its labels were taken from it.
    pub fn child_changed(&self, change: &Change<Child>) {
        let essence =
            |child: &Child| (child.uid.clone(), child.owner.clone(), child.hash.clone(), child.entry, child.deleting);
        if change.before.as_deref().map(essence) == change.now.as_deref().map(essence) {
            return;
        }
        let parents = [&change.before, &change.now].into_iter().flatten().filter_map(|child| child.parent.clone());
        let mut parents: Vec<Parent> = parents.collect();
        parents.dedup();
        for parent in parents {
            self.workspace(&parent);
        }
    }

    /// All that lies in a control namespace, and the AgentSets of it.
    fn within(&self, namespace: &str) {
        self.workspaces_of(namespace);
        self.pools_that(|pool| pool.metadata.namespace.as_deref() == Some(namespace));
        self.sets_of(namespace, None);
    }

    fn pools_that(&self, fits: impl Fn(&AgentPool) -> bool) {
        for pool in self.known.pools.store().state_filter(fits) {
            send(&self.pools, ObjectRef::from_obj(pool.as_ref()));
        }
    }

    /// The AgentSets of a Tenant, or only that of one pool.
    fn sets_of(&self, tenant: &str, pool: Option<&str>) {
        let is_its = |set: &AgentSet| {
            let of_tenant = set.labels().get(labels::TENANT).is_some_and(|it| it == tenant);
            of_tenant && pool.is_none_or(|pool| set.labels().get(labels::POOL).is_some_and(|it| it == pool))
        };
        for set in self.known.sets.store().state_filter(is_its) {
            send(&self.sets, ObjectRef::from_obj(set.as_ref()));
        }
    }

    fn workspaces_of(&self, namespace: &str) {
        for workspace in self
            .known
            .workspaces
            .store()
            .state_filter(|workspace| workspace.metadata.namespace.as_deref() == Some(namespace))
        {
            send(&self.workspaces, ObjectRef::from_obj(workspace.as_ref()));
        }
    }
}

fn either<K>(change: &Change<K>) -> Option<&K> {
    change.now.as_deref().or(change.before.as_deref())
}

/// Wakes all of a kind.
fn every<K>(known: &Known<K>, to: &UnboundedSender<ObjectRef<K>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
{
    known.store().state().iter().for_each(|object| send(to, ObjectRef::from_obj(object.as_ref())));
}

/// Whether more than status changed.
fn differs<K: Resource>(change: &Change<K>) -> bool {
    change.before.as_deref().map(fingerprint) != change.now.as_deref().map(fingerprint)
}

/// An object that is gone matters to those that ask for its identity.
fn waiting_for<K>(change: &Change<K>, known: &Known<K>, to: &UnboundedSender<ObjectRef<K>>)
where
    K: Identified + Resource<DynamicType = ()> + Clone + Debug + 'static,
{
    if let (Some(gone), None) = (&change.before, &change.now)
        && let Some(identity) = identity::derived(gone.as_ref())
    {
        for other in known.store().state_filter(|other| other.asked() == Some(identity.as_str())) {
            send(to, ObjectRef::from_obj(other.as_ref()));
        }
    }
}

fn reservations(tenant: Option<&Tenant>) -> BTreeMap<String, Reservation> {
    let ledger = tenant.and_then(|tenant| tenant.status.as_ref()?.quota.as_ref());
    ledger
        .map(|ledger| ledger.reservations.iter().map(|entry| (entry.uid.clone(), entry.clone())).collect())
        .unwrap_or_default()
}
