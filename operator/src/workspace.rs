//! The story of a Workspace: its stack first, isolated before anything else is made, then its bucket, its members'
//! rights and its database, and how it goes.
//!
//! In: a Workspace, its Tenant, the Tenant's class. Out: a stack namespace with what isolates it, a bucket and tuples outside the cluster.

mod authorize;
mod cleanup;
mod consumers;
mod database;
pub(crate) mod isolate;
mod observe;
mod provision;
mod report;

use std::{sync::Arc, time::Duration};

use api::{
    Identity, Workspace, conditions as names,
    consumer::{ConsumerStatus, EndingCredentials},
    database::DatabaseStatus,
    tenant::ResourceTextStatus,
    workspace::{BucketStatus, MembershipStatus, NamespaceStatus},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::{
    context::Context,
    engine::{
        conditions::{Part, Phase},
        drive::{self, Story},
        fault::Fault,
        known::Known,
        round::Round,
    },
};

pub(crate) use authorize::knows_callers;
pub(crate) use provision::spec as bucket_spec;

/// What the report needs beside the parts; what is `None` stays as it was.
#[derive(Default)]
pub struct Facts {
    /// What everything of the Workspace is named after.
    pub identity: Option<Identity>,
    /// The stack namespace.
    pub namespace: Option<NamespaceStatus>,
    /// What the ResourceQuota was set to, and the number of the grant.
    pub quota: Option<(ResourceTextStatus, i64)>,
    /// The bucket as seen in this round.
    pub bucket: Option<BucketStatus>,
    /// The members in the tenant's store as seen in this round.
    pub authorization: Option<MembershipStatus>,
    /// The database as seen in this round.
    pub database: Option<DatabaseStatus>,
    /// The consumers as they are after this round.
    pub consumers: Option<Vec<ConsumerStatus>>,
    /// Credentials that are being ended at the store.
    pub ending_credentials: Option<Vec<EndingCredentials>>,
    /// Where data rests, as far as it was looked at in this round.
    pub encryption: Vec<api::status::EncryptionPlace>,
}

/// The controller of Workspaces.
pub struct Workspaces(pub Arc<Context>);

impl Story for Workspaces {
    type Object = Workspace;
    type Facts = Facts;
    const NAME: &'static str = "workspace";

    fn known(&self) -> &Known<Workspace> {
        &self.0.workspaces
    }

    fn turn(workspace: &Workspace) -> String {
        workspace.namespace().unwrap_or_default()
    }

    fn api(client: &Client, workspace: &Workspace) -> Api<Workspace> {
        drive::namespaced(client, workspace)
    }

    async fn tell(&self, workspace: &Workspace, round: &mut Round<Facts>) -> Result<(), Fault> {
        let context = self.0.as_ref();
        if workspace.metadata.deletion_timestamp.is_some() {
            return cleanup::tell(context, workspace, round).await;
        }
        if let Some(paused) = observe::paused(context, workspace) {
            round.phase = Phase::Paused(paused);
            return Ok(());
        }
        let tenant = observe::tenant(context, workspace)?;
        let held = drive::held(self, &context.engine.client, workspace).await?;
        let workspace = held.as_ref().unwrap_or(workspace);
        let identity = context.identity_of_workspace(workspace)?;
        round.facts.identity = Some(identity);
        let class = observe::class(context, &tenant)?;
        let wants_database = class.spec.database.is_some() && workspace.spec.wants_database();
        if wants_database {
            context.databases.listed(&context.engine.client).await;
        }
        if !workspace.spec.consumers.is_empty() {
            context.consents.listed().await;
        }
        let Some(grant) = observe::grant(context, &tenant, workspace, round)? else { return Ok(()) };

        let facts = desired::workspace::Facts::of(&tenant, workspace, identity, grant.amounts)
            .map_err(|error| Fault::stalled(names::INVALID_SPEC, error.to_string()))?;
        let agents = class.spec.agents.as_ref().map(|_| context.account.clone());
        let facts = desired::workspace::Facts { database: context.reach(&class, workspace), agents, ..facts };
        let plan = consumers::Plan::of(context, &tenant, workspace, &class);
        match isolate::stack(context, &facts, &grant, wants_database, round).await {
            Ok(()) => round.parts.push(isolate::verdict(context, workspace, &class, &facts)),
            Err(fault) => {
                round.parts.push(Part::faulty(names::ISOLATED, fault));
                // Nothing that could leak is made while isolation is not complete, but who is taken off the list loses access.
                if workspace.status.as_ref().is_some_and(|status| status.authorization.is_some()) {
                    authorize::members(context, &tenant, workspace, &class, round).await;
                }
                consumers::consumers(context, workspace, &facts, &plan, false, round).await;
                return Ok(());
            }
        }
        provision::bucket(context, &tenant, workspace, &class, round).await;
        authorize::members(context, &tenant, workspace, &class, round).await;
        database::database(context, &tenant, workspace, &class, &facts, round).await;
        consumers::consumers(context, workspace, &facts, &plan, true, round).await;
        Ok(())
    }

    fn report(workspace: &Workspace, round: &Round<Facts>) -> Value {
        report::status(workspace, &round.facts)
    }

    fn conditions(workspace: &Workspace) -> &[Condition] {
        workspace.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

/// How long to wait for something whose arrival wakes the object anyway.
const WOKEN_ANYWAY: Duration = Duration::from_mins(1);
