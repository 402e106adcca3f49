//! What an AgentPool depends on: its Tenant, the class, its Workspace's stack, the sandbox. Reads stores, writes nothing.

use std::sync::Arc;

use api::{
    AgentPool, Amounts, Identity, Tenant, TenantClass, Workspace, agent_pool::Each, amounts::ResourceText,
    conditions as names, tenant_class::Enforcement as Wanted,
};
use desired::agents::each;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{AgentPools, Facts, WOKEN_ANYWAY};
use crate::{
    context::Context,
    enforcement::{Before, Seen},
    engine::{conditions::Part, drive::Story as _, fault::Fault, round::Round},
};

/// On whose word nothing is changed, if on anybody's.
pub fn paused(context: &Context, pool: &AgentPool) -> Option<String> {
    if pool.spec.paused {
        return Some("spec.paused is true: nothing is changed until it is false".to_owned());
    }
    let tenant = context.tenant(&pool.namespace().unwrap_or_default())?;
    let told = || format!("spec.paused is true on Tenant {}: nothing is changed until it is false", tenant.name_any());
    tenant.spec.paused.then(told)
}

/// The Tenant.
pub fn tenant(context: &Context, pool: &AgentPool) -> Result<Arc<Tenant>, Fault> {
    let namespace = pool.namespace().unwrap_or_default();
    context.tenant(&namespace).ok_or_else(|| {
        let message = format!("no Tenant stands in namespace {namespace}: apply one named {namespace}");
        Fault::waiting(WOKEN_ANYWAY, names::TENANT_NOT_FOUND, message)
    })
}

/// The Tenant's class.
pub fn class(context: &Context, tenant: &Tenant) -> Result<Arc<TenantClass>, Fault> {
    context.class(&tenant.spec.class).ok_or_else(|| {
        let message =
            format!("TenantClass {} of Tenant {} does not exist: apply it", tenant.spec.class, tenant.name_any());
        Fault::waiting(WOKEN_ANYWAY, names::CLASS_NOT_FOUND, message)
    })
}

/// The stack in which the desktops are to be.
pub struct Stack {
    /// The Workspace.
    pub workspace: Arc<Workspace>,
    /// Its identity.
    pub identity: Identity,
    /// Its namespace.
    pub namespace: String,
    /// What its quota is set to.
    pub quota: Amounts,
}

/// The stack, once there is one.
pub fn stack(context: &Context, pool: &AgentPool) -> Result<Stack, Fault> {
    let (name, namespace) = (&pool.spec.workspace, pool.namespace().unwrap_or_default());
    let found = context.workspaces.get(&ObjectRef::new(name).within(&namespace));
    let Some(workspace) = found.filter(|workspace| workspace.metadata.deletion_timestamp.is_none()) else {
        let message =
            format!("Workspace {name} does not exist in namespace {namespace}, or is being deleted: apply it");
        return Err(Fault::waiting(WOKEN_ANYWAY, names::WORKSPACE_NOT_FOUND, message));
    };
    let status = workspace.status.clone().unwrap_or_default();
    let (Some(identity), Some(stack), Some(quota)) = (status.identity, status.namespace, status.quota) else {
        return Err(not_ready(&workspace, "has no stack yet"));
    };
    let text = ResourceText { cpu: quota.cpu, memory: quota.memory, storage: quota.storage, agents: quota.agents };
    let quota = Amounts::parse(&text).map_err(|error| Fault::stalled(names::INVALID_SPEC, error.to_string()))?;
    Ok(Stack { identity: identity.parse()?, namespace: stack.name, quota, workspace })
}

fn not_ready(workspace: &Workspace, what: &str) -> Fault {
    let (name, namespace) = (workspace.name_any(), workspace.namespace().unwrap_or_default());
    let message =
        format!("Workspace {name} {what}: see its conditions with kubectl -n {namespace} describe workspace {name}");
    Fault::waiting(WOKEN_ANYWAY, names::WORKSPACE_NOT_READY, message)
}

