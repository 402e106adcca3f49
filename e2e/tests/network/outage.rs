//! The promise `outage`: with the operator gone everything that isolates still holds, pods that exist come back when they fail, and an
//! operator that returns finds nothing to write.

use anyhow::{Context as _, Result, ensure};
use e2e::packets::predicted;
use e2e::plane::Entry;
use e2e::servers::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use e2e::story::{PATIENCE, Stage};
use e2e::wait::until;
use e2e::{Tier, lacks_real_nodes};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::show;
use super::town::{Town, two_stacks};

#[tokio::test(flavor = "multi_thread")]
async fn all_holds_while_the_operator_is_gone_and_it_writes_nothing_when_it_returns() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let stage = Stage::set(Tier::Three, |_| {}).await?;
    let town = Town::build(&stage).await?;
    let others = [town.surroundings.dns.clone()];
    let wanted = predicted(&stage.plane.admin()?, &town.crowd, &town.goals, &others).await?;
    let mut packets = 0;
    let mark = stage.plane.mark().await?;
    let stage = stage
        .restarted(
            |_| {},
            async |_| {
                packets += town.crowd.until_as_predicted(&town.goals, &wanted).await?.tries();
                for member in town.crowd.members().iter().take(2) {
                    let pods = Api::<Pod>::namespaced(town.crowd.client(), &member.spot.namespace);
                    let restarts = async || Ok::<_, anyhow::Error>(restarts(&pods.get(&member.pod).await?));
                    town.crowd.kill(member).await?;
                    until("the pod's program runs again", PATIENCE, async || Ok(restarts().await? == Some(1))).await?;
                }
                packets += town.crowd.until_as_predicted(&town.goals, &wanted).await?.tries();
                Ok(())
            },
        )
        .await?;
    // Whoever makes a new stack Ready has seen the old ones before.
    two_stacks(&stage).await?;
    town.crowd.until_as_predicted(&town.goals, &wanted).await?;
    let writes = stage.plane.calls_since(mark).await?.by_service_account(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).writes();
    let to_stacks = |entry: &&Entry| {
        let object = entry.object_ref.as_ref();
        entry.code() < 300
            && object.is_some_and(|it| town.stacks.contains(&it.namespace) || town.stacks.contains(&it.name))
    };
    let written: Vec<_> = writes.entries().iter().filter(to_stacks).collect();
    show(&format!(
        "network: {packets} packets while the operator was gone; {} writes to stacks on its return",
        written.len()
    ));
    ensure!(written.is_empty(), "{written:?}");
    ensure!(writes.resource("networkpolicies").len() > town.stacks.len(), "no new stack was made: {writes}");
    stage.operator.stop().await.context("the operator does not stop")
}

/// How often the program of a pod was started again, once it runs.
fn restarts(pod: &Pod) -> Option<i32> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    container.ready.then_some(container.restart_count)
}
