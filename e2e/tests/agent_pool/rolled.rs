//! A new spec is rolled out step by step.

use anyhow::ensure;
use e2e::Tier;
use e2e::story::{PATIENCE, Stage};
use e2e::wait::until;
use serde_json::json;

use super::counted::Counted;
use super::scene::{Scene, is_ready};

#[test]
fn a_new_spec_is_rolled_out_without_more_and_without_fewer_than_may_be() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        for (unavailable, surge) in [(1, 0), (0, 2)] {
            let name = format!("pool-{unavailable}");
            let rollout = json!({ "maxUnavailable": unavailable, "maxSurge": surge });
            let pool = e2e::story::agent_pool(&name).of_workspace(&scene.workspace).with("rollout", rollout);
            let pool = stage.platform.applied(pool.with("replicas", 5)).await?;
            let (counted, following) = Counted::follow(stage.plane.admin()?, &scene.stack);
            let full = |pool: &api::AgentPool| {
                let status = pool.status.clone().unwrap_or_default();
                Some(status.observed_generation) == pool.metadata.generation
                    && (status.replicas, status.ready, status.updated) == (Some(5), Some(5), Some(5))
            };
            stage.platform.until(&pool, "is full", full).await?;
            until("all are seen", PATIENCE, async || {
                counted.anew();
                Ok(counted.fewest() == 5)
            })
            .await?;
            let before = scene.pods(&name).await?;
            let wider = pool.clone().with("desktop.display", json!({ "width": 1920, "height": 1080 }));
            stage.platform.apply(&wider).await?;
            stage.platform.until(&wider, "is full of new ones", full).await?;
            stage.platform.until_ready(&wider).await?;
            let (most, fewest) = (counted.most(), counted.fewest());
            ensure!(most <= 5 + surge && fewest >= 5 - unavailable, "{fewest} to {most} of 5");
            let after = scene.pods(&name).await?;
            let uids: Vec<_> = before.iter().map(|pod| pod.metadata.uid.clone()).collect();
            let left = after.iter().filter(|pod| is_ready(pod) && uids.contains(&pod.metadata.uid)).count();
            ensure!(left == 0, "{left} were not replaced");
            following.abort();
            scene.goes(&pool).await?;
        }
        Ok(())
    })
    .unwrap();
}
