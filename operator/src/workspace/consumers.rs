//! The Workspace's consumers: who may use its database from elsewhere, and gets a role, a certificate and a Secret for that.
//!
//! In: what the spec asks for, what namespaces consent to, what status remembers. Out: for each consumer a `DatabaseRole` in the stack and
//! a Secret in its own namespace, and the part `ConsumersReady`; and all of it taken back from whoever is one no more.

mod grant;
mod revoke;

use std::{collections::BTreeSet, time::Duration};

use api::{ConsumerNamespace, TenantClass, Workspace, conditions as names, consumer::ConsumerStatus, labels::CONSUMES};
use desired::{
    consumer::{Consumer, Standing},
    fields::Kind,
    workspace::Facts as StackFacts,
};
use kube::ResourceExt;

use super::{Facts, WOKEN_ANYWAY, Workspaces, isolate};
use crate::{
    consents::Answer,
    context::Context,
    engine::{
        conditions::{self, Part},
        drive,
        fault::Fault,
        round::Round,
    },
};

pub use revoke::revoke_all;

/// What is to become of whom.
#[derive(Default)]
pub struct Plan {
    /// Those who are consumers, what they may do, and the UID of their namespace.
    served: Vec<(Consumer, Standing, String)>,
    /// Those of whose namespace it is not known yet whether it consents: what they have, they keep.
    waiting: Vec<Consumer>,
    /// Those whose namespace does not consent.
    refused: Vec<Consumer>,
    /// Those whose namespace was made anew: what they had goes, and then they are served.
    renewed: Vec<Consumer>,
    /// Those who had something and are to have nothing.
    ended: Vec<Consumer>,
    /// What is wrong with the list.
    invalid: Option<Fault>,
}

impl Plan {
    /// What is to become of the consumers of a Workspace. A name that admission should have refused is nobody's.
    #[must_use]
    pub fn of(context: &Context, workspace: &Workspace, class: &TenantClass) -> Self {
        let mut plan = Self::default();
        let names = (workspace.namespace().unwrap_or_default().parse(), workspace.name_any().parse());
        let (Ok(tenant), Ok(name)) = names else { return plan };
        let has_database = class.spec.database.is_some() && workspace.spec.wants_database();
        if !has_database && !workspace.spec.consumers.is_empty() {
            let message = "spec.consumers names users of a database, and the Workspace has none: take them off the list, or use a TenantClass that offers databases";
            plan.invalid = Some(Fault::stalled(names::NOTHING_TO_CONSUME, message));
        }
        for asked in workspace.spec.consumers.iter().filter(|_| has_database) {
            let consumer = match Consumer::parse(asked) {
                Ok(consumer) => consumer,
                Err(error) => {
                    plan.invalid = Some(error.into());
                    continue;
                }
            };
            if consumer.namespace.as_str() == context.account.0 || consumer.namespace.as_str().starts_with("kube-") {
                let message = format!(
                    "spec.consumers names namespace {}, which is no application's: take it off the list",
                    consumer.namespace
                );
                plan.invalid = Some(Fault::stalled(names::INVALID_SPEC, message));
                continue;
            }
            match context.consents.of(&consumer.namespace, &tenant, &name) {
                // What a namesake had is taken back first, with its certificate.
                Answer::Yes { uid } if is_of_another(workspace, &consumer, &uid) => plan.renewed.push(consumer),
                Answer::Yes { uid } => plan.served.push((consumer, asked.database.into(), uid)),
                Answer::No => plan.refused.push(consumer),
                Answer::Unknown => plan.waiting.push(consumer),
            }
        }
        let remembered = known(workspace).iter().filter_map(|known| Consumer::remembered(known).ok());
        plan.ended = remembered.filter(|consumer| !plan.stays(consumer)).collect();
        plan
    }

    fn stays(&self, consumer: &Consumer) -> bool {
        self.served.iter().any(|(served, _, _)| served == consumer) || self.waiting.contains(consumer)
    }

    /// The namespaces from which packets may come to the database; without those that are new, where the stack is not isolated.
    fn namespaces(&self, workspace: &Workspace, is_isolated: bool) -> BTreeSet<ConsumerNamespace> {
        let counts = |consumer: &&Consumer| is_isolated || find(workspace, consumer).is_some();
        let served = self.served.iter().map(|(consumer, _, _)| consumer).filter(counts);
        let kept = self.waiting.iter().filter(|consumer| find(workspace, consumer).is_some());
        served.chain(kept).map(|consumer| consumer.namespace.clone()).collect()
    }
}

/// What all steps look at.
pub(super) struct Scene<'a> {
    context: &'a Context,
    workspace: &'a Workspace,
    facts: &'a StackFacts,
    /// UID of the stack namespace.
    stack_uid: String,
}

