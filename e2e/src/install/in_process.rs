//! The operator inside the test's own process. In: a plane with the chart installed. Out: the same operator as in
//! production, with the chart's rights, whose world outside the cluster lives in memory and fails on demand.

use std::time::Duration;

use anyhow::{Context as _, Result};
use operator::config::{Config, ProviderSource, Relay, Timings};
use providers::memory::World;
use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle};

use super::Installation;
use crate::{plane::Plane, ports::Port, relays, wait::until};

/// A running operator. Dropping it stops it.
pub struct InProcess {
    /// What is outside the cluster.
    pub world: World,
    port: Port,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<()>>,
}

impl InProcess {
    /// Starts an operator on a world of its own and waits until it is ready.
    pub async fn start(plane: &Plane, installation: &Installation) -> Result<Self> {
        Self::start_on(plane, installation, World::new(), |_| {}).await
    }

    /// Starts an operator on this world, with settings changed by `adjust`, and waits until it is ready.
    pub async fn start_on(
        plane: &Plane,
        installation: &Installation,
        world: World,
        adjust: impl FnOnce(&mut Config),
    ) -> Result<Self> {
        Self::start_in(&Handle::current(), plane, installation, world, adjust).await
    }

    /// The same within a runtime of its own. If that has a single worker, whatever holds the worker up stops the whole operator, its
    /// timers included, as a frozen machine would.
    pub async fn start_in(
        runtime: &Handle,
        plane: &Plane,
        installation: &Installation,
        world: World,
        adjust: impl FnOnce(&mut Config),
    ) -> Result<Self> {
        let port = Port::reserve()?;
        let mut config = Config::of(installation.name().parse()?);
        config.kube = Some(plane.config(&installation.operator_identity(plane).await?)?);
        config.http_address = port.address().parse()?;
        config.providers = ProviderSource::Memory(world.clone());
        // The API server's authority does for the relay's: nobody dials out on fake nodes.
        config.relay = Some(Relay { service: relays::SERVICE.to_owned(), authority: plane.directory().join("ca.crt") });
        config.timings = Timings { lease_retry: Duration::from_millis(200), ..Timings::default() };
        adjust(&mut config);
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(operator::run(config, async {
            // A dropped sender stops it as well.
            let _ = stopped.await;
        }));
        let operator = Self { world, port, stop: Some(stop), task };
        let url = format!("{}/readyz", operator.http_url());
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).tls_certs_only([]).build()?;
        until("the operator is ready", Duration::from_mins(1), async || {
            anyhow::ensure!(!operator.task.is_finished(), "the operator ended at once");
            Ok(client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()))
        })
        .await?;
        Ok(operator)
    }

    /// `http://127.0.0.1:<port>`, where `/healthz`, `/readyz` and `/metrics` are.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Whether it runs: a panic or an error ends it.
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// Ends it in the middle of whatever it does, as SIGKILL would: the Lease stays as it is. Returns when nothing of it runs.
    pub async fn crash(mut self) {
        self.fall().await;
    }

    /// The same, for whoever keeps the place of the next one. To be called once.
    pub(crate) async fn fall(&mut self) {
        self.task.abort();
        (&mut self.task).await.ok();
    }

    /// Stops it as SIGTERM would, and returns when it has let go of the Lease.
    pub async fn stop(mut self) -> Result<()> {
        self.halt().await
    }

    /// The same, for whoever keeps the place of the next one. To be called once.
    pub(crate) async fn halt(&mut self) -> Result<()> {
        self.stop.take().map(|stop| stop.send(()));
        (&mut self.task).await.context("the operator panicked")?
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.task.abort();
    }
}
