//! Desktops for agents, on real nodes. In: the stack of a customer. Out: a relay, and two desktops under gVisor that dial out to it, which can
//! be looked at and which nobody gets out of.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::AgentPool;
use e2e::Tier;
use e2e::agents::{provide, relay_values, run, signed_in, until_relay_is_up};
use e2e::install::merge;
use e2e::plane::GVISOR;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};

use crate::apply::apply;
use crate::databases::patch;
use crate::objects::{CUSTOMER, Seen, Stacks};
use crate::scene::{BREAK_GLASS, Scene};
use crate::show::{Progress, Show};

/// Longest wait for two desktops. They take seconds, and minutes where others have both cores.
const PATIENCE: Duration = Duration::from_mins(5);
/// What the class gets.
const CLASS: &str = "spec: {agents: {runtimeClass: gvisor}}\n";

/// Shows them, if there are nodes on which they run.
pub(crate) async fn shown(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<()> {
    show.step("desktops", "Desktops for agents: two under gVisor, warm");
    if scene.plane.tier() != Tier::Three {
        show.say("Not shown: this is T2, whose nodes are fake. As root on Linux, `make demo` has real ones.");
        return Ok(());
    }
    let client = scene.plane.admin()?;
    let image =
        show.during("images of the desktop and of the relay, given to both nodes", provide(&scene.plane)).await?;
    show.say("$ helm upgrade steading charts/steading --values values.yaml   # relay.enabled: true");
    let mut values = scene.values.clone();
    merge(&mut values, &relay_values());
    let installed = async {
        scene.installation.reconfigure(&scene.plane, &values).await?;
        until_relay_is_up(&client).await
    };
    show.during("the relay is up: a server of NATS, and the doorkeeper that it asks who may come in", installed)
        .await?;
    patch(show, scene, ["tenantclass", "quickstart", ""], CLASS).await?;
    let pool = format!(
        "\
apiVersion: steading.dev/v1alpha1
kind: AgentPool
metadata: {{name: desktops, namespace: {CUSTOMER}}}
spec:
  workspace: finance
  replicas: 2
  desktop:
    image: {image}
    resources: {{cpu: 500m, memory: 2Gi}}
"
    );
    show.output(&pool);
    apply(show, scene, "desktops.yaml", &scene.kubectl.write("desktops.yaml", &pool)?).await?;
    until_ready(show, &client).await?;
    scene.kubectl.shown(show, &["get", "agentpools", "-n", CUSTOMER]).await?;
    let pods = Api::<Pod>::namespaced(client.clone(), &stacks.finance.namespace);
    let desktops = pods.list(&ListParams::default().labels("steading.dev/pool=desktops")).await?.items;
    sandboxed(show, scene, &client, &desktops).await?;
    dialled_out(show, &client, &desktops).await?;
    show.say("This was T3: real desktops in a real sandbox. Sessions, which let somebody drive one, come with a later change.");
    Ok(())
}

async fn until_ready(show: &Show, client: &Client) -> Result<()> {
    let pools = Api::<AgentPool>::namespaced(client.clone(), CUSTOMER);
    let look = async || pools.get("desktops").await.context("cannot read the pool");
    let waited = show.until("both show a screen that can be used", PATIENCE, async || {
        let pool = look().await?;
        let two = pool.status.as_ref().is_some_and(|status| status.ready == Some(2));
        Ok(if Seen::of(&pool).is_ready() && two {
            Progress::Done(())
        } else {
            Progress::Still(Seen::of(&pool).state())
        })
    });
    match waited.await {
        Ok(()) => Ok(()),
        Err(error) => bail!("{error:#}\n{}", Seen::of(&look().await?).explained()),
    }
}

/// Whose kernel they have, and who makes one that has another.
async fn sandboxed(show: &Show, scene: &Scene, client: &Client, desktops: &[Pod]) -> Result<()> {
    // Nobody else may look into a desktop.
    let glass = scene.plane.client_for("demo", &["system:masters", BREAK_GLASS])?;
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
    let kernel_of = |name: &str| {
        let node = nodes.iter().find(|node| node.name_any() == name)?;
        Some(node.status.as_ref()?.node_info.as_ref()?.kernel_version.clone())
    };
    let mut rows = vec![["DESKTOP", "ITS KERNEL", "NODE", "THE NODE'S KERNEL"].map(str::to_owned).to_vec()];
    for pod in desktops {
        let namespace = pod.namespace().unwrap_or_default();
        let (version, _) = run(&glass, &namespace, &pod.name_any(), &["cat", "/proc/version"]).await?;
        let own = version.split(' ').nth(2).unwrap_or_default().to_owned();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        rows.push(vec![pod.name_any(), own, node.clone(), kernel_of(&node).context("a desktop is on no node")?]);
    }
    show.table(&rows);
    let apart = rows.iter().skip(1).all(|row| row.get(1) != row.get(3));
    show.check("both desktops run, and each has a kernel of its own: gVisor's", rows.len() == 3 && apart);

    let operator = scene.installation.operator_client(&scene.plane).await?;
    let mut bare = desktops.first().context("there is no desktop")?.clone();
    bare.metadata.name = Some("agent-desktops-x".to_owned());
    (bare.metadata.resource_version, bare.metadata.uid, bare.status) = (None, None, None);
    if let Some(spec) = &mut bare.spec {
        (spec.runtime_class_name, spec.overhead, spec.node_name) = (None, None, None);
    }
    let pods = Api::<Pod>::namespaced(operator, &bare.namespace().unwrap_or_default());
    let refused = match pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &bare).await {
        Err(kube::Error::Api(status)) => status.message.contains("an agent runs in a sandbox"),
        Ok(_) | Err(_) => false,
    };
    let what =
        format!("not even the operator's own token makes one without RuntimeClass {GVISOR}: the fence refuses it");
    show.check(&what, refused);
    Ok(())
}

/// They have no DNS and reach nothing but the relay.
async fn dialled_out(show: &Show, client: &Client, desktops: &[Pod]) -> Result<()> {
    let uids: Vec<String> = desktops.iter().filter_map(kube::ResourceExt::uid).collect();
    let what = "both have signed in at the relay, each by a token that its pod alone has";
    let come = show.until(what, PATIENCE, async || {
        let come = signed_in(client, &uids).await?.len();
        Ok(if come == uids.len() { Progress::Done(come) } else { Progress::Still(format!("{come} of {}", uids.len())) })
    });
    show.check("the doorkeeper's audit names both pods, and what it decided", come.await? == 2);
    let ports = desktops.iter().flat_map(|pod| pod.spec.iter().flat_map(|spec| &spec.containers));
    show.check("neither has a port", ports.into_iter().all(|container| container.ports.is_none()));
    Ok(())
}
