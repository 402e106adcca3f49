//! What is known of the objects that Steading stamped out: for each its UID, owner, hash and the digest of what we own in it.
//!
//! In: metadata-only watches and answers to our own writes. Out: [`Children`], by which [`super::apply`] tells without a request
//! whether an object is right. A child costs a key and a hundred bytes, whatever its size.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use api::labels;
use desired::{fields::Kind, hash};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{Resource, ResourceExt, core::PartialObjectMeta, runtime::watcher::Event};

use super::{
    known::version_of,
    watches::{Change, Mirror},
};

/// Which child.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; `None` for a namespace itself.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// The object for which a child was made, as its labels say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parent {
    /// Control namespace, which is the Tenant's name.
    pub tenant: String,
    /// Name of the Workspace.
    pub workspace: String,
}

/// What is kept of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its UID.
    pub uid: String,
    /// Identity of its owner, as its label says.
    pub owner: Option<String>,
    /// Whom to wake when it changes.
    pub parent: Option<Parent>,
    /// What was applied last, as its annotation says.
    pub hash: Option<String>,
    /// Digest of our entry in its managedFields: another one means that somebody changed a field of ours.
    pub entry: Option<hash::Digest>,
    /// The field manager that wrote to it last, but for us and those who write status.
    pub rival: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    version: u64,
}

impl Child {
    /// Reads what is kept off an object's metadata.
    pub fn of<K: ResourceExt>(object: &K) -> Self {
        let label = |key: &str| object.labels().get(key).cloned();
        let parent =
            label(labels::TENANT).zip(label(labels::WORKSPACE)).map(|(tenant, workspace)| Parent { tenant, workspace });
        let is_ours = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(labels::MANAGER_WORKSPACE);
        let written = object.managed_fields().iter().filter(|entry| entry.subresource.is_none());
        let ours = written.clone().filter(is_ours).find(|entry| entry.operation.as_deref() == Some("Apply"));
        let rival = written.filter(|entry| !is_ours(entry)).max_by_key(|entry| entry.time.clone());
        Self {
            uid: object.uid().unwrap_or_default(),
            owner: label(labels::OWNER),
            parent,
            hash: object.annotations().get(labels::DESIRED_HASH).cloned(),
            entry: ours.and_then(|entry| entry.fields_v1.as_ref()).map(|fields| hash::of_fields(&fields.0)),
            rival: rival.and_then(|entry| entry.manager.clone()),
            deleting: object.meta().deletion_timestamp.is_some(),
            version: version_of(object.meta().resource_version.as_deref()),
        }
    }
}

/// All children that are known. Cheap to clone.
#[derive(Clone, Default)]
pub struct Children(Arc<RwLock<All>>);

#[derive(Default)]
struct All {
    children: HashMap<Key, Arc<Child>>,
    /// How often the watches told that something is gone.
    losses: u64,
}

/// What was known to be gone when a write began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before(u64);

impl Children {
    /// What is known of one.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Child>> {
        self.read().children.get(key).cloned()
    }

    /// All that bear this owner's identity.
    #[must_use]
    pub fn of_owner(&self, identity: &str) -> Vec<(Key, Arc<Child>)> {
        let all = self.read();
        all.children
            .iter()
            .filter(|(_, child)| child.owner.as_deref() == Some(identity))
            .map(|(key, child)| (key.clone(), Arc::clone(child)))
            .collect()
    }

    /// All of one kind.
    #[must_use]
    pub fn of_kind(&self, kind: Kind) -> Vec<(Key, Arc<Child>)> {
        let all = self.read();
        let all = all.children.iter().filter(|(key, _)| key.kind == kind);
        all.map(|(key, child)| (key.clone(), Arc::clone(child))).collect()
    }

    /// To be asked for before a write is sent.
    #[must_use]
    pub fn before(&self) -> Before {
        Before(self.read().losses)
    }

    /// Takes in what a write of ours was answered with, unless the watch already delivered something newer. If meanwhile a watch told
    /// that something is gone, it may have been this very child: then what it is like is left to the watch. Otherwise a child that
    /// somebody deleted would be remembered for ever, and never made again.
    pub fn wrote(&self, key: Key, child: Child, before: Before) {
        let mut all = self.write();
        let is_newer = match all.children.get(&key) {
            Some(known) => known.version < child.version,
            None => all.losses == before.0,
        };
        if is_newer {
            all.children.insert(key, Arc::new(child));
        }
    }

    fn put(&self, key: Key, child: Child) -> Change<Child> {
        let mut all = self.write();
        let before = all.children.get(&key).cloned();
        if before.as_ref().is_none_or(|known| known.version <= child.version) {
            all.children.insert(key, Arc::new(child.clone()));
        }
        Change { before, now: Some(Arc::new(child)) }
    }

    fn remove(&self, key: &Key) -> Option<Arc<Child>> {
        let mut all = self.write();
        all.losses += 1;
        all.children.remove(key)
    }

    /// A list says what is there; what it does not name is gone.
    fn listed(&self) {
        self.write().losses += 1;
    }

    fn read(&self) -> RwLockReadGuard<'_, All> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, All> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps [`Children`] of one kind up to date from a metadata-only watch.
