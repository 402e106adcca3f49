//! Where there are fewer than asked for, the pool says why, and makes no more before that is mended.

use anyhow::{Result, ensure};
use api::conditions as names;
use e2e::Tier;
use e2e::relays::point_out;
use e2e::story::{PATIENCE, Stage, agent_pool, class, condition, tenant, workspace};
use e2e::unique;
use e2e::wait::until;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::scene::{Scene, warm};

#[test]
fn a_quota_of_desktops_is_shared_by_the_pools_of_a_workspace_and_kept() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::with(stage, |workspace| workspace.with("quota.agents", 4)).await?;
        let first = scene.pool("first").await?;
        stage.platform.until_ready(&first).await?;
        let second = scene.pool("second").await?;
        let held = stage.platform.until_reason(&second, names::AGENTS_EXCEEDED).await?;
        let message = &condition(&held, names::AGENTS_READY).unwrap().message;
        ensure!(message.contains("quota of 4 desktops") && message.contains("spec.quota.agents"), "{message}");
        let all =
            async || -> Result<usize> { Ok(scene.pods("first").await?.len() + scene.pods("second").await?.len()) };
        ensure!(all().await? == 4, "{} desktops", all().await?);
        stage.platform.apply(&scene.workspace.clone().with("quota.agents", 6)).await?;
        stage.platform.until_ready(&second).await?;
        ensure!(all().await? == 6, "{} desktops", all().await?);
        scene.goes(&first).await?;
        scene.goes(&second).await
    })
    .unwrap();
}

#[test]
fn a_workspace_reserves_desktops_from_what_its_tenant_may_have() {
    Stage::shared(Tier::Two, async |stage| {
        let class = stage.platform.applied(class(&unique("onprem"))).await?;
        let acme = tenant(&unique("acme")).of_class(&class).with("quota.agents", 5);
        let acme = stage.platform.applied(acme).await?;
        let first = workspace("first").of_tenant(&acme).with("quota.agents", 3);
        stage.platform.until_ready(&stage.platform.applied(first).await?).await?;
        let second = stage.platform.applied(workspace("second").of_tenant(&acme).with("quota.agents", 3)).await?;
        let refused = stage.platform.until_reason(&second, names::QUOTA_EXCEEDED).await?;
        let message = &condition(&refused, names::QUOTA_RESERVED).unwrap().message;
        ensure!(message.contains("agents: 3 asked, up to 2 possible of the Tenant's 5"), "{message}");
        let silent = stage.platform.applied(workspace("silent").of_tenant(&acme)).await?;
        stage.platform.until_reason(&silent, names::QUOTA_REQUIRED).await?;
        stage.platform.apply(&second.clone().with("quota.agents", 2)).await?;
        stage.platform.until_ready(&second).await.map(drop)
    })
    .unwrap();
}

#[test]
fn cores_and_memory_are_kept_with_what_the_sandbox_adds() {
    Stage::shared(Tier::Two, async |stage| {
        // Four without what the sandbox adds, and two with it: 150m each.
        let scene = Scene::with(stage, |it| it.with("quota.cpu", "400m").with("quota.memory", "8Gi")).await?;
        let pool = scene.pool("desktops").await?;
        let held = stage.platform.until_reason(&pool, names::AGENTS_EXCEEDED).await?;
        let message = &condition(&held, names::AGENTS_READY).unwrap().message;
        ensure!(message.contains("limits.cpu=150m"), "{message}");
        ensure!(scene.pods("desktops").await?.len() == 2);
        stage.platform.apply(&scene.workspace.clone().with("quota.cpu", "450m").with("quota.memory", "8Gi")).await?;
        stage.platform.patient(PATIENCE * 2).until_ready(&pool).await?;
        until("all three are there", PATIENCE, async || Ok(scene.pods("desktops").await?.len() == 3)).await?;
        scene.goes(&pool).await
    })
    .unwrap();
}

#[test]
fn no_more_are_made_while_one_finds_no_node_or_no_image() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        let large = agent_pool("large").of_workspace(&scene.workspace).with("desktop.resources.cpu", "900");
        let large = stage.platform.applied(large.with("replicas", 20).with("maxStarting", 2)).await?;
        let held = stage.platform.until_reason(&large, names::UNSCHEDULABLE).await?;
        let message = &condition(&held, names::AGENTS_READY).unwrap().message;
        ensure!(message.contains("describe pod agent-large-"), "{message}");
        let pods = scene.pods("large").await?;
        ensure!(pods.len() == 2, "{} were made", pods.len());

        let waiting = json!({ "reason": "ImagePullBackOff", "message": "as a kubelet says" });
        let container = json!({
            "name": "desktop", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": waiting },
        });
        for pod in &pods {
            scene.tell(pod, &json!({ "containerStatuses": [container] })).await?;
        }
        stage.platform.until_reason(&large, names::IMAGE_NOT_PULLED).await?;
        ensure!(scene.pods("large").await?.len() == 2);
        // Smaller ones find a node: those that wait are replaced.
        let small = large.clone().with("desktop.resources.cpu", "10m").with("replicas", 3);
        stage.platform.apply(&small).await?;
        stage.platform.until_ready(&small).await?;
        scene.goes(&large).await
    })
    .unwrap();
}

