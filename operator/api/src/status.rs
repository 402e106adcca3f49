//! Parts of status that several kinds share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `observedGeneration` of an object that nobody has looked at yet, so that no tool takes it for done.
#[must_use]
pub fn unobserved() -> i64 {
    -1
}

/// One place where a tenant's data rests, and what is known of its encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionPlace {
    /// What is encrypted there: `envelope`, `bucket`, `etcd`.
    #[schemars(length(max = 64))]
    pub place: String,
    /// Name of the key, or empty where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub key: Option<String>,
    /// Whose key it is: `Tenant` (serves no other tenant), `Provider` (the store's own, serves all), `Unknown`.
    pub owner: KeyOwner,
    /// How the key rotates, in words: `every 90d`, `never: the key server cannot rotate`.
    #[schemars(length(max = 256))]
    pub rotation: String,
    /// How all this is known: which answer of which server, or that nobody can tell.
    #[schemars(length(max = 512))]
    pub proof: String,
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyOwner {
    /// The key serves this tenant and no other.
    Tenant,
    /// The key is the store's own and serves all.
    Provider,
    /// Nobody told.
    Unknown,
}
