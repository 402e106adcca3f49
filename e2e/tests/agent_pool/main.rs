//! Promise: a pool has as many warm desktops as asked for and never more, says why where it has fewer, and leaves claimed ones alone.
//!
//! Fake nodes run the pods: they become ready at once, and nothing of them runs. What a desktop does in a sandbox is tried elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod claimed;
mod counted;
mod held;
mod rolled;
mod scene;

use anyhow::ensure;
use api::conditions as names;
use e2e::Tier;
use e2e::story::{PATIENCE, Stage, agent_pool, condition};
use e2e::wait::until;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use scene::{Scene, warm};

#[test]
fn a_pool_has_as_many_warm_desktops_as_asked_for_and_scale_says_how_many() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        let pool = scene.pool("desktops").await?;
        let ready = stage.platform.until_ready(&pool).await?;
        let status = ready.status.unwrap();
        ensure!((status.replicas, status.ready, status.claimed) == (Some(3), Some(3), Some(0)), "{status:?}");
        // What the sandbox adds counts.
        let each = status.each.unwrap();
        ensure!((each.cpu.as_str(), each.memory.as_str()) == ("150m", "320Mi"), "{each:?}");

        let api = pool.api(&stage.platform.client);
        let scale = api.get_scale("desktops").await?;
        ensure!(scale.status.as_ref().is_some_and(|it| it.replicas == 3), "{scale:?}");
        ensure!(scale.status.unwrap().selector.as_deref() == Some("steading.dev/pool=desktops"));
        for replicas in [6, 1, 0, 2] {
            let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
            api.patch_scale("desktops", &PatchParams::default(), &patch).await?;
            stage
                .platform
                .until(&pool, &format!("has {replicas}"), |pool| {
                    let status = pool.status.clone().unwrap_or_default();
                    Some(status.observed_generation) == pool.metadata.generation
                        && (status.replicas, status.ready) == (Some(replicas), Some(replicas))
                })
                .await?;
            until("as many pods are there", PATIENCE, async || {
                Ok(scene.pods("desktops").await?.len() == usize::try_from(replicas)?)
            })
            .await?;
        }
        scene.goes(&pool).await
    })
    .unwrap();
}

#[test]
fn a_desktop_is_sandboxed_nobodys_and_reached_by_nobody() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        let pool = scene.pool("desktops").await?;
        stage.platform.until_ready(&pool).await?;
        let pods = scene.pods("desktops").await?;
        for pod in &pods {
            let spec = pod.spec.as_ref().unwrap();
            ensure!(spec.runtime_class_name.as_deref() == Some(scene.runtime.as_str()), "{spec:?}");
            // Admission writes it into the pod, and quotas count it.
            ensure!(spec.overhead.as_ref().is_some_and(|overhead| overhead["memory"].0 == "64Mi"), "{spec:?}");
            ensure!(spec.service_account_name.as_deref() == Some("agent"), "{spec:?}");
            let volumes = spec.volumes.iter().flatten();
            let empty = volumes.clone().filter(|volume| volume.empty_dir.is_some());
            ensure!(volumes.clone().count() == 4 && empty.count() == 3, "{spec:?}");
            let relay = spec.host_aliases.as_ref().unwrap();
            ensure!(relay[0].hostnames == Some(vec!["steading-relay.steading-system.svc".to_owned()]), "{relay:?}");
            let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
            ensure!((owner.kind.as_str(), owner.controller) == ("AgentSet", Some(true)), "{owner:?}");
        }
        let policies: Api<k8s_openapi::api::networking::v1::NetworkPolicy> =
            Api::namespaced(stage.platform.client.clone(), &scene.stack);
        for (name, direction) in [("agents-ingress", "Ingress"), ("agents-egress", "Egress")] {
            let spec = policies.get(name).await?.spec.unwrap();
            ensure!(spec.policy_types == Some(vec![direction.to_owned()]), "{spec:?}");
            ensure!(spec.ingress.unwrap_or_default().is_empty());
            let out = spec.egress.unwrap_or_default();
            ensure!(out.len() == usize::from(direction == "Egress"), "{out:?}");
        }
        scene.goes(&pool).await
    })
    .unwrap();
}

