//! The Workspace's consumers: who may use its database, its bucket and the Tenant's store of authorization from elsewhere, and gets a role and
//! a certificate, credentials, and a Secret for that.
//!
//! In: what the spec asks for, what namespaces consent to, what status remembers. Out: for each consumer a `DatabaseRole` in the stack,
//! credentials at the store and a Secret in its own namespace, and the part `ConsumersReady`; and all of it taken back from whoever is one
//! no more. The store is called last: one that is down holds up nothing of the database.

mod bucket;
mod grant;
mod plan;
mod revoke;
mod secret;
mod sessions;
mod store;

use std::time::Duration;

use api::{
    Workspace, conditions as names,
    consumer::{ConsumerStatus, EndingCredentials},
    labels::CONSUMES,
};
use desired::{consumer::Consumer, fields::Kind, workspace::Facts as StackFacts};

use super::{Facts, WOKEN_ANYWAY, Workspaces, isolate};
use crate::{
    context::Context,
    engine::{
        conditions::{self, Part},
        drive,
        fault::{Class, Fault},
        round::Round,
    },
};

use bucket::Outcome;
pub use plan::Plan;
use plan::Served;
use revoke::forgotten;
pub use revoke::revoke_all;
pub use sessions::end_all;

/// What all steps look at.
pub(super) struct Scene<'a> {
    context: &'a Context,
    workspace: &'a Workspace,
    facts: &'a StackFacts,
    plan: &'a Plan<'a>,
    /// UID of the stack namespace.
    stack_uid: String,
}

/// Who is to be served, and what they have of what they may go on using.
type Had<'a> = (&'a Served, Option<ConsumerStatus>);

/// What consumers have, as it becomes in the course of a round.
struct Ledger {
    /// Of each that has something.
    consumers: Vec<ConsumerStatus>,
    /// What is taken back at the store.
    ending: Vec<EndingCredentials>,
    faults: Vec<Fault>,
}

/// Sees to the consumers. Where the stack is not isolated nobody new is let in, but who is to have nothing loses it all the same, and who has
/// something keeps it.
pub async fn consumers(
    context: &Context,
    workspace: &Workspace,
    facts: &StackFacts,
    plan: &Plan<'_>,
    is_isolated: bool,
    round: &mut Round<Facts>,
) {
    let stack_uid = round.facts.namespace.as_ref().map(|namespace| namespace.uid.clone()).unwrap_or_default();
    let scene = Scene { context, workspace, facts, plan, stack_uid };
    // First, and also where nobody is a consumer any more: nothing else would take it away.
    let faults: Vec<Fault> = scene.let_packets_in(is_isolated).await.err().into_iter().collect();
    let ending = workspace.status.as_ref().map(|status| status.ending_credentials.clone()).unwrap_or_default();
    let had_any = !known(workspace).is_empty() || !ending.is_empty();
    if workspace.spec.consumers.is_empty() && !had_any && faults.is_empty() {
        return;
    }
    let mut ledger = Ledger { consumers: Vec::new(), ending, faults };
    let had: Vec<_> = plan.served.iter().map(|served| (served, scene.had(served, &mut ledger))).collect();
    if let Err(fault) = scene.forget(&had, &mut ledger, round).await {
        round.parts.push(Part::faulty(names::CONSUMERS_READY, fault));
        return;
    }
    scene.end(&mut ledger).await;
    let waiting = plan.waiting.iter().filter_map(|consumer| find(workspace, consumer).cloned());
    ledger.consumers.extend(waiting);
    let served = scene.serve(&had, is_isolated, &mut ledger, round).await;
    let served = scene.stores(served, &mut ledger, round).await;
    let ends = sessions::end(context, plan.class, ledger.ending, round).await;
    ledger.ending = ends.left;
    // A store that issues and does not revoke any more goes on issuing.
    let store_is_well = ends.failed.is_none();
    ledger.faults.extend(ends.failed.into_iter().chain(ends.refused).chain(ends.astray));
    scene.buckets(served, store_is_well, &mut ledger, round).await;
    ledger.faults.extend(scene.refusals());
    round.facts.consumers = Some(sorted(ledger.consumers));
    round.facts.ending_credentials = Some(ledger.ending);
    round.parts.push(match conditions::worst_of(&ledger.faults) {
        Some(fault) => Part::faulty(names::CONSUMERS_READY, fault.clone()),
        None if is_isolated => Part::good(names::CONSUMERS_READY, names::AVAILABLE, scene.served()),
        None => Part::faulty(names::CONSUMERS_READY, not_isolated()),
    });
}

