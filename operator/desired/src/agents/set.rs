//! The AgentSet of a pool: what owns its pods.

use std::collections::BTreeMap;

use api::{
    AgentPool, AgentSet, AgentSetSpec, Identity, InvalidAmount, StackNamespace, TenantName, WorkspaceName,
    agent_set::{AgentRelay, AgentTemplate},
    agents::PROTECTION,
    duration::InvalidDuration,
    labels,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What selects agents among pods.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=steading,steading.dev/pool";

/// Where a pool's desktops are, and what bounds them beside its own spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Name of the Tenant and of the control namespace.
    pub tenant: TenantName,
    /// The Workspace.
    pub workspace: WorkspaceName,
    /// Its identity.
    pub identity: Identity,
    /// RuntimeClass of the sandbox.
    pub runtime_class: String,
    /// The relay to which desktops dial out; `None` while it is not known.
    pub relay: Option<AgentRelay>,
    /// Most desktops that all pools of the Workspace may have; `None` where nothing limits them.
    pub most: Option<u64>,
    /// Why nothing new is to be made, if so.
    pub held: Option<&'static str>,
}

/// A pool holds what admission should have refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPool {
    /// An amount.
    #[error("spec.desktop: {0}")]
    Amount(#[from] InvalidAmount),
    /// A span of time.
    #[error("spec.protectClaimed: {0}")]
    Duration(#[from] InvalidDuration),
}

/// The AgentSet. It bears the name of the pool, of which there is one in the control namespace and so in the stack.
pub fn set(pool: &AgentPool, within: &Set) -> Result<AgentSet, InvalidPool> {
    let name = pool.metadata.name.clone().unwrap_or_default();
    let namespace = StackNamespace::of(&within.tenant, &within.workspace, &within.identity);
    let (spec, rollout) = (&pool.spec, pool.spec.rollout());
    spec.desktop.resources.amounts()?;
    let protect = spec.protect_claimed.as_ref().map_or(Ok(PROTECTION), api::Duration::to_std)?;
    let (width, height) = spec.desktop.display();
    let spec = AgentSetSpec {
        replicas: spec.replicas,
        max_unavailable: rollout.max_unavailable(),
        max_surge: rollout.max_surge(),
        max_starting: spec.max_starting(),
        most_of_workspace: within.most.map(|most| i32::try_from(most).unwrap_or(i32::MAX)),
        protect_seconds: i64::try_from(protect.as_secs()).unwrap_or(i64::MAX),
        held: within.held.map(str::to_owned),
        template: AgentTemplate {
            image: spec.desktop.image.clone(),
            runtime_class: within.runtime_class.clone(),
            cpu: spec.desktop.resources.cpu.clone(),
            memory: spec.desktop.resources.memory.clone(),
            home: spec.desktop.home().to_owned(),
            width,
            height,
            relay: within.relay.clone(),
        },
    };
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        namespace: Some(namespace.to_string()),
        labels: Some(marks(&within.tenant, &within.workspace, &within.identity, &name)),
        ..ObjectMeta::default()
    };
    Ok(AgentSet { metadata, spec, status: None })
}

fn marks(tenant: &TenantName, workspace: &WorkspaceName, identity: &Identity, pool: &str) -> BTreeMap<String, String> {
    let mut marks = labels::of_workspace(tenant, workspace, identity);
    marks.insert(labels::POOL.to_owned(), pool.to_owned());
    marks
}
