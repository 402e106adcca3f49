//! The stack: a namespace of our own, and in it all that isolates it. Stands complete before anything else is made.

use std::time::Duration;

use api::{TenantClass, Workspace, conditions as names, labels, workspace::NamespaceStatus};
use desired::{
    fields::Kind,
    ledger,
    workspace::{self as desired_workspace, Facts as StackFacts},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use super::{Facts, Workspaces, observe::Grant};
use crate::{
    context::Context,
    enforcement::Before,
    engine::{
        apply::{Applier, key_of},
        children::Key,
        conditions::Part,
        drive::Story as _,
        fault::Fault,
        round::Round,
    },
};

/// Makes the stack be there, and notes in `round` what stands.
pub async fn stack(
    context: &Context,
    facts: &StackFacts,
    grant: &Grant,
    wants_database: bool,
    round: &mut Round<Facts>,
) -> Result<(), Fault> {
    let stack = desired_workspace::stack(facts);
    let children = stack.children();
    let mut applier = applier(context, &facts.identity.to_string());
    let uid = namespace(context, &mut applier, facts, &stack.namespace).await?;
    round.facts.namespace = Some(NamespaceStatus { name: facts.namespace().to_string(), uid: uid.clone() });
    applier.namespace.clone_from(&uid);
    let mut contested = None;
    for (kind, child) in &children {
        match applier.apply(*kind, child, (*kind == Kind::Namespace).then_some(&uid)).await {
            // It stood before others began to fight over it, so nothing waits for it: least of all that somebody loses rights.
            Err(fault) if fault.reason == names::CONTESTED => contested = contested.or(Some(fault)),
            done => drop(done?),
        }
        if *kind == Kind::ResourceQuota {
            round.facts.quota = Some((ledger::to_status(grant.amounts), grant.revision));
        }
    }
    let mut wanted: Vec<Key> = children.iter().map(|(kind, child)| key_of(*kind, child)).collect();
    if wants_database {
        wanted.extend(of_database(facts.namespace().as_str()));
    }
    // Who sees to the consumers sees to it.
    wanted.push(consumers_policy(facts.namespace().as_str()));
    applier.prune(facts.namespace().as_str(), &wanted).await?;
    contested.map_or(Ok(()), Err)
}

/// All that only stacks with a database have: it stays also while something keeps it from being made or put right.
fn of_database(namespace: &str) -> impl Iterator<Item = Key> {
    let key = |(kind, name): (Kind, &str)| Key { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() };
    desired::database::NAMES.into_iter().map(key)
}

/// The policy that lets consumers of the database in.
pub fn consumers_policy(namespace: &str) -> Key {
    let name = desired_workspace::ALLOW_CONSUMERS.to_owned();
    Key { kind: Kind::NetworkPolicy, namespace: Some(namespace.to_owned()), name }
}

/// Writes for this owner.
pub fn applier<'a>(context: &'a Context, owner: &str) -> Applier<'a> {
    Applier {
        client: &context.engine.client,
        children: &context.children,
        contests: &context.contests,
        metrics: &context.engine.metrics,
        owner: owner.to_owned(),
        namespace: String::new(),
        fresh_namespace: false,
    }
}

/// The key of the stack namespace.
pub fn namespace_key(name: &str) -> Key {
    Key { kind: Kind::Namespace, namespace: None, name: name.to_owned() }
}

/// The namespace's UID. It is created bare, so that a namesake is never merged into: who has it must have got it from us.
async fn namespace(
    context: &Context,
    applier: &mut Applier<'_>,
    facts: &StackFacts,
    wanted: &Namespace,
) -> Result<String, Fault> {
    let name = facts.namespace().to_string();
    if let Some(child) =
        context.children.get(&namespace_key(&name)).filter(|child| child.owner.as_deref() == Some(&applier.owner))
    {
        return if child.deleting { Err(terminating(&name)) } else { Ok(child.uid.clone()) };
    }
    context.fence.stands().map_err(|why| Fault::waiting(Duration::from_secs(30), names::FENCE_DOWN, why))?;
    if let Some(made) = applier.create(Kind::Namespace, wanted).await? {
        applier.fresh_namespace = true;
        return Ok(made.uid().unwrap_or_default());
    }
    // Somebody was first: we ourselves, if the answer got lost, or a stranger. The stack label tells: only we can set it.
    let found = applier.read(&namespace_key(&name)).await?;
    let Some(found) = found else {
        return Err(Fault::transient(names::CONFLICT, format!("namespace {name} came and went at the same time")));
    };
    if found.labels().get(labels::STACK) != Some(&applier.owner) {
        let message = format!(
            "namespace {name} exists and is not of this Workspace, so it is left alone: delete it or move what is in it elsewhere"
        );
        return Err(Fault::stalled(names::NAMESPACE_TAKEN, message));
    }
    if found.metadata.deletion_timestamp.is_some() {
        Err(terminating(&name))
    } else {
        Ok(found.uid().unwrap_or_default())
    }
}

fn terminating(name: &str) -> Fault {
    let message = format!(
        "namespace {name} was deleted by somebody and is on its way out; it is made anew when it is gone, what was in it is lost"
    );
    Fault::waiting(Duration::from_secs(10), names::NAMESPACE_TERMINATING, message)
}

/// What can be said of isolation once all of it stands.
pub fn verdict(context: &Context, workspace: &Workspace, class: &TenantClass, facts: &StackFacts) -> Part {
    let stands = format!("policies, quota, limits and role bindings stand in {}", facts.namespace());
    let before = Before { conditions: Workspaces::conditions(workspace), generation: workspace.metadata.generation };
    context.enforcement.part(class, names::ISOLATED, &stands, &before)
}
