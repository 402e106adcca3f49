//! How an AgentPool goes: its AgentSet, so that no desktop is made any more, then the desktops, claimed ones too, then the finalizer.
//!
//! It needs less than provisioning: a missing class or a Workspace that is going does not hold it up. Each step may be repeated.

use std::time::Duration;

use api::{AgentPool, AgentSet, conditions as names, labels};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
};

use super::{AgentPools, Facts, observe};
use crate::{
    context::Context,
    engine::{conditions::Phase, drive::Story as _, fault::Fault, finalize, round::Round},
};

/// Removes what the pool stands for, as far as it goes in one round.
pub async fn tell(context: &Context, pool: &AgentPool, round: &mut Round<Facts>) -> Result<(), Fault> {
    if !finalize::is_held(pool) {
        round.over = true;
        return Ok(());
    }
    if let Some(paused) = observe::paused(context, pool) {
        round.phase = Phase::Paused(paused);
        return Ok(());
    }
    round.phase = Phase::Deleting;
    let api = AgentPools::api(&context.engine.client, pool);
    // Where a first round was cut off, status does not name it yet.
    let named = pool.status.as_ref().and_then(|status| status.namespace.clone());
    if let Some(namespace) = named.or_else(|| observe::stack(context, pool).ok().map(|stack| stack.namespace)) {
        if !finalize::is_there(&api, pool).await? {
            round.over = true;
            return Ok(());
        }
        desktops(context, pool, &namespace).await?;
        context.agents.forget(&(namespace, pool.name_any()));
    }
    finalize::release(&api, pool).await?;
    round.over = true;
    Ok(())
}

async fn desktops(context: &Context, pool: &AgentPool, namespace: &str) -> Result<(), Fault> {
    let (client, name) = (&context.engine.client, pool.name_any());
    let sets: Api<AgentSet> = Api::namespaced(client.clone(), namespace);
    let found = sets.get_opt(&name).await;
    let found = found.map_err(|error| Fault::api(&error, &format!("read AgentSet {namespace}/{name}")))?;
    let is_its = |set: &AgentSet| set.labels().get(labels::TENANT) == pool.namespace().as_ref();
    if let Some(set) = found.filter(is_its) {
        let gone = sets.delete(&name, &exactly(set.uid())).await;
        ignore_missing(gone.map(drop))
            .map_err(|error| Fault::api(&error, &format!("delete AgentSet {namespace}/{name}")))?;
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{}={},{}={name}", labels::MANAGED_BY, labels::STEADING, labels::POOL);
    let left = pods.list(&ListParams::default().labels(&selector)).await;
    let left = left.map_err(|error| Fault::api(&error, &format!("list pods of {namespace}/{name}")))?.items;
    if left.is_empty() {
        return Ok(());
    }
    let staying = left.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    try_join_all(staying.map(async |pod| {
        let gone = pods.delete(&pod.name_any(), &exactly(pod.uid())).await;
        let doing = format!("delete pod {namespace}/{}", pod.name_any());
        ignore_missing(gone.map(drop)).map_err(|error| Fault::api(&error, &doing))
    }))
    .await?;
    Err(Fault::waiting(
        Duration::from_secs(2),
        names::DELETING,
        format!("its desktops in {namespace} are being removed"),
    ))
}

fn exactly(uid: Option<String>) -> DeleteParams {
    DeleteParams { preconditions: Some(Preconditions { uid, resource_version: None }), ..DeleteParams::background() }
}

fn ignore_missing(answer: kube::Result<()>) -> kube::Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        answer => answer,
    }
}
