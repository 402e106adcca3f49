//! What each provider can do, as data: documentation and status are made from it, so that both say the same.
//!
//! In: nothing. Out: [`KEY_PROVIDERS`] and [`BUCKET_PROVIDERS`]. A property that a server decides by itself is [`Support::Depends`]
//! and says on what; what a particular store lacks is told by [`crate::BucketObserved::lacking`].

use std::time::Duration;

use crate::keys::SHORTEST_ROTATION_PERIOD;

/// Whether a provider can do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Always, and how.
    Yes(&'static str),
    /// Never, and what that means for the user.
    No(&'static str),
    /// In some cases, and which.
    Depends(&'static str),
}

/// Who holds the power over a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    /// The platform's own key service, with a key for each tenant.
    Tenant,
    /// The store, with one key for all.
    Provider,
}

impl KeyOwner {
    /// As it stands in a status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::Provider => "Provider",
        }
    }
}

/// What a provider of keys can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyProvider {
    /// As it stands in a TenantClass.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Whose the key is.
    pub owner: KeyOwner,
    /// Whether a key gets new versions by itself.
    pub scheduled_rotation: Support,
    /// Whether a key gets a new version when asked.
    pub requested_rotation: Support,
    /// Shortest period of scheduled rotation, if there is one.
    pub shortest_rotation_period: Option<Duration>,
    /// Whether a key can be put out of use and back.
    pub disable: Support,
    /// Whether a key that nobody wants can be told apart from one in use.
    pub released_mark: Support,
    /// How it is known whose a key is.
    pub owner_mark: Support,
    /// Against what all this was proved.
    pub proved_against: &'static str,
}

/// What a provider of buckets can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketProvider {
    /// As it stands in a TenantClass.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Whether each tenant's buckets are under a key of its own.
    pub tenant_key: Support,
    /// Whether callers without TLS are refused.
    pub tls_only: Support,
    /// Whether writes under another key are refused.
    pub other_keys_refused: Support,
    /// Whether every public grant is overridden.
    pub public_access_block: Support,
    /// Whether unfinished uploads are dropped.
    pub upload_expiry: Support,
    /// Whether older versions in buckets of backups are dropped.
    pub version_expiry: Support,
    /// Whether older backups move to another class of storage.
    pub archive: Support,
    /// Whether a bucket that nobody wants can be told apart from one in use.
    pub released_mark: Support,
    /// How it is known whose a bucket is.
    pub owner_mark: Support,
    /// Against what all this was proved.
    pub proved_against: &'static str,
}

/// All providers of keys: those for tenants, and those of a store.
pub const KEY_PROVIDERS: &[KeyProvider] = &[OPENBAO, KES, STORE_MANAGED];

/// All providers of buckets.
pub const BUCKET_PROVIDERS: &[BucketProvider] = &[S3];

/// The transit engine of OpenBao or Vault.
pub const OPENBAO: KeyProvider = KeyProvider {
    name: "openbao",
    title: "Transit engine of OpenBao or Vault",
    owner: KeyOwner::Tenant,
    scheduled_rotation: Support::Yes(
        "the engine looks at least hourly whether a key is due; older versions still decrypt",
    ),
    requested_rotation: Support::Yes("once for each request; older versions still decrypt"),
    shortest_rotation_period: Some(SHORTEST_ROTATION_PERIOD),
    disable: Support::Depends(
        "OpenBao soft-deletes the key; Vault has no such call, there all existing versions refuse to decrypt until they are allowed again",
    ),
    released_mark: Support::Yes("a released key has no rotation period, one in use always has"),
    owner_mark: Support::Yes(
        "the name holds the installation id and the tenant's identity, because transit keys carry no tags",
    ),
    proved_against: "OpenBao 2.4 (a real server in the tests); Vault: by its documented interface only",
};

/// A KES server behind an S3 store.
pub const KES: KeyProvider = KeyProvider {
    name: "kes",
    title: "KES key server of an S3 store",
    owner: KeyOwner::Tenant,
    scheduled_rotation: Support::No("KES keys have one version; a new key would need every object to be rewritten"),
    requested_rotation: Support::No("KES keys have one version; a new key would need every object to be rewritten"),
    shortest_rotation_period: None,
    disable: Support::No(
        "KES can only destroy a key, which Steading never does; the key stays when a bucket or tenant is deleted",
    ),
    released_mark: Support::No("KES keys carry no tags; see the marks of the buckets under the key"),
    owner_mark: Support::Yes(
        "the name holds the installation id and the tenant's identity, because KES keys carry no tags",
    ),
    proved_against: "KES 0.23 behind MinIO (real servers in the tests)",
};

/// The own key of a store.
pub const STORE_MANAGED: KeyProvider = KeyProvider {
    name: "providerManaged",
    title: "Own key of an S3 store (SSE-S3)",
    owner: KeyOwner::Provider,
    scheduled_rotation: Support::Depends("on the store; Steading can neither ask for it nor see it"),
    requested_rotation: Support::No("the key is the store's and serves others as well"),
    shortest_rotation_period: None,
    disable: Support::No("the key is the store's and serves others as well"),
    released_mark: Support::No("the key is the store's and serves others as well"),
    owner_mark: Support::No("the key is the store's and serves others as well"),
    proved_against: "MinIO (a real server in the tests)",
};

/// An S3-compatible store.
pub const S3: BucketProvider = BucketProvider {
    name: "s3",
    title: "S3-compatible object store",
    tenant_key: Support::Depends(
        "with a key server in the class; without one the store's own key serves all, which the class must allow",
    ),
    tls_only: Support::Depends(
        "the policy of the bucket demands it, and so does every identity that Steading issues; some stores, MinIO among them, hold only \
         anonymous callers to the bucket's policy, so other accounts of the store are bound by the store's own listener",
    ),
    other_keys_refused: Support::Depends(
        "the policy of the bucket refuses them, and so does every identity that Steading issues; some stores, MinIO among them, hold only \
         anonymous callers to the bucket's policy",
    ),
    public_access_block: Support::Depends(
        "on the store; where it is lacking (MinIO), the bucket is closed by having no grant at all",
    ),
    upload_expiry: Support::Depends("on the store; where it is lacking (MinIO), the store's own clean-up applies"),
    version_expiry: Support::Depends(
        "on the store; where it is lacking, what was deleted or overwritten stays until somebody removes it",
    ),
    archive: Support::Depends("on the classes of storage that the store has; in MinIO they are its tiers"),
    released_mark: Support::Yes("the tag steading.dev/released"),
    owner_mark: Support::Yes("the tags steading.dev/installation, tenant, owner and kind"),
    proved_against: "MinIO with KES (real servers in the tests)",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_rotate_names_no_shortest_period() {
        for provider in KEY_PROVIDERS {
            let can = matches!(provider.scheduled_rotation, Support::Yes(_));
            assert_eq!(can, provider.shortest_rotation_period.is_some(), "{}", provider.name);
        }
    }

    #[test]
    fn only_a_key_of_the_tenants_own_bears_an_owner_mark() {
        for provider in KEY_PROVIDERS {
            let marked = matches!(provider.owner_mark, Support::Yes(_));
            assert_eq!(marked, provider.owner == KeyOwner::Tenant, "{}", provider.name);
        }
    }
}
