//! The keeper of a cluster by hand. In: which cluster. Out: it runs until the keeper is asked to stop.

use anyhow::Result;
use e2e::components::Component;
use e2e::databases::CloudNativePg;
use e2e::site::{CLASS, Site, SiteOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::folder::Folder;
use crate::{Wish, say};

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
    let options = SiteOptions { with_operator: !wish.without_operator, ..SiteOptions::default() };
    let start = async {
        let site = Site::start(tier, options, say).await?;
        // Volumes are made as long as it lives.
        let databases = if wish.databases { Some(CloudNativePg::install(&site.plane).await?) } else { None };
        if let Some(databases) = &databases {
            say(&databases.times);
        }
        anyhow::Ok((site, databases))
    };
    let (site, _databases) = tokio::select! {
        started = start => started?,
        () = &mut stop => return Ok(()),
    };
    write_kubeconfigs(&site, &folder).await?;
    tell_how_to_use(&site, &folder).await?;
    folder.declare_up()?;
    stop.await;
    site.stop().await
}

async fn write_kubeconfigs(site: &Site, folder: &Folder) -> Result<()> {
    site.plane.write_kubeconfig(site.plane.admin_identity(), &folder.kubeconfig())?;
    let identity = site.installation.operator_identity(&site.plane).await?;
    site.plane.write_kubeconfig(&identity, &folder.operator_kubeconfig())
}

async fn tell_how_to_use(site: &Site, folder: &Folder) -> Result<()> {
    let kubectl = Component::Kubectl.path().await?;
    say(&format!("up at {}", site.plane.url()));
    say(&format!("  export KUBECONFIG={}", folder.kubeconfig().display()));
    say(&format!("  kubectl of this cluster's version: {}", kubectl.display()));
    say(&format!("  TenantClass `{CLASS}` leads to OpenBao and MinIO"));
    match &site.operator {
        Some(operator) => {
            say(&format!("  the operator's log: {}", operator.log().display()));
            say(&format!("  its metrics: {}/metrics", operator.http_url()));
        }
        None => say(&format!("  run your own operator with --kubeconfig {}", folder.operator_kubeconfig().display())),
    }
    say("  end it with: make cluster-down");
    Ok(())
}
