//! The configuration of nats-server. In: where it listens and keeps things, and who signs. Out: the text of its file.
//!
//! There is no secret in it. What stands in it follows from the relay's secret: whose accounts the server trusts, and whom it asks.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    limits::MESSAGE,
    rights::{NotSigned, Notary},
    root::Owner,
};

/// Seconds that TLS and a sign-in may take.
const SIGN_IN: u64 = 10;

/// Where a server listens and keeps things.
#[derive(Clone, Debug, Args)]
pub struct Server {
    /// What the server is called; each of a cluster has a name of its own
    #[arg(long, env = "STEADING_RELAY_NAME", default_value = "relay", value_parser = word)]
    pub name: String,
    /// Where agents connect to
    #[arg(long, env = "STEADING_RELAY_LISTEN", default_value = "0.0.0.0:4222", value_parser = word)]
    pub listen: String,
    /// Where the server tells about itself, to whoever asks: for probes and metrics
    #[arg(long, env = "STEADING_RELAY_MONITOR", default_value = "127.0.0.1:8222", value_parser = word)]
    pub monitor: String,
    /// Certificate chain (PEM) of the server
    #[arg(long, env = "STEADING_RELAY_TLS_CERTIFICATE", value_parser = path)]
    pub tls_certificate: PathBuf,
    /// Private key (PEM) of that certificate
    #[arg(long, env = "STEADING_RELAY_TLS_KEY", value_parser = path)]
    pub tls_key: PathBuf,
    /// Folder for accounts and events
    #[arg(long, env = "STEADING_RELAY_DATA", default_value = "/data", value_parser = path)]
    pub data: PathBuf,
    /// Bytes that events of all tenants may take on this server
    #[arg(long, env = "STEADING_RELAY_STORAGE", default_value_t = 8 << 30)]
    pub storage: u64,
    /// Connections at once, of all tenants
    #[arg(long, env = "STEADING_RELAY_CONNECTIONS", default_value_t = 8192)]
    pub connections: u32,
    /// The other servers of a cluster, as host:port; without them it is alone
    #[arg(long, env = "STEADING_RELAY_PEERS", value_delimiter = ',', value_parser = word, requires = "peer_authority")]
    pub peers: Vec<String>,
    /// Where the other servers connect to
    #[arg(long, env = "STEADING_RELAY_PEER_LISTEN", default_value = "0.0.0.0:6222", value_parser = word)]
    pub peer_listen: String,
    /// Certificates (PEM) of the authority that signed those of the other servers
    #[arg(long, env = "STEADING_RELAY_PEER_AUTHORITY", value_parser = path)]
    pub peer_authority: Option<PathBuf>,
}

/// What goes into the file between quotation marks and must not end them.
fn word(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:_/-[]".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("write letters, digits and any of . : _ / - [ ]".to_owned())
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    word(text).map(PathBuf::from)
}

/// Writes the file.
pub fn write(server: &Server, notary: &Notary, now: u64) -> Result<String, NotSigned> {
    let system = notary.called(Owner::SystemAccount)?;
    let callout = notary.called(Owner::CalloutAccount)?;
    let mut text = format!(
        r#"server_name: "{name}"
listen: "{listen}"
http: "{monitor}"
max_payload: {MESSAGE}
max_pending: {pending}
max_connections: {connections}
max_control_line: 16KB
max_subscriptions: 1024
authorization {{ timeout: {SIGN_IN} }}
operator: "{operator}"
system_account: "{system}"
default_sentinel: "{nobody}"
resolver {{ type: full, dir: "{accounts}", allow_delete: false, interval: "2m", timeout: "2s" }}
resolver_preload {{
  {system}: "{of_system}"
  {callout}: "{of_callout}"
}}
jetstream {{ store_dir: "{events}", max_memory_store: 0, max_file_store: {storage} }}
"#,
        name = server.name,
        listen = server.listen,
        monitor = server.monitor,
        pending = 4 * MESSAGE,
        connections = server.connections,
        operator = notary.operator(now)?,
        nobody = notary.nobody(now)?,
        accounts = server.data.join("accounts").display(),
        of_system = notary.account(Owner::SystemAccount, now)?,
        of_callout = notary.account(Owner::CalloutAccount, now)?,
        events = server.data.join("events").display(),
        storage = server.storage,
    );
    let tls = certificate(&server.tls_certificate, &server.tls_key);
    // Writing to text does not fail.
    let _ = writeln!(text, "tls {{ {tls}, timeout: {SIGN_IN}, handshake_first: true, min_version: \"1.2\" }}");
    if let Some(authority) = server.peer_authority.as_ref().filter(|_| !server.peers.is_empty()) {
        let routes: Vec<String> = server.peers.iter().map(|peer| format!("\"tls://{peer}\"")).collect();
        let (listen, routes, authority) = (&server.peer_listen, routes.join(", "), authority.display());
        let _ = writeln!(text, "cluster {{");
        let _ = writeln!(text, "  name: \"steading-relay\", listen: \"{listen}\", routes: [{routes}]");
        let _ = writeln!(text, "  tls {{ {tls}, ca_file: \"{authority}\", verify: true, timeout: {SIGN_IN} }}\n}}");
    }
    Ok(text)
}

fn certificate(certificate: &Path, key: &Path) -> String {
    format!("cert_file: \"{}\", key_file: \"{}\"", certificate.display(), key.display())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{limits::tests::limits, root::tests::root};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        server: Server,
    }

    fn server(more: &[&str]) -> Result<Server, clap::Error> {
        let given = ["configure", "--tls-certificate", "/tls/tls.crt", "--tls-key", "/tls/tls.key"];
        Line::try_parse_from(given.into_iter().chain(more.iter().copied())).map(|line| line.server)
    }

    fn written(more: &[&str]) -> String {
        write(&server(more).unwrap(), &Notary::new(root(), limits()), 5).unwrap()
    }

    #[test]
    fn a_server_speaks_tls_from_the_first_byte_and_trusts_the_relays_operator() {
        let text = written(&[]);
        assert!(text.contains("handshake_first: true") && text.contains("default_sentinel"), "{text}");
        assert!(!text.contains("cluster {"), "{text}");
        assert!(!text.contains("no_auth_user"), "{text}");
    }

    #[test]
    fn servers_of_a_cluster_show_each_other_certificates() {
        let text = written(&["--peers", "relay-0.relay:6222,relay-1.relay:6222", "--peer-authority", "/tls/ca.crt"]);
        assert!(text.contains(r#"routes: ["tls://relay-0.relay:6222", "tls://relay-1.relay:6222"]"#), "{text}");
        assert!(text.contains(r#"ca_file: "/tls/ca.crt", verify: true"#), "{text}");
        assert!(server(&["--peers", "relay-0.relay:6222"]).is_err(), "nobody says whom to trust");
    }

    #[test]
    fn nothing_that_is_given_can_become_another_setting() {
        for text in ["a\"b", "a\nb", "a{b", "a#b", "a;b", ""] {
            assert!(server(&["--name", text]).is_err() && server(&["--data", text]).is_err(), "{text}");
        }
    }

    #[test]
    fn there_is_no_secret_in_it() {
        let (text, secret) = (written(&[]), "0f".repeat(32));
        assert!(!text.contains(&secret) && !text.contains("\"S"), "{text}");
    }
}
