//! The promise `sandbox`: every agent runs in the sandbox of its class, and neither whoever has the operator's token, nor the customer's own
//! people, nor what runs in the desktop gets round that. On real nodes, with desktops under gVisor that dial out to a relay in pods.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is surprised may panic, in its helpers too"
)]

mod from_outside;
mod from_within;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::agents::{build, provide, relay_values, signed_in, until_relay_is_up};
use e2e::databases::Volumes;
use e2e::install::{InProcess, Installation, import_programs, merge};
use e2e::plane::GVISOR;
use e2e::story::{BREAK_GLASS, Platform, agent_pool, class, tenant, workspace};
use e2e::wait::until;
use e2e::{Plane, PlaneOptions, Tier, lacks_real_nodes};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use providers::memory::World;
use serde_json::json;

/// Longest wait for desktops: they take seconds, and minutes where others have both cores.
const PATIENCE: Duration = Duration::from_mins(5);
/// Who may look into the stack and change what people may.
const EDITOR: &str = "ada@acme.example";

/// Two desktops of a pool, and who tries to get round the promise.
pub struct Scene {
    /// The cluster.
    pub plane: Plane,
    /// Somebody with the operator's own token.
    pub operator: Client,
    /// The stack namespace.
    pub stack: String,
    /// The desktops.
    pub pods: Vec<Pod>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_leads_round_the_sandbox() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    build().await?;
    let plane = Plane::start(Tier::Three, PlaneOptions::default()).await?;
    let (image, _volumes) = (provide(&plane).await?, Volumes::provide(&plane).await?);
    import_programs(&plane).await?;
    let mut values = json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } });
    merge(&mut values, &relay_values());
    let installation = Installation::install(&plane, "sandbox", &values).await?;
    let operator = InProcess::start_on(&plane, &installation, World::new(), |config| {
        config.break_glass_groups = vec![BREAK_GLASS.to_owned()];
    })
    .await?;
    until_relay_is_up(&plane.admin()?).await?;
    let (stack, pods) = two_desktops(&plane, &image).await?;
    let scene = Scene { operator: installation.operator_client(&plane).await?, stack, pods, plane };
    scene.all_have_signed_in_at_the_relay().await?;

    let mut ways = from_outside::tried(&scene).await?;
    ways.extend(from_within::tried(&scene).await?);
    ensure!(ways.len() >= 10, "only {} ways were tried", ways.len());
    let open: Vec<_> = ways.iter().filter(|way| !way.is_barred).collect();
    for Way { who, what, came, .. } in &ways {
        println!("sandbox: {who}: {what}: {came}");
    }
    ensure!(open.is_empty(), "{} ways lead round the sandbox: {open:#?}", open.len());
    operator.stop().await?;
    let Scene { plane, .. } = scene;
    plane.stop().await
}

/// A way round, and what came of it.
#[derive(Debug)]
pub struct Way {
    /// Who goes it.
    pub who: &'static str,
    /// What he wants.
    pub what: &'static str,
    /// What he got.
    pub came: String,
    /// Whether it leads nowhere.
    pub is_barred: bool,
}

/// A pool of two desktops that can be used, in a stack that somebody may edit.
async fn two_desktops(plane: &Plane, image: &str) -> Result<(String, Vec<Pod>)> {
    let client = plane.admin()?;
    let platform = Platform::new(client.clone()).patient(PATIENCE);
    let class = platform.applied(class("onprem").with("agents", json!({ "runtimeClass": GVISOR }))).await?;
    let acme = platform.applied(tenant("acme").of_class(&class)).await?;
    let member = json!([{ "kind": "User", "name": EDITOR, "role": "editor" }]);
    let finance = platform.applied(workspace("finance").of_tenant(&acme).with("members", member)).await?;
    let pool = agent_pool("desktops").of_workspace(&finance).with("replicas", 2);
    let desktop = json!({ "image": image, "resources": { "cpu": "500m", "memory": "2Gi" } });
    let begun = Instant::now();
    let pool = platform.applied(pool.with("desktop", desktop)).await?;
    platform.until_ready(&pool).await?;
    // It is Ready with one of two: the other may be missing while they are replaced.
    platform.until(&pool, "has two", |pool| pool.status.as_ref().is_some_and(|it| it.ready == Some(2))).await?;
    println!("sandbox: two desktops under gVisor are ready after {:.1} s", begun.elapsed().as_secs_f32());
    let stack = platform.stack_of(&finance).await?;
    let pods = Api::<Pod>::namespaced(client, &stack).list(&ListParams::default().labels("steading.dev/pool")).await?;
    Ok((stack, pods.items))
}

impl Scene {
    /// The name of a desktop.
    pub fn desktop(&self) -> String {
        self.pods[0].name_any()
    }

    /// Somebody whom the fence lets into stacks, to try what a program in a desktop could.
    pub fn break_glass(&self) -> Result<Client> {
        self.plane.client_for("bettina", &["system:masters", BREAK_GLASS])
    }

    /// Somebody who is an editor of the stack.
    pub fn editor(&self) -> Result<Client> {
        self.plane.client_for(EDITOR, &[])
    }

    /// Without DNS, and through policies that let them reach nothing else.
    async fn all_have_signed_in_at_the_relay(&self) -> Result<()> {
        let client = self.plane.admin()?;
        let uids: Vec<String> = self.pods.iter().filter_map(kube::ResourceExt::uid).collect();
        until("both desktops have signed in at the relay", PATIENCE, async || {
            Ok(signed_in(&client, &uids).await?.len() == 2)
        })
        .await?;
        println!("sandbox: both have signed in at the relay");
        Ok(())
    }
}
