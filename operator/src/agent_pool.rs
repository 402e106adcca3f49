//! The story of an AgentPool: the ground that desktops need, the AgentSet that keeps them, and how it goes.
//!
//! In: an AgentPool, its Tenant, class and Workspace. Out: an AgentSet in the stack namespace; the pods are the AgentSet's.

mod cleanup;
mod observe;
mod provision;
mod relay;
mod report;

use std::{sync::Arc, time::Duration};

use api::{AgentPool, AgentSet, agent_pool::Each};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::{
    context::Context,
    engine::{
        conditions::Phase,
        drive::{self, Story},
        fault::Fault,
        known::Known,
        round::Round,
    },
};

/// What the report needs beside the parts; what is `None` stays as it was.
#[derive(Default)]
pub struct Facts {
    /// The stack namespace.
    pub namespace: Option<String>,
    /// The AgentSet as it is known.
    pub set: Option<Arc<AgentSet>>,
    /// What one desktop takes of the quota.
    pub each: Option<Each>,
}

/// The controller of AgentPools.
pub struct AgentPools(pub Arc<Context>);

impl Story for AgentPools {
    type Object = AgentPool;
    type Facts = Facts;
    const NAME: &'static str = "agentpool";

    fn known(&self) -> &Known<AgentPool> {
        &self.0.pools
    }

    fn turn(pool: &AgentPool) -> String {
        pool.namespace().unwrap_or_default()
    }

    fn api(client: &Client, pool: &AgentPool) -> Api<AgentPool> {
        drive::namespaced(client, pool)
    }

    async fn tell(&self, pool: &AgentPool, round: &mut Round<Facts>) -> Result<(), Fault> {
        let context = self.0.as_ref();
        if pool.metadata.deletion_timestamp.is_some() {
            return cleanup::tell(context, pool, round).await;
        }
        if let Some(paused) = observe::paused(context, pool) {
            round.phase = Phase::Paused(paused);
            return Ok(());
        }
        let tenant = observe::tenant(context, pool)?;
        let class = observe::class(context, &tenant)?;
        let held = drive::held(self, &context.engine.client, pool).await?;
        let pool = held.as_ref().unwrap_or(pool);
        let stack = observe::stack(context, pool)?;
        round.facts.namespace = Some(stack.namespace.clone());
        let obstacle = observe::ground(context, pool, &class, &stack, round)?;
        let (part, relay) = relay::relay(context).await;
        let obstacle = obstacle.or_else(|| part.fault().map(|fault| fault.reason));
        round.parts.push(part);
        let set = provision::set(context, pool, &tenant, &class, &stack, relay, obstacle).await?;
        if let Some(set) = &set {
            round.parts.push(report::part(set, &stack));
        }
        round.facts.set = set;
        Ok(())
    }

    fn report(pool: &AgentPool, round: &Round<Facts>) -> Value {
        report::status(pool, &round.facts)
    }

    fn conditions(pool: &AgentPool) -> &[Condition] {
        pool.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

/// How long to wait for something whose arrival wakes the object anyway.
const WOKEN_ANYWAY: Duration = Duration::from_mins(1);