#[test]
fn a_desktop_that_ends_by_itself_is_replaced_after_a_while() {
    Stage::shared(Tier::Two, async |stage| {
        let scene = Scene::set(stage).await?;
        let pool = scene.pool("desktops").await?;
        stage.platform.until_ready(&pool).await?;
        let failed = scene.pods("desktops").await?[0].clone();
        let ended = json!({ "exitCode": 1, "finishedAt": k8s_openapi::jiff::Timestamp::now().to_string() });
        let container = json!({
            "name": "desktop", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "running": null, "terminated": ended },
        });
        scene.tell(&failed, &json!({ "phase": "Failed", "containerStatuses": [container] })).await?;
        let told = stage.platform.until_reason(&pool, names::DESKTOP_NOT_READY).await?;
        let message = &condition(&told, names::AGENTS_READY).unwrap().message;
        ensure!(message.contains(failed.metadata.name.as_deref().unwrap()), "{message}");
        stage.platform.until_ready(&pool).await?;
        let pods = scene.pods("desktops").await?;
        ensure!(warm(&pods) == 3 && pods.iter().all(|pod| pod.metadata.uid != failed.metadata.uid), "it was kept");
        scene.goes(&pool).await
    })
    .unwrap();
}

#[test]
fn no_desktop_is_made_where_nothing_shows_that_the_network_is_enforced() {
    Stage::shared(Tier::Two, async |stage| {
        let mut scene = Scene::unset(stage);
        scene.class = scene.class.with("network.enforcement", "Required");
        scene.make_runtime().await?;
        stage.platform.apply(&scene.class).await?;
        stage.platform.apply(&scene.tenant).await?;
        stage.platform.apply(&scene.workspace).await?;
        let pool = scene.pool("desktops").await?;
        stage.platform.until_condition(&scene.workspace, names::ISOLATED, "False", names::ENFORCEMENT_UNPROVEN).await?;
        stage.platform.until_reason(&pool, names::ENFORCEMENT_UNPROVEN).await?;
        scene.stack = stage.platform.stack_of(&scene.workspace).await?;
        ensure!(scene.pods("desktops").await?.is_empty(), "desktops were made on a network that nobody has tried");
        scene.goes(&pool).await
    })
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_desktop_is_made_before_it_is_known_where_the_relay_is() -> Result<()> {
    let mut stage = Stage::set(Tier::Two, |config| config.relay = None).await?;
    let class = class("onprem").with("agents", json!({ "runtimeClass": "gvisor" }));
    let runtime = json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": "gvisor" }, "handler": "runsc" });
    let admin = stage.platform.client.clone();
    let runtimes = Api::<RuntimeClass>::all(admin.clone());
    runtimes.patch("gvisor", &PatchParams::apply("test"), &Patch::Apply(runtime)).await?;
    stage.platform.apply(&class).await?;
    let acme = stage.platform.applied(tenant("acme").of_class(&class)).await?;
    let finance = stage.platform.applied(workspace("finance").of_tenant(&acme)).await?;
    let pool = stage.platform.applied(agent_pool("desktops").of_workspace(&finance)).await?;
    let stalled = stage.platform.until_reason(&pool, names::RELAY_NOT_CONFIGURED).await?;
    ensure!(condition(&stalled, names::RELAY_FOUND).unwrap().message.contains("relay.enabled"));
    stage.pause().await?;
    stage.resume(|_| {}).await?;
    let waits = stage.platform.until_reason(&pool, names::RELAY_MISSING).await?;
    ensure!(condition(&waits, names::RELAY_FOUND).unwrap().message.contains("steading-system/steading-relay"));
    let pods = Api::<Pod>::namespaced(admin.clone(), &stage.platform.stack_of(&finance).await?);
    ensure!(pods.list(&ListParams::default()).await?.items.is_empty(), "desktops were made that nobody could drive");
    point_out(&admin).await?;
    stage.platform.until_ready(&pool).await?;
    // It goes, and what stands is left alone.
    let before: Vec<_> =
        pods.list(&ListParams::default()).await?.items.into_iter().map(|pod| pod.metadata.uid).collect();
    let services = Api::<Service>::namespaced(admin.clone(), "steading-system");
    services.delete("steading-relay", &DeleteParams::default()).await?;
    stage.platform.until_reason(&pool, names::RELAY_MISSING).await?;
    let after: Vec<_> =
        pods.list(&ListParams::default()).await?.items.into_iter().map(|pod| pod.metadata.uid).collect();
    ensure!(before == after, "desktops were replaced while nobody knew where the relay was");
    Ok(())
}

#[test]
fn a_class_without_agents_says_so() {
    Stage::shared(Tier::Two, async |stage| {
        let class = stage.platform.applied(class(&unique("onprem"))).await?;
        let acme = stage.platform.applied(tenant(&unique("acme")).of_class(&class)).await?;
        let finance = stage.platform.applied(workspace("finance").of_tenant(&acme)).await?;
        stage.platform.until_ready(&finance).await?;
        let pool = stage.platform.applied(agent_pool("desktops").of_workspace(&finance)).await?;
        let stalled = stage.platform.until_reason(&pool, names::AGENTS_NOT_OFFERED).await?;
        ensure!(condition(&stalled, names::STALLED).is_some(), "a person must act");
        let offered = class.clone().with("agents", json!({ "runtimeClass": unique("gvisor") }));
        stage.platform.apply(&offered).await?;
        stage.platform.until_reason(&pool, names::RUNTIME_CLASS_MISSING).await?;
        let going = stage.platform.get(&pool).await?;
        stage.platform.delete(&pool).await?;
        stage.platform.until_gone(&pool, &going).await
    })
    .unwrap();
}
