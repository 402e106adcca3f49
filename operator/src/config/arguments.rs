//! Flags and environment variables. In: what was typed. Out: a [`Config`], or an error that says what to write instead.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use api::Installation;
use clap::{CommandFactory, FromArgMatches, Parser, error::ErrorKind};

use super::{CloudNativePg, Config, Log, LogFormat, ProviderSource, Relay, Timings, instance};

pub(super) const NAMESPACE: &str = "steading-system";
pub(super) const SERVICE_ACCOUNT: &str = "steading";
/// As `make image` calls it.
pub(super) const IMAGE: &str = concat!("localhost/steading/operator:", env!("CARGO_PKG_VERSION"));
pub(super) const CNPG_NAMESPACE: &str = "cnpg-system";
pub(super) const CNPG_SERVICE_ACCOUNT: &str = "cnpg-manager";
pub(super) const CNPG_PLUGIN_SERVICE_ACCOUNT: &str = "plugin-barman-cloud";
/// The client library logs every failed request as an error, without saying for what; the reconcile that made it says it
/// better, once.
pub(super) const LOG_FILTER: &str = "info,kube_client::client::builder=off";

const EXAMPLE: &str = "\
Example, outside of a pod:
  operator --installation prod-eu --kubeconfig steading.kubeconfig \\
           --http-address 127.0.0.1:8080 --log-format text

Durations are written like 500ms, 15s, 10m or 1h30m.";

/// Stamps out isolated tenant stacks: the operator of Steading.
#[derive(Debug, Parser)]
#[command(name = "operator", version, after_help = EXAMPLE, max_term_width = 80)]
struct Arguments {
    /// Installation id: marks everything outside the cluster as ours. Keep it
    /// for as long as those things live
    #[arg(long, env = "STEADING_INSTALLATION", value_name = "ID")]
    installation: Installation,
    /// The operator's own namespace
    #[arg(long, env = "STEADING_NAMESPACE", value_name = "NAME", default_value = NAMESPACE, value_parser = dns_label)]
    namespace: String,
    /// The operator's own ServiceAccount
    #[arg(long, env = "STEADING_SERVICE_ACCOUNT", value_name = "NAME", default_value = SERVICE_ACCOUNT, value_parser = dns_label)]
    service_account: String,
    /// Groups that the chart lets through the fence in emergencies, separated by
    /// commas
    #[arg(
        long,
        env = "STEADING_BREAK_GLASS_GROUPS",
        value_name = "GROUPS",
        default_value = "",
        hide_default_value = true,
        value_parser = groups
    )]
    break_glass_groups: Groups,
    /// The image that this operator is part of: canaries of databases run from
    /// it too
    #[arg(long, env = "STEADING_IMAGE", value_name = "IMAGE", default_value = IMAGE, value_parser = image)]
    image: String,
    /// Namespace in which CloudNativePG and its plugin for backups run
    #[arg(long, env = "STEADING_CNPG_NAMESPACE", value_name = "NAME", default_value = CNPG_NAMESPACE, value_parser = dns_label)]
    cnpg_namespace: String,
    /// ServiceAccount of CloudNativePG's operator there
    #[arg(long, env = "STEADING_CNPG_SERVICE_ACCOUNT", value_name = "NAME", default_value = CNPG_SERVICE_ACCOUNT, value_parser = dns_label)]
    cnpg_service_account: String,
    /// ServiceAccount of the plugin's operator there
    #[arg(long, env = "STEADING_CNPG_PLUGIN_SERVICE_ACCOUNT", value_name = "NAME", default_value = CNPG_PLUGIN_SERVICE_ACCOUNT, value_parser = dns_label)]
    cnpg_plugin_service_account: String,
    /// Service, in the operator's own namespace, of the relay to which agents
    /// dial out
    #[arg(long, env = "STEADING_RELAY_SERVICE", value_name = "NAME", value_parser = dns_label, requires = "relay_authority")]
    relay_service: Option<String>,
    /// File with the certificates (PEM) of the authority that signed the relay's
    #[arg(long, env = "STEADING_RELAY_AUTHORITY", value_name = "FILE", requires = "relay_service")]
    relay_authority: Option<PathBuf>,
    /// Name of this process in the Lease, usually that of its pod; a random
    /// part is added
    #[arg(long, env = "STEADING_INSTANCE", value_name = "NAME", default_value = "operator", value_parser = instance_name)]
    instance: String,
    /// Kubeconfig file to use instead of the pod's ServiceAccount
    #[arg(long, env = "STEADING_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "STEADING_HTTP_ADDRESS", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,
    /// Shape of log lines
    #[arg(long, env = "STEADING_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "json")]
    log_format: LogFormat,
    /// Log levels by module
    #[arg(long, env = "STEADING_LOG_FILTER", value_name = "FILTER", default_value = LOG_FILTER)]
    log_filter: String,
    /// Reconciles that run at once, over all kinds: 1 to 256
    #[arg(long, env = "STEADING_WORKERS", value_name = "COUNT", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// How long the Lease is believed after its last change: 3s to 1m
    #[arg(long, env = "STEADING_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    lease_duration: Duration,
    /// How often the leader renews the Lease; at most a third of its duration
    #[arg(long, env = "STEADING_LEASE_RENEW", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    lease_renew: Duration,
    /// How often a follower looks at the Lease; at most a third of its duration
    #[arg(long, env = "STEADING_LEASE_RETRY", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    lease_retry: Duration,
    /// Deadline of one reconcile: 1s to 1h
    #[arg(long, env = "STEADING_RECONCILE_TIMEOUT", value_name = "DURATION", default_value = "1m", value_parser = duration)]
    reconcile_timeout: Duration,
    /// How often a settled object is looked at again: 1m to 1 day (24h)
    #[arg(long, env = "STEADING_RESYNC_PERIOD", value_name = "DURATION", default_value = "1h", value_parser = duration)]
    resync_period: Duration,
    /// How often the fence is tried: 10s to 1h
    #[arg(long, env = "STEADING_CANARY_PERIOD", value_name = "DURATION", default_value = "10m", value_parser = duration)]
    canary_period: Duration,
    /// How long running reconciles may finish after a signal to stop: up to 10m
    #[arg(long, env = "STEADING_SHUTDOWN_GRACE", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    shutdown_grace: Duration,
}

