//! Buckets in memory, with the rules of an S3 store.
//!
//! In: the calls of [`External`]. Out: what the store would answer. Making and marking a bucket are two steps, so that a test can
//! cut between them; each attribute that is repaired is a step of its own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Operation, State, Step, World};
use crate::{
    buckets::{
        Attribute, BucketKey, BucketObserved, BucketSettings, BucketSpec, DefaultEncryption, Feature,
        LifecycleObserved, Told, check_key_not_lost, drift, policy,
    },
    external::External,
    fault::{Fault, reasons},
    owner::{Claim, tags},
};

/// How many objects one call of delete removes.
const PAGE: u64 = 1000;

/// A bucket as the world holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryBucket {
    /// Its tags, the owner marks among them.
    pub tags: BTreeMap<String, String>,
    /// How many versions, markers and uploads it holds.
    pub objects: u64,
    /// How many of them are locked against deletion.
    pub locked: u64,
    /// What protects it.
    pub settings: BucketSettings,
    /// For how many looks it stays invisible.
    pub hidden: u32,
    /// When the newest object was written; `None` stands for just now.
    pub newest: Option<Timestamp>,
}

impl Default for MemoryBucket {
    fn default() -> Self {
        let settings = BucketSettings {
            encryption: DefaultEncryption::None,
            versioning: false,
            public_access_blocked: false,
            policy: None,
            uploads_expire: false,
            lifecycle: LifecycleObserved::default(),
        };
        Self { tags: BTreeMap::new(), objects: 0, locked: 0, settings, hidden: 0, newest: None }
    }
}

/// Buckets in memory.
#[derive(Clone, Debug)]
pub struct MemoryBuckets {
    world: World,
    lacking: BTreeSet<Feature>,
}

impl MemoryBuckets {
    /// Buckets in this world, in a store that offers everything.
    pub fn new(world: &World) -> Self {
        Self { world: world.clone(), lacking: BTreeSet::new() }
    }

    /// Buckets in a store that lacks these features.
    #[must_use]
    pub fn lacking(self, features: impl IntoIterator<Item = Feature>) -> Self {
        Self { lacking: features.into_iter().collect(), ..self }
    }

    pub(crate) async fn newest(&self, want: &BucketSpec) -> Result<Option<Timestamp>, Fault> {
        let name = want.name();
        self.world
            .call(Operation::ObserveBucket, want.workspace.as_str(), &name, Vec::new(), |state| {
                let Some(bucket) = state.buckets.get(&name) else { return Ok(None) };
                Ok(Some(bucket.newest.unwrap_or_else(Timestamp::now)))
            })
            .await
    }

    async fn mark(&self, operation: Operation, want: &BucketSpec, name: &str, released: bool) -> Result<(), Fault> {
        self.world
            .call(operation, want.workspace.as_str(), name, Vec::new(), |state| {
                let bucket = owned(state, want, name)?;
                bucket.tags = want.marks().onto(&bucket.tags, released);
                Ok(())
            })
            .await
    }
}

/// The bucket, if it is ours or may be taken over; checked right before every write, like the real adapter does.
fn owned<'a>(state: &'a mut State, want: &BucketSpec, name: &str) -> Result<&'a mut MemoryBucket, Fault> {
    let Some(bucket) = state.buckets.get_mut(name) else {
        return Err(Fault::transient(format!("bucket `{name}` in memory vanished; it is looked at again")));
    };
    claim(want, name, bucket)?;
    Ok(bucket)
}

fn claim(want: &BucketSpec, name: &str, bucket: &MemoryBucket) -> Result<Claim, Fault> {
    match want.marks().claim(&bucket.tags) {
        Claim::Ours => Ok(Claim::Ours),
        Claim::Unclaimed if bucket.objects == 0 && bucket.settings.policy.is_none() => Ok(Claim::Unclaimed),
        Claim::Unclaimed | Claim::Foreign => Err(Fault::foreign(format!(
            "bucket `{name}` in memory does not bear our marks and is left alone: remove it, or restore its tags if it is ours"
        ))),
    }
}

/// Of a bucket for which no lifecycle is wanted none is told.
fn settings_as(want: &BucketSpec, bucket: &MemoryBucket) -> BucketSettings {
    let lifecycle = want.lifecycle.as_ref().map(|_| bucket.settings.lifecycle.clone()).unwrap_or_default();
    BucketSettings { lifecycle, ..bucket.settings.clone() }
}

fn repair(bucket: &mut MemoryBucket, want: &BucketSpec, attribute: Attribute) {
    let settings = &mut bucket.settings;
    match attribute {
        Attribute::Marks => bucket.tags = want.marks().onto(&bucket.tags, false),
        Attribute::Key => {}
        Attribute::Encryption => {
            settings.encryption =
                want.key_name().map_or(DefaultEncryption::ProviderManaged, |name| DefaultEncryption::Key { name });
        }
        Attribute::Versioning => settings.versioning = true,
        Attribute::PublicAccess => settings.public_access_blocked = true,
        Attribute::Policy => settings.policy = policy::comparable(&policy::for_bucket(want)),
        Attribute::UploadExpiry => settings.uploads_expire = true,
        Attribute::VersionExpiry => {
            settings.lifecycle.keep_deleted = Told::of(want.lifecycle.as_ref().map(|wanted| wanted.keep_deleted));
        }
        Attribute::Archive => {
            settings.lifecycle.archive = Told::of(want.lifecycle.as_ref().and_then(|wanted| wanted.archive.clone()));
        }
    }
}

