//! A node that loses its power, and the instance that writes with it. In: a customer with two instances, which an application uses. Out: that
//! the other takes over, nothing is lost, status follows, and the node's instance follows the other once the node is back.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use api::{Workspace, conditions as names};
use e2e::story::condition;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use crate::consumers::Shop;
use crate::world::{Customer, World};

/// The node that is lost. The other has what the cluster itself needs, and whoever watches.
const NODE: u8 = 2;

/// Takes the node away, waits until all is well without it, and gives it back. Says how long nobody could write.
pub async fn is_made_up_for(world: &mut World, customer: &Customer, shop: &Shop) -> Result<f32> {
    let before = primary_on_the_node(world, customer).await?;
    shop.writes().await?;
    let lost = Instant::now();
    world.stage.plane.own()?.lose_node(NODE)?;
    customer.database.until_another_than(&before).await?;
    shop.writes().await?;
    let took = lost.elapsed().as_secs_f32();
    shop.reads_on().await?;
    let lacks_one = |told: &Workspace| {
        let database = told.status.as_ref().and_then(|status| status.database.as_ref());
        let ready = condition(told, names::DATABASE_READY);
        database
            .is_some_and(|it| it.ready_instances == 1 && it.primary.as_ref().is_some_and(|primary| *primary != before))
            && ready.is_some_and(|it| it.status == "False" && it.message.contains("1 of 2 instances are ready"))
    };
    world.platform().until(&customer.workspace, "tells of the instance that is lost", lacks_one).await?;
    world.stage.plane.own()?.return_node(NODE).await?;
    customer.database.until_healthy(2).await?;
    world.platform().until_ready(&customer.workspace).await?;
    Ok(took)
}

/// The instance that writes, on the node that will be lost: if it is on the other, it is ended there.
async fn primary_on_the_node(world: &World, customer: &Customer) -> Result<String> {
    let writes = customer.database.primary().await?;
    if node_of(world, customer, &writes).await? == NODE {
        return Ok(writes);
    }
    customer.database.kill(&writes).await?;
    customer.database.until_another_than(&writes).await?;
    customer.database.until_healthy(2).await?;
    let other = customer.database.primary().await?;
    ensure!(node_of(world, customer, &other).await? == NODE, "both instances of {} are on one node", customer.stack);
    Ok(other)
}

async fn node_of(world: &World, customer: &Customer, pod: &str) -> Result<u8> {
    let pod = Api::<Pod>::namespaced(world.client()?, &customer.stack).get(pod).await?;
    let node = pod.spec.and_then(|spec| spec.node_name).context("it is on no node")?;
    node.trim_start_matches("node-").parse().with_context(|| format!("a node is called {node}"))
}
