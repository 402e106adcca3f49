//! TenantClass: what the platform offers, as a StorageClass does for disks.
//!
//! Where things are made (regions, endpoints, mounts) is immutable, because what was made there cannot follow a change.
//! Who signs in and how often keys rotate may change.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration, agents::ClassAgents, authorization::Authorization, database::ClassDatabase, rules, status::unobserved,
};

/// Where a tenant's things come from: residency, keys, buckets, authorization, databases, and facts about the network.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "steading.dev",
    version = "v1alpha1",
    kind = "TenantClass",
    plural = "tenantclasses",
    shortname = "tclass",
    category = "steading",
    status = "TenantClassStatus",
    derive = "PartialEq",
    doc = "What the platform offers to tenants: where their keys, buckets and databases are made, in which regions, on which network.",
    validation = rules::class_name(),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants"),
    printcolumn(name = "Enforcement", type_ = "string", json_path = ".spec.network.enforcement"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Regions", type_ = "string", json_path = ".spec.residency.regions", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[x_kube(
    validation = Rule::new("!has(self.keys.openbao) || self.keys.openbao.region in self.residency.regions")
        .message("keys.openbao.region must be one of residency.regions: keys may not be made outside them"),
    validation = Rule::new("!has(self.buckets.s3) || self.buckets.s3.region in self.residency.regions")
        .message("buckets.s3.region must be one of residency.regions: buckets may not be made outside them"),
    validation = Rule::new("!has(self.authorization) || !has(self.authorization.openfga) || self.authorization.openfga.region in self.residency.regions")
        .message("authorization.openfga.region must be one of residency.regions: who may do what is personal data too"),
    validation = Rule::new("!has(oldSelf.authorization) || has(self.authorization)")
        .message("authorization cannot be removed: Tenants have stores there; create a new TenantClass without it"),
    validation = Rule::new("!has(oldSelf.database) || has(self.database)")
        .message("database cannot be removed: Workspaces have databases; create a new TenantClass without it"),
    validation = Rule::new("!has(oldSelf.agents) || has(self.agents)")
        .message("agents cannot be removed: Workspaces have pools of them; create a new TenantClass without it"),
    validation = Rule::new("!has(self.database) || !has(self.buckets.s3) || has(self.buckets.s3.cidrs) || self.buckets.s3.endpoint.matches('^https://([0-9]+[.][0-9]+[.][0-9]+[.][0-9]+(:[0-9]+)?/?$|\\\\[)')")
        .message("database needs buckets.s3.cidrs, the address ranges of the store: NetworkPolicies know no names, and backups must get out to it")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantClassSpec {
    /// Nothing is made or called outside these regions.
    pub residency: Residency,
    /// Where tenants' keys are made.
    pub keys: Keys,
    /// Where workspaces' buckets are made.
    pub buckets: Buckets,
    /// Where each tenant gets a store of authorization. Left out, there is none. Can be added later, not removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// What databases Workspaces get. Left out, they get none. Can be added later, not removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<ClassDatabase>,
    /// What agents run under. Left out, there are none. Can be added later, not removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<ClassAgents>,
    /// What is known of the cluster's network.
    pub network: Network,
}

/// Where data may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Residency {
    /// The regions, 1 to 16. Immutable.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 32)))]
    #[x_kube(
        validation = rules::immutable("residency.regions"),
        validation = Rule::new("self.all(r, r.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))")
            .message("each region must be lower-case letters, digits and dashes, such as eu-central-1 or site-a"),
        merge_strategy = ListMerge::Set
    )]
    pub regions: Vec<String>,
}

/// Where keys come from: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.openbao)").message("keys must name where keys are made: set keys.openbao"))]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// The transit engine of OpenBao or Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openbao: Option<OpenBao>,
}

/// Keys in the transit engine of OpenBao or Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = optional_namespace_is_immutable()
)]
#[serde(rename_all = "camelCase")]
pub struct OpenBao {
    /// The region in which the server keeps its keys; one of residency.regions. Immutable.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = rules::region(), validation = rules::immutable("keys.openbao.region"))]
    pub region: String,
    /// Address of the server, such as `https://bao.example:8200`. Immutable.
    #[schemars(length(min = 9, max = 253))]
    #[x_kube(validation = rules::endpoint(), validation = rules::immutable("keys.openbao.address"))]
    pub address: String,
    /// PEM certificates that are trusted for this address; the system's are used if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 27, max = 65536))]
    #[x_kube(validation = rules::ca_bundle())]
    pub ca_bundle: Option<String>,
    /// Namespace within the server. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::path())]
    pub namespace: Option<String>,
    /// Mount of the transit engine, such as `transit`. Immutable.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::path(), validation = rules::immutable("keys.openbao.mount"))]
    pub mount: String,
    /// How Steading signs in: with a token of its own ServiceAccount.
    pub auth: OpenBaoAuth,
    /// How often keys rotate, and within which bounds a Tenant may choose.
    pub rotation_period: RotationBounds,
}

/// `namespace` is a reserved word of CEL, which the API server escapes.
fn optional_namespace_is_immutable() -> kube::core::Rule {
    kube::core::Rule::new("has(self.__namespace__) == has(oldSelf.__namespace__) && (!has(self.__namespace__) || self.__namespace__ == oldSelf.__namespace__)")
        .message("keys.openbao.namespace is immutable: create a new TenantClass to use another")
}