/// Reads `arguments` and, for what they leave out, the environment.
pub(super) fn read<I, T>(arguments: I) -> Result<Config, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut command = Arguments::command();
    let read = Arguments::from_arg_matches(&command.try_get_matches_from_mut(arguments)?)?;
    read.bounds().map_err(|message| command.error(ErrorKind::ValueValidation, message))?;
    Ok(read.into())
}

impl Arguments {
    /// Refuses what no single flag can refuse by itself.
    fn bounds(&self) -> Result<(), String> {
        let within = |flag: &str, value: Duration, least: Duration, most: Duration| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("--{flag} is {value:?}; write a duration from {least:?} to {most:?}"))
            }
        };
        let lease = self.lease_duration;
        within("lease-duration", lease, Duration::from_secs(3), Timings::LEASE_DURATION_MAX)?;
        within("lease-renew", self.lease_renew, Duration::from_millis(500), lease / 3)?;
        within("lease-retry", self.lease_retry, Duration::from_millis(500), lease / 3)?;
        within("reconcile-timeout", self.reconcile_timeout, Duration::from_secs(1), Duration::from_hours(1))?;
        within("resync-period", self.resync_period, Duration::from_mins(1), Duration::from_hours(24))?;
        within("canary-period", self.canary_period, Duration::from_secs(10), Duration::from_hours(1))?;
        within("shutdown-grace", self.shutdown_grace, Duration::ZERO, Duration::from_mins(10))
    }
}

impl From<Arguments> for Config {
    fn from(read: Arguments) -> Self {
        Self {
            installation: read.installation,
            namespace: read.namespace,
            service_account: read.service_account,
            break_glass_groups: read.break_glass_groups.0,
            image: read.image,
            cloud_native_pg: CloudNativePg {
                namespace: read.cnpg_namespace,
                operator_service_account: read.cnpg_service_account,
                plugin_service_account: read.cnpg_plugin_service_account,
            },
            relay: read
                .relay_service
                .zip(read.relay_authority)
                .map(|(service, authority)| Relay { service, authority }),
            instance: instance(&read.instance),
            http_address: read.http_address,
            log: Log { format: read.log_format, filter: read.log_filter },
            workers: usize::from(read.workers),
            timings: Timings {
                lease_duration: read.lease_duration,
                lease_renew: read.lease_renew,
                lease_retry: read.lease_retry,
                reconcile: read.reconcile_timeout,
                resync: read.resync_period,
                stalled: Timings::default().stalled,
                sweep: Timings::default().sweep,
                canary: read.canary_period,
                shutdown: read.shutdown_grace,
            },
            kubeconfig: read.kubeconfig,
            kube: None,
            providers: ProviderSource::Real,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let advice = || format!("{text:?} is not a duration; write it like 500ms, 15s, 10m or 1h30m");
    let parsed: kube::core::Duration = text.parse().map_err(|_| advice())?;
    if parsed.is_negative() { Err(advice()) } else { Ok(parsed.into()) }
}

/// One value of one flag, so that clap does not take it for a flag that may be repeated.
#[derive(Clone, Debug)]
struct Groups(Vec<String>);

/// The same characters as in the chart: none of them can end a CEL string.
fn groups(text: &str) -> Result<Groups, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b" :._@/=+-".contains(&b);
    let list: Vec<String> = text.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
    match list.iter().find(|group| !group.bytes().all(allowed)) {
        None => Ok(Groups(list)),
        Some(group) => Err(format!("{group:?} is no group: write letters, digits, spaces and : . _ @ / = + -")),
    }
}

/// It stands in pods, where the kubelet reads it; here only what could be none at all is refused.
fn image(text: &str) -> Result<String, String> {
    if (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("write the name of an image, such as registry.example/steading/operator:0.1.0".to_owned())
    }
}

fn dns_label(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-') {
        Ok(text.to_owned())
    } else {
        Err("write at most 63 lower-case letters, digits and dashes, beginning and ending with a letter or digit"
            .to_owned())
    }
}

/// It is shown to people who look at the Lease, so it must be one short printable word.
fn instance_name(text: &str) -> Result<String, String> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("write 1 to 128 printable characters without spaces".to_owned())
    }
}
