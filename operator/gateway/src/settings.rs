//! Every setting of the gateway. In: flags and `STEADING_GATEWAY_*` variables, read here and nowhere else. Out: [`Settings`].

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use ipnet::IpNet;

use crate::{
    host::{Target, Unreadable},
    proxy::Bounds,
    server::Places,
    upstream::UpstreamProxy,
};

/// The only way out for agents: lets through what their pool lists
#[derive(Clone, Debug, Parser)]
#[command(name = "steading-gateway", version, max_term_width = 100)]
pub struct Settings {
    /// Where agents connect to
    #[arg(long, env = "STEADING_GATEWAY_LISTEN", default_value = "0.0.0.0:3128")]
    pub listen: SocketAddr,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "STEADING_GATEWAY_HTTP", default_value = "0.0.0.0:8080")]
    pub http: SocketAddr,
    /// Folder with the policies, one file for each pool
    #[arg(long, env = "STEADING_GATEWAY_POLICIES")]
    pub policies: PathBuf,
    /// File with the public keys (PEM, Ed25519) by which tokens of sessions are signed
    #[arg(long, env = "STEADING_GATEWAY_TOKEN_KEYS")]
    pub token_keys: PathBuf,
    /// Ranges of the cluster (pods, services, nodes), which agents reach only where a pool lists them
    #[arg(long, env = "STEADING_GATEWAY_CLUSTER_RANGES", value_delimiter = ',', required = true)]
    pub cluster_ranges: Vec<IpNet>,
    /// Certificate chain (PEM) to serve agents over TLS; without it they speak plain HTTP to the gateway
    #[arg(long, env = "STEADING_GATEWAY_TLS_CERTIFICATE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key (PEM) of that certificate
    #[arg(long, env = "STEADING_GATEWAY_TLS_KEY", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// A company's proxy on the way to public addresses, as host:port
    #[arg(long, env = "STEADING_GATEWAY_UPSTREAM_PROXY", value_parser = proxy_address)]
    pub upstream_proxy: Option<String>,
    /// File with user:password for that proxy
    #[arg(long, env = "STEADING_GATEWAY_UPSTREAM_CREDENTIALS", requires = "upstream_proxy")]
    pub upstream_credentials: Option<PathBuf>,
    /// That proxy wants names and resolves them itself: what it connects to is then its own matter
    #[arg(long, env = "STEADING_GATEWAY_UPSTREAM_RESOLVES", requires = "upstream_proxy")]
    pub upstream_resolves: bool,
    /// Bytes of a request's head
    #[arg(long, env = "STEADING_GATEWAY_HEAD_BYTES", default_value = "16384",
        value_parser = clap::builder::RangedU64ValueParser::<u32>::new().range(8192..=1_048_576))]
    pub head_bytes: u32,
    /// Connections of agents at once
    #[arg(long, env = "STEADING_GATEWAY_CLIENTS", default_value_t = 8192)]
    pub clients: usize,
    /// Connections at once from one address
    #[arg(long, env = "STEADING_GATEWAY_CLIENTS_OF_ONE", default_value_t = 256)]
    pub clients_of_one: usize,
    /// Seconds that open tunnels may go on after the gateway is asked to end
    #[arg(long, env = "STEADING_GATEWAY_GRACE", default_value_t = 20)]
    pub grace: u64,
    /// What is logged, like info,gateway=debug; audit lines are always written
    #[arg(long, env = "STEADING_GATEWAY_LOG", default_value = "info")]
    pub log: String,
}

fn proxy_address(text: &str) -> Result<String, Unreadable> {
    Target::parse(text, None).map(|target| target.to_string())
}

impl Settings {
    /// Bounds of heads and hellos.
    pub fn bounds(&self) -> Bounds {
        Bounds { head_bytes: usize::try_from(self.head_bytes).unwrap_or(usize::MAX), ..Bounds::default() }
    }

    /// How many agents are served.
    pub fn places(&self) -> Places {
        Places { all: self.clients, of_one: self.clients_of_one }
    }

    /// The company's proxy, if there is one.
    pub fn upstream(&self) -> Option<UpstreamProxy> {
        self.upstream_proxy.as_ref().map(|address| UpstreamProxy {
            address: address.clone(),
            credentials: self.upstream_credentials.clone(),
            resolves: self.upstream_resolves,
        })
    }

    /// How long the end may take.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const PAGE: &str = include_str!("../../../docs/egress-gateway.md");

    #[test]
    fn every_flag_stands_in_the_docs() {
        for argument in Settings::command().get_arguments().filter_map(clap::Arg::get_long) {
            assert!(
                matches!(argument, "help" | "version") || PAGE.contains(&format!("`--{argument}`")),
                "--{argument}"
            );
        }
    }

    #[test]
    fn it_does_not_start_without_knowing_the_ranges_of_the_cluster() {
        let given = ["steading-gateway", "--policies", "/p", "--token-keys", "/k"];
        assert!(Settings::try_parse_from(given).is_err());
        let with = given.into_iter().chain(["--cluster-ranges", "10.0.0.0/8,fd00::/8"]);
        let settings = Settings::try_parse_from(with).unwrap();
        assert_eq!(settings.cluster_ranges.len(), 2);
        assert_eq!(settings.upstream().map(|proxy| proxy.address), None);
    }
}