/// Sign-in by the server's Kubernetes auth method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenBaoAuth {
    /// Mount of the Kubernetes auth method, such as `kubernetes`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::path())]
    pub mount: String,
    /// Role to sign in to.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::identifier())]
    pub role: String,
    /// Audience of the ServiceAccount token; must be one that the role demands.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::identifier())]
    pub audience: String,
}

/// Bounds of the rotation period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = bounds_in_order())]
#[serde(rename_all = "camelCase")]
pub struct RotationBounds {
    /// Used where the Tenant names none.
    #[x_kube(validation = rules::duration())]
    pub default: Duration,
    /// Shortest that a Tenant may choose; at least an hour, which is the server's own minimum.
    #[x_kube(validation = rules::duration())]
    pub min: Duration,
    /// Longest that a Tenant may choose.
    #[x_kube(validation = rules::duration())]
    pub max: Duration,
}

/// `1h <= min <= default <= max`, in minutes; malformed text is left to the rule of its own field.
fn bounds_in_order() -> kube::core::Rule {
    let minutes = |field: &str| {
        format!(
            "int(self.{field}.substring(0, size(self.{field}) - 1)) * (self.{field}.endsWith('m') ? 1 : self.{field}.endsWith('h') ? 60 : 1440)"
        )
    };
    let well_formed = ["default", "min", "max"]
        .map(|field| format!("self.{field}.matches('^[1-9][0-9]{{0,4}}(m|h|d)$')"))
        .join(" && ");
    kube::core::Rule::new(format!(
        "!({well_formed}) || (60 <= {min} && {min} <= {default} && {default} <= {max})",
        min = minutes("min"),
        default = minutes("default"),
        max = minutes("max"),
    ))
    .message("rotationPeriod must have 1h <= min <= default <= max")
}

/// Where buckets come from: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.s3)").message("buckets must name where buckets are made: set buckets.s3"))]
#[serde(rename_all = "camelCase")]
pub struct Buckets {
    /// Any S3-compatible object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
}

/// Buckets in an S3-compatible object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.keyServer) != (has(self.allowProviderManagedEncryption) && self.allowProviderManagedEncryption)")
        .message("buckets.s3 needs exactly one of keyServer (each tenant's buckets under a key of its own) and allowProviderManagedEncryption: true (the store's own key for all)"),
    validation = Rule::new("has(self.keyServer) == has(oldSelf.keyServer)")
        .message("buckets.s3.keyServer cannot be added or removed: create a new TenantClass to change how buckets are encrypted")
)]
#[serde(rename_all = "camelCase")]
pub struct S3 {
    /// Region of the store; one of residency.regions. Immutable.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = rules::region(), validation = rules::immutable("buckets.s3.region"))]
    pub region: String,
    /// Address of the store, such as `https://s3.example:9000`. Immutable.
    #[schemars(length(min = 9, max = 253))]
    #[x_kube(validation = rules::endpoint(), validation = rules::immutable("buckets.s3.endpoint"))]
    pub endpoint: String,
    /// Address ranges at which the store is reached from within the cluster, 1 to 16: databases may send their backups there and to no
    /// other place outside. Not needed where the endpoint is an address itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 3, max = 43)))]
    #[x_kube(validation = rules::address_ranges(), merge_strategy = ListMerge::Set)]
    pub cidrs: Option<Vec<String>>,
    /// PEM certificates that are trusted for this address; the system's are used if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 27, max = 65536))]
    #[x_kube(validation = rules::ca_bundle())]
    pub ca_bundle: Option<String>,
    /// Secret with `accessKeyID` and `secretAccessKey` of an account that may make buckets.
    pub credentials: SecretReference,
    /// The server that holds the keys of the store, so that each tenant gets one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_server: Option<KeyServer>,
    /// Consent to encryption under a key that the store manages itself and that serves all tenants.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_provider_managed_encryption: bool,
}

/// The key server of an object store: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.kes)").message("keyServer must name its kind: set keyServer.kes"))]
#[serde(rename_all = "camelCase")]
pub struct KeyServer {
    /// KES, the key server of MinIO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kes: Option<Kes>,
}

/// A KES server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kes {
    /// Address of the server, such as `https://kes.example:7373`. Immutable.
    #[schemars(length(min = 9, max = 253))]
    #[x_kube(validation = rules::endpoint(), validation = rules::immutable("keyServer.kes.endpoint"))]
    pub endpoint: String,
    /// PEM certificates that are trusted for this address; the system's are used if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 27, max = 65536))]
    #[x_kube(validation = rules::ca_bundle())]
    pub ca_bundle: Option<String>,
    /// Secret with `apiKey` of an identity that may create and describe keys.
    pub credentials: SecretReference,
}

/// A Secret in Steading's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::secret_name())]
    pub secret: String,
}

/// What is known of the cluster's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Required: workspaces become Ready only where enforcement of NetworkPolicies was shown.
    /// Assumed: the platform team vouches for it, and every status says so.
    pub enforcement: Enforcement,
}

/// Whether enforcement of NetworkPolicies must be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// It must be shown.
    Required,
    /// It is taken on trust, visibly.
    Assumed,
}

/// What was observed of a TenantClass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantClassStatus {
    /// Generation of the spec that the rest of this status speaks of; -1 before the first look.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// How many Tenants use the class; while any does, the class cannot be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<i32>,
    /// When the servers that the class names last answered as they should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// Ready, NetworkEnforced, KeysReachable, BucketsReachable, AuthorizationReachable, DatabasesReachable; Reconciling and Stalled only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
