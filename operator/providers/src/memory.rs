//! A world outside the cluster that lives in memory, for tests.
//!
//! In: calls of the adapters [`MemoryKeys`], [`MemoryBuckets`], [`MemoryIdentities`] and
//! [`MemoryStores`], and the faults that a test asks for with
//! [`World::inject`]. Out: the same observations, refusals and owner rules as the real adapters give, with every call counted.
//! Nothing here speaks to a server, and no status may show its answers as real: its evidence begins with `in memory`.
//!
//! A clone shares the world, so a test keeps one and hands others out. Time stands still unless [`World::advance`] moves it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{fault::Fault, identities::Revocation};

mod authorization;
mod buckets;
mod identities;
mod inject;
mod keys;
#[cfg(test)]
mod tests;

pub use authorization::{MemoryStore, MemoryStores};
pub use buckets::{MemoryBucket, MemoryBuckets};
pub use identities::{MemoryIdentities, MemoryIdentity};
pub use inject::{Calls, Injection, Moment, Operation, Outcome};
pub use keys::{MemoryKey, MemoryKeys};

/// Everything outside the cluster.
#[derive(Clone, Debug, Default)]
pub struct World {
    state: Arc<Mutex<State>>,
}

/// What the world holds; reached only under its lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) now: Timestamp,
    pub(crate) keys: BTreeMap<String, MemoryKey>,
    pub(crate) bucket_keys: BTreeMap<String, Timestamp>,
    pub(crate) buckets: BTreeMap<String, MemoryBucket>,
    pub(crate) stores: BTreeMap<String, MemoryStore>,
    pub(crate) refused_classes: BTreeSet<String>,
    pub(crate) issued: u64,
    pub(crate) identities: BTreeMap<String, MemoryIdentity>,
    pub(crate) revocation: Revocation,
    pub(crate) account: String,
    pub(crate) lag: u32,
    pub(crate) calls: BTreeMap<Operation, u64>,
    pub(crate) calls_for: BTreeMap<(Operation, String), u64>,
    pub(crate) log: Vec<(Operation, String)>,
    pub(crate) injections: Vec<inject::Armed>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: Timestamp::UNIX_EPOCH + Duration::from_secs(1_750_000_000),
            keys: BTreeMap::new(),
            bucket_keys: BTreeMap::new(),
            buckets: BTreeMap::new(),
            stores: BTreeMap::new(),
            refused_classes: BTreeSet::new(),
            issued: 0,
            identities: BTreeMap::new(),
            revocation: Revocation::Immediate,
            account: "steading".to_owned(),
            lag: 0,
            calls: BTreeMap::new(),
            calls_for: BTreeMap::new(),
            log: Vec::new(),
            injections: Vec::new(),
        }
    }
}

impl World {
    /// An empty world.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a fault. Of several that fit a call, the first that was asked for applies.
    pub fn inject(&self, injection: Injection) {
        self.lock().injections.push(inject::Armed::new(injection));
    }

