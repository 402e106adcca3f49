//! etcd and the API server. In: a directory and an authority. Out: an API server that answers `/readyz`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Client;
use secrecy::ExposeSecret as _;

use super::Identity;
use super::access::Way;
use crate::certificates::Authority;
use crate::components::Component;
use crate::nursery::Nursery;
use crate::ports::{LOOPBACK, Port};

/// Longest wait for each server; long because many planes may start on two cores at once.
const PATIENCE: Duration = Duration::from_mins(2);

/// The API server refuses to advertise a loopback address. This one is reserved for documentation: nothing is there.
const ADVERTISED: &str = "192.0.2.1";

/// Every call is recorded once it is answered, with who and what but without bodies; watches also when they start.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// What is left of starting: where the API server is and what it holds.
pub(super) struct Control {
    pub(super) url: String,
    pub(super) audit_log: PathBuf,
    /// The private key that signs ServiceAccount tokens; the controller manager wants it too.
    pub(super) token_key: PathBuf,
    pub(super) ports: Vec<Port>,
    pub(super) api_server: ApiServer,
}

/// How to start the API server again.
pub(super) struct ApiServer {
    command: Command,
    probe: Client,
}

impl ApiServer {
    pub(super) const NAME: &str = "kube-apiserver";

    /// Starts it and waits until it is ready.
    pub(super) async fn start(&mut self, nursery: &mut Nursery) -> Result<()> {
        let process = nursery.spawn(Self::NAME, &mut self.command)?;
        process.until_ready(PATIENCE, async || is_ready(&self.probe).await.then_some(())).await
    }
}

/// Starts both servers, the API server at this address of the host, and waits until it is ready.
pub(super) async fn start(
    nursery: &mut Nursery,
    authority: &Authority,
    admin: &Identity,
    host: &str,
) -> Result<Control> {
    let (client, peer, api) = (Port::reserve()?, Port::reserve()?, Port::reserve_at(host)?);
    start_etcd(nursery, &client, &peer).await?;
    let url = api.https();
    let probe = probe(Way { url: &url, authority }, admin)?;
    let audit_log = nursery.directory().join("audit.log");
    let tokens = rcgen::KeyPair::generate().context("cannot make a key for ServiceAccount tokens")?;
    let token_key = nursery.write("tokens.key", tokens.serialize_pem())?;
    nursery.write("tokens.pub", tokens.public_key_pem())?;
    let command = api_server(nursery, authority, &client, &api, host).await?;
    let mut api_server = ApiServer { command, probe };
    api_server.start(nursery).await?;
    Ok(Control { url, audit_log, token_key, ports: vec![client, peer, api], api_server })
}

async fn start_etcd(nursery: &mut Nursery, client: &Port, peer: &Port) -> Result<()> {
    let data = nursery.subdirectory("etcd")?;
    let client_url = format!("http://{}", client.address());
    let peer_url = format!("http://{}", peer.address());
    let mut command = Command::new(Component::Etcd.path().await?);
    command
        .arg("--data-dir")
        .arg(data)
        .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
        .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
        .args(["--initial-cluster", &format!("default={peer_url}"), "--log-level", "warn"])
        .arg("--unsafe-no-fsync");
    let address = client.address();
    nursery
        .spawn("etcd", &mut command)?
        .until_ready(PATIENCE, async || tokio::net::TcpStream::connect(&address).await.ok())
        .await?;
    Ok(())
}

/// The command line of the API server, with all its files written.
async fn api_server(nursery: &Nursery, authority: &Authority, etcd: &Port, port: &Port, host: &str) -> Result<Command> {
    let names = [host, "localhost", "10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let serving = authority.server("kube-apiserver", &names)?;
    let file = |name: &str| nursery.directory().join(name);
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let mut command = Command::new(Component::KubeApiserver.path().await?);
    command
        .arg(format!("--etcd-servers=http://{}", etcd.address()))
        .arg(format!("--bind-address={host}"))
        .arg(format!("--advertise-address={}", if host == LOOPBACK { ADVERTISED } else { host }))
        .args([&format!("--secure-port={}", port.number()), "--service-cluster-ip-range=10.96.0.0/16"])
        .arg(flag("tls-cert-file", &nursery.write("apiserver.crt", &serving.certificate)?))
        .arg(flag("tls-private-key-file", &nursery.write("apiserver.key", serving.key.expose_secret())?))
        .arg(flag("client-ca-file", &nursery.write("ca.crt", authority.certificate())?))
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .arg(flag("service-account-key-file", &file("tokens.pub")))
        .arg(flag("service-account-signing-key-file", &file("tokens.key")))
        .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"])
        .args(["--allow-privileged", "--profiling=false"])
        .arg(flag("cert-dir", &nursery.subdirectory("apiserver")?))
        .arg(flag("audit-policy-file", &nursery.write("audit-policy.yaml", AUDIT_POLICY)?))
        .arg(flag("audit-log-path", &file("audit.log")))
        // Never rotated: a count must see every call.
        .args(["--audit-log-mode=blocking", "--audit-log-maxsize=100000"]);
    if host != LOOPBACK {
        // Nodes reach it, and it them: for logs of pods and for commands in them.
        let client = authority.client("kube-apiserver-kubelet-client", &["system:masters"])?;
        command
            .arg(flag("kubelet-client-certificate", &nursery.write("kubelet-client.crt", &client.certificate)?))
            .arg(flag("kubelet-client-key", &nursery.write("kubelet-client.key", client.key.expose_secret())?))
            .arg(flag("kubelet-certificate-authority", &file("ca.crt")))
            .arg("--kubelet-preferred-address-types=InternalIP");
    }
    Ok(command)
}

/// A client that tells the truth at once instead of trying again.
fn probe(way: Way<'_>, admin: &Identity) -> Result<Client> {
    let mut config = way.config(admin)?;
    config.default_retry = false;
    Client::try_from(config).context("cannot make a client for the API server")
}

async fn is_ready(client: &Client) -> bool {
    match http::Request::get("/readyz").body(Vec::new()) {
        Ok(request) => client.request_text(request).await.is_ok(),
        Err(_) => false,
    }
}
