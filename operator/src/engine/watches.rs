//! Streams of changes that lose nothing: what was there before stands beside what is there now, deletions included.
//!
//! In: events of a watch. Out: a [`Mirror`] that is up to date, and a call for each change. kube's shared streams are not used: they
//! drop deletions and can stall for ever.

use std::{collections::BTreeMap, fmt::Debug, hash::Hash, sync::Arc};

use futures::{Stream, StreamExt, future};
use kube::{
    Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, Event},
    },
};

/// What a watch event changed.
pub struct Change<T> {
    /// What was known before.
    pub before: Option<Arc<T>>,
    /// What is there now; `None` if it is gone.
    pub now: Option<Arc<T>>,
}

/// Something that follows a watch.
pub trait Mirror: Send {
    /// What the watch delivers.
    type Object;
    /// What is kept of it.
    type Kept;
    /// Takes one event in and says what it changed. Objects that vanished while the watch was away are told at `InitDone`.
    fn absorb(&mut self, event: Event<Self::Object>) -> Vec<Change<Self::Kept>>;
}

/// Feeds a mirror from a watch until the stream ends, and tells each change. `synced` is called once the first list is complete.
/// Failures of the watch are logged; it comes back by itself.
pub async fn follow<M: Mirror>(
    what: &'static str,
    stream: impl Stream<Item = Result<Event<M::Object>, watcher::Error>> + Send,
    mut mirror: M,
    mut tell: impl FnMut(&Change<M::Kept>) + Send,
    synced: impl FnOnce() + Send,
) where
    M::Object: Send,
{
    let mut synced = Some(synced);
    stream
        .for_each(|event| {
            match event {
                Ok(event) => {
                    let complete = matches!(event, Event::InitDone);
                    mirror.absorb(event).iter().for_each(&mut tell);
                    if complete && let Some(synced) = synced.take() {
                        synced();
                    }
                }
                Err(error) => tracing::warn!(what, %error, "the watch failed and will be opened again"),
            }
            future::ready(())
        })
        .await;
}

/// A mirror that keeps whole objects in a kube store, for the kinds that users write. An object that this version cannot read, as
/// after a downgrade, stays as it was last read, and does not keep the others of its kind from being seen.
pub struct Reflected<K: Resource + Clone + 'static>
where
    K::DynamicType: Eq + Hash + Clone,
{
    writer: Writer<K>,
    reader: Store<K>,
    staged: Vec<K>,
}

impl<K> Reflected<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone + Default,
{
    /// A mirror and the store that it fills.
    #[must_use]
    pub fn new() -> (Self, Store<K>) {
        let writer = Writer::default();
        let reader = writer.as_reader();
        (Self { writer, reader: reader.clone(), staged: Vec::new() }, reader)
    }

    fn known(&self, object: &K) -> Option<Arc<K>> {
        self.reader.get(&ObjectRef::from_obj(object))
    }

    /// The event with what can be read; `None` if nothing of it can and nothing was known before.
    fn readable(&self, event: Event<DeserializeGuard<K>>) -> Option<Event<K>>
    where
        K: Debug,
    {
        let last_read = |guard: &DeserializeGuard<K>| {
            let kind = K::kind(&K::DynamicType::default()).into_owned();
            let error = guard.0.as_ref().err().map(|invalid| invalid.error.clone()).unwrap_or_default();
            tracing::error!(
                kind,
                name = guard.name_any(),
                namespace = guard.namespace(),
                error,
                "this version cannot read an object and leaves it as it is: install the CRDs and the operator of one version"
            );
            let (name, namespace) = (guard.meta().name.clone(), guard.meta().namespace.clone());
            let known = self.reader.find(|old| old.meta().name == name && old.meta().namespace == namespace);
            known.map(|old| K::clone(&old))
        };
        Some(match event {
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
            Event::Apply(DeserializeGuard(Ok(object))) => Event::Apply(object),
            Event::InitApply(DeserializeGuard(Ok(object))) => Event::InitApply(object),
            Event::Delete(DeserializeGuard(Ok(object))) => Event::Delete(object),
            Event::Apply(unreadable) => Event::Apply(last_read(&unreadable)?),
            Event::InitApply(unreadable) => Event::InitApply(last_read(&unreadable)?),
            Event::Delete(unreadable) => Event::Delete(last_read(&unreadable)?),
        })
    }
}

impl<K> Mirror for Reflected<K>
where
    K: Resource + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Default + Send + Sync,
{
    type Object = DeserializeGuard<K>;
    type Kept = K;

    fn absorb(&mut self, event: Event<DeserializeGuard<K>>) -> Vec<Change<K>> {
        let Some(event) = self.readable(event) else { return Vec::new() };
        let changes = match &event {
            Event::Init => {
                self.staged.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.staged.push(object.clone());
                Vec::new()
            }
            Event::InitDone => {
                let staged = std::mem::take(&mut self.staged);
                let listed: std::collections::HashSet<ObjectRef<K>> = staged.iter().map(ObjectRef::from_obj).collect();
                let vanished =
                    self.reader.state().into_iter().filter(|old| !listed.contains(&ObjectRef::from_obj(old.as_ref())));
                let mut changes: Vec<Change<K>> = vanished.map(|old| Change { before: Some(old), now: None }).collect();
                changes.extend(
                    staged
                        .into_iter()
                        .map(|object| Change { before: self.known(&object), now: Some(Arc::new(object)) }),
                );
                changes
            }
            Event::Apply(object) => vec![Change { before: self.known(object), now: Some(Arc::new(object.clone())) }],
            Event::Delete(object) => {
                vec![Change { before: self.known(object).or_else(|| Some(Arc::new(object.clone()))), now: None }]
            }
        };
        // The store is brought up to date before anybody is told, so that whoever is woken sees what woke him.
        self.writer.apply_watcher_event(&event);
        changes
    }
}