#[test]
fn whatever_is_applied_first_a_pool_comes_up_and_says_meanwhile_what_it_waits_for() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::unset(stage);
        stage.platform.control_namespace(scene.tenant.namespace()).await?;
        let pool = stage.platform.applied(agent_pool("desktops").of_workspace(&scene.workspace)).await?;
        stage.platform.until_reason(&pool, names::TENANT_NOT_FOUND).await?;
        stage.platform.apply(&scene.tenant).await?;
        stage.platform.until_reason(&pool, names::CLASS_NOT_FOUND).await?;
        stage.platform.apply(&scene.class).await?;
        stage.platform.until_reason(&pool, names::WORKSPACE_NOT_FOUND).await?;
        stage.platform.apply(&scene.workspace).await?;
        stage.platform.until_reason(&pool, names::RUNTIME_CLASS_MISSING).await?;
        let waiting = stage.platform.get(&pool).await?;
        let message = &condition(&waiting, names::SANDBOX_READY).unwrap().message;
        ensure!(message.contains(&scene.runtime) && message.contains("agents.runtimeClass"), "{message}");
        let scene = scene.completed().await?;
        ensure!(scene.pods("desktops").await?.is_empty(), "desktops were made without a sandbox");
        scene.make_runtime().await?;
        stage.platform.until_ready(&pool).await?;
        scene.goes(&pool).await
    })
    .unwrap();
}

#[test]
fn a_paused_pool_changes_nothing_and_goes_on_afterwards() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        let pool = scene.pool("desktops").await?;
        stage.platform.until_ready(&pool).await?;
        stage.platform.apply(&pool.clone().with("paused", true).with("replicas", 5)).await?;
        stage.platform.until_reason(&pool, names::PAUSED).await?;
        let lost = scene.pods("desktops").await?[0].clone();
        scene.end(&lost).await?;
        until("it is gone", PATIENCE, async || Ok(scene.pods("desktops").await?.len() == 2)).await?;
        stage.platform.apply(&pool.clone().with("replicas", 5)).await?;
        stage.platform.until_ready(&pool).await?;
        ensure!(warm(&scene.pods("desktops").await?) == 5);
        scene.goes(&pool).await
    })
    .unwrap();
}

/// A namespace in which an AgentSet is none of Steading's.
#[test]
fn an_agent_set_outside_of_stacks_makes_nothing() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        let pool = scene.pool("desktops").await?;
        stage.platform.until_ready(&pool).await?;
        let sets: Api<api::AgentSet> = Api::namespaced(stage.platform.client.clone(), &scene.stack);
        let mut forged = sets.get("desktops").await?;
        forged.metadata = kube::core::ObjectMeta { name: Some("forged".to_owned()), ..Default::default() };
        forged.status = None;
        let elsewhere: Api<api::AgentSet> = Api::namespaced(stage.platform.client.clone(), scene.tenant.namespace());
        elsewhere.create(&kube::api::PostParams::default(), &forged).await?;
        // A change that is surely looked at afterwards.
        stage.platform.apply(&pool.clone().with("replicas", 4)).await?;
        stage.platform.until(&pool, "has 4", |pool| pool.status.as_ref().is_some_and(|it| it.ready == Some(4))).await?;
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(stage.platform.client.clone(), scene.tenant.namespace());
        let made = pods.list(&kube::api::ListParams::default()).await?;
        ensure!(made.items.is_empty(), "pods were made for a forged AgentSet");
        elsewhere.delete("forged", &kube::api::DeleteParams::default()).await?;
        scene.goes(&pool).await
    })
    .unwrap();
}
