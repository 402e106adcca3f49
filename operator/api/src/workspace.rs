//! Workspace: a space of a Tenant with its own stack namespace, bucket, database and members.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    amounts::ResourceText,
    consumer::{AuthorizationUse, Consumer, ConsumerStatus, EndingCredentials},
    database::{Database, DatabaseStatus},
    rules,
    status::{EncryptionPlace, unobserved},
    subject::Member,
    tenant::ResourceTextStatus,
};

/// A space of a Tenant. It lives in the Tenant's control namespace; what it stands for lives in its stack namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "steading.dev",
    version = "v1alpha1",
    kind = "Workspace",
    plural = "workspaces",
    shortname = "wsp",
    namespaced,
    category = "steading",
    status = "WorkspaceStatus",
    derive = "PartialEq",
    doc = "A space of a Tenant with its own isolated stack namespace, its own bucket, its own database and its own members.",
    validation = rules::object_name(),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Stack", type_ = "string", json_path = ".status.namespace.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Bucket", type_ = "string", json_path = ".status.bucket.name", priority = 1),
    printcolumn(name = "Database", type_ = "string", json_path = ".status.database.primary", priority = 1),
    printcolumn(name = "Last Backup", type_ = "date", json_path = ".status.database.backup.lastFull", priority = 1),
    printcolumn(name = "CPU", type_ = "string", json_path = ".status.quota.cpu", priority = 1),
    printcolumn(name = "Memory", type_ = "string", json_path = ".status.quota.memory", priority = 1),
    printcolumn(name = "Storage", type_ = "string", json_path = ".status.quota.storage", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[x_kube(
    validation = rules::identity_is_immutable(),
    validation = rules::restore_is_immutable(),
    validation = Rule::new("!(has(self.bucket) && has(self.bucket.disabled) && self.bucket.disabled) || (has(oldSelf.bucket) && has(oldSelf.bucket.disabled) && oldSelf.bucket.disabled)")
        .message("bucket.disabled cannot be turned on later, because data would be lost: delete the Workspace instead (its Tenant's deletionPolicy decides what remains)"),
    validation = Rule::new("!(has(self.database) && has(self.database.disabled) && self.database.disabled) || (has(oldSelf.database) && has(oldSelf.database.disabled) && oldSelf.database.disabled)")
        .message("database.disabled cannot be turned on later, because data would be lost: delete the Workspace instead (its Tenant's deletionPolicy decides what remains)")
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSpec {
    /// Takes up the data of an earlier Workspace: its identity, as that one's status showed it. Only at creation, and only
    /// for whoever has the verb `adopt` on workspaces. Left out, the object's UID is its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = rules::identity())]
    pub identity: Option<String>,
    /// How much the stack may use; reserved from the Tenant's quota. A resource that the Tenant limits must be named here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<ResourceText>,
    /// Who may look into the stack, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub members: Vec<Member>,
    /// The bucket. Left out, there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// The database. Left out, there is one as the class says, if the class offers any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// Who elsewhere in the cluster uses the database, the bucket, or the Tenant's store of authorization, at most 50. Each gets a
    /// Secret in its namespace: of the first two with a role and a certificate, or credentials, of its own; of the third with where it is, because
    /// there the application comes as itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "serviceAccount".into()]))]
    pub consumers: Vec<Consumer>,
    /// While true, nothing runs that the Workspace can do without: its database is hibernated, which keeps volumes, backups and the quota that it
    /// needs to come back. What consumers have, they keep; they cannot connect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// Stops all changes to the Workspace while true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// The bucket of a Workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// No bucket at all. Can be turned off later, not on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

impl WorkspaceSpec {
    /// Whether the Workspace has a bucket.
    #[must_use]
    pub fn wants_bucket(&self) -> bool {
        !self.bucket.as_ref().is_some_and(|bucket| bucket.disabled)
    }

    /// Whether the Workspace has a database, if its class offers any.
    #[must_use]
    pub fn wants_database(&self) -> bool {
        !self.database.as_ref().is_some_and(|database| database.disabled)
    }
}

/// What was observed of a Workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// Generation of the spec that the rest of this status speaks of; -1 before the first look.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// What everything of this Workspace is named after. Fixed once written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub identity: Option<String>,
    /// The stack namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceStatus>,
    /// What the stack's ResourceQuota was last set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<ResourceTextStatus>,
    /// Number of the grant that the ResourceQuota was last set to. The Tenant's ledger frees what shrank only once it sees the
    /// number of its newest grant here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_revision: Option<i64>,
    /// The bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketStatus>,
    /// The database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,
    /// Who elsewhere uses the database, the bucket or the store of authorization, and whose Secret is still to be taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "serviceAccount".into()]))]
    pub consumers: Vec<ConsumerStatus>,
    /// Credentials for the bucket that were taken from consumers: those that are still to be ended at the store, and for a while those that
    /// were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["session".into()]))]
    pub ending_credentials: Vec<EndingCredentials>,
    /// Each place where data of the Workspace rests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["place".into()]))]
    pub encryption: Vec<EncryptionPlace>,
    /// Who may do what, as it stands in the tenant's store of authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<MembershipStatus>,
    /// Ready, Isolated, QuotaReserved, BucketReady, DatabaseReady, BackupFresh, ConsumersReady, AuthorizationReady; Reconciling and Stalled only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for WorkspaceStatus {
    fn default() -> Self {
        Self {
            observed_generation: unobserved(),
            identity: None,
            namespace: None,
            quota: None,
            quota_revision: None,
            bucket: None,
            database: None,
            consumers: Vec::new(),
            ending_credentials: Vec::new(),
            encryption: Vec::new(),
            authorization: None,
            conditions: Vec::new(),
        }
    }
}

/// The stack namespace of a Workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its UID: a namesake is not ours.
    #[schemars(length(max = 36))]
    pub uid: String,
}

/// The bucket of a Workspace as last observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Address of the store.
    #[schemars(length(max = 253))]
    pub endpoint: String,
    /// Its region.
    #[schemars(length(max = 32))]
    pub region: String,
    /// The key under which new objects are encrypted by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub key: Option<String>,
    /// When it was last looked at. Absent before it was ever seen: it stands in status before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
}

/// The members of a Workspace in the tenant's store of authorization, as last observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MembershipStatus {
    /// Id of the store.
    #[serde(rename = "storeID")]
    #[schemars(length(max = 26))]
    pub store_id: String,
    /// What the Workspace is called in the store.
    #[schemars(length(max = 64))]
    pub object: String,
    /// The consumers that may call the server for the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "serviceAccount".into()]))]
    pub applications: Vec<ApplicationStatus>,
    /// When its members were last looked at. Absent before: it stands in status before they are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
}

/// A consumer that may call the server of authorization for the tenant's store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its ServiceAccount.
    #[schemars(length(max = 63))]
    pub service_account: String,
    /// What it may do there.
    pub authorization: AuthorizationUse,
}