/// A store has the classes of storage that it was set up with.
fn check_storage_class(state: &State, want: &BucketSpec, name: &str) -> Result<(), Fault> {
    let archive = want.lifecycle.as_ref().and_then(|wanted| wanted.archive.as_ref());
    match archive.filter(|archive| state.refused_classes.contains(&archive.storage_class)) {
        None => Ok(()),
        Some(archive) => Err(Fault::stalled(
            reasons::STORAGE_CLASS_REFUSED,
            format!(
                "bucket `{name}` in memory: there is no storage class `{}`: change or remove archive in the TenantClass",
                archive.storage_class
            ),
        )),
    }
}

impl External for MemoryBuckets {
    type Desired = BucketSpec;
    type Observed = BucketObserved;

    fn name(&self, want: &BucketSpec) -> String {
        format!("bucket `{}` in memory", want.name())
    }

    async fn observe(&self, want: &BucketSpec) -> Result<Option<BucketObserved>, Fault> {
        let name = want.name();
        self.world
            .call(Operation::ObserveBucket, want.workspace.as_str(), &name, Vec::new(), |state| {
                let made = want.key_name().and_then(|key| state.bucket_keys.get(&key).copied());
                let Some(bucket) = state.buckets.get_mut(&name) else { return Ok(None) };
                if bucket.hidden > 0 {
                    bucket.hidden -= 1;
                    return Ok(None);
                }
                let claim = claim(want, &name, bucket)?;
                Ok(Some(BucketObserved {
                    name: name.clone(),
                    claim,
                    tags: bucket.tags.clone(),
                    settings: settings_as(want, bucket),
                    key: want.key_name().zip(made).map(|(key, created)| BucketKey {
                        evidence: format!("in memory: `{key}`"),
                        name: key,
                        created: Some(created),
                        algorithm: "AES256".to_owned(),
                    }),
                    lacking: self.lacking.clone(),
                    released: bucket.tags.contains_key(tags::RELEASED),
                    evidence: format!("in memory: `{name}`"),
                }))
            })
            .await
    }

    async fn create(&self, want: &BucketSpec) -> Result<(), Fault> {
        want.check_consent()?;
        let name = want.name();
        let made: Step<'_> = Box::new(|state| {
            let fresh = MemoryBucket { hidden: state.lag, ..MemoryBucket::default() };
            state.buckets.entry(name.clone()).or_insert(fresh);
            Ok(())
        });
        let marked: Step<'_> = Box::new(|state| {
            let bucket = owned(state, want, &name)?;
            bucket.tags = want.marks().onto(&bucket.tags, false);
            Ok(())
        });
        self.world.call(Operation::CreateBucket, want.workspace.as_str(), &name, vec![made, marked], |_| Ok(())).await
    }

    async fn update(&self, want: &BucketSpec, have: &BucketObserved) -> Result<(), Fault> {
        want.check_consent()?;
        check_key_not_lost(want, have)?;
        let mut steps: Vec<Step<'_>> = Vec::new();
        for attribute in drift(want, have) {
            steps.push(Box::new(move |state| {
                owned(state, want, &have.name)?;
                if attribute == Attribute::Key
                    && let Some(key) = want.key_name()
                {
                    let now = state.now;
                    state.bucket_keys.entry(key).or_insert(now);
                }
                if attribute == Attribute::Archive {
                    check_storage_class(state, want, &have.name)?;
                }
                repair(owned(state, want, &have.name)?, want, attribute);
                Ok(())
            }));
        }
        self.world.call(Operation::UpdateBucket, want.workspace.as_str(), &have.name, steps, |_| Ok(())).await
    }

    async fn release(&self, want: &BucketSpec, have: &BucketObserved) -> Result<(), Fault> {
        self.mark(Operation::ReleaseBucket, want, &have.name, true).await
    }

    async fn delete(&self, want: &BucketSpec, have: &BucketObserved) -> Result<(), Fault> {
        let emptied: Step<'_> = Box::new(|state| {
            let bucket = owned(state, want, &have.name)?;
            let free = bucket.objects.saturating_sub(bucket.locked);
            if free == 0 && bucket.locked > 0 {
                return Err(Fault::stalled(
                    reasons::BUCKET_NOT_EMPTY,
                    format!(
                        "bucket `{}` in memory holds locked objects: release the locks, or keep the bucket",
                        have.name
                    ),
                ));
            }
            bucket.objects -= free.min(PAGE);
            Ok(())
        });
        let removed: Step<'_> = Box::new(|state| {
            if owned(state, want, &have.name)?.objects == 0 {
                state.buckets.remove(&have.name);
            }
            Ok(())
        });
        self.world
            .call(Operation::DeleteBucket, want.workspace.as_str(), &have.name, vec![emptied, removed], |_| Ok(()))
            .await
    }

    fn matches(want: &BucketSpec, have: &BucketObserved) -> bool {
        drift(want, have).is_empty()
    }

    fn is_released(have: &BucketObserved) -> bool {
        have.released
    }
}
