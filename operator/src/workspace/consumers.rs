//! The Workspace's consumers: who may use its database from elsewhere, and gets a role, a certificate and a Secret for that.
//!
//! In: what the spec asks for, what namespaces consent to, what status remembers. Out: for each consumer a `DatabaseRole` in the stack and
//! a Secret in its own namespace, and the part `ConsumersReady`; and all of it taken back from whoever is one no more.

mod grant;
mod revoke;

use std::collections::BTreeSet;

use api::{ConsumerNamespace, TenantClass, Workspace, conditions as names, consumer::ConsumerStatus, labels::CONSUMES};
use desired::{
    consumer::{Consumer, Standing},
    workspace::Facts as StackFacts,
};
use kube::ResourceExt;

use super::{Facts, WOKEN_ANYWAY, Workspaces};
use crate::{
    consents::Answer,
    context::Context,
    engine::{conditions::Part, drive, fault::Fault, round::Round},
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
            match context.consents.of(&consumer.namespace, &tenant, &name) {
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

    /// The namespaces from which packets may come to the database.
    #[must_use]
    pub fn namespaces(&self, workspace: &Workspace) -> BTreeSet<ConsumerNamespace> {
        let served = self.served.iter().map(|(consumer, _, _)| consumer);
        let kept = self.waiting.iter().filter(|consumer| find(workspace, consumer).is_some());
        served.chain(kept).map(|consumer| consumer.namespace.clone()).collect()
    }

    /// Whether nobody in this namespace is, or may be, a consumer, and of those who were this is the last.
    fn is_last_in(&self, namespace: &ConsumerNamespace, consumer: &Consumer) -> bool {
        let served = self.served.iter().map(|(consumer, _, _)| consumer);
        let mut ended = self.ended.iter().skip_while(|ended| *ended != consumer).skip(1);
        served.chain(&self.waiting).all(|other| other.namespace != *namespace)
            && ended.all(|other| other.namespace != *namespace)
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

/// Sees to the consumers. Where the stack is not isolated nobody new is let in, but who is to have nothing loses it all the same.
pub async fn consumers(
    context: &Context,
    workspace: &Workspace,
    facts: &StackFacts,
    plan: &Plan,
    is_isolated: bool,
    round: &mut Round<Facts>,
) {
    if workspace.spec.consumers.is_empty() && known(workspace).is_empty() {
        return;
    }
    let stack_uid = round.facts.namespace.as_ref().map(|namespace| namespace.uid.clone()).unwrap_or_default();
    let scene = Scene { context, workspace, facts, stack_uid };
    let mut after = Vec::new();
    let mut faults = Vec::new();
    for consumer in &plan.ended {
        if let Err(fault) = scene.revoke(consumer, plan).await {
            after.extend(find(workspace, consumer).cloned());
            faults.push(fault);
        }
    }
    after.extend(plan.waiting.iter().filter_map(|consumer| find(workspace, consumer).cloned()));
    if is_isolated {
        scene.serve(plan, &mut after, &mut faults, round).await;
    } else {
        after.extend(plan.served.iter().filter_map(|(consumer, _, _)| find(workspace, consumer).cloned()));
    }
    round.facts.consumers = Some(sorted(after));
    if is_isolated {
        faults.extend(scene.refusals(plan));
        round.parts.push(match faults.into_iter().next() {
            Some(fault) => Part::faulty(names::CONSUMERS_READY, fault),
            None => Part::good(names::CONSUMERS_READY, names::AVAILABLE, scene.served(plan)),
        });
    }
}

impl Scene<'_> {
    /// Lets in all who are to be. Status names them before anything is made for them.
    async fn serve(
        &self,
        plan: &Plan,
        after: &mut Vec<ConsumerStatus>,
        faults: &mut Vec<Fault>,
        round: &mut Round<Facts>,
    ) {
        if plan.served.is_empty() {
            return;
        }
        let ready = match self.usable().await {
            Ok(()) => self.intend(plan, after, round).await,
            unusable => unusable,
        };
        if let Err(fault) = ready {
            after.extend(plan.served.iter().filter_map(|(consumer, _, _)| find(self.workspace, consumer).cloned()));
            faults.push(fault);
            return;
        }
        for (consumer, standing, uid) in &plan.served {
            let known = find(self.workspace, consumer).cloned().unwrap_or_else(|| self.intended(consumer, uid));
            match self.grant(consumer, *standing, uid, &known, round).await {
                Ok(status) => after.push(status),
                Err(fault) => {
                    after.push(known);
                    faults.push(fault);
                }
            }
        }
    }

    async fn usable(&self) -> Result<(), Fault> {
        let databases = &self.context.databases;
        databases.usable(&self.context.engine.client).await?;
        databases.synced()
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
                "namespace {namespace} does not exist or does not consent: whoever owns it names {tenant}/{workspace} in its annotation {CONSUMES}, as with kubectl annotate namespace {namespace} {CONSUMES}={tenant}/{workspace}"
            );
            Fault::waiting(WOKEN_ANYWAY, names::CONSENT_MISSING, message)
        });
        let waiting = plan.waiting.iter().map(|_| {
            let message = "namespaces were not listed yet, so nobody knows which consent";
            Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message)
        });
        plan.invalid.iter().cloned().chain(refused).chain(waiting).collect()
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

fn sorted(mut all: Vec<ConsumerStatus>) -> Vec<ConsumerStatus> {
    all.sort_by(|one, other| (&one.namespace, &one.service_account).cmp(&(&other.namespace, &other.service_account)));
    all
}
