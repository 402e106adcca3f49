//! Tenant: a customer, in its control namespace and named like it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration, InvalidAmount,
    amounts::{Amounts, ResourceText},
    rules,
    status::{EncryptionPlace, unobserved},
    subject::Owner,
};

/// Most Workspaces that one Tenant can have, whatever its quota says: it bounds the ledger in status.
pub const WORKSPACES_MAX: i32 = 500;

/// A customer: which class it has, who owns it, how its key rotates, how much it may use, what remains when it goes.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "steading.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    namespaced,
    category = "steading",
    status = "TenantStatus",
    derive = "PartialEq",
    doc = "A customer with a key of its own. It lives in its control namespace and is named like it.",
    validation = rules::object_name(),
    selectable = ".spec.class",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.class"),
    printcolumn(name = "Workspaces", type_ = "integer", json_path = ".status.quota.used.workspaces"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Key", type_ = "string", json_path = ".status.key.name", priority = 1),
    printcolumn(name = "Key-Version", type_ = "integer", json_path = ".status.key.version", priority = 1),
    printcolumn(name = "CPU", type_ = "string", json_path = ".status.quota.used.cpu", priority = 1),
    printcolumn(name = "Memory", type_ = "string", json_path = ".status.quota.used.memory", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[x_kube(validation = rules::identity_is_immutable())]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// Takes up the data of an earlier Tenant: its identity, as that one's status showed it. Only at creation, and only for
    /// whoever has the verb `adopt` on tenants. Left out, the object's UID is its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = rules::identity())]
    pub identity: Option<String>,
    /// The TenantClass. Its creator needs the verb `use` on it. Immutable.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::class_reference(), validation = rules::immutable("class"))]
    pub class: String,
    /// Editors in each of the tenant's stacks, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub owners: Vec<Owner>,
    /// How the tenant's key is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// How much all its Workspaces together may use. What is left out is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<TenantQuota>,
    /// What remains when the Tenant or one of its Workspaces is deleted. Retain: key, store of authorization and buckets stay, marked as
    /// released where they can be.
    /// Delete: buckets are emptied and removed, the store of authorization is emptied and deleted, the key is disabled (never destroyed at once).
    #[serde(default)]
    #[schemars(default)]
    pub deletion_policy: DeletionPolicy,
    /// Stops all changes to the tenant and its Workspaces while true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// How the tenant's key is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Encryption {
    /// How often the key rotates, within the bounds of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::duration())]
    pub rotation_period: Option<Duration>,
}

/// How much all Workspaces of a Tenant together may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantQuota {
    /// Most Workspaces, 0 to 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 500))]
    pub workspaces: Option<i32>,
    /// Cores, whole or in millicores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = rules::cpu())]
    pub cpu: Option<String>,
    /// Memory in Mi, Gi or Ti.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 8))]
    #[x_kube(validation = rules::bytes())]
    pub memory: Option<String>,
    /// Persistent storage in Mi, Gi or Ti.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 8))]
    #[x_kube(validation = rules::bytes())]
    pub storage: Option<String>,
    /// Desktops of agents, warm and claimed, 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub agents: Option<i32>,
}

impl TenantQuota {
    /// The amounts that may be reserved.
    pub fn amounts(&self) -> Result<Amounts, InvalidAmount> {
        Amounts::parse(&ResourceText {
            cpu: self.cpu.clone(),
            memory: self.memory.clone(),
            storage: self.storage.clone(),
            agents: self.agents,
        })
    }
}

/// What remains when the object goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Key, store of authorization and buckets stay, marked as released where they can be.
    #[default]
    Retain,
    /// Buckets are emptied and removed, the store of authorization is emptied and deleted; the key is disabled, never destroyed at once.
    Delete,
}

/// What was observed of a Tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// Generation of the spec that the rest of this status speaks of; -1 before the first look.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// What everything of this tenant outside the cluster is named after. Fixed once written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub identity: Option<String>,
    /// The tenant's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyStatus>,
    /// Each place where data of the tenant as a whole rests. Buckets are in the status of their Workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["place".into()]))]
    pub encryption: Vec<EncryptionPlace>,
    /// The tenant's store of authorization, if its class offers one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<StoreStatus>,
    /// What its Workspaces have reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<LedgerStatus>,
    /// Ready, KeyReady, AuthorizationReady; Reconciling and Stalled only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for TenantStatus {
    fn default() -> Self {
        Self {
            observed_generation: unobserved(),
            identity: None,
            key: None,
            encryption: Vec::new(),
            authorization: None,
            quota: None,
            conditions: Vec::new(),
        }
    }
}

/// The tenant's key as last observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// Its name at the provider.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its newest version; each rotation adds one. 0 before it was ever seen.
    pub version: i64,
    /// How often it rotates by itself.
    #[schemars(length(max = 16))]
    pub rotation_period: String,
    /// When it was last looked at. Absent before it was ever seen: it stands in status before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// The last value of the annotation `steading.dev/rotate-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
}

/// A rotation that somebody asked for. Written before the provider is called, so that a crash repeats nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// The value of the annotation, shortened to 64 characters.
    #[schemars(length(max = 64))]
    pub requested: String,
    /// The key's newest version before the rotation: done once the key has a newer one.
    pub from_version: i64,
}

/// The tenant's store of authorization as last observed: what an application needs to ask it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// Address of the server.
    #[schemars(length(max = 253))]
    pub endpoint: String,
    /// Id of the store. Absent before it was ever seen: the rest stands in status before the store is made.
    #[serde(default, rename = "storeID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 26))]
    pub store_id: Option<String>,
    /// Id of the newest model when it was last looked at: Steading's, or an application's with Steading's types in it.
    #[serde(default, rename = "modelID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 26))]
    pub model_id: Option<String>,
    /// What the Tenant is called in the store.
    #[schemars(length(max = 64))]
    pub object: String,
    /// When it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
}

/// The ledger of a Tenant's quota. Only the Tenant's controller writes it, by compare-and-swap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerStatus {
    /// Sum of what is held.
    pub used: LedgerUse,
    /// One entry for each Workspace that was answered: first those that hold something, then those that were refused, as
    /// many as fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["uid".into()]))]
    pub reservations: Vec<Reservation>,
}

/// Sum of what the Workspaces of a Tenant hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerUse {
    /// Workspaces.
    pub workspaces: i32,
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub cpu: Option<String>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub memory: Option<String>,
    /// Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub storage: Option<String>,
    /// Desktops of agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<i32>,
}

/// What one Workspace may use and what it still holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// Name of the Workspace.
    #[schemars(length(max = 27))]
    pub workspace: String,
    /// UID of the Workspace: a namesake that came later holds nothing of it.
    #[schemars(length(max = 36))]
    pub uid: String,
    /// Number of the grant: it grows whenever `granted` changes. The Workspace repeats it once its ResourceQuota is set so.
    pub revision: i64,
    /// What its ResourceQuota may be set to; a resource left out is not limited. Absent altogether if nothing was ever granted:
    /// then the Workspace neither holds anything nor counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<ResourceTextStatus>,
    /// What counts against the Tenant: the granted, and while it shrinks still what was in force before.
    pub held: ResourceTextStatus,
    /// Why the Workspace was granted less than it asks for: QuotaRequired or QuotaExceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// Which resource was refused and how much was free, if the Workspace asks for more than it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub refused: Option<String>,
}

/// Amounts in a status: as in a spec, without its admission rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceTextStatus {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub cpu: Option<String>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub memory: Option<String>,
    /// Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub storage: Option<String>,
    /// Desktops of agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<i32>,
}
