//! Buckets for each workspace: one for its data, and apart from it one for the backups of its database.
//!
//! In: a [`BucketSpec`]. Out: a [`BucketObserved`]: which key encrypts it, whose key that is, and what protects it. Which store
//! holds the bucket is chosen by [`Buckets`].
//!
//! # A bucket without marks
//! Some stores cannot tag a bucket in the call that makes it, so a crash in between leaves ours unmarked. A bucket of our name
//! without any mark is taken over only while nothing can be lost or learned by that: it must be empty (no version, no delete
//! marker, no unfinished upload) and without a policy. Its name is a hash of the installation id and a random identity, so only
//! somebody who knows both could have made it first, and then only the wish to keep us waiting is served. Otherwise it is
//! foreign, and never written to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    external::External,
    fault::{Fault, reasons},
    memory::MemoryBuckets,
    owner::{Claim, Identity, Installation, Marks, backup_bucket, bucket, key_server_key},
};

pub mod kes;
pub mod lifecycle;
pub mod policy;
pub mod s3;

pub use kes::KesConfig;
pub use lifecycle::{Archive, Lifecycle, LifecycleObserved, Told};
pub use s3::{S3Buckets, S3Config};

/// The bucket that a workspace shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSpec {
    /// The installation that the bucket belongs to.
    pub installation: Installation,
    /// The tenant whose key encrypts it.
    pub tenant: Identity,
    /// The workspace that it is for.
    pub workspace: Identity,
    /// What it is for.
    pub purpose: Purpose,
    /// Under whose key it is encrypted.
    pub encryption: WantedEncryption,
    /// What the store does by itself with what grows old in it; nothing if `None`.
    pub lifecycle: Option<Lifecycle>,
}

/// What a bucket of a workspace is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What the workspace and its consumers keep in it.
    Data,
    /// The backups of its database, which nobody but the database reaches.
    Backup,
}

/// Under whose key a bucket is encrypted by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedEncryption {
    /// Under a key of the tenant's own, made at the store's key server.
    TenantKey,
    /// Under the store's own key, which serves others as well; refused unless somebody consented.
    ProviderManaged {
        /// Whether the class allows it.
        consented: bool,
    },
}

impl BucketSpec {
    /// Name of the bucket.
    pub fn name(&self) -> String {
        match self.purpose {
            Purpose::Data => bucket(&self.installation, &self.workspace),
            Purpose::Backup => backup_bucket(&self.installation, &self.workspace),
        }
    }

    /// Name of the tenant's key at the key server, if it shall have one.
    pub fn key_name(&self) -> Option<String> {
        match self.encryption {
            WantedEncryption::TenantKey => Some(key_server_key(&self.installation, &self.tenant)),
            WantedEncryption::ProviderManaged { .. } => None,
        }
    }

    /// The owner marks of the bucket.
    pub fn marks(&self) -> Marks {
        Marks {
            installation: self.installation.clone(),
            tenant: self.tenant.clone(),
            owner: self.workspace.clone(),
            kind: "Workspace",
        }
    }

    /// Refuses to leave encryption to the store unless somebody consented.
    pub(crate) fn check_consent(&self) -> Result<(), Fault> {
        match self.encryption {
            WantedEncryption::ProviderManaged { consented: false } => Err(Fault::stalled(
                reasons::ENCRYPTION_CONSENT_REQUIRED,
                format!(
                    "bucket `{}` could only be encrypted under the store's own key: give the class a key server, \
                     or consent with allowProviderManagedEncryption",
                    self.name()
                ),
            )),
            WantedEncryption::ProviderManaged { consented: true } | WantedEncryption::TenantKey => Ok(()),
        }
    }
}

/// How objects are encrypted for which the writer asks nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultEncryption {
    /// Not set.
    None,
    /// Under a key of the store's own, which serves other tenants as well.
    ProviderManaged,
    /// Under this key.
    Key {
        /// Name of the key at the key server.
        name: String,
    },
}

/// The tenant's key at the key server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketKey {
    /// Name at the key server.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Such as `AES256`.
    pub algorithm: String,
    /// How this is known.
    pub evidence: String,
}

/// Something that not every store offers. What is lacking is shown, and does not keep a bucket from being ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A switch that overrides every public grant. Without it the bucket is closed by having no grant at all.
    PublicAccessBlock,
    /// A lifecycle rule that drops unfinished uploads. Without it the store's own clean-up applies, if there is one.
    UploadExpiry,
    /// A lifecycle rule that drops older versions. Without it what was deleted or overwritten stays until somebody removes it.
    VersionExpiry,
}

/// What protects a bucket, as the store tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// How objects are encrypted by default.
    pub encryption: DefaultEncryption,
    /// Whether overwritten and deleted objects stay as older versions.
    pub versioning: bool,
    /// Whether every public grant is overridden.
    pub public_access_blocked: bool,
    /// The bucket policy in comparable form ([`policy::comparable`]).
    pub policy: Option<serde_json::Value>,
    /// Whether unfinished uploads are dropped.
    pub uploads_expire: bool,
    /// What happens to what grows old.
    pub lifecycle: LifecycleObserved,
}