    /// Takes back all faults that were asked for, and lag.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.injections.clear();
        state.lag = 0;
    }

    /// Takes back the faults that were asked for of this identity alone: for worlds that several tests share.
    pub fn heal_only(&self, identity: &str) {
        self.lock().injections.retain(|armed| !armed.is_for(identity));
    }

    /// From now on the store has no class of storage of this name.
    pub fn refuse_storage_class(&self, name: &str) {
        self.lock().refused_classes.insert(name.to_owned());
    }

    /// From now on it has.
    pub fn offer_storage_class(&self, name: &str) {
        self.lock().refused_classes.remove(name);
    }

    /// From now on what is created stays invisible for this many looks.
    pub fn lag(&self, looks: u32) {
        self.lock().lag = looks;
    }

    /// Lets time pass; keys that rotate by themselves do so.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.now += by;
        let now = state.now;
        for key in state.keys.values_mut() {
            key.rotate_when_due(now);
        }
    }

    /// How often the operation was called, failed calls too.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.lock().calls.get(&operation).copied().unwrap_or(0)
    }

    /// How often the operation was called for this identity (as in [`Injection::identity`]), failed calls too.
    pub fn calls_for(&self, operation: Operation, identity: &str) -> u64 {
        self.lock().calls_for.get(&(operation, identity.to_owned())).copied().unwrap_or(0)
    }

    /// Whether there is a bucket of this name.
    pub fn has_bucket(&self, name: &str) -> bool {
        self.lock().buckets.contains_key(name)
    }

    /// How many writing calls there were, failed ones too.
    pub fn writes(&self) -> u64 {
        self.lock().calls.iter().filter(|(operation, _)| operation.writes()).map(|(_, calls)| calls).sum()
    }

    /// Every call in order, with the name of the object it was about.
    pub fn log(&self) -> Vec<(Operation, String)> {
        self.lock().log.clone()
    }

    /// All keys by name.
    pub fn keys(&self) -> BTreeMap<String, MemoryKey> {
        self.lock().keys.clone()
    }

    /// All buckets by name.
    pub fn buckets(&self) -> BTreeMap<String, MemoryBucket> {
        self.lock().buckets.clone()
    }

    /// All stores of authorization by id, without those that are marked as deleted.
    pub fn stores(&self) -> BTreeMap<String, MemoryStore> {
        self.all_stores().into_iter().filter(|(_, store)| !store.deleted).collect()
    }

    /// All stores of authorization by id: who has the id of a deleted one still gets answers of it.
    pub fn all_stores(&self) -> BTreeMap<String, MemoryStore> {
        self.lock().stores.clone()
    }

    /// All credentials that were issued, by their access key.
    pub fn identities(&self) -> BTreeMap<String, MemoryIdentity> {
        self.lock().identities.clone()
    }

    /// From now on identities end like this.
    pub fn revokes(&self, revocation: Revocation) {
        self.lock().revocation = revocation;
    }

    /// From now on we are known to the store as this account.
    pub fn signs_in_as(&self, account: &str) {
        account.clone_into(&mut self.lock().account);
    }

    /// Names of the keys at the key server of the store.
    pub fn bucket_keys(&self) -> Vec<String> {
        self.lock().bucket_keys.keys().cloned().collect()
    }

    /// Puts a key there or changes one, as a stranger would: nothing is checked or counted.
    pub fn tamper_key(&self, name: &str, change: impl FnOnce(&mut MemoryKey)) {
        let mut state = self.lock();
        let now = state.now;
        change(state.keys.entry(name.to_owned()).or_insert_with(|| MemoryKey::new(now, None)));
    }

    /// Puts a bucket there or changes one, as a stranger would: nothing is checked or counted.
    pub fn tamper_bucket(&self, name: &str, change: impl FnOnce(&mut MemoryBucket)) {
        change(self.lock().buckets.entry(name.to_owned()).or_default());
    }

    /// Puts a store there or changes one, as an application would: nothing is checked or counted.
    pub fn tamper_store(&self, id: &str, change: impl FnOnce(&mut MemoryStore)) {
        change(self.lock().stores.entry(id.to_owned()).or_default());
    }

    /// Removes a key, bucket or store, as a stranger would.
    pub fn lose(&self, name: &str) {
        let mut state = self.lock();
        state.keys.remove(name);
        state.buckets.remove(name);
        state.bucket_keys.remove(name);
        state.stores.entry(name.to_owned()).and_modify(|store| store.deleted = true);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere must not hide its own message behind a poisoned lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call: counted, failed before or after its steps if a test asked for that, otherwise carried out step by step.
    pub(crate) async fn call<T>(
        &self,
        operation: Operation,
        identity: &str,
        object: &str,
        steps: Vec<Step<'_>>,
        answer: impl FnOnce(&mut State) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let verdict = self.lock().strike(operation, identity, object);
        match verdict {
            None => {
                let mut state = self.lock();
                for step in steps {
                    step(&mut state)?;
                }
                answer(&mut state)
            }
            Some((moment, outcome)) => {
                let count = match moment {
                    Moment::BeforeCommit => 0,
                    Moment::AfterSteps(count) => count,
                    Moment::AfterCommit => usize::MAX,
                };
                {
                    let mut state = self.lock();
                    for step in steps.into_iter().take(count) {
                        step(&mut state)?;
                    }
                    if moment == Moment::AfterCommit {
                        answer(&mut state)?;
                    }
                }
                outcome.fault(object).await
            }
        }
    }
}

/// One change of the world; a call is several of them, and can be cut off between two.
pub(crate) type Step<'a> = Box<dyn FnOnce(&mut State) -> Result<(), Fault> + Send + 'a>;
