//! Who is woken by what: each change of one object, mapped to the objects whose rounds it could change.
//!
//! In: changes that the watches tell. Out: references, one channel for each kind. Status that a controller writes itself wakes nobody,
//! so a settled cluster stays silent.

use std::{collections::BTreeMap, fmt::Debug};

use api::{Tenant, TenantClass, Workspace, tenant::Reservation, tenant_class::Enforcement};
use futures::{Stream, stream};
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
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
    known_classes: Known<TenantClass>,
    known_tenants: Known<Tenant>,
    known_workspaces: Known<Workspace>,
}

/// The receiving ends.
pub struct Woken {
    /// For the controller of TenantClasses.
    pub classes: UnboundedReceiver<ObjectRef<TenantClass>>,
    /// For the controller of Tenants.
    pub tenants: UnboundedReceiver<ObjectRef<Tenant>>,
    /// For the controller of Workspaces.
    pub workspaces: UnboundedReceiver<ObjectRef<Workspace>>,
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
    pub fn new(
        known_classes: Known<TenantClass>,
        known_tenants: Known<Tenant>,
        known_workspaces: Known<Workspace>,
    ) -> (Self, Woken) {
        let (classes, woken_classes) = unbounded_channel();
        let (tenants, woken_tenants) = unbounded_channel();
        let (workspaces, woken_workspaces) = unbounded_channel();
        let wakes = Self { classes, tenants, workspaces, known_classes, known_tenants, known_workspaces };
        (wakes, Woken { classes: woken_classes, tenants: woken_tenants, workspaces: woken_workspaces })
    }

    /// Everything: at start, and when this replica takes the lead.
    pub fn all(&self) {
        self.known_classes
            .store()
            .state()
            .iter()
            .for_each(|class| send(&self.classes, ObjectRef::from_obj(class.as_ref())));
        self.known_tenants
            .store()
            .state()
            .iter()
            .for_each(|tenant| send(&self.tenants, ObjectRef::from_obj(tenant.as_ref())));
        self.known_workspaces
            .store()
            .state()
            .iter()
            .for_each(|workspace| send(&self.workspaces, ObjectRef::from_obj(workspace.as_ref())));
    }

    /// A class matters to its Tenants and their Workspaces.
    pub fn class_changed(&self, change: &Change<TenantClass>) {
        if !differs(change) {
            return;
        }
        let Some(class) = either(change) else { return };
        send(&self.classes, ObjectRef::from_obj(class));
        let name = class.name_any();
        for tenant in self.known_tenants.store().state_filter(|tenant| tenant.spec.class == name) {
            send(&self.tenants, ObjectRef::from_obj(tenant.as_ref()));
            self.workspaces_of(tenant.metadata.namespace.as_deref().unwrap_or_default());
        }
    }

    /// What probes show of the network matters to every class, and to the Workspaces of those that require it.
    pub fn enforcement_changed(&self) {
        for class in self.known_classes.store().state() {
            send(&self.classes, ObjectRef::from_obj(class.as_ref()));
            if class.spec.network.enforcement == Enforcement::Required {
                for tenant in self.known_tenants.store().state_filter(|tenant| tenant.spec.class == class.name_any()) {
                    self.workspaces_of(tenant.metadata.namespace.as_deref().unwrap_or_default());
                }
            }
        }
    }

    /// What is known of databases in general matters to all Workspaces of classes that offer them.
    pub fn databases_changed(&self) {
        for class in self.known_classes.store().state_filter(|class| class.spec.database.is_some()) {
            for tenant in self.known_tenants.store().state_filter(|tenant| tenant.spec.class == class.name_any()) {
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
        for workspace in self.known_workspaces.store().state_filter(has_consumers) {
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
            self.workspaces_of(&namespace);
            waiting_for(change, &self.known_tenants, &self.tenants);
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
            waiting_for(change, &self.known_workspaces, &self.workspaces);
        }
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

    fn workspaces_of(&self, namespace: &str) {
        for workspace in self
            .known_workspaces
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
