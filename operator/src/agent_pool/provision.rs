//! The AgentSet of a pool: written where it differs from what the pool asks for.

use std::sync::Arc;

use api::{AgentPool, AgentSet, Tenant, TenantClass, agent_set::AgentRelay, conditions as names, labels};
use desired::agents::{Set, set as desired_set};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, ValidationDirective},
    runtime::reflector::ObjectRef,
};
use serde_json::json;

use super::observe::Stack;
use crate::{context::Context, engine::fault::Fault};

/// Makes the AgentSet be as it should, and returns it. While something holds it up none is made, and one that stands is told so.
pub async fn set(
    context: &Context,
    pool: &AgentPool,
    tenant: &Tenant,
    class: &TenantClass,
    stack: &Stack,
    relay: Option<AgentRelay>,
    hold: Option<&'static str>,
) -> Result<Option<Arc<AgentSet>>, Fault> {
    let name = pool.name_any();
    let known = context.agent_sets.get(&ObjectRef::new(&name).within(&stack.namespace));
    // While it is not known where the relay is, desktops that stand are not thought to be out of date.
    let before = || known.as_ref().and_then(|known| known.spec.template.relay.clone());
    let within = Set {
        tenant: tenant.name_any().parse()?,
        workspace: stack.workspace.name_any().parse()?,
        identity: stack.identity,
        runtime_class: class.spec.agents.as_ref().map(|agents| agents.runtime_class.clone()).unwrap_or_default(),
        relay: relay.or_else(before),
        most: stack.quota.agents,
        held: hold,
    };
    let wanted = desired_set(pool, &within).map_err(|error| Fault::stalled(names::INVALID_SPEC, error.to_string()))?;
    match &known {
        None if hold.is_some() => return Ok(None),
        Some(known) if known.metadata.deletion_timestamp.is_some() => {
            let message =
                format!("AgentSet {}/{name} was deleted by somebody and is made anew when it is gone", stack.namespace);
            return Err(Fault::waiting(super::WOKEN_ANYWAY, names::PROGRESSING, message));
        }
        Some(known) if known.spec == wanted.spec && has_labels(known, &wanted) => return Ok(Some(Arc::clone(known))),
        _ => {}
    }
    if known.is_none() {
        context.fence.stands().map_err(|why| Fault::waiting(super::WOKEN_ANYWAY, names::FENCE_DOWN, why))?;
    }
    let api: Api<AgentSet> = Api::namespaced(context.engine.client.clone(), &stack.namespace);
    let params = PatchParams {
        force: true,
        field_manager: Some(labels::MANAGER_AGENTS.to_owned()),
        field_validation: Some(ValidationDirective::Strict),
        dry_run: false,
    };
    let object = json!({
        "apiVersion": format!("{}/{}", api::GROUP, api::VERSION),
        "kind": "AgentSet",
        "metadata": wanted.metadata,
        "spec": wanted.spec,
    });
    let answer = api.patch(&name, &params, &Patch::Apply(object)).await;
    let written = answer.map_err(|error| Fault::api(&error, &format!("apply AgentSet {}/{name}", stack.namespace)))?;
    context.agent_sets.wrote(written.clone());
    Ok(Some(Arc::new(written)))
}

fn has_labels(known: &AgentSet, wanted: &AgentSet) -> bool {
    wanted.labels().iter().all(|(key, value)| known.labels().get(key) == Some(value))
}
