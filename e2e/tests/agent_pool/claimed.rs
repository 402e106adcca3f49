//! Claimed desktops are left alone.

use anyhow::{Context as _, Result, ensure};
use e2e::Tier;
use e2e::story::{PATIENCE, Stage};
use e2e::wait::until;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{EvictParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::scene::{Scene, is_claimed, warm};

/// As it is now.
async fn now(scene: &Scene<'_>, pod: &Pod) -> Result<Pod> {
    let pods = scene.pods("desktops").await?;
    let found = pods.into_iter().find(|it| it.uid() == pod.uid());
    found.with_context(|| format!("claimed pod {} is gone", pod.name_any()))
}

#[test]
fn a_claimed_desktop_is_left_alone_whatever_becomes_of_its_pool_and_another_takes_its_place() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        let pool = scene.pool("desktops").await?;
        stage.platform.until_ready(&pool).await?;
        let claimed = scene.claim(&scene.pods("desktops").await?[1]).await?;
        let refilled = |pool: &api::AgentPool| {
            let status = pool.status.clone().unwrap_or_default();
            (status.claimed, status.replicas, status.ready) == (Some(1), Some(3), Some(3))
        };
        stage.platform.until(&pool, "is full again", refilled).await?;
        let image = format!("registry.example/desktop@sha256:{}", "f".repeat(64));
        let newer = pool.clone().with("desktop.image", image.clone());
        stage.platform.apply(&newer).await?;
        stage.platform.until_ready(&newer).await?;
        let pods = scene.pods("desktops").await?;
        let image_of = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap_or_default();
        ensure!(pods.iter().filter(|pod| !is_claimed(pod)).all(|pod| image_of(pod) == image), "not all were replaced");
        ensure!(now(&scene, &claimed).await?.metadata.deletion_timestamp.is_none());
        stage.platform.apply(&newer.clone().with("replicas", 0)).await?;
        until("no warm one is left", PATIENCE, async || Ok(warm(&scene.pods("desktops").await?) == 0)).await?;
        let left = now(&scene, &claimed).await?;
        ensure!(left.metadata.deletion_timestamp.is_none() && image_of(&left) != image, "{left:?}");
        // The pool takes along even that.
        scene.goes(&pool).await
    })
    .unwrap();
}

#[test]
fn a_claimed_desktop_is_not_evicted_until_its_protection_ends() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        let pool = scene.pool("desktops").await?;
        stage.platform.until_ready(&pool).await?;
        let pods = scene.pods("desktops").await?;
        let claimed = scene.claim(&pods[0]).await?;
        until("it is protected", PATIENCE, async || {
            Ok(now(&scene, &claimed).await?.labels().contains_key("steading.dev/protected"))
        })
        .await?;
        let until_when = now(&scene, &claimed).await?.annotations()["steading.dev/protected-until"].clone();
        let until_when: k8s_openapi::jiff::Timestamp = until_when.parse()?;
        let hours = until_when.duration_since(k8s_openapi::jiff::Timestamp::now()).as_hours();
        ensure!((7..=8).contains(&hours), "protected for {hours} hours");
        let api: Api<Pod> = Api::namespaced(stage.platform.client.clone(), &scene.stack);
        let evicted = async |pod: &Pod| api.evict(&pod.name_any(), &EvictParams::default()).await;
        until("its budget refuses to let it go", PATIENCE, async || {
            Ok(matches!(evicted(&claimed).await, Err(kube::Error::Api(status)) if status.code == 429))
        })
        .await?;
        // A warm one is replaced at once.
        evicted(&pods[1]).await?;
        // Its time is over, as if eight hours had passed.
        let over = json!({ "metadata": { "annotations": { "steading.dev/protected-until": "2026-01-01T00:00:00Z" } } });
        scene.change(&claimed, &over).await?;
        until("it is protected no more", PATIENCE, async || {
            Ok(!now(&scene, &claimed).await?.labels().contains_key("steading.dev/protected"))
        })
        .await?;
        until("it is let go", PATIENCE, async || Ok(evicted(&claimed).await.is_ok())).await?;
        scene.goes(&pool).await
    })
    .unwrap();
}

#[test]
fn a_claim_that_comes_while_the_pool_shrinks_wins() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        let pool = scene.pool("desktops").await?;
        stage.platform.until_ready(&pool).await?;
        // Both at once: whichever the operator sees first, what is claimed stays, or was gone before it was claimed.
        let pods = scene.pods("desktops").await?;
        let shrunk = pool.clone().with("replicas", 0);
        let claims = futures::future::join_all(pods.iter().map(|pod| {
            let patch = json!({ "metadata": {
                "resourceVersion": pod.resource_version(), "annotations": { "steading.dev/session-uid": "s" },
            }});
            let client = stage.break_glass();
            let (stack, name) = (scene.stack.clone(), pod.name_any());
            async move {
                let api: Api<Pod> = Api::namespaced(client?, &stack);
                anyhow::Ok(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.ok())
            }
        }));
        let (applied, claims) = tokio::join!(stage.platform.apply(&shrunk), claims);
        applied?;
        until("no warm one is left", PATIENCE, async || Ok(warm(&scene.pods("desktops").await?) == 0)).await?;
        for claimed in claims.into_iter().filter_map(Result::ok).flatten() {
            if claimed.metadata.deletion_timestamp.is_none() {
                ensure!(now(&scene, &claimed).await?.metadata.deletion_timestamp.is_none(), "it was taken away");
            }
        }
        scene.goes(&pool).await
    })
    .unwrap();
}