/// Sees to the consumers. Where the stack is not isolated nobody new is let in, but who is to have nothing loses it all the same, and who has
/// something keeps it.
pub async fn consumers(
    context: &Context,
    workspace: &Workspace,
    facts: &StackFacts,
    plan: &Plan,
    is_isolated: bool,
    round: &mut Round<Facts>,
) {
    let stack_uid = round.facts.namespace.as_ref().map(|namespace| namespace.uid.clone()).unwrap_or_default();
    let scene = Scene { context, workspace, facts, stack_uid };
    // First, and also where nobody is a consumer any more: nothing else would take it away.
    let mut faults: Vec<Fault> = scene.let_packets_in(plan, is_isolated).await.err().into_iter().collect();
    if workspace.spec.consumers.is_empty() && known(workspace).is_empty() && faults.is_empty() {
        return;
    }
    let mut after = scene.end(plan, &mut faults).await;
    after.extend(plan.waiting.iter().filter_map(|consumer| find(workspace, consumer).cloned()));
    scene.serve(plan, is_isolated, &mut after, &mut faults, round).await;
    faults.extend(scene.refusals(plan));
    round.facts.consumers = Some(sorted(after));
    round.parts.push(match conditions::worst_of(&faults) {
        Some(fault) => Part::faulty(names::CONSUMERS_READY, fault.clone()),
        None if is_isolated => Part::good(names::CONSUMERS_READY, names::AVAILABLE, scene.served(plan)),
        None => Part::faulty(names::CONSUMERS_READY, not_isolated()),
    });
}

fn not_isolated() -> Fault {
    let message = "nobody new is let in before the stack is isolated: see the condition Isolated";
    Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message)
}

