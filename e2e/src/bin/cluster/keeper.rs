//! The keeper of a cluster by hand. In: which cluster. Out: it runs until the keeper is asked to stop.

use anyhow::{Context as _, Result};
use e2e::components::Component;
use e2e::install::OperatorProcess;
use e2e::{Installation, Plane, PlaneOptions, Servers, Tier};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::folder::Folder;
use crate::{Wish, say};

/// Installation id of a cluster by hand.
const INSTALLATION: &str = "local";

/// Name of the TenantClass that is ready for use.
const CLASS: &str = "local";

/// Everything that lives as long as the keeper, in the order in which it ends.
struct Cluster {
    operator: Option<OperatorProcess>,
    _installation: Installation,
    _servers: Servers,
    plane: Plane,
}

/// Starts the cluster, says that it is up, and keeps it until it is asked to stop.
pub(crate) async fn keep(wish: Wish) -> Result<()> {
    let tier = wish.tier()?;
    let folder = Folder::open()?;
    let _lock = folder.become_keeper()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The terminal from which it was started may be closed.
    let _hangup = signal(SignalKind::hangup())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(stop);
    let cluster = tokio::select! {
        cluster = start(&folder, tier, !wish.without_operator) => cluster?,
        () = &mut stop => return Ok(()),
    };
    tell_how_to_use(&cluster, &folder).await?;
    folder.declare_up()?;
    stop.await;
    tokio::task::spawn_blocking(move || drop(cluster)).await.context("stopping the cluster failed")
}

async fn start(folder: &Folder, tier: Tier, with_operator: bool) -> Result<Cluster> {
    say(match tier {
        Tier::One => "starting etcd and the API server",
        Tier::Two => "starting etcd, the API server, controllers, the scheduler and fake nodes",
    });
    let plane = Plane::start(tier, PlaneOptions::default()).await?;
    plane.write_kubeconfig(plane.admin_identity(), &folder.kubeconfig())?;
    say("starting OpenBao for keys, MinIO and KES for buckets");
    let servers = Servers::start(&plane).await?;
    say("installing the chart with Helm");
    let installation = Installation::install(&plane, INSTALLATION, &json!({})).await?;
    let identity = installation.operator_identity(&plane).await?;
    plane.write_kubeconfig(&identity, &folder.operator_kubeconfig())?;
    let operator = if with_operator {
        say("starting the operator with a token of its ServiceAccount");
        Some(OperatorProcess::start(&plane, &installation).await?)
    } else {
        None
    };
    servers.apply_class(&plane, CLASS, "Assumed").await?;
    Ok(Cluster { operator, _installation: installation, _servers: servers, plane })
}

async fn tell_how_to_use(cluster: &Cluster, folder: &Folder) -> Result<()> {
    let kubectl = Component::Kubectl.path().await?;
    say(&format!("up at {}", cluster.plane.url()));
    say(&format!("  export KUBECONFIG={}", folder.kubeconfig().display()));
    say(&format!("  kubectl of this cluster's version: {}", kubectl.display()));
    say(&format!("  TenantClass `{CLASS}` leads to OpenBao and MinIO"));
    match &cluster.operator {
        Some(operator) => {
            say(&format!("  the operator's log: {}", operator.log().display()));
            say(&format!("  its metrics: {}/metrics", operator.http_url()));
        }
        None => say(&format!("  run your own operator with --kubeconfig {}", folder.operator_kubeconfig().display())),
    }
    say("  end it with: make cluster-down");
    Ok(())
}
