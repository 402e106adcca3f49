//! What the server holds: objects by key, one count of versions, and every change in order.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::Resource;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace, if its kind lies in one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Of an object without namespace.
    #[must_use]
    pub fn cluster(resource: Resource, name: &str) -> Self {
        Self { resource, namespace: None, name: name.to_owned() }
    }

    /// Of an object in a namespace.
    #[must_use]
    pub fn within(resource: Resource, namespace: &str, name: &str) -> Self {
        Self { resource, namespace: Some(namespace.to_owned()), name: name.to_owned() }
    }
}

/// One change, as watches tell it.
#[derive(Clone, Debug)]
pub struct Change {
    /// What changed.
    pub key: Key,
    /// What was there before; `None` if it is new.
    pub before: Option<Arc<Value>>,
    /// What is there now; `None` if it is gone.
    pub now: Option<Arc<Value>>,
    /// The version of the change.
    pub version: u64,
}

/// The server.
#[derive(Debug)]
pub struct Server {
    pub(crate) objects: BTreeMap<Key, Arc<Value>>,
    changes: Vec<Change>,
    version: u64,
    uids: u64,
    now: String,
}

impl Server {
    /// An empty server. `now` is the time as the server writes it, such as `2026-01-01T00:00:00Z`.
    #[must_use]
    pub fn new(now: &str) -> Self {
        Self { objects: BTreeMap::new(), changes: Vec::new(), version: 0, uids: 0, now: now.to_owned() }
    }

    /// It is now this time.
    pub fn at(&mut self, now: &str) {
        now.clone_into(&mut self.now);
    }

    /// An object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// All objects of a kind, in order.
    pub fn all(&self, resource: Resource) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter().filter(move |(key, _)| key.resource == resource)
    }

    /// Every change so far, the oldest first.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The version of the last change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn now(&self) -> &str {
        &self.now
    }

    /// A UID that no object had before.
    pub(crate) fn new_uid(&mut self) -> String {
        self.uids += 1;
        // Spread over all digits, as real ones are: what is derived from UIDs must not look alike.
        let spread = u128::from(self.uids).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let digits = format!("{spread:032x}");
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default().to_owned();
        format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
    }

    /// Stores an object, and says what is stored. What does not change it is no change.
    pub(crate) fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        let before = self.objects.get(key).cloned();
        if let Some(same) = before.as_ref().filter(|before| ***before == object) {
            return Arc::clone(same);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let now = Arc::new(object);
        self.objects.insert(key.clone(), Arc::clone(&now));
        self.changes.push(Change { key: key.clone(), before, now: Some(Arc::clone(&now)), version: self.version });
        now
    }

    /// Lets an object go.
    pub(crate) fn take(&mut self, key: &Key) {
        if let Some(before) = self.objects.remove(key) {
            self.version += 1;
            self.changes.push(Change { key: key.clone(), before: Some(before), now: None, version: self.version });
        }
    }
}
