//! AgentPool: warm desktops for agents, in the stack of a Workspace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration,
    agents::{Desktop, Rollout, protection_in_bounds},
    rules,
    status::unobserved,
};

/// Desktops that start at one time, where nothing is said.
pub const STARTING: i32 = 10;

/// Desktops that stand ready before somebody asks for one.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "steading.dev",
    version = "v1alpha1",
    kind = "AgentPool",
    plural = "agentpools",
    shortname = "apool",
    namespaced,
    category = "steading",
    status = "AgentPoolStatus",
    derive = "PartialEq",
    doc = "Warm desktops for agents, in the stack of a Workspace: sandboxed, without credentials, without a way in.",
    validation = rules::object_name(),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Wanted", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Warm", type_ = "integer", json_path = ".status.ready"),
    printcolumn(name = "Claimed", type_ = "integer", json_path = ".status.claimed"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Workspace", type_ = "string", json_path = ".spec.workspace", priority = 1),
    printcolumn(name = "Starting", type_ = "integer", json_path = ".status.starting", priority = 1),
    printcolumn(name = "Updated", type_ = "integer", json_path = ".status.updated", priority = 1),
    printcolumn(name = "Stack", type_ = "string", json_path = ".status.namespace", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct AgentPoolSpec {
    /// The Workspace in whose stack the desktops run. Immutable.
    #[schemars(length(min = 1, max = 27))]
    #[x_kube(validation = rules::workspace_reference(), validation = rules::immutable("workspace"))]
    pub workspace: String,
    /// How many desktops stand ready, 0 to 200. Claimed ones do not count. The scale subresource sets it, too.
    #[schemars(range(min = 0, max = 200))]
    pub replicas: i32,
    /// What a desktop is.
    pub desktop: Desktop,
    /// How warm desktops are replaced when what a desktop is changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How many desktops start at one time, 1 to 50; 10 if it is left out. The others wait for their turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub max_starting: Option<i32>,
    /// For how long a claimed desktop is kept from being evicted, as when its node is drained: 1m to 24h, 8h if it is left out. After that
    /// an eviction ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::duration(), validation = protection_in_bounds())]
    pub protect_claimed: Option<Duration>,
    /// Stops all changes to the pool while true: nothing is made, replaced or taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

impl AgentPoolSpec {
    /// How warm desktops are replaced.
    #[must_use]
    pub fn rollout(&self) -> Rollout {
        self.rollout.clone().unwrap_or_default()
    }

    /// How many desktops start at one time.
    #[must_use]
    pub fn max_starting(&self) -> i32 {
        self.max_starting.unwrap_or(STARTING)
    }
}

/// What was observed of an AgentPool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentPoolStatus {
    /// Generation of the spec that the rest of this status speaks of; -1 before the first look.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// The stack namespace in which its desktops are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// Desktops that are there and not claimed, whether they can be used yet or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Of these, those that can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<i32>,
    /// Of these, those that start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting: Option<i32>,
    /// Of all that are not claimed, those that are as the spec says now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<i32>,
    /// Desktops that are claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<i32>,
    /// What selects its desktops among pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub selector: Option<String>,
    /// What one desktop takes of the Workspace's quota, with the overhead of its sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<Each>,
    /// Ready, NetworkEnforced, SandboxReady, AgentsReady; Reconciling and Stalled only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for AgentPoolStatus {
    fn default() -> Self {
        Self {
            observed_generation: unobserved(),
            namespace: None,
            replicas: None,
            ready: None,
            starting: None,
            updated: None,
            claimed: None,
            selector: None,
            each: None,
            conditions: Vec::new(),
        }
    }
}

/// What one desktop takes of a quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Each {
    /// Cores.
    #[schemars(length(max = 24))]
    pub cpu: String,
    /// Memory.
    #[schemars(length(max = 24))]
    pub memory: String,
}
