//! Taking everything back from who is a consumer no more: first its role in the database, so that neither its certificate nor a session
//! that is open is of use any longer, then what it had in its namespace. Status forgets it before.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api::{Workspace, conditions as names, consumer::ConsumerStatus};
use desired::{
    consumer::{Consumer, Standing},
    fields::Kind,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};

use super::{
    super::{Facts, WOKEN_ANYWAY, isolate},
    Had, Ledger, Scene, find, known, sessions, sorted,
};
use crate::{
    clock,
    context::Context,
    engine::{
        children::{Child, Key},
        drive::FORBIDDEN_GRACE,
        fault::{Class, Fault},
        round::Round,
    },
};

/// How the API server says that admission policies refused a request.
const FENCE: &str = "ValidatingAdmissionPolicy";

impl Scene<'_> {
    /// Has status forget what is about to be taken back, before it is: whoever is let in again gets all of it anew, whatever becomes of this
    /// round.
    pub(super) async fn forget(
        &self,
        had: &[Had<'_>],
        ledger: &mut Ledger,
        round: &mut Round<Facts>,
    ) -> Result<(), Fault> {
        let ended = self.plan.ended.iter().filter_map(|consumer| find(self.workspace, consumer));
        for known in ended.clone() {
            if let Some(session) = known.bucket.clone() {
                sessions::add(&mut ledger.ending, known, session);
            }
        }
        let waiting = self.plan.waiting.iter().filter_map(|consumer| find(self.workspace, consumer).cloned());
        let served = had.iter().filter_map(|(_, had)| had.clone());
        let left = sorted(ended.map(forgotten).chain(waiting).chain(served).collect());
        if left == known(self.workspace) {
            return Ok(());
        }
        self.note(left, ledger, round, "what consumers had is being taken back").await
    }

    /// Takes everything back from those who are to have nothing. Those of whom something is left stay in the ledger.
    pub(super) async fn end(&self, ledger: &mut Ledger) {
        for consumer in &self.plan.ended {
            if let Err(fault) = self.revoke(consumer).await {
                ledger.consumers.extend(find(self.workspace, consumer).map(forgotten));
                ledger.faults.push(fault);
            }
        }
        let is_in_use = |namespace: &str| {
            let served = self.plan.served.iter().map(|served| &served.consumer).chain(&self.plan.waiting);
            served.map(|consumer| consumer.namespace.as_str()).any(|used| used == namespace)
                || ledger.consumers.iter().any(|known| known.namespace == namespace)
        };
        let ended: BTreeSet<&str> = self.plan.ended.iter().map(|consumer| consumer.namespace.as_str()).collect();
        let unused: Vec<&str> = ended.into_iter().filter(|namespace| !is_in_use(namespace)).collect();
        for namespace in unused {
            let stack = self.facts.namespace();
            if let Err(fault) = unbind(self.context, stack.as_str(), namespace).await {
                // One of them is remembered until the right is given back.
                let mut known = self.plan.ended.iter().filter_map(|ended| find(self.workspace, ended));
                ledger.consumers.extend(known.find(|known| known.namespace == namespace).map(forgotten));
                ledger.faults.push(fault);
            }
        }
    }

    /// Takes everything back but the right to do so; done when nothing is left.
    pub(super) async fn revoke(&self, consumer: &Consumer) -> Result<(), Fault> {
        let known = find(self.workspace, consumer);
        let had_role = known.is_none_or(|known| known.role.is_some());
        let shut_out = if had_role { self.shut_out(consumer).await } else { Ok(()) };
        if let Some(known) = known {
            take_away(self.context, self.facts.namespace().as_str(), known).await?;
        }
        shut_out
    }

    /// Leaves the consumer a role that cannot sign in and belongs to nothing, and then no `DatabaseRole`. The role itself stays in the
    /// database, because it may own tables there.
    pub(super) async fn shut_out(&self, consumer: &Consumer) -> Result<(), Fault> {
        // What was not listed yet may well be there.
        self.context.databases.synced()?;
        let (namespace, name) = (self.facts.namespace().to_string(), consumer.database_role());
        let key = Key { kind: Kind::DatabaseRole, namespace: Some(namespace.clone()), name: name.clone() };
        let Some(known) = self.context.children.get(&key).filter(|known| !known.deleting) else { return Ok(()) };
        let applier = self.applier(&self.stack_uid);
        applier.apply(Kind::DatabaseRole, &consumer.database_role_object(self.facts, Standing::ShutOut), None).await?;
        let role = self.context.databases.role(&namespace, &name);
        if role.is_some_and(|role| !role.login && role.is_applied()) {
            return applier.delete(&key, &known.uid).await;
        }
        Err(self.inside(&format!("DatabaseRole {namespace}/{name} is being shut out of the database")))
    }

    /// What waits for CloudNativePG, which does nothing inside a database that does not run.
    pub(super) fn inside(&self, message: &str) -> Fault {
        let sleeps = "; spec.suspended is true, so that waits until it is false, and all else is done";
        let why = if self.workspace.spec.suspended { sleeps } else { "" };
        Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, format!("{message}{why}"))
    }
}

