//! The newest that is known of the objects of one kind: what the watch delivered, or what our own last write was answered with.
//!
//! In: a store that a watch fills, answers to our writes. Out: the newer of the two, so that a round never undoes or repeats what the
//! round before it wrote.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use kube::{
    Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};

/// Objects of one kind, as new as they are known. Cheap to clone.
pub struct Known<K: Resource + 'static>
where
    K::DynamicType: Eq + Hash + Clone,
{
    store: Store<K>,
    ahead: Arc<Mutex<HashMap<ObjectRef<K>, Arc<K>>>>,
}

impl<K: Resource + 'static> Clone for Known<K>
where
    K::DynamicType: Eq + Hash + Clone,
{
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), ahead: Arc::clone(&self.ahead) }
    }
}

/// The version of an object as a number; versions of one resource grow with each write.
#[must_use]
pub fn version_of(resource_version: Option<&str>) -> u64 {
    resource_version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn version<K: Resource>(object: &K) -> u64 {
    version_of(object.meta().resource_version.as_deref())
}

impl<K> Known<K>
where
    K: Resource + Clone + Debug + 'static,
    K::DynamicType: Eq + Hash + Clone + Default,
{
    /// Over a store.
    #[must_use]
    pub fn new(store: Store<K>) -> Self {
        Self { store, ahead: Arc::default() }
    }

    /// The store alone, for the controller.
    #[must_use]
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// The newest of this object, or `None` if the watch says that it is gone.
    #[must_use]
    pub fn get(&self, reference: &ObjectRef<K>) -> Option<Arc<K>> {
        let stored = self.store.get(reference)?;
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        match ahead.get(reference) {
            Some(written) if written.uid() == stored.uid() && version(written.as_ref()) > version(stored.as_ref()) => {
                Some(Arc::clone(written))
            }
            Some(_) => {
                ahead.remove(reference);
                Some(stored)
            }
            None => Some(stored),
        }
    }

    /// All objects that `select` picks, each as new as it is known.
    #[must_use]
    pub fn all(&self, select: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.store
            .state_filter(select)
            .into_iter()
            .filter_map(|object| self.get(&ObjectRef::from_obj(object.as_ref())))
            .collect()
    }

    /// Remembers what a write was answered with, until the watch has caught up.
    pub fn wrote(&self, answer: K) {
        let reference = ObjectRef::from_obj(&answer);
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).insert(reference, Arc::new(answer));
    }

    /// Forgets what was written to an object that is gone.
    pub fn forget(&self, reference: &ObjectRef<K>) {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).remove(reference);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::{reflector, watcher::Event};

    use super::*;

    fn object(uid: &str, version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("x".into());
        object.metadata.uid = Some(uid.into());
        object.metadata.resource_version = Some(version.into());
        object
    }

    fn seen(known: &Known<ConfigMap>) -> Option<String> {
        known.get(&ObjectRef::new("x")).and_then(|o| o.resource_version())
    }

    fn remembered(known: &Known<ConfigMap>) -> usize {
        known.ahead.lock().unwrap().len()
    }

    #[test]
    fn our_own_write_is_seen_before_the_watch_delivers_it() {
        let (store, mut writer) = reflector::store();
        let known = Known::new(store);
        writer.apply_watcher_event(&Event::Apply(object("a", "9")));
        known.wrote(object("a", "10"));
        assert_eq!(seen(&known).as_deref(), Some("10"));
        writer.apply_watcher_event(&Event::Apply(object("a", "11")));
        assert_eq!(seen(&known).as_deref(), Some("11"));
    }

    #[test]
    fn a_namesake_that_came_later_is_not_mistaken_for_the_old_one() {
        let (store, mut writer) = reflector::store();
        let known = Known::new(store);
        writer.apply_watcher_event(&Event::Apply(object("old", "9")));
        known.wrote(object("old", "20"));
        writer.apply_watcher_event(&Event::Apply(object("new", "15")));
        assert_eq!(seen(&known).as_deref(), Some("15"));
    }

    #[test]
    fn what_the_watch_says_is_gone_is_gone() {
        let (store, mut writer) = reflector::store();
        let known = Known::new(store);
        writer.apply_watcher_event(&Event::Apply(object("a", "9")));
        known.wrote(object("a", "10"));
        writer.apply_watcher_event(&Event::Delete(object("a", "11")));
        assert_eq!(seen(&known), None);
    }

    #[test]
    fn our_own_write_is_remembered_only_until_the_watch_has_caught_up() {
        let (store, mut writer) = reflector::store();
        let known = Known::new(store);
        writer.apply_watcher_event(&Event::Apply(object("a", "9")));
        known.wrote(object("a", "10"));
        writer.apply_watcher_event(&Event::Apply(object("a", "10")));
        assert_eq!(seen(&known).as_deref(), Some("10"));
        assert_eq!(remembered(&known), 0);
    }

    #[test]
    fn what_was_written_to_an_object_that_is_gone_is_forgotten() {
        let (store, mut writer) = reflector::store();
        let known = Known::new(store);
        writer.apply_watcher_event(&Event::Apply(object("a", "9")));
        known.wrote(object("a", "10"));
        known.forget(&ObjectRef::new("x"));
        assert_eq!(remembered(&known), 0);
        assert_eq!(seen(&known).as_deref(), Some("9"), "the watch has not said yet that it is gone");
    }

    #[test]
    fn all_that_are_picked_are_as_new_as_they_are_known() {
        let (store, mut writer) = reflector::store();
        let known = Known::new(store);
        writer.apply_watcher_event(&Event::Apply(object("a", "9")));
        known.wrote(object("a", "10"));
        let versions = |picked: &[Arc<ConfigMap>]| picked.iter().map(|o| version(o.as_ref())).collect::<Vec<_>>();
        assert_eq!(versions(&known.all(|_| true)), [10]);
        assert!(known.all(|_| false).is_empty());
    }
}
