//! The promise `outage`: with no operator left everything that isolates still holds, pods that exist come back when they fail, and the
//! operator that returns finds nothing to write. The operator runs as its users have it: two pods of the chart, from its own image. What holds of
//! databases, their applications and OpenFGA meanwhile is in `database/outage.rs`.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use e2e::install::OperatorPods;
use e2e::packets::predicted;
use e2e::plane::Entry;
use e2e::servers::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use e2e::story::{BREAK_GLASS, PATIENCE, Platform};
use e2e::wait::until;
use e2e::{Plane, PlaneOptions, Servers, Tier, lacks_real_nodes, show};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use super::town::{Town, of_servers, stack_of, two_stacks};

#[tokio::test(flavor = "multi_thread")]
async fn all_holds_while_no_operator_runs_and_the_one_that_returns_writes_nothing() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let plane = Plane::start(Tier::Three, PlaneOptions::default()).await?;
    let servers = Servers::start(&plane).await?;
    let values = json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } });
    let operator = OperatorPods::start(&plane, "outage", &values).await?;
    let nodes: BTreeSet<_> = operator.list(&plane).await?.into_iter().filter_map(|pod| pod.spec?.node_name).collect();
    ensure!(nodes.len() == 2, "both replicas are on {nodes:?}");
    let platform = Platform::new(plane.admin()?);
    let class = platform.applied(of_servers(&plane, &servers)).await?;
    platform.until_ready(&class).await?;
    let client = plane.client_for("bettina", &["system:masters", BREAK_GLASS])?;
    let town = Town::build(&plane, &client, two_stacks(&platform, &class).await?).await?;
    let others = std::slice::from_ref(&town.surroundings.dns);
    let wanted = predicted(&plane.admin()?, &town.crowd, &town.goals, others).await?;

    operator.scale(&plane, 0).await?;
    let mark = plane.mark().await?;
    let mut packets = town.crowd.until_as_predicted(&town.goals, &wanted).await?.tries();
    // One of each kernel.
    for member in town.crowd.members().iter().take(2) {
        let pods = Api::<Pod>::namespaced(town.crowd.client(), &member.spot.namespace);
        town.crowd.kill(member).await?;
        let is_back = async || Ok(restarts(&pods.get(&member.pod).await?) == Some(1));
        until("the pod's program runs again", PATIENCE, is_back).await?;
    }
    packets += town.crowd.until_as_predicted(&town.goals, &wanted).await?.tries();
    operator.scale(&plane, 2).await?;
    // Whoever makes a new stack Ready has seen the old ones before.
    stack_of(&platform, &class, "hooli").await?;
    town.crowd.until_as_predicted(&town.goals, &wanted).await?;

    let writes = plane.calls_since(mark).await?.by_service_account(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).writes();
    let to_stacks = |entry: &&Entry| {
        let names = |it: &e2e::plane::Object| town.stacks.contains(&it.namespace) || town.stacks.contains(&it.name);
        entry.code() < 300 && entry.object_ref.as_ref().is_some_and(names)
    };
    let written: Vec<_> = writes.entries().iter().filter(to_stacks).collect();
    show(&format!("network: {packets} packets with no operator; {} writes to stacks on its return", written.len()));
    ensure!(written.is_empty(), "{written:?}");
    ensure!(writes.resource("networkpolicies").len() >= 4, "no new stack was made: {writes}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_replica_takes_over_when_the_leader_is_deleted() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let plane = Plane::start(Tier::Three, PlaneOptions::default()).await?;
    let servers = Servers::start(&plane).await?;
    let operator = OperatorPods::start(&plane, "takeover", &json!({})).await?;
    let platform = Platform::new(plane.admin()?);
    let class = platform.applied(of_servers(&plane, &servers)).await?;
    stack_of(&platform, &class, "acme").await?;
    let leader = operator.leader(&plane).await?;
    let pods: Api<Pod> = Api::namespaced(plane.admin()?, OPERATOR_NAMESPACE);
    pods.delete(&leader, &DeleteParams::default()).await?;
    stack_of(&platform, &class, "globex").await?;
    ensure!(operator.leader(&plane).await? != leader, "{leader} still leads");
    Ok(())
}

/// How often the program of a pod was started again, once it runs.
fn restarts(pod: &Pod) -> Option<i32> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    container.ready.then_some(container.restart_count)
}