/// What of an object's metadata wakes its own controller: not its status, which the controller writes itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Fingerprint {
    uid: Option<String>,
    generation: Option<i64>,
    deleting: bool,
    finalizers: Vec<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// The fingerprint of an object.
#[must_use]
pub fn fingerprint<K: ResourceExt>(object: &K) -> Fingerprint {
    Fingerprint {
        uid: object.uid(),
        generation: object.meta().generation,
        deleting: object.meta().deletion_timestamp.is_some(),
        finalizers: object.finalizers().to_vec(),
        labels: object.labels().clone(),
        annotations: object.annotations().clone(),
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::error_boundary::InvalidObject;

    use super::*;

    fn named(name: &str, generation: i64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("n".to_owned());
        object.metadata.generation = Some(generation);
        object
    }

    fn read(object: ConfigMap) -> DeserializeGuard<ConfigMap> {
        DeserializeGuard(Ok(object))
    }

    fn unreadable(name: &str) -> DeserializeGuard<ConfigMap> {
        let metadata = named(name, 9).metadata;
        DeserializeGuard(Err(InvalidObject { error: "a field of tomorrow".to_owned(), metadata }))
    }

    fn told(changes: &[Change<ConfigMap>]) -> Vec<(Option<i64>, Option<i64>)> {
        let generation = |object: &Option<Arc<ConfigMap>>| object.as_ref().and_then(|o| o.metadata.generation);
        changes.iter().map(|change| (generation(&change.before), generation(&change.now))).collect()
    }

    #[test]
    fn what_vanished_while_the_watch_was_away_is_told() {
        let (mut mirror, store) = Reflected::<ConfigMap>::new();
        for event in [
            Event::Init,
            Event::InitApply(read(named("left", 1))),
            Event::InitApply(read(named("stays", 2))),
            Event::InitDone,
        ] {
            mirror.absorb(event);
        }
        mirror.absorb(Event::Init);
        mirror.absorb(Event::InitApply(read(named("stays", 3))));
        let changes = mirror.absorb(Event::InitDone);
        assert_eq!(told(&changes), [(Some(1), None), (Some(2), Some(3))]);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn a_deletion_comes_with_what_was_there() {
        let (mut mirror, store) = Reflected::<ConfigMap>::new();
        mirror.absorb(Event::Apply(read(named("x", 1))));
        assert_eq!(told(&mirror.absorb(Event::Delete(read(named("x", 2))))), [(Some(1), None)]);
        assert!(store.is_empty());
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_was_last_read_and_hides_nothing_else() {
        let (mut mirror, store) = Reflected::<ConfigMap>::new();
        mirror.absorb(Event::Apply(read(named("x", 1))));
        assert_eq!(told(&mirror.absorb(Event::Apply(unreadable("x")))), [(Some(1), Some(1))]);
        assert_eq!(told(&mirror.absorb(Event::Apply(unreadable("never read")))), []);
        for event in [Event::Init, Event::InitApply(unreadable("x")), Event::InitApply(read(named("y", 2)))] {
            mirror.absorb(event);
        }
        assert_eq!(told(&mirror.absorb(Event::InitDone)), [(Some(1), Some(1)), (None, Some(2))]);
        assert_eq!(store.len(), 2);
        assert_eq!(told(&mirror.absorb(Event::Delete(unreadable("x")))), [(Some(1), None)]);
        assert_eq!(store.len(), 1);
    }

    #[tokio::test]
    async fn a_watch_is_followed_through_its_failures_and_synced_once() {
        let (mirror, store) = Reflected::<ConfigMap>::new();
        let stream = stream::iter([
            Ok(Event::Init),
            Ok(Event::InitApply(read(named("x", 1)))),
            Ok(Event::InitDone),
            Err(watcher::Error::NoResourceVersion),
            Ok(Event::Init),
            Ok(Event::InitApply(read(named("x", 2)))),
            Ok(Event::InitDone),
        ]);
        let (mut changes, mut synced) = (Vec::new(), 0);
        let tell = |change: &Change<ConfigMap>| changes.extend(told(std::slice::from_ref(change)));
        follow("ConfigMap", stream, mirror, tell, || synced += 1).await;
        assert_eq!(changes, [(None, Some(1)), (Some(1), Some(2))]);
        assert_eq!((synced, store.len()), (1, 1));
    }

    #[test]
    fn labels_and_annotations_wake_as_the_spec_does() {
        let (plain, mut labelled, mut annotated) = (named("x", 1), named("x", 1), named("x", 1));
        labelled.labels_mut().insert("team".into(), "blue".into());
        annotated.annotations_mut().insert("note".into(), "look again".into());
        assert_ne!(fingerprint(&plain), fingerprint(&labelled));
        assert_ne!(fingerprint(&plain), fingerprint(&annotated));
    }

    #[test]
    fn status_alone_wakes_nobody() {
        let before = named("x", 1);
        let mut after = named("x", 1);
        after.metadata.resource_version = Some("9".into());
        assert_eq!(fingerprint(&before), fingerprint(&after));
        assert_ne!(fingerprint(&before), fingerprint(&named("x", 2)));
    }
}
