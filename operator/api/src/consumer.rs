//! Who elsewhere in the cluster uses what a Workspace has: what a Workspace says of them, what their namespaces consent to, and what was
//! observed.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{names::TenantName, names::WorkspaceName, rules};

/// Most Workspaces that one namespace can consent to; what its annotation names beyond them is not read.
const MOST_CONSENTS: usize = 256;

/// A ServiceAccount of another namespace that uses the Workspace's database, its bucket, or its Tenant's store of authorization. Its namespace consents with the
/// annotation `steading.dev/consumes: tenant/workspace`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.database) || has(self.bucket) || has(self.authorization)").message("a consumer must use something: set database, bucket or authorization"))]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::consumer_namespace())]
    pub namespace: String,
    /// Its name, at most 63 characters.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::service_account())]
    pub service_account: String,
    /// What it may do with the database; nothing if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseUse>,
    /// What it may do with the bucket; nothing if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketUse>,
    /// What it may do in the Tenant's store of authorization; nothing if it is left out. Needs a TenantClass whose OpenFGA server knows its
    /// callers (`authorization.openfga.accessControl`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationUse>,
}

/// What a consumer may do with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DatabaseUse {
    /// Reads all tables.
    Read,
    /// Reads and writes all tables, and makes and changes them as the database's owner does.
    ReadWrite,
}

/// What a consumer may do with a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BucketUse {
    /// Lists and reads, older versions too.
    Read,
    /// Lists, reads, writes and deletes; older versions are read but not removed.
    ReadWrite,
}

/// How credentials for a bucket are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Revocation {
    /// The store ends them when it is told to.
    Immediate,
    /// The store ends them at their time, and not before.
    ByExpiry,
}

/// What a consumer may do in a store of authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuthorizationUse {
    /// Asks, and reads all that stands there.
    Read,
    /// Asks, reads and writes tuples and models.
    ReadWrite,
}

/// A consumer as last observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerStatus {
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// UID of the namespace: what was made in a namesake before is gone.
    #[serde(rename = "namespaceUID")]
    #[schemars(length(max = 36))]
    pub namespace_uid: String,
    /// Its ServiceAccount.
    #[schemars(length(max = 63))]
    pub service_account: String,
    /// Its role in the database, if it uses that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub role: Option<String>,
    /// The Secret in its namespace that says where everything is and holds what it signs in with.
    #[schemars(length(max = 253))]
    pub secret: String,
    /// When its certificate ends. It is renewed before, in the same Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<Time>,
    /// When the Secret was last written. Absent before: it stands in status before it is made, and until it is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// What it has for the bucket, if it uses that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<ConsumerBucketStatus>,
    /// What its Secret says of the Tenant's store of authorization, if it comes to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<ConsumerAuthorizationStatus>,
}

/// What a consumer's Secret says of the store of authorization. Who may call for it stands in `status.authorization.applications`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerAuthorizationStatus {
    /// The store that it names.
    #[serde(default, rename = "storeID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 26))]
    pub store_id: Option<String>,
    /// When the Secret was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
}

/// A consumer's credentials for the bucket. Nothing here lets anybody in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerBucketStatus {
    /// What they are for.
    pub access: BucketUse,
    /// What all of them are known by at the store, where they are taken back by it. It stands in status before any is issued.
    #[schemars(length(max = 64))]
    pub session: String,
    /// How they are taken back, as the store was seen to do it before it issued them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// Which account at which store issues them, as a digest: only that one can take them back. It stands in status before any is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub issuer: Option<String>,
    /// When those end that were issued last. They are renewed at half of their life; those before stay good until their own end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When the Secret was last seen to hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
}

/// Credentials of somebody who is to have none any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndingCredentials {
    /// Namespace of the consumer that had them.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its ServiceAccount.
    #[schemars(length(max = 63))]
    pub service_account: String,
    /// What they are known by at the store.
    #[schemars(length(max = 64))]
    pub session: String,
    /// How they end, as it was known when they were issued or as the store said since. Absent where neither is so: the store must be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// Which account at which store issued them, as a digest. Absent where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub issuer: Option<String>,
    /// When they end by themselves, at the latest.
    pub ends_at: Time,
    /// When the store was first told to end them, and said that it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
}

/// The Workspaces that a namespace consents to use, from the value of its annotation: `tenant/workspace`, separated by commas. What is
/// no such name is passed over.
#[must_use]
pub fn consents(annotation: &str) -> BTreeSet<(TenantName, WorkspaceName)> {
    let entries = annotation.split(',').take(MOST_CONSENTS);
    entries
        .filter_map(|entry| {
            let (tenant, workspace) = entry.trim_matches(' ').split_once('/')?;
            Some((tenant.parse().ok()?, workspace.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotation: &str) -> Vec<String> {
        consents(annotation).into_iter().map(|(tenant, workspace)| format!("{tenant}/{workspace}")).collect()
    }

    #[test]
    fn a_namespace_consents_to_the_workspaces_that_it_names_and_to_nothing_else() {
        assert_eq!(read("acme/finance"), ["acme/finance"]);
        assert_eq!(read("globex/sales, acme/finance ,acme/finance"), ["acme/finance", "globex/sales"]);
        for nothing in
            ["", "acme", "*/*", "acme/*", "acme/finance/more", "Acme/finance", "acme/", "/finance", "acme\n/finance"]
        {
            assert_eq!(read(nothing), [""; 0], "{nothing:?}");
        }
    }

    #[test]
    fn one_namespace_cannot_name_so_many_that_reading_them_hurts() {
        let many: Vec<String> = (0..1_000).map(|number| format!("acme/w{number}")).collect();
        assert_eq!(consents(&many.join(",")).len(), MOST_CONSENTS);
    }
}
