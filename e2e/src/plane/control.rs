//! etcd and the API server. In: a directory and an authority. Out: an API server that answers `/readyz`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::{Client, Config};
use secrecy::ExposeSecret as _;

use super::Identity;
use crate::certificates::Authority;
use crate::components::Component;
use crate::nursery::Nursery;
use crate::ports::Port;

/// Longest wait for each server; long because many planes may start on two cores at once.
const PATIENCE: Duration = Duration::from_secs(120);

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
    pub(super) ports: Vec<Port>,
}

/// Starts both servers and waits until the API server is ready.
pub(super) async fn start(nursery: &mut Nursery, authority: &Authority, admin: &Identity) -> Result<Control> {
    let (client, peer, api) = (Port::reserve()?, Port::reserve()?, Port::reserve()?);
    start_etcd(nursery, &client, &peer).await?;
    let audit_log = nursery.directory().join("audit.log");
    start_api_server(nursery, authority, admin, &client, &api, &audit_log).await?;
    Ok(Control { url: api.https(), audit_log, ports: vec![client, peer, api] })
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

async fn start_api_server(
    nursery: &mut Nursery,
    authority: &Authority,
    admin: &Identity,
    etcd: &Port,
    port: &Port,
    audit_log: &std::path::Path,
) -> Result<()> {
    let names = ["127.0.0.1", "localhost", "10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let serving = authority.server("kube-apiserver", &names)?;
    let tokens = rcgen::KeyPair::generate().context("cannot make a key for ServiceAccount tokens")?;
    let authority_file = nursery.write("ca.crt", authority.certificate())?;
    let audit_policy = nursery.write("audit-policy.yaml", AUDIT_POLICY)?;
    let flag = |name: &str, path: &std::path::Path| format!("--{name}={}", path.display());
    let mut command = Command::new(Component::KubeApiserver.path().await?);
    command
        .arg(format!("--etcd-servers=http://{}", etcd.address()))
        .args(["--bind-address=127.0.0.1", &format!("--advertise-address={ADVERTISED}")])
        .args([&format!("--secure-port={}", port.number()), "--service-cluster-ip-range=10.96.0.0/16"])
        .arg(flag("tls-cert-file", &nursery.write("apiserver.crt", &serving.certificate)?))
        .arg(flag("tls-private-key-file", &nursery.write("apiserver.key", serving.key.expose_secret())?))
        .arg(flag("client-ca-file", &authority_file))
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .arg(flag("service-account-key-file", &nursery.write("tokens.pub", tokens.public_key_pem())?))
        .arg(flag("service-account-signing-key-file", &nursery.write("tokens.key", tokens.serialize_pem())?))
        .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"])
        .args(["--allow-privileged", "--profiling=false"])
        .arg(flag("cert-dir", &nursery.subdirectory("apiserver")?))
        .arg(flag("audit-policy-file", &audit_policy))
        .arg(flag("audit-log-path", audit_log))
        // Written before the answer is sent, and never rotated: a count must see every call.
        .args(["--audit-log-mode=blocking-strict", "--audit-log-maxsize=100000"]);
    let client = probe(&port.https(), authority, admin)?;
    nursery
        .spawn("kube-apiserver", &mut command)?
        .until_ready(PATIENCE, async || is_ready(&client).await.then_some(()))
        .await
}

/// A client that tells the truth at once instead of trying again.
fn probe(url: &str, authority: &Authority, admin: &Identity) -> Result<Client> {
    let mut config: Config = super::access::config(url, authority, admin)?;
    config.default_retry = false;
    Client::try_from(config).context("cannot make a client for the API server")
}

async fn is_ready(client: &Client) -> bool {
    match http::Request::get("/readyz").body(Vec::new()) {
        Ok(request) => client.request_text(request).await.is_ok(),
        Err(_) => false,
    }
}
