//! AgentSet: what owns the pods of a pool, beside them in the stack namespace. Only Steading writes it.
//!
//! A pool lies in the control namespace, and an owner must lie where the pods are: so that draining, disruption budgets and the
//! garbage collector know whose they are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::unobserved;

/// How many pods there are to be, and of what.
#[allow(clippy::duplicated_attributes, reason = "columns of a table have the same type")]
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "steading.dev",
    version = "v1alpha1",
    kind = "AgentSet",
    plural = "agentsets",
    namespaced,
    status = "AgentSetStatus",
    derive = "PartialEq",
    doc = "The pods of an AgentPool. Written by Steading in stack namespaces; change the AgentPool instead.",
    printcolumn(name = "Wanted", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Warm", type_ = "integer", json_path = ".status.ready"),
    printcolumn(name = "Claimed", type_ = "integer", json_path = ".status.claimed"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AgentSetSpec {
    /// Pods that are not claimed.
    pub replicas: i32,
    /// How many of these may be missing while they are replaced.
    pub max_unavailable: i32,
    /// How many more there may be meanwhile.
    pub max_surge: i32,
    /// How many start at one time.
    pub max_starting: i32,
    /// Most pods, claimed ones included, that all pools of the Workspace may have. Absent where nothing limits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_of_workspace: Option<i32>,
    /// For how many seconds a claimed pod is kept from being evicted.
    pub protect_seconds: i64,
    /// Nothing new is made while this says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub held: Option<String>,
    /// Of what pods are made.
    pub template: AgentTemplate,
}

/// Of what pods are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentTemplate {
    /// Image of the desktop.
    #[schemars(length(max = 512))]
    pub image: String,
    /// RuntimeClass of the sandbox.
    #[schemars(length(max = 63))]
    pub runtime_class: String,
    /// Cores.
    #[schemars(length(max = 8))]
    pub cpu: String,
    /// Memory.
    #[schemars(length(max = 8))]
    pub memory: String,
    /// Most that the home folder may hold.
    #[schemars(length(max = 8))]
    pub home: String,
    /// Width of the screen.
    pub width: i32,
    /// Height of the screen.
    pub height: i32,
    /// The relay to which it dials out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<AgentRelay>,
}

/// Where the relay is. Desktops have no DNS, so they are told its address beside its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentRelay {
    /// The name in its certificate.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its address.
    #[schemars(length(max = 45))]
    pub address: String,
    /// Certificates, as PEM, of the authority that signed its own.
    #[schemars(length(max = 32768))]
    pub authority: String,
}

/// What was observed of an AgentSet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentSetStatus {
    /// Generation of the spec that the rest of this status speaks of; -1 before the first look.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// Pods that are not claimed.
    #[serde(default)]
    pub replicas: i32,
    /// Of these, those that are ready.
    #[serde(default)]
    pub ready: i32,
    /// Of these, those that start.
    #[serde(default)]
    pub starting: i32,
    /// Of these, those of the newest template.
    #[serde(default)]
    pub updated: i32,
    /// Pods that are claimed.
    #[serde(default)]
    pub claimed: i32,
    /// Digest of the newest template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub revision: Option<String>,
    /// How often in a row pods failed before one became ready: each time the next is made later.
    #[serde(default)]
    pub failures: i32,
    /// Ready, AgentsReady; Reconciling and Stalled only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for AgentSetStatus {
    fn default() -> Self {
        Self {
            observed_generation: unobserved(),
            replicas: 0,
            ready: 0,
            starting: 0,
            updated: 0,
            claimed: 0,
            revision: None,
            failures: 0,
            conditions: Vec::new(),
        }
    }
}