fn not_isolated() -> Fault {
    let message = "nobody new is let in before the stack is isolated: see the condition Isolated";
    Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message)
}

impl Scene<'_> {
    /// Lets packets in from the namespaces of those who use the database, and from no others.
    async fn let_packets_in(&self, is_isolated: bool) -> Result<(), Fault> {
        if self.stack_uid.is_empty() {
            return Ok(());
        }
        let applier = self.applier(&self.stack_uid);
        let consumers = self.plan.namespaces(self.workspace, is_isolated);
        if let Some(policy) = desired::workspace::allow_consumers(self.facts, &consumers) {
            return applier.apply(Kind::NetworkPolicy, &policy, None).await.map(drop);
        }
        let key = isolate::consumers_policy(self.facts.namespace().as_str());
        match self.context.children.get(&key) {
            Some(known) if !known.deleting => applier.delete(&key, &known.uid).await,
            _ => Ok(()),
        }
    }

    /// Writes it into status, in the middle of the round.
    async fn note(
        &self,
        consumers: Vec<ConsumerStatus>,
        ledger: &Ledger,
        round: &mut Round<Facts>,
        doing: &str,
    ) -> Result<(), Fault> {
        round.facts.consumers = Some(consumers);
        round.facts.ending_credentials = Some(ledger.ending.clone());
        let (known, engine) = (&self.context.workspaces, &self.context.engine);
        drive::intend::<Workspaces>(known, engine, self.workspace, round, names::CONSUMERS_READY, doing.to_owned())
            .await
    }

    /// Lets in all who are to be, as far as that is a matter of the cluster. Status names them before anything is made for them. Returns
    /// those to whom the bucket may be given; the others are in the ledger.
    async fn serve<'a>(
        &self,
        had: &[Had<'a>],
        is_isolated: bool,
        ledger: &mut Ledger,
        round: &mut Round<Facts>,
    ) -> Vec<(&'a Served, ConsumerStatus)> {
        let fence = self.context.fence.stands();
        let fence = fence.map_err(|why| Fault::waiting(Duration::from_secs(30), names::FENCE_DOWN, why));
        let ready = match fence {
            Ok(()) if is_isolated => self.intend(had, ledger, round).await,
            Ok(()) => Ok(had.iter().filter_map(|(served, had)| Some((*served, had.clone()?))).collect()),
            Err(fault) => Err(fault),
        };
        let begun = match ready {
            Ok(begun) => begun,
            Err(fault) => {
                ledger.consumers.extend(had.iter().filter_map(|(_, had)| had.clone()));
                ledger.faults.extend(Some(fault).filter(|_| !had.is_empty()));
                return Vec::new();
            }
        };
        let mut served = Vec::new();
        for (consumer, known) in begun {
            let is_new = known.observed_at.is_none()
                && known.bucket.as_ref().is_none_or(|bucket| bucket.observed_at.is_none())
                && known.authorization.as_ref().is_none_or(|store| store.observed_at.is_none());
            let loses_something = consumer.uses.database.is_none() && known.role.is_some();
            if !is_isolated && is_new && !loses_something {
                ledger.consumers.push(known);
                continue;
            }
            match self.grant(consumer, &known, round).await {
                Ok(now) => served.push((consumer, now)),
                Err(fault) => {
                    // Where its Secret can be written, what keeps the database from it does not keep the bucket from it.
                    ledger.faults.push(fault.fault);
                    if fault.is_of_database { served.push((consumer, known)) } else { ledger.consumers.push(known) }
                }
            }
        }
        served
    }

    /// What a consumer had, without what it may use no more.
    fn had(&self, served: &Served, ledger: &mut Ledger) -> Option<ConsumerStatus> {
        let known = find(self.workspace, &served.consumer)?;
        let bucket = sessions::kept(known.bucket.clone(), served.uses.bucket).unwrap_or_else(|ended| {
            sessions::add(&mut ledger.ending, known, ended);
            None
        });
        // What its Secret says of the store of authorization is taken out of that before status forgets it.
        let authorization = known.authorization.clone();
        let known = if served.uses.database.is_some() { known.clone() } else { forgotten(known) };
        Some(ConsumerStatus { bucket, authorization, ..known })
    }

    /// Everybody with all that is about to be made for them, once status says so.
    async fn intend<'a>(
        &self,
        had: &[Had<'a>],
        ledger: &mut Ledger,
        round: &mut Round<Facts>,
    ) -> Result<Vec<(&'a Served, ConsumerStatus)>, Fault> {
        let may_begin = ledger.ending.len() < sessions::MOST_ENDING;
        let begun: Vec<_> =
            had.iter().map(|(served, had)| (*served, self.intended(served, had.clone(), may_begin))).collect();
        let is_known = |(served, now): &(&Served, ConsumerStatus)| {
            find(self.workspace, &served.consumer).is_some_and(|known| known == now)
        };
        if begun.iter().all(is_known) {
            return Ok(begun);
        }
        let intended = begun.iter().map(|(_, now)| now.clone());
        let consumers = sorted(ledger.consumers.iter().cloned().chain(intended).collect());
        self.note(consumers, ledger, round, "roles, credentials and Secrets of consumers are being made").await?;
        Ok(begun)
    }

    fn intended(&self, served: &Served, had: Option<ConsumerStatus>, may_begin: bool) -> ConsumerStatus {
        let Served { consumer, uses, uid } = served;
        let mut now = had.unwrap_or_else(|| ConsumerStatus {
            namespace: consumer.namespace.to_string(),
            namespace_uid: uid.clone(),
            service_account: consumer.service_account.to_string(),
            role: None,
            secret: consumer.secret(self.facts),
            certificate_expires_at: None,
            observed_at: None,
            bucket: None,
            authorization: None,
        });
        if uses.authorization {
            now.authorization.get_or_insert_default();
        }
        if uses.database.is_some() {
            now.role = Some(consumer.role());
        }
        now.bucket = match (now.bucket.take(), uses.bucket) {
            (Some(had), Some(access)) if had.access == access => Some(had),
            // More than before: issued anew, and known by the same name.
            (Some(had), Some(access)) => {
                Some(api::consumer::ConsumerBucketStatus { access, expires_at: None, observed_at: None, ..had })
            }
            (None, Some(access)) if may_begin => Some(sessions::begun(&self.facts.identity, &now, access)),
            (had, _) => had,
        };
        now
    }

    /// Gives the bucket to those who use it. After the first call that the store does not answer, it is asked no more in this round.
    async fn buckets(
        &self,
        served: Vec<(&Served, ConsumerStatus)>,
        mut store_is_well: bool,
        ledger: &mut Ledger,
        round: &mut Round<Facts>,
    ) {
        for (served, mut now) in served {
            let seen = match (&now.bucket, served.uses.bucket) {
                (Some(session), Some(_)) if store_is_well => {
                    Some(self.bucket(&served.consumer, &now, session, round).await)
                }
                (None, Some(_)) if ledger.ending.len() >= sessions::MOST_ENDING => Some(Err(sessions::too_many())),
                _ => None,
            };
            match seen {
                Some(Ok(Outcome::Holds(session))) => now.bucket = Some(session),
                Some(Ok(Outcome::Begins(session))) => {
                    ledger.faults.extend(session.expires_at.is_none().then(|| sessions::begins(&now)));
                    now.bucket = Some(session);
                }
                Some(Ok(how @ (Outcome::Ends | Outcome::Outlives))) => {
                    // As where less may be used: it ends, and the next round begins another.
                    let add = if matches!(how, Outcome::Outlives) { sessions::outlive } else { sessions::add };
                    if let Some(session) = now.bucket.take() {
                        add(&mut ledger.ending, &now, session);
                    }
                    ledger.faults.push(sessions::otherwise(&now));
                    round.look_again(Duration::from_secs(1));
                }
                Some(Err(fault)) => {
                    store_is_well &= fault.class != Class::Transient;
                    ledger.faults.push(fault);
                }
                None => {}
            }
            ledger.consumers.push(now);
        }
    }

    /// Who could not be let in because of others.
    fn refusals(&self) -> Vec<Fault> {
        let plan = self.plan;
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

    fn served(&self) -> String {
        let served = self.plan.served.iter().map(|served| &served.consumer);
        let secrets = served
            .map(|consumer| format!("{}/{}", consumer.namespace, consumer.secret(self.facts)))
            .collect::<Vec<_>>();
        match secrets.as_slice() {
            [] => "nobody elsewhere uses what the Workspace has".to_owned(),
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
