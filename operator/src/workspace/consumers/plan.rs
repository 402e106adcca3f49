//! What is to become of a Workspace's consumers.
//!
//! In: what the spec asks for, what namespaces consent to, what status remembers. Out: [`Plan`]. Pure but for the question who consents.

use std::collections::BTreeSet;

use api::{
    ConsumerNamespace, Tenant, TenantClass, Workspace, conditions as names,
    consumer::{self, BucketUse},
};
use desired::consumer::{Consumer, Standing};
use kube::ResourceExt;

use super::{super::authorize::knows_callers, find, is_of_another, known};
use crate::{consents::Answer, context::Context, engine::fault::Fault};

/// What a consumer may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    /// The database.
    pub database: Option<Standing>,
    /// The bucket.
    pub bucket: Option<BucketUse>,
    /// The store of authorization.
    pub authorization: bool,
}

/// Somebody who is a consumer.
pub struct Served {
    /// Who.
    pub consumer: Consumer,
    /// What it may use.
    pub uses: Uses,
    /// UID of its namespace.
    pub uid: String,
}

/// What is to become of whom.
pub struct Plan<'a> {
    /// Whose Workspace it is.
    pub tenant: &'a Tenant,
    /// What the platform offers.
    pub class: &'a TenantClass,
    /// Those who are consumers.
    pub served: Vec<Served>,
    /// Those of whose namespace it is not known yet whether it consents: what they have, they keep.
    pub waiting: Vec<Consumer>,
    /// Those whose namespace does not consent.
    pub refused: Vec<Consumer>,
    /// Those whose namespace was made anew: what they had goes, and then they are served.
    pub renewed: Vec<Consumer>,
    /// Those who had something and are to have nothing.
    pub ended: Vec<Consumer>,
    /// What is wrong with the list.
    pub invalid: Option<Fault>,
}

impl<'a> Plan<'a> {
    /// What is to become of the consumers of a Workspace. A name that admission should have refused is nobody's.
    #[must_use]
    pub fn of(context: &Context, tenant: &'a Tenant, workspace: &Workspace, class: &'a TenantClass) -> Self {
        let (served, waiting, refused, renewed, ended) = Default::default();
        let mut plan = Self { tenant, class, served, waiting, refused, renewed, ended, invalid: None };
        let names = (workspace.namespace().unwrap_or_default().parse(), workspace.name_any().parse());
        let (Ok(owner), Ok(name)) = names else { return plan };
        plan.invalid = nothing_to_consume(workspace, class);
        for asked in &workspace.spec.consumers {
            let uses = uses(workspace, class, asked);
            let has_any = uses.database.is_some() || uses.bucket.is_some() || uses.authorization;
            if !has_any && asked.authorization.is_none() {
                continue;
            }
            let consumer = match admitted(context, asked) {
                Ok(consumer) => consumer,
                Err(fault) => {
                    plan.invalid = Some(fault);
                    continue;
                }
            };
            match context.consents.of(&consumer.namespace, &owner, &name) {
                Answer::No => plan.refused.push(consumer),
                // Of a store that does not know its callers there is nothing to say.
                _ if !has_any => {}
                // What a namesake had is taken back first, with its certificate.
                Answer::Yes { uid } if is_of_another(workspace, &consumer, &uid) => plan.renewed.push(consumer),
                Answer::Yes { uid } => plan.served.push(Served { consumer, uses, uid }),
                Answer::Unknown => plan.waiting.push(consumer),
            }
        }
        let remembered = known(workspace).iter().filter_map(|known| Consumer::remembered(known).ok());
        plan.ended = remembered.filter(|consumer| !plan.stays(consumer)).collect();
        plan
    }

    fn stays(&self, consumer: &Consumer) -> bool {
        self.served.iter().any(|served| served.consumer == *consumer) || self.waiting.contains(consumer)
    }

    /// The namespaces from which packets may come to the database; without those that are new, where the stack is not isolated.
    pub fn namespaces(&self, workspace: &Workspace, is_isolated: bool) -> BTreeSet<ConsumerNamespace> {
        let has_role = |consumer: &Consumer| find(workspace, consumer).is_some_and(|known| known.role.is_some());
        let uses_it = self.served.iter().filter(|served| served.uses.database.is_some());
        let served = uses_it.map(|served| &served.consumer).filter(|consumer| is_isolated || has_role(consumer));
        let kept = self.waiting.iter().filter(|consumer| has_role(consumer));
        served.chain(kept).map(|consumer| consumer.namespace.clone()).collect()
    }
}

fn has_database(workspace: &Workspace, class: &TenantClass) -> bool {
    class.spec.database.is_some() && workspace.spec.wants_database()
}

/// What is asked for and there is.
fn uses(workspace: &Workspace, class: &TenantClass, asked: &consumer::Consumer) -> Uses {
    Uses {
        database: asked.database.filter(|_| has_database(workspace, class)).map(Into::into),
        bucket: asked.bucket.filter(|_| workspace.spec.wants_bucket()),
        authorization: asked.authorization.is_some() && knows_callers(class),
    }
}

fn nothing_to_consume(workspace: &Workspace, class: &TenantClass) -> Option<Fault> {
    let consumers = &workspace.spec.consumers;
    let message = if consumers.iter().any(|asked| asked.database.is_some()) && !has_database(workspace, class) {
        "spec.consumers names users of a database, and the Workspace has none: take them off the list, or use a TenantClass that offers databases"
    } else if consumers.iter().any(|asked| asked.bucket.is_some()) && !workspace.spec.wants_bucket() {
        "spec.consumers names users of a bucket, and spec.bucket.disabled is true: take them off the list, or set it to false"
    } else if consumers.iter().any(|asked| asked.authorization.is_some()) && class.spec.authorization.is_none() {
        "spec.consumers names users of the store of authorization, and the TenantClass offers none: take authorization off their entries, or use a TenantClass with authorization.openfga.accessControl"
    } else {
        return None;
    };
    Some(Fault::stalled(names::NOTHING_TO_CONSUME, message))
}

fn admitted(context: &Context, asked: &consumer::Consumer) -> Result<Consumer, Fault> {
    let consumer = Consumer::parse(asked)?;
    let namespace = consumer.namespace.as_str();
    if namespace == context.account.0 || namespace.starts_with("kube-") {
        let message =
            format!("spec.consumers names namespace {namespace}, which is no application's: take it off the list");
        return Err(Fault::stalled(names::INVALID_SPEC, message));
    }
    Ok(consumer)
}
