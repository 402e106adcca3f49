//! Every setting of the relay. In: flags and `STEADING_RELAY_*` variables, read here and nowhere else. Out: [`Settings`].

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use async_nats::ServerAddr;
use clap::{Args, Parser, Subcommand};

use crate::{limits::Limits, server_config::Server};

/// Says who may speak at the relay of agents, and where
#[derive(Clone, Debug, Parser)]
#[command(name = "steading-relay", version, max_term_width = 100)]
pub struct Settings {
    /// What is to be done
    #[command(subcommand)]
    pub task: Task,
}

/// What is to be done.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Answer the servers of NATS, which ask whom to let in
    Serve(Box<Serve>),
    /// Write the configuration of a server of NATS
    Configure(Box<Configure>),
}

/// Settings of who answers.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// File with the relay's secret: 64 hexadecimal digits
    #[arg(long, env = "STEADING_RELAY_SECRET")]
    pub secret: PathBuf,
    /// Servers of NATS, as tls://host:port
    #[arg(long, env = "STEADING_RELAY_SERVERS", value_delimiter = ',', required = true)]
    pub servers: Vec<ServerAddr>,
    /// File with the certificates (PEM) of the authority that signed theirs
    #[arg(long, env = "STEADING_RELAY_AUTHORITY")]
    pub authority: PathBuf,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "STEADING_RELAY_HTTP", default_value = "0.0.0.0:8080")]
    pub http: SocketAddr,
    /// Name of the `ServiceAccount` as which agents run in their stacks
    #[arg(long, env = "STEADING_RELAY_AGENT_SERVICE_ACCOUNT", default_value = "agent")]
    pub agent_service_account: String,
    /// How much each tenant may use
    #[command(flatten)]
    pub each: Each,
    /// Seconds that questions may still be answered after the relay is asked to end
    #[arg(long, env = "STEADING_RELAY_GRACE", default_value_t = 10)]
    pub grace: u64,
    /// What is logged, like info,relay=debug; audit lines are always written
    #[arg(long, env = "STEADING_RELAY_LOG", default_value = "info")]
    pub log: String,
}

/// How much each tenant may use.
#[derive(Clone, Copy, Debug, Args)]
pub struct Each {
    /// Connections at once of each tenant
    #[arg(long, env = "STEADING_RELAY_TENANT_CONNECTIONS", default_value_t = 1024)]
    pub tenant_connections: u32,
    /// Subscriptions of each of these connections
    #[arg(long, env = "STEADING_RELAY_TENANT_SUBSCRIPTIONS", default_value_t = 256)]
    pub tenant_subscriptions: u32,
    /// Bytes of events that are kept of each tenant; then the oldest go
    #[arg(long, env = "STEADING_RELAY_EVENTS_BYTES", default_value_t = 256 << 20)]
    pub events_bytes: u64,
    /// Hours for which they are kept
    #[arg(long, env = "STEADING_RELAY_EVENTS_HOURS", default_value_t = 72,
        value_parser = clap::value_parser!(u32).range(1..=8760))]
    pub events_hours: u32,
    /// On how many servers they are kept
    #[arg(long, env = "STEADING_RELAY_EVENTS_COPIES", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=5))]
    pub events_copies: u8,
}

impl Each {
    /// As limits.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.tenant_connections,
            subscriptions: self.tenant_subscriptions,
            events: self.events_bytes,
            age: Duration::from_secs(u64::from(self.events_hours) * 3600),
            copies: self.events_copies,
        }
    }
}

/// Settings of what is written for a server.
#[derive(Clone, Debug, Args)]
pub struct Configure {
    /// File with the relay's secret: 64 hexadecimal digits
    #[arg(long, env = "STEADING_RELAY_SECRET")]
    pub secret: PathBuf,
    /// The file to write
    #[arg(long, env = "STEADING_RELAY_OUTPUT")]
    pub output: PathBuf,
    /// The server
    #[command(flatten)]
    pub server: Server,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const PAGE: &str = include_str!("../../../docs/relay.md");

    #[test]
    fn every_flag_stands_in_the_docs() {
        for task in Settings::command().get_subcommands() {
            for argument in task.get_arguments().filter_map(clap::Arg::get_long) {
                let known = matches!(argument, "help" | "version") || PAGE.contains(&format!("`--{argument}`"));
                assert!(known, "--{argument} of {}", task.get_name());
            }
        }
    }

    #[test]
    fn the_limits_that_nobody_chose_leave_one_pod_no_way_to_fill_the_events() {
        let given = ["steading-relay", "serve", "--secret", "/s", "--servers", "tls://relay:4222", "--authority", "/a"];
        let Task::Serve(serve) = Settings::try_parse_from(given).unwrap().task else { panic!("another task") };
        assert!(serve.each.limits().events > 4 * crate::limits::BYTES_OF_POD);
    }

    #[test]
    fn it_does_not_start_without_knowing_whom_to_trust() {
        let given = ["steading-relay", "serve", "--secret", "/s", "--servers", "tls://relay:4222"];
        assert!(Settings::try_parse_from(given).is_err());
    }
}
