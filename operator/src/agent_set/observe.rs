//! What an AgentSet depends on: its pool, on whose word nothing is changed, what its spec asks for. Reads stores, writes nothing.

use std::{sync::Arc, time::Duration};

use api::{AgentPool, AgentSet, labels};
use desired::agents::{Wanted, revision};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use crate::context::Context;

/// The pool of a set, if the set is in the stack of the pool's Workspace and neither is going. Whoever could make an AgentSet elsewhere
/// gets nothing for it.
pub fn pool(context: &Context, set: &AgentSet) -> Option<Arc<AgentPool>> {
    if set.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let label = |key: &str| set.labels().get(key).map(String::as_str);
    let (tenant, pool) = (label(labels::TENANT)?, label(labels::POOL)?);
    let pool = context.pools.get(&ObjectRef::new(pool).within(tenant))?;
    let workspace = context.workspaces.get(&ObjectRef::new(&pool.spec.workspace).within(tenant))?;
    let status = workspace.status.as_ref()?;
    let stack = status.namespace.as_ref()?;
    let is_there = set.namespace().as_deref() == Some(stack.name.as_str()) && set.name_any() == pool.name_any();
    let is_its = label(labels::OWNER) == status.identity.as_deref();
    (is_there && is_its && pool.metadata.deletion_timestamp.is_none()).then_some(pool)
}

/// On whose word nothing is changed, if on anybody's.
pub fn paused(context: &Context, pool: &AgentPool) -> Option<String> {
    if pool.spec.paused {
        return Some("spec.paused is true on its AgentPool: nothing is changed until it is false".to_owned());
    }
    let tenant = context.tenant(&pool.namespace().unwrap_or_default())?;
    let told = || format!("spec.paused is true on Tenant {}: nothing is changed until it is false", tenant.name_any());
    tenant.spec.paused.then(told)
}

/// What its spec asks for; how much room there is is not known yet.
pub fn wanted(set: &AgentSet) -> Wanted {
    let count = |count: i32| usize::try_from(count).unwrap_or(0);
    let spec = &set.spec;
    Wanted {
        name: format!("agent-{}", set.name_any()),
        revision: revision(&spec.template),
        replicas: count(spec.replicas),
        max_unavailable: count(spec.max_unavailable),
        max_surge: count(spec.max_surge),
        max_starting: count(spec.max_starting),
        room: None,
        held: spec.held.is_some(),
        protect: Duration::from_secs(u64::try_from(spec.protect_seconds).unwrap_or(0)),
    }
}

/// How many failed in a row; another template begins anew.
pub fn failures(set: &AgentSet, wanted: &Wanted) -> u32 {
    let known = set.status.as_ref().filter(|status| status.revision.as_deref() == Some(wanted.revision.as_str()));
    known.map_or(0, |status| u32::try_from(status.failures).unwrap_or(0))
}