/// Whether desktops may be made there: notes what there is to say of network and sandbox. The reason why not, if so.
pub fn ground(
    context: &Context,
    pool: &AgentPool,
    class: &TenantClass,
    stack: &Stack,
    round: &mut Round<Facts>,
) -> Result<Option<&'static str>, Fault> {
    let Some(agents) = &class.spec.agents else {
        let message = format!(
            "TenantClass {} offers no agents: set agents.runtimeClass there, or delete this AgentPool",
            class.name_any()
        );
        return Err(Fault::stalled(names::AGENTS_NOT_OFFERED, message));
    };
    let network = network(context, pool, class, &agents.runtime_class, stack);
    let runtime = context.runtimes.get(&ObjectRef::new(&agents.runtime_class));
    let sandbox = sandbox(&agents.runtime_class, runtime.as_deref());
    round.facts.each = takes(pool, runtime.as_deref());
    let isolated = isolated(&stack.workspace);
    let parts = [network, sandbox];
    let of = |part: &Part| part.fault().map(|fault| fault.reason);
    let hold = isolated.as_ref().map(|fault| fault.reason).or_else(|| parts.iter().find_map(of));
    round.parts.extend(parts);
    round.parts.extend(isolated.map(Part::of_whole));
    Ok(hold)
}

/// What one desktop takes of the quota.
fn takes(pool: &AgentPool, runtime: Option<&RuntimeClass>) -> Option<Each> {
    let asked = pool.spec.desktop.resources.amounts().ok()?;
    let overhead = runtime.and_then(|it| it.overhead.as_ref()?.pod_fixed.clone()).unwrap_or_default();
    let quantity = |name: &str| overhead.get(name).map_or("0", |quantity| quantity.0.as_str());
    let (cpu, memory) = each(asked, quantity("cpu"), quantity("memory"))?;
    Some(Each { cpu, memory })
}

/// What keeps the stack from being isolated, if anything does.
fn isolated(workspace: &Workspace) -> Option<Fault> {
    let conditions = workspace.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let isolated = conditions.iter().find(|condition| condition.type_ == names::ISOLATED);
    match isolated {
        Some(isolated) if isolated.status == "True" => None,
        // It is told once, by the part that speaks of the network.
        Some(isolated) if [names::ENFORCEMENT_UNPROVEN, names::NOT_ENFORCED].contains(&isolated.reason.as_str()) => {
            None
        }
        Some(isolated) => Some(not_ready(workspace, &format!("is not isolated ({})", isolated.reason))),
        None => Some(not_ready(workspace, "is not isolated yet")),
    }
}

/// Whether policies hold in the sandbox. Where that must be shown, a probe must have run in it.
fn network(context: &Context, pool: &AgentPool, class: &TenantClass, runtime: &str, stack: &Stack) -> Part {
    let stands = format!("policies for agents stand in {}", stack.namespace);
    let before = Before { conditions: AgentPools::conditions(pool), generation: pool.metadata.generation };
    let part = context.enforcement.part(class, names::NETWORK_ENFORCED, &stands, &before);
    let required = class.spec.network.enforcement == Wanted::Required;
    let shown = |runtimes: &[String]| runtimes.iter().any(|shown| shown == runtime);
    match context.enforcement.seen() {
        Seen::Enforced { runtimes } if required && !shown(&runtimes) => {
            let message = format!(
                "{stands}, but no probe runs under RuntimeClass {runtime}, so nothing shows that they hold there: add an entry of this name to probe.runtimes in the values of the chart"
            );
            let fault = Fault::waiting(WOKEN_ANYWAY, names::ENFORCEMENT_UNPROVEN, message);
            Part::faulty(names::NETWORK_ENFORCED, fault)
        }
        _ => part,
    }
}

fn sandbox(name: &str, runtime: Option<&RuntimeClass>) -> Part {
    if let Some(runtime) = runtime {
        let message = format!("RuntimeClass {name} exists, with handler {}", runtime.handler);
        return Part::good(names::SANDBOX_READY, names::AVAILABLE, message);
    }
    let message = format!(
        "RuntimeClass {name} does not exist: install the sandbox on the nodes and create it, or name another under agents.runtimeClass of the TenantClass"
    );
    Part::faulty(names::SANDBOX_READY, Fault::waiting(WOKEN_ANYWAY, names::RUNTIME_CLASS_MISSING, message))
}