pub struct ChildMirror<K> {
    kind: Kind,
    children: Children,
    staged: Vec<(Key, Child)>,
    of: std::marker::PhantomData<fn() -> K>,
}

impl<K> ChildMirror<K> {
    /// For children of this kind.
    #[must_use]
    pub fn new(kind: Kind, children: Children) -> Self {
        Self { kind, children, staged: Vec::new(), of: std::marker::PhantomData }
    }

    fn key<O: ResourceExt>(&self, object: &O) -> Key {
        Key { kind: self.kind, namespace: object.namespace(), name: object.name_any() }
    }
}

impl<K> Mirror for ChildMirror<K>
where
    K: Resource<DynamicType = ()> + Debug + Send + Sync,
{
    type Object = PartialObjectMeta<K>;
    type Kept = Child;

    fn absorb(&mut self, event: Event<Self::Object>) -> Vec<Change<Child>> {
        match event {
            Event::Init => {
                self.staged.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.staged.push((self.key(&object), Child::of(&object)));
                Vec::new()
            }
            Event::InitDone => {
                self.children.listed();
                let staged = std::mem::take(&mut self.staged);
                let listed: HashSet<Key> = staged.iter().map(|(key, _)| key.clone()).collect();
                let known = self.children.of_kind(self.kind).into_iter().map(|(key, _)| key);
                let mut changes: Vec<Change<Child>> = known
                    .filter(|key| !listed.contains(key))
                    .map(|key| Change { before: self.children.remove(&key), now: None })
                    .collect();
                changes.extend(staged.into_iter().map(|(key, child)| self.children.put(key, child)));
                changes
            }
            Event::Apply(object) => vec![self.children.put(self.key(&object), Child::of(&object))],
            Event::Delete(object) => {
                let before = self.children.remove(&self.key(&object)).or_else(|| Some(Arc::new(Child::of(&object))));
                vec![Change { before, now: None }]
            }
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceQuota;
    use kube::core::ObjectMeta;

    use super::*;

    fn child(name: &str, version: &str, owner: &str) -> PartialObjectMeta<ResourceQuota> {
        let labels = [(labels::TENANT, "acme"), (labels::WORKSPACE, "finance"), (labels::OWNER, owner)];
        PartialObjectMeta {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("stack".into()),
                resource_version: Some(version.into()),
                labels: Some(labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()),
                ..ObjectMeta::default()
            },
            ..PartialObjectMeta::default()
        }
    }

    fn mirror() -> (ChildMirror<ResourceQuota>, Children) {
        let children = Children::default();
        (ChildMirror::new(Kind::ResourceQuota, children.clone()), children)
    }

    #[test]
    fn a_child_that_loses_its_labels_still_wakes_its_parent() {
        let (mut mirror, _) = mirror();
        mirror.absorb(Event::Apply(child("steading", "1", "owner-one")));
        let mut stomped = child("steading", "2", "owner-one");
        stomped.metadata.labels = None;
        let changes = mirror.absorb(Event::Delete(stomped));
        let parent = changes[0].before.as_ref().and_then(|child| child.parent.clone());
        assert_eq!(parent, Some(Parent { tenant: "acme".into(), workspace: "finance".into() }));
    }

    #[test]
    fn an_answer_older_than_the_watch_changes_nothing() {
        let (mut mirror, children) = mirror();
        mirror.absorb(Event::Apply(child("steading", "10", "owner-new")));
        let key = Key { kind: Kind::ResourceQuota, namespace: Some("stack".into()), name: "steading".into() };
        children.wrote(key.clone(), Child::of(&child("steading", "9", "owner-old")), children.before());
        assert_eq!(children.get(&key).unwrap().owner.as_deref(), Some("owner-new"));
    }

    fn quota() -> Key {
        Key { kind: Kind::ResourceQuota, namespace: Some("stack".into()), name: "steading".into() }
    }

    #[test]
    fn an_answer_is_known_before_any_watch_tells_of_it_and_a_newer_one_wins() {
        let (_, children) = mirror();
        for (version, owner) in [("9", "owner-first"), ("10", "owner-second"), ("10", "owner-same")] {
            children.wrote(quota(), Child::of(&child("steading", version, owner)), children.before());
        }
        assert_eq!(children.get(&quota()).unwrap().owner.as_deref(), Some("owner-second"));
    }

    #[test]
    fn children_are_found_by_owner_and_by_kind() {
        let (mut mirror, children) = mirror();
        mirror.absorb(Event::Apply(child("first", "1", "owner-one")));
        mirror.absorb(Event::Apply(child("second", "2", "owner-two")));
        let names = |found: Vec<(Key, Arc<Child>)>| found.into_iter().map(|(key, _)| key.name).collect::<Vec<_>>();
        assert_eq!(names(children.of_owner("owner-two")), ["second"]);
        assert_eq!(children.of_kind(Kind::ResourceQuota).len(), 2);
        assert!(children.of_kind(Kind::LimitRange).is_empty());
    }

    #[test]
    fn our_entry_is_the_one_that_we_applied_and_the_rival_is_whoever_else_wrote_the_object_last() {
        let entry = |manager: &str, operation: &str, subresource: Option<&str>, minute: u32, field: &str| {
            serde_json::from_value::<ManagedFieldsEntry>(serde_json::json!({
                "manager": manager, "operation": operation, "subresource": subresource,
                "time": format!("2026-11-22T12:{minute:02}:00Z"), "fieldsV1": { field: {} },
            }))
            .unwrap()
        };
        let mut object = child("steading", "1", "owner-one");
        object.metadata.managed_fields = Some(vec![
            entry(labels::MANAGER_WORKSPACE, "Update", None, 9, "f:made"),
            entry("early", "Apply", None, 1, "f:early"),
            entry("late", "Update", None, 2, "f:late"),
            entry(labels::MANAGER_WORKSPACE, "Apply", None, 3, "f:ours"),
            entry("kube-controller-manager", "Update", Some("status"), 8, "f:status"),
        ]);
        let kept = Child::of(&object);
        assert_eq!(kept.entry, Some(hash::of_fields(&serde_json::json!({ "f:ours": {} }))));
        assert_eq!(kept.rival.as_deref(), Some("late"));
    }

    #[test]
    fn an_answer_that_comes_after_the_news_of_its_deletion_raises_no_ghost() {
        let (mut mirror, children) = mirror();
        let key = Key { kind: Kind::ResourceQuota, namespace: Some("stack".into()), name: "steading".into() };
        let written = || Child::of(&child("steading", "9", "owner"));
        let before = children.before();
        mirror.absorb(Event::Apply(child("steading", "9", "owner")));
        mirror.absorb(Event::Delete(child("steading", "10", "owner")));
        children.wrote(key.clone(), written(), before);
        assert_eq!(children.get(&key), None);
        let before = children.before();
        mirror.absorb(Event::Init);
        mirror.absorb(Event::InitDone);
        children.wrote(key.clone(), written(), before);
        assert_eq!(children.get(&key), None, "a list tells as well");
    }

    #[test]
    fn children_that_vanished_while_the_watch_was_away_are_told() {
        let (mut mirror, children) = mirror();
        mirror.absorb(Event::Apply(child("left", "1", "owner-one")));
        for event in [Event::Init, Event::InitApply(child("stays", "2", "owner-one"))] {
            mirror.absorb(event);
        }
        let changes = mirror.absorb(Event::InitDone);
        assert!(changes.iter().any(|change| change.now.is_none() && change.before.is_some()));
        assert_eq!(children.of_kind(Kind::ResourceQuota).len(), 1);
    }
}
