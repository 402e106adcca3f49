//! The story of an AgentSet: its pods are looked at, and one is made, taken away or marked where the engine says so.
//!
//! In: an AgentSet, its pods, its pool. Out: pods in the stack namespace. What to do is decided in [`desired::agents`]; here it is done.

mod act;
mod observe;
mod report;

use std::sync::Arc;

use api::AgentSet;
use desired::agents::Counts;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::{
    agents::Place,
    clock,
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
    /// How many there are.
    pub counts: Option<Counts>,
    /// How many failed in a row.
    pub failures: Option<u32>,
    /// Digest of what they are made of.
    pub revision: Option<String>,
}

/// The controller of AgentSets.
pub struct AgentSets(pub Arc<Context>);

impl Story for AgentSets {
    type Object = AgentSet;
    type Facts = Facts;
    const NAME: &'static str = "agentset";

    fn known(&self) -> &Known<AgentSet> {
        &self.0.agent_sets
    }

    fn turn(set: &AgentSet) -> String {
        set.labels().get(api::labels::TENANT).cloned().unwrap_or_default()
    }

    fn api(client: &Client, set: &AgentSet) -> Api<AgentSet> {
        drive::namespaced(client, set)
    }

    async fn tell(&self, set: &AgentSet, round: &mut Round<Facts>) -> Result<(), Fault> {
        let context = self.0.as_ref();
        let Some(pool) = observe::pool(context, set) else {
            // Its pool is gone or going, and takes it along; or it is none of ours.
            round.over = true;
            return Ok(());
        };
        if let Some(paused) = observe::paused(context, &pool) {
            round.phase = Phase::Paused(paused);
            return Ok(());
        }
        let place: Place = (set.namespace().unwrap_or_default(), set.name_any());
        let wanted = observe::wanted(set);
        let failures = observe::failures(set, &wanted);
        let (decision, wanted) = act::decision(context, set, &place, wanted, failures, clock::now()).await?;
        round.facts = Facts {
            counts: Some(decision.counts),
            failures: Some(decision.failures),
            revision: Some(wanted.revision.clone()),
        };
        if let Some(after) = decision.again {
            round.look_again(after);
        }
        let done = act::carry_out(context, set, &place, &decision).await;
        round.parts.push(report::part(context, set, &place, &wanted, &decision, done));
        Ok(())
    }

    fn report(set: &AgentSet, round: &Round<Facts>) -> Value {
        report::status(set, &round.facts)
    }

    fn conditions(set: &AgentSet) -> &[Condition] {
        set.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}