/// Takes back what lies in the consumers' own namespaces, when the Workspace goes and its database with it.
pub async fn revoke_all(context: &Context, workspace: &Workspace, round: &mut Round<Facts>) -> Result<(), Fault> {
    let Some(stack) = workspace.status.as_ref().and_then(|status| status.namespace.as_ref()) else { return Ok(()) };
    let nothing_of_bucket = |consumer: &ConsumerStatus| ConsumerStatus { bucket: None, ..consumer.clone() };
    // What they had for the bucket is ended apart from this, and stands in status once: also if this round is cut off.
    round.facts.consumers = Some(known(workspace).iter().map(nothing_of_bucket).collect());
    let mut left = Vec::new();
    let mut failed = None;
    for consumer in known(workspace) {
        let taken = take_away(context, &stack.name, consumer).await;
        // Whoever owns the namespace may have taken the right away. The database goes, so nothing there is of use to anybody.
        let is_believed = |fault: &Fault| fault.class == Class::Forbidden && refusals_count(workspace);
        if let Err(fault) = taken.or_else(|fault| if is_believed(&fault) { Ok(()) } else { Err(fault) }) {
            left.push(nothing_of_bucket(consumer));
            failed = failed.or(Some(fault));
        }
    }
    for consumer in known(workspace) {
        if left.iter().all(|other| other.namespace != consumer.namespace)
            && let Err(fault) = unbind(context, &stack.name, &consumer.namespace).await
        {
            // One of them is remembered until the right is given back.
            left.push(nothing_of_bucket(consumer));
            failed = failed.or(Some(fault));
        }
    }
    round.facts.consumers = Some(left);
    failed.map_or(Ok(()), Err)
}

/// Whether the Workspace has been going for so long that a refusal is not of rights that are only on their way.
fn refusals_count(workspace: &Workspace) -> bool {
    let since = workspace.metadata.deletion_timestamp.as_ref();
    let lasts = since.and_then(|since| Duration::try_from(clock::now().duration_since(since.0)).ok());
    lasts.is_some_and(|lasts| lasts >= FORBIDDEN_GRACE)
}

/// The RoleBinding by which we may write Secrets in the namespace of a consumer.
fn binding(context: &Context, stack: &str, namespace: &str) -> Option<(Key, Arc<Child>)> {
    let key = Key { kind: Kind::RoleBinding, namespace: Some(namespace.to_owned()), name: stack.to_owned() };
    let known = context.children.get(&key).filter(|binding| !binding.deleting)?;
    Some((key, known))
}

/// Deletes the Secret of a consumer. Without the RoleBinding there is nothing to do: it was made before the Secret. And if whoever owns the
/// namespace took it or our marks away, the fence keeps us from what is theirs by now; what our Secret said is of no use to
/// anybody.
async fn take_away(context: &Context, stack: &str, consumer: &ConsumerStatus) -> Result<(), Fault> {
    let ConsumerStatus { namespace, secret, .. } = consumer;
    if binding(context, stack, namespace).is_none() {
        return Ok(());
    }
    let api: Api<Secret> = Api::namespaced(context.engine.client.clone(), namespace);
    match delete_that_one(&api, secret).await {
        Ok(()) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(kube::Error::Api(status)) if status.is_forbidden() && status.message.contains(FENCE) => {
            tracing::warn!(
                namespace,
                secret,
                said = status.message,
                "a consumer's Secret is not ours any more and stays"
            );
            Ok(())
        }
        Err(error) => Err(Fault::api(&error, &format!("delete Secret {namespace}/{secret}"))),
    }
}

/// Deletes the Secret that has this name now, and no other that comes to have it until the request arrives: one that was on its way for long
/// would else take what was given anew. Which one it is tells a trial that deletes nothing: the fence lets us neither read there, nor write
/// without consent.
async fn delete_that_one(api: &Api<Secret>, name: &str) -> kube::Result<()> {
    let trial = api.delete(name, &DeleteParams::background().dry_run()).await?;
    let uid = trial
        .either(|secret| secret.metadata.uid, |status| status.details.map(|it| it.uid).filter(|uid| !uid.is_empty()));
    let preconditions = Preconditions { uid, resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    api.delete(name, &params).await.map(drop)
}

/// A consumer of whom everything is taken back, which is needed anew by whoever is let in again.
pub(super) fn forgotten(known: &ConsumerStatus) -> ConsumerStatus {
    ConsumerStatus {
        certificate_expires_at: None,
        observed_at: None,
        bucket: None,
        authorization: None,
        ..known.clone()
    }
}

/// Gives the right to write Secrets there back, after the last of them.
pub async fn unbind(context: &Context, stack: &str, namespace: &str) -> Result<(), Fault> {
    let Some((key, known)) = binding(context, stack, namespace) else { return Ok(()) };
    isolate::applier(context, "").delete(&key, &known.uid).await
}
