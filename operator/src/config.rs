//! Every setting of the operator. In: flags and `STEADING_*` variables, read here and nowhere else. Out: [`Config`], checked.
//!
//! Tests build a [`Config`] with [`Config::of`] and change its public fields; they need neither flags nor environment.

mod arguments;

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use api::Installation;
use kube::config::{KubeConfigOptions, Kubeconfig};
use providers::memory::World;

/// All that an operator needs to know before it starts.
#[derive(Clone)]
pub struct Config {
    /// Marks everything outside the cluster as this installation's; the same for as long as those things live.
    pub installation: Installation,
    /// The operator's own namespace: its Lease and the class credentials are there. A DNS label.
    pub namespace: String,
    /// Name of the operator's own ServiceAccount in that namespace. A DNS label.
    pub service_account: String,
    /// Groups whose members may change what is in stack namespaces: what the chart's `fence.breakGlassGroups` says.
    pub break_glass_groups: Vec<String>,
    /// The image that this operator is part of: the canaries of databases run from it too.
    pub image: String,
    /// Where CloudNativePG runs and as whom: what the chart's `cloudNativePG` says.
    pub cloud_native_pg: CloudNativePg,
    /// The relay of agents, if the chart's `relay.enabled` installed one.
    pub relay: Option<Relay>,
    /// Distinguishes this process from its replicas in the Lease; unique for each process that was ever started.
    pub instance: String,
    /// Where `/healthz`, `/readyz` and `/metrics` are served. Port 0 takes any free one.
    pub http_address: SocketAddr,
    /// What is logged, and how.
    pub log: Log,
    /// Reconciles that run at once, over all kinds: 1 to 256.
    pub workers: usize,
    /// How long things take at most and how often they happen.
    pub timings: Timings,
    /// A kubeconfig file to use instead of the ServiceAccount of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Overrides every other way to reach the API server. Not settable by flag: it is for tests.
    pub kube: Option<kube::Config>,
    /// Where keys and buckets are made.
    pub providers: ProviderSource,
}

/// Where CloudNativePG and its plugin for backups run, and as whom. The fence lets these two into stacks with a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudNativePg {
    /// Their namespace. A DNS label.
    pub namespace: String,
    /// ServiceAccount of CloudNativePG's operator there. A DNS label.
    pub operator_service_account: String,
    /// ServiceAccount of the plugin's operator there. A DNS label.
    pub plugin_service_account: String,
}

/// The relay to which agents dial out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Its Service, in the operator's own namespace. A DNS label.
    pub service: String,
    /// File with the certificates, as PEM, of the authority that signed its own. It may be replaced at any time.
    pub authority: PathBuf,
}

impl Default for CloudNativePg {
    /// As their own manifests have it.
    fn default() -> Self {
        Self {
            namespace: arguments::CNPG_NAMESPACE.to_owned(),
            operator_service_account: arguments::CNPG_SERVICE_ACCOUNT.to_owned(),
            plugin_service_account: arguments::CNPG_PLUGIN_SERVICE_ACCOUNT.to_owned(),
        }
    }
}

/// Where keys and buckets are made.
#[derive(Clone, Debug)]
pub enum ProviderSource {
    /// Where each TenantClass says.
    Real,
    /// In memory, whatever the TenantClass says. For tests; no flag leads here.
    Memory(World),
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Shape of a line.
    pub format: LogFormat,
    /// Levels by module, such as `info,operator=debug`.
    pub filter: String,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For eyes.
    Text,
}

/// How long things take at most and how often they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How long a Lease is believed after its last change. At most [`Timings::LEASE_DURATION_MAX`].
    pub lease_duration: Duration,
    /// How often the leader renews it. At most a third of the duration.
    pub lease_renew: Duration,
    /// How often a follower looks, and a leader whose renewal failed tries again (± 20 %).
    pub lease_retry: Duration,
    /// Deadline of one reconcile.
    pub reconcile: Duration,
    /// How often a settled object is looked at again (± 20 %): nobody tells us of changes outside the cluster.
    pub resync: Duration,
    /// How often what only somebody else can mend is looked at again (± 20 %).
    pub stalled: Duration,
    /// How often stacks are looked for whose Workspace is gone.
    pub sweep: Duration,
    /// How often the fence is tried.
    pub canary: Duration,
    /// How long running reconciles may finish after the signal to stop.
    pub shutdown: Duration,
}

