//! Taking everything back from who is a consumer no more: first its role in the database, so that neither its certificate nor a session
//! that is open is of use any longer, then what it had in its namespace.

use api::{Workspace, conditions as names, consumer::ConsumerStatus};
use desired::{
    consumer::{Consumer, Standing},
    fields::Kind,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::DeleteParams};

use super::{
    super::{Facts, WOKEN_ANYWAY, isolate},
    Plan, Scene, find, known,
};
use crate::{
    context::Context,
    engine::{children::Key, fault::Fault, round::Round},
};

impl Scene<'_> {
    /// Takes everything back; done when nothing is left.
    pub(super) async fn revoke(&self, consumer: &Consumer, plan: &Plan) -> Result<(), Fault> {
        let shut_out = self.shut_out(consumer).await;
        let stack = self.facts.namespace();
        if let Some(known) = find(self.workspace, consumer) {
            let is_last = plan.is_last_in(&consumer.namespace, consumer);
            take_away(self.context, stack.as_str(), known, is_last).await?;
        }
        shut_out
    }

    /// Leaves the consumer a role that cannot sign in and belongs to nothing, and then no `DatabaseRole`. The role itself stays in the
    /// database, because it may own tables there.
    async fn shut_out(&self, consumer: &Consumer) -> Result<(), Fault> {
        let (namespace, name) = (self.facts.namespace().to_string(), consumer.database_role());
        let key = Key { kind: Kind::DatabaseRole, namespace: Some(namespace.clone()), name: name.clone() };
        let Some(known) = self.context.children.get(&key).filter(|known| !known.deleting) else { return Ok(()) };
        let applier = self.applier(&self.stack_uid);
        applier.apply(Kind::DatabaseRole, &consumer.database_role_object(self.facts, Standing::ShutOut), None).await?;
        let role = self.context.databases.role(&namespace, &name);
        if role.is_some_and(|role| !role.login && role.is_applied()) {
            return applier.delete(&key, &known.uid).await;
        }
        let message = format!("DatabaseRole {namespace}/{name} is being shut out of the database");
        Err(Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message))
    }
}

/// Takes back what lies in the consumers' own namespaces, when the Workspace goes and its database with it.
pub async fn revoke_all(context: &Context, workspace: &Workspace, round: &mut Round<Facts>) -> Result<(), Fault> {
    let Some(stack) = workspace.status.as_ref().and_then(|status| status.namespace.as_ref()) else { return Ok(()) };
    for (index, consumer) in known(workspace).iter().enumerate() {
        let mut others = known(workspace).iter().skip(index + 1);
        let is_last = others.all(|other| other.namespace != consumer.namespace);
        take_away(context, &stack.name, consumer, is_last).await?;
    }
    round.facts.consumers = Some(Vec::new());
    Ok(())
}

/// Deletes the Secret of a consumer and, of the last one in its namespace, the RoleBinding by which we may do that. Where there is none any
/// more there is nothing to do: it was made before the Secret, and if somebody else took it away, what the Secret says is of no
/// use to anybody by now.
async fn take_away(context: &Context, stack: &str, consumer: &ConsumerStatus, is_last: bool) -> Result<(), Fault> {
    let ConsumerStatus { namespace, secret, .. } = consumer;
    let key = Key { kind: Kind::RoleBinding, namespace: Some(namespace.clone()), name: stack.to_owned() };
    let Some(binding) = context.children.get(&key).filter(|binding| !binding.deleting) else { return Ok(()) };
    let api: Api<Secret> = Api::namespaced(context.engine.client.clone(), namespace);
    match api.delete(secret, &DeleteParams::background()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => return Err(Fault::api(&error, &format!("delete Secret {namespace}/{secret}"))),
    }
    if is_last {
        isolate::applier(context, "").delete(&key, &binding.uid).await?;
    }
    Ok(())
}