impl Scene<'_> {
    /// Lets packets in from the namespaces of consumers, and from no others.
    async fn let_packets_in(&self, plan: &Plan, is_isolated: bool) -> Result<(), Fault> {
        if self.stack_uid.is_empty() {
            return Ok(());
        }
        let applier = self.applier(&self.stack_uid);
        let consumers = plan.namespaces(self.workspace, is_isolated);
        if let Some(policy) = desired::workspace::allow_consumers(self.facts, &consumers) {
            return applier.apply(Kind::NetworkPolicy, &policy, None).await.map(drop);
        }
        let key = isolate::consumers_policy(self.facts.namespace().as_str());
        match self.context.children.get(&key) {
            Some(known) if !known.deleting => applier.delete(&key, &known.uid).await,
            _ => Ok(()),
        }
    }

    /// Takes everything back from those who are to have nothing. Returns those of whom something is left.
    async fn end(&self, plan: &Plan, faults: &mut Vec<Fault>) -> Vec<ConsumerStatus> {
        let mut left = Vec::new();
        for consumer in &plan.ended {
            if let Err(fault) = self.revoke(consumer).await {
                // What was written once is gone or going: whoever is let in again needs it anew.
                left.extend(find(self.workspace, consumer).cloned().map(|known| ConsumerStatus {
                    certificate_expires_at: None,
                    observed_at: None,
                    ..known
                }));
                faults.push(fault);
            }
        }
        let is_in_use = |namespace: &str| {
            let served = plan.served.iter().map(|(consumer, _, _)| consumer).chain(&plan.waiting);
            served.map(|consumer| consumer.namespace.as_str()).any(|used| used == namespace)
                || left.iter().any(|known| known.namespace == namespace)
        };
        let ended: BTreeSet<&str> = plan.ended.iter().map(|consumer| consumer.namespace.as_str()).collect();
        for namespace in ended.into_iter().filter(|namespace| !is_in_use(namespace)) {
            let stack = self.facts.namespace();
            faults.extend(revoke::unbind(self.context, stack.as_str(), namespace).await.err());
        }
        left
    }

    /// Lets in all who are to be. Status names them before anything is made for them.
    async fn serve(
        &self,
        plan: &Plan,
        is_isolated: bool,
        after: &mut Vec<ConsumerStatus>,
        faults: &mut Vec<Fault>,
        round: &mut Round<Facts>,
    ) {
        let is_new =
            |consumer: &Consumer| find(self.workspace, consumer).is_none_or(|known| known.observed_at.is_none());
        let ready = match self.usable() {
            Ok(()) if is_isolated => self.intend(plan, after, round).await,
            otherwise => otherwise,
        };
        for (consumer, standing, uid) in &plan.served {
            let known = find(self.workspace, consumer).cloned();
            if ready.is_err() || (!is_isolated && is_new(consumer)) {
                after.extend(known);
                continue;
            }
            let known = known.unwrap_or_else(|| self.intended(consumer, uid));
            match self.grant(consumer, *standing, uid, &known, round).await {
                Ok(status) => after.push(status),
                Err(fault) => {
                    after.push(known);
                    faults.push(fault);
                }
            }
        }
        faults.extend(ready.err().filter(|_| !plan.served.is_empty()));
    }

    /// Whether all roles are known, and nobody could make us write where we should not.
    fn usable(&self) -> Result<(), Fault> {
        self.context.databases.synced()?;
        let fence = self.context.fence.stands();
        fence.map_err(|why| Fault::waiting(Duration::from_secs(30), names::FENCE_DOWN, why))
    }

    async fn intend(&self, plan: &Plan, after: &[ConsumerStatus], round: &mut Round<Facts>) -> Result<(), Fault> {
        if plan.served.iter().all(|(consumer, _, _)| find(self.workspace, consumer).is_some()) {
            return Ok(());
        }
        let intended = plan.served.iter().map(|(consumer, _, uid)| {
            find(self.workspace, consumer).cloned().unwrap_or_else(|| self.intended(consumer, uid))
        });
        round.facts.consumers = Some(sorted(after.iter().cloned().chain(intended).collect()));
        let making = "roles and Secrets of consumers are being made".to_owned();
        let (known, engine) = (&self.context.workspaces, &self.context.engine);
        drive::intend::<Workspaces>(known, engine, self.workspace, round, names::CONSUMERS_READY, making).await
    }

    fn intended(&self, consumer: &Consumer, uid: &str) -> ConsumerStatus {
        ConsumerStatus {
            namespace: consumer.namespace.to_string(),
            namespace_uid: uid.to_owned(),
            service_account: consumer.service_account.to_string(),
            role: consumer.role(),
            secret: consumer.secret(self.facts),
            certificate_expires_at: None,
            observed_at: None,
        }
    }

    /// Who could not be let in because of others.
    fn refusals(&self, plan: &Plan) -> Vec<Fault> {
        let (tenant, workspace) = (&self.facts.tenant, &self.facts.workspace);
        let refused = plan.refused.iter().map(|consumer| {
            let namespace = &consumer.namespace;
            let message = format!(
                "namespace {namespace} does not exist or does not consent: whoever owns it adds {tenant}/{workspace} to what its annotation {CONSUMES} names, separated by a comma; if it has none yet, by kubectl annotate namespace {namespace} {CONSUMES}={tenant}/{workspace}"
            );
            Fault::waiting(WOKEN_ANYWAY, names::CONSENT_MISSING, message)
        });
        let waiting = plan.waiting.iter().map(|_| {
            let message = "namespaces were not listed yet, so nobody knows which consent";
            Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message)
        });
        let renewed = plan.renewed.iter().map(|consumer| {
            let message = format!(
                "namespace {} was made anew: what {} had in the one before is taken back first",
                consumer.namespace, consumer.service_account
            );
            Fault::waiting(Duration::from_secs(1), names::PROGRESSING, message)
        });
        plan.invalid.iter().cloned().chain(refused).chain(waiting).chain(renewed).collect()
    }

    fn served(&self, plan: &Plan) -> String {
        let secrets = plan
            .served
            .iter()
            .map(|(consumer, _, _)| format!("{}/{}", consumer.namespace, consumer.secret(self.facts)))
            .collect::<Vec<_>>();
        match secrets.as_slice() {
            [] => "nobody is a consumer any more".to_owned(),
            [one] => format!("Secret {one} says how to connect"),
            [first, others @ ..] => format!("Secrets {first} and {} more say how to connect", others.len()),
        }
    }
}

fn known(workspace: &Workspace) -> &[ConsumerStatus] {
    workspace.status.as_ref().map_or(&[], |status| &status.consumers)
}

fn find<'a>(workspace: &'a Workspace, consumer: &Consumer) -> Option<&'a ConsumerStatus> {
    let is_it = |known: &&ConsumerStatus| {
        known.namespace == consumer.namespace.as_str() && known.service_account == consumer.service_account.to_string()
    };
    known(workspace).iter().find(is_it)
}

/// Whether what status remembers was made in a namespace that had the same name.
fn is_of_another(workspace: &Workspace, consumer: &Consumer, uid: &str) -> bool {
    find(workspace, consumer).is_some_and(|known| known.namespace_uid != uid)
}

fn sorted(mut all: Vec<ConsumerStatus>) -> Vec<ConsumerStatus> {
    all.sort_by(|one, other| (&one.namespace, &one.service_account).cmp(&(&other.namespace, &other.service_account)));
    all
}