impl Timings {
    /// No Lease lasts longer, whatever is written in it: so that a hand-edited one does not stop the work for ever.
    pub const LEASE_DURATION_MAX: Duration = Duration::from_mins(1);
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            lease_renew: Duration::from_secs(5),
            lease_retry: Duration::from_secs(2),
            reconcile: Duration::from_mins(1),
            resync: Duration::from_hours(1),
            stalled: Duration::from_mins(5),
            sweep: Duration::from_mins(5),
            canary: Duration::from_mins(10),
            shutdown: Duration::from_secs(20),
        }
    }
}

impl Config {
    /// The defaults for `installation`.
    #[must_use]
    pub fn of(installation: Installation) -> Self {
        Self {
            installation,
            namespace: arguments::NAMESPACE.to_owned(),
            service_account: arguments::SERVICE_ACCOUNT.to_owned(),
            break_glass_groups: Vec::new(),
            image: arguments::IMAGE.to_owned(),
            cloud_native_pg: CloudNativePg::default(),
            relay: None,
            instance: instance("operator"),
            http_address: SocketAddr::from(([0, 0, 0, 0], 8080)),
            log: Log { format: LogFormat::Json, filter: arguments::LOG_FILTER.to_owned() },
            workers: 8,
            timings: Timings::default(),
            kubeconfig: None,
            kube: None,
            providers: ProviderSource::Real,
        }
    }

    /// Reads flags and environment; prints help, version or what is wrong and ends the process where that is due.
    #[must_use]
    pub fn parse() -> Self {
        Self::from_arguments(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Reads `arguments`, the first of which is the name of the program, and for what they leave out the environment.
    pub fn from_arguments<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        arguments::read(arguments)
    }

    /// How to reach the API server: the override, else the kubeconfig file, else the pod's ServiceAccount.
    ///
    /// A kubeconfig in the home directory is never picked up by itself: it often holds far more rights than the operator
    /// should run with.
    pub async fn kube(&self) -> Result<kube::Config, NoCluster> {
        if let Some(config) = &self.kube {
            return Ok(config.clone());
        }
        let Some(path) = &self.kubeconfig else {
            return kube::Config::incluster().map_err(|source| NoCluster::OutsidePod(Box::new(source)));
        };
        let refused = |source| NoCluster::Kubeconfig { path: path.clone(), source: Box::new(source) };
        let file = Kubeconfig::read_from(path).map_err(refused)?;
        kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(refused)
    }
}

/// A name that no other process has: `name` for people, the rest against a restarted pod of the same name.
fn instance(name: &str) -> String {
    format!("{name}_{:016x}", rand::random::<u64>())
}

/// There is no way to reach an API server.
#[derive(Debug, thiserror::Error)]
pub enum NoCluster {
    /// Neither in a pod nor told where the cluster is.
    #[error("not running in a pod and no kubeconfig given: set --kubeconfig or STEADING_KUBECONFIG")]
    OutsidePod(#[source] Box<kube::config::InClusterError>),
    /// The kubeconfig does not help.
    #[error("kubeconfig {} cannot be used", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
}

impl fmt::Debug for Config {
    /// Leaves out how to reach the API server: that may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("installation", &self.installation)
            .field("namespace", &self.namespace)
            .field("service_account", &self.service_account)
            .field("break_glass_groups", &self.break_glass_groups)
            .field("image", &self.image)
            .field("cloud_native_pg", &self.cloud_native_pg)
            .field("relay", &self.relay)
            .field("instance", &self.instance)
            .field("http_address", &self.http_address)
            .field("log", &self.log)
            .field("workers", &self.workers)
            .field("timings", &self.timings)
            .field("kubeconfig", &self.kubeconfig)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
