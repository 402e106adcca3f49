//! What a TenantClass offers to agents, and the desktops that pools ask for.
//!
//! In: nothing but types. Out: the parts of a spec that AgentPool and TenantClass share words about. Every field decides about a field of
//! a pod in the stack namespace.

use kube::{KubeSchema, core::Rule};
use serde::{Deserialize, Serialize};

use crate::{
    InvalidAmount,
    amounts::{Amounts, ResourceText},
    rules,
};

/// What agents of a class run under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassAgents {
    /// Name of the RuntimeClass of the sandbox, such as `gvisor`. A pool waits until it exists; its Pod overhead counts against the quota.
    /// Another one is rolled out to all warm desktops.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::runtime_class())]
    pub runtime_class: String,
}

/// What a desktop of a pool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Desktop {
    /// Image of the desktop, pinned by its digest, such as `registry.example/desktop@sha256:…`. It has the program `steading-agent`, which says
    /// when the desktop can be used.
    #[schemars(length(min = 74, max = 512))]
    #[x_kube(validation = rules::pinned_image())]
    pub image: String,
    /// What a desktop may use, and is promised.
    pub resources: DesktopResources,
    /// The screen; 1280 by 800 if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<Display>,
    /// The home folder, which ends with the desktop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
}

impl Desktop {
    /// Width and height of the screen.
    #[must_use]
    pub fn display(&self) -> (i32, i32) {
        self.display.as_ref().map_or((1280, 800), |display| (display.width, display.height))
    }

    /// Most that the home folder may hold.
    #[must_use]
    pub fn home(&self) -> &str {
        self.home.as_ref().map_or("1Gi", |home| &home.size)
    }
}

/// What a desktop may use. Requests and limits are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DesktopResources {
    /// Cores, whole or in millicores.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = rules::cpu())]
    pub cpu: String,
    /// Memory in Mi, Gi or Ti; at least 256Mi.
    #[schemars(length(min = 3, max = 8))]
    #[x_kube(
        validation = rules::bytes(),
        validation = Rule::new("!self.matches('^[1-9][0-9]{0,5}Mi$') || int(self.substring(0, size(self) - 2)) >= 256")
            .message("memory of a desktop must be at least 256Mi")
    )]
    pub memory: String,
}

impl DesktopResources {
    /// What one desktop takes of a quota, without the overhead of its sandbox.
    pub fn amounts(&self) -> Result<Amounts, InvalidAmount> {
        let (cpu, memory) = (Some(self.cpu.clone()), Some(self.memory.clone()));
        Amounts::parse(&ResourceText { cpu, memory, ..ResourceText::default() })
    }
}

/// The screen of a desktop, in pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Display {
    /// Its width, 320 to 3840.
    #[schemars(range(min = 320, max = 3840))]
    pub width: i32,
    /// Its height, 240 to 2160.
    #[schemars(range(min = 240, max = 2160))]
    pub height: i32,
}

/// The home folder of a desktop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Home {
    /// Most that it may hold, in Mi, Gi or Ti; 1Gi if nothing is said. A desktop that writes more is ended by its node.
    #[schemars(length(min = 3, max = 8))]
    #[x_kube(validation = rules::bytes())]
    pub size: String,
}

/// How warm desktops are replaced when what a desktop is changes. Claimed ones are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(has(self.maxUnavailable) ? self.maxUnavailable : 1) + (has(self.maxSurge) ? self.maxSurge : 1) > 0")
        .message("rollout.maxUnavailable and rollout.maxSurge cannot both be 0, or nothing could ever be replaced")
)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// How many of `replicas` may be missing meanwhile, 0 to 200; 1 if it is left out. A pool also counts as Ready while no more are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 200))]
    pub max_unavailable: Option<i32>,
    /// How many more than `replicas` there may be meanwhile, 0 to 200; 1 if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 200))]
    pub max_surge: Option<i32>,
}

impl Rollout {
    /// How many may be missing.
    #[must_use]
    pub fn max_unavailable(&self) -> i32 {
        self.max_unavailable.unwrap_or(1)
    }

    /// How many more there may be.
    #[must_use]
    pub fn max_surge(&self) -> i32 {
        self.max_surge.unwrap_or(1)
    }
}

/// For how long a claimed desktop is kept from being evicted, if nothing is said.
pub const PROTECTION: std::time::Duration = std::time::Duration::from_hours(8);

/// `1m` to `24h`; malformed text is left to the rule of durations.
pub(crate) fn protection_in_bounds() -> Rule {
    let minutes = "int(self.substring(0, size(self) - 1)) * (self.endsWith('h') ? 60 : 1)";
    Rule::new(format!("!self.matches('^[1-9][0-9]{{0,4}}(m|h|d)$') || (!self.endsWith('d') && {minutes} <= 1440)"))
        .message("protectClaimed must be 1m to 24h, in minutes or hours, such as 8h")
}
