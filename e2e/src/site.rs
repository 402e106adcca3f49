//! Everything at once, as a platform engineer has it. In: a tier. Out: a plane, the servers outside it, the chart, a
//! TenantClass that leads to the servers, and the operator as a process with the chart's rights.

use anyhow::Result;
use serde_json::{Value, json};

use crate::install::{Installation, OperatorProcess, enforcement_of, with_probes};
use crate::plane::{Plane, PlaneOptions, Tier};
use crate::servers::Servers;

/// Name of the TenantClass that is there from the start.
pub const CLASS: &str = "local";

/// What can be chosen about a site.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// About its plane.
    pub plane: PlaneOptions,
    /// Installation id: a DNS label of at most 40 characters.
    pub installation: String,
    /// Values of the chart, over those of the harness.
    pub values: Value,
    /// Whether the operator is started; without, one may run one's own with the chart's rights.
    pub with_operator: bool,
}

impl Default for SiteOptions {
    fn default() -> Self {
        Self {
            plane: PlaneOptions::default(),
            installation: "local".to_owned(),
            values: json!({}),
            with_operator: true,
        }
    }
}

/// A site that runs. Dropping it ends every process and removes every file of it.
pub struct Site {
    // In the order in which they end: the operator first, so that it does not see the others go.
    /// The operator, if it was asked for.
    pub operator: Option<OperatorProcess>,
    /// The chart, installed.
    pub installation: Installation,
    /// OpenBao, KES, MinIO and OpenFGA.
    pub servers: Servers,
    /// The control plane.
    pub plane: Plane,
}

impl Site {
    /// Starts a site, telling `progress` before each step what is done next.
    pub async fn start(tier: Tier, options: SiteOptions, progress: impl Fn(&str)) -> Result<Self> {
        if options.with_operator {
            progress("building the operator");
            OperatorProcess::build().await?;
        }
        progress(match tier {
            Tier::One => "starting etcd and the API server",
            Tier::Two => "starting etcd, the API server, controllers, the scheduler and fake nodes",
            Tier::Three => "starting etcd, the API server, controllers, the scheduler and two real nodes",
        });
        let plane = Plane::start(tier, options.plane).await?;
        progress("starting OpenBao for keys, MinIO and KES for buckets, OpenFGA");
        let servers = Servers::start(&plane).await?;
        progress("installing the chart with Helm");
        let values = with_probes(&plane, &options.values).await?;
        let installation = Installation::install(&plane, &options.installation, &values).await?;
        servers.apply_class(&plane, CLASS, enforcement_of(tier)).await?;
        let operator = if options.with_operator {
            progress("starting the operator with a token of its ServiceAccount");
            Some(OperatorProcess::start(&plane, &installation).await?)
        } else {
            None
        };
        Ok(Self { operator, installation, servers, plane })
    }

    /// Ends everything without blocking the async runtime. The same happens on drop.
    pub async fn stop(self) -> Result<()> {
        Ok(tokio::task::spawn_blocking(move || drop(self)).await?)
    }
}