/// A workspace's bucket as its store shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketObserved {
    /// Name at the store.
    pub name: String,
    /// Whose it is: ours, or not yet marked (see the module's documentation).
    pub claim: Claim,
    /// All its tags.
    pub tags: BTreeMap<String, String>,
    /// What protects it.
    pub settings: BucketSettings,
    /// The tenant's key, if the class has a key server and the key is there.
    pub key: Option<BucketKey>,
    /// What this store lacks.
    pub lacking: BTreeSet<Feature>,
    /// Whether nobody in the cluster wants it any more.
    pub released: bool,
    /// How all this is known.
    pub evidence: String,
}

/// One thing about a bucket that can be other than wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// The owner marks, or the mark of being released.
    Marks,
    /// The tenant's key at the key server.
    Key,
    /// The default encryption.
    Encryption,
    /// Versioning.
    Versioning,
    /// The switch against public access.
    PublicAccess,
    /// The bucket policy.
    Policy,
    /// Dropping of unfinished uploads.
    UploadExpiry,
    /// Dropping of older versions.
    VersionExpiry,
    /// Moving of older objects to another class of storage. Stands last, because a store may refuse just this.
    Archive,
}

/// Pure: what of the bucket is other than wanted, in the order in which it is repaired: nothing is written to a bucket that is
/// not marked, and encryption stands before anything else.
pub fn drift(want: &BucketSpec, have: &BucketObserved) -> Vec<Attribute> {
    let encryption = match want.key_name() {
        Some(name) => DefaultEncryption::Key { name },
        None => DefaultEncryption::ProviderManaged,
    };
    let offered = |feature| !have.lacking.contains(&feature);
    let checks = [
        (Attribute::Marks, have.claim != Claim::Ours || have.released),
        (Attribute::Key, want.key_name().is_some() && have.key.is_none()),
        (Attribute::Encryption, have.settings.encryption != encryption),
        (Attribute::Versioning, !have.settings.versioning),
        (Attribute::PublicAccess, offered(Feature::PublicAccessBlock) && !have.settings.public_access_blocked),
        (Attribute::Policy, have.settings.policy != policy::comparable(&policy::for_bucket(want))),
        (Attribute::UploadExpiry, offered(Feature::UploadExpiry) && !have.settings.uploads_expire),
        (
            Attribute::VersionExpiry,
            offered(Feature::VersionExpiry) && !lifecycle::expires_as_wanted(want, &have.settings.lifecycle),
        ),
        (Attribute::Archive, !lifecycle::archives_as_wanted(want, &have.settings.lifecycle)),
    ];
    checks.into_iter().filter_map(|(attribute, differs)| differs.then_some(attribute)).collect()
}

/// The tenant's key is missing although the bucket is encrypted under it: a new key of that name could not read what is there,
/// so none is made.
pub(crate) fn check_key_not_lost(want: &BucketSpec, have: &BucketObserved) -> Result<(), Fault> {
    match (&have.settings.encryption, want.key_name()) {
        (DefaultEncryption::Key { name }, Some(wanted)) if *name == wanted && have.key.is_none() => {
            Err(Fault::stalled(
                reasons::KEY_DISABLED,
                format!(
                    "key `{wanted}` is gone from the key server although bucket `{}` is encrypted under it: restore the key from the \
                 key server's backup",
                    have.name
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// Where buckets come from.
#[derive(Clone, Debug)]
pub enum Buckets {
    /// In an S3-compatible store.
    S3(S3Buckets),
    /// In memory, with faults on demand; for tests.
    Memory(MemoryBuckets),
}

macro_rules! delegate {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self {
            Buckets::S3($inner) => $call,
            Buckets::Memory($inner) => $call,
        }
    };
}

impl Buckets {
    /// When the newest object was written in the folder of this bucket that comes last of those in `folder`, such as
    /// `database-01234567/wals/`. `None` if there is none. It is for files whose folders have names that grow.
    pub async fn newest(&self, want: &BucketSpec, folder: &str) -> Result<Option<Timestamp>, Fault> {
        match self {
            Self::S3(inner) => inner.newest(&want.name(), folder).await,
            Self::Memory(inner) => inner.newest(want).await,
        }
    }

    /// What is to be told of rules that others made in this bucket, which was looked at as `want`.
    pub fn conflict(&self, want: &BucketSpec, have: &BucketObserved) -> Option<Fault> {
        lifecycle::conflict(&self.name(want), have)
    }
}

impl External for Buckets {
    type Desired = BucketSpec;
    type Observed = BucketObserved;

    fn name(&self, want: &BucketSpec) -> String {
        delegate!(self, inner => inner.name(want))
    }

    async fn observe(&self, want: &BucketSpec) -> Result<Option<BucketObserved>, Fault> {
        delegate!(self, inner => inner.observe(want).await)
    }

    async fn create(&self, want: &BucketSpec) -> Result<(), Fault> {
        delegate!(self, inner => inner.create(want).await)
    }

    async fn update(&self, want: &BucketSpec, have: &BucketObserved) -> Result<(), Fault> {
        delegate!(self, inner => inner.update(want, have).await)
    }

    async fn release(&self, want: &BucketSpec, have: &BucketObserved) -> Result<(), Fault> {
        delegate!(self, inner => inner.release(want, have).await)
    }

    async fn delete(&self, want: &BucketSpec, have: &BucketObserved) -> Result<(), Fault> {
        delegate!(self, inner => inner.delete(want, have).await)
    }

    fn matches(want: &BucketSpec, have: &BucketObserved) -> bool {
        drift(want, have).is_empty()
    }

    fn is_released(have: &BucketObserved) -> bool {
        have.released
    }
}
