//! The relay: NATS with its doorkeeper before it. In: a plane. Out: NATS as a process, and the doorkeeper within this one, with the rights of
//! its own ServiceAccount and no others; and whoever wants in.

mod caller;
mod doorkeeper;
mod raw;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use api::names::Identity;
use relay::jwt::{Claims, sign};
use relay::limits::Limits;
use relay::rights::Notary;
use relay::root::{Owner, Root};
use relay::server_config::{self, Server};
use serde_json::{Value, json};

use crate::components::Component;
use crate::nursery::Nursery;
use crate::plane::{self, Plane};
use crate::ports::Port;
use crate::servers::OPERATOR_NAMESPACE;
use doorkeeper::Doorkeeper;

pub use caller::{Caller, next};
pub use doorkeeper::log;
pub use raw::Raw;

/// So much each tenant may use; less than usual, so that a test gets to the end of it.
pub const CONNECTIONS: u32 = 12;
/// Subscriptions of a connection.
pub const SUBSCRIPTIONS: u32 = 40;
const LIMITS: Limits = Limits {
    connections: CONNECTIONS,
    subscriptions: SUBSCRIPTIONS,
    events: 128 << 20,
    age: Duration::from_hours(72),
    copies: 1,
};
/// Where the doorkeeper of the harness is a ServiceAccount.
pub const NAMESPACE: &str = "steading-relay";
const ACCOUNT: &str = "steading-relay";

/// Where a server of NATS is.
struct Ports {
    clients: Port,
    monitor: Port,
    peers: Port,
}

impl Ports {
    fn reserve(host: &str) -> Result<Self> {
        let port = || Port::reserve_at(host);
        Ok(Self { clients: port()?, monitor: port()?, peers: port()? })
    }
}

/// NATS and who lets in.
pub struct Relay {
    servers: Vec<Ports>,
    http: Port,
    authority: PathBuf,
    root: Root,
    /// As whom the doorkeeper asks.
    config: kube::Config,
    doorkeeper: Mutex<Option<Doorkeeper>>,
    // Processes end with it.
    nursery: Mutex<Nursery>,
}

impl Relay {
    /// Starts both for this plane, on which the doorkeeper's ServiceAccount and its rights must be.
    pub async fn start(plane: &Plane) -> Result<Self> {
        Self::start_several(plane, 1).await
    }

    /// The same with so many servers of NATS.
    pub async fn start_several(plane: &Plane, servers: usize) -> Result<Self> {
        let nursery = Nursery::new("relay")?;
        let served = plane.authority().peer("relay", &[plane.host(), "localhost"])?;
        nursery.write("tls.crt", &served.certificate)?;
        nursery.write("tls.key", secrecy::ExposeSecret::expose_secret(&served.key))?;
        let authority = nursery.write("ca.crt", plane.authority().certificate())?;
        let secret = uuid::Uuid::new_v4().simple().to_string().repeat(2);
        nursery.write("secret", &secret)?;
        let token = plane.token_for(NAMESPACE, ACCOUNT, &[], 24 * 3600).await?;
        let config = plane.config(&plane::Identity::Token(token))?;
        let host = plane.host();
        let relay = Self {
            servers: (0..servers).map(|_| Ports::reserve(host)).collect::<Result<_>>()?,
            http: Port::reserve_at(host)?,
            authority,
            root: Root::parse(secret.as_bytes())?,
            config,
            doorkeeper: Mutex::default(),
            nursery: Mutex::new(nursery),
        };
        relay.start_nats().await?;
        relay.start_doorkeeper().await?;
        Ok(relay)
    }

    fn directory(&self) -> Result<PathBuf> {
        Ok(self.locked()?.directory().to_owned())
    }

    fn locked(&self) -> Result<std::sync::MutexGuard<'_, Nursery>> {
        self.nursery.lock().ok().context("a test panicked while it held the relay's processes")
    }

    /// Starts the servers, again too: they then have what they had.
    pub async fn start_nats(&self) -> Result<()> {
        for number in 0..self.servers.len() {
            self.spawn_nats(number).await?;
        }
        for ports in &self.servers {
            let url = format!("http://{}/healthz", ports.monitor.address());
            self.until_ready("NATS", &url).await.with_context(|| self.log().unwrap_or_default())?;
        }
        Ok(())
    }

    async fn spawn_nats(&self, number: usize) -> Result<()> {
        let ports = self.servers.get(number).context("there is no such server")?;
        let directory = self.directory()?;
        let path = |name: &str| directory.join(name);
        let peers = || self.servers.iter().map(|ports| ports.peers.address()).collect();
        let server = Server {
            name: nats(number),
            listen: ports.clients.address(),
            monitor: ports.monitor.address(),
            tls_certificate: path("tls.crt"),
            tls_key: path("tls.key"),
            data: path("data").join(nats(number)),
            storage: 8 << 30,
            connections: 1000,
            peers: if self.servers.len() == 1 { vec![] } else { peers() },
            peer_listen: ports.peers.address(),
            peer_authority: Some(self.authority.clone()),
        };
        let notary = Notary::new(Root::read(&path("secret"))?, LIMITS);
        let written = server_config::write(&server, &notary, now()?)?;
        let config = self.locked()?.write(&format!("{}.conf", nats(number)), written)?;
        let mut command = Command::new(Component::Nats.path().await?);
        command.arg("--config").arg(config);
        self.locked()?.spawn(&nats(number), &mut command).map(drop)
    }

    /// Starts who lets in, again too.
    pub async fn start_doorkeeper(&self) -> Result<()> {
        let settings = [
            "steading-relay".to_owned(),
            "serve".to_owned(),
            format!("--secret={}", self.directory()?.join("secret").display()),
            format!("--servers={}", self.addresses().join(",")),
            format!("--events-copies={}", self.servers.len()),
            format!("--authority={}", self.authority.display()),
            format!("--http={}", self.http.address()),
            format!("--tenant-connections={CONNECTIONS}"),
            format!("--tenant-subscriptions={SUBSCRIPTIONS}"),
            format!("--events-bytes={}", LIMITS.events),
        ];
        let doorkeeper = Doorkeeper::start(settings.into(), self.config.clone())?;
        *self.doorkeeper.lock().ok().context("a test panicked while it held the doorkeeper")? = Some(doorkeeper);
        let url = format!("http://{}/readyz", self.http.address());
        self.until_ready("the doorkeeper", &url).await.with_context(log)
    }

    /// Ends who lets in.
    pub fn stop_doorkeeper(&self) -> Result<()> {
        let doorkeeper = self.doorkeeper.lock().ok().context("a test panicked while it held the doorkeeper")?.take();
        doorkeeper.context("nobody keeps the door")?.stop()
    }

    /// Kills one server.
    pub fn kill_nats(&self, number: usize) -> Result<()> {
        self.locked()?.kill(&nats(number))
    }

    async fn until_ready(&self, name: &str, url: &str) -> Result<()> {
        crate::certificates::install_tls_provider();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).tls_certs_only([]).build()?;
        let ready = async || Ok(client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()));
        crate::wait::until(&format!("{name} is ready"), Duration::from_mins(1), ready).await
    }

    /// Where the servers are, such as `tls://127.0.0.1:20001`.
    pub fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(|ports| format!("tls://{}", ports.clients.address())).collect()
    }

    /// Where the first one is, without what is spoken there.
    pub fn socket(&self) -> String {
        self.servers.first().map(|ports| ports.clients.address()).unwrap_or_default()
    }

    /// The certificates that clients trust.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Removes everything that NATS kept: accounts and events.
    pub fn forget(&self) -> Result<()> {
        std::fs::remove_dir_all(self.directory()?.join("data")).context("cannot remove what NATS kept")
    }

    /// What NATS calls somebody.
    pub fn called(&self, owner: Owner) -> Result<relay::nkey::PublicKey> {
        Ok(self.root.key(owner)?.public())
    }

    /// What the servers wrote.
    pub fn log(&self) -> Result<String> {
        let directory = self.directory()?;
        let read = |number| std::fs::read_to_string(directory.join(format!("{}.log", nats(number))));
        Ok((0..self.servers.len()).map(read).collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Asks the doorkeeper for its metrics.
    pub async fn metrics(&self) -> Result<String> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).tls_certs_only([]).build()?;
        Ok(client.get(format!("http://{}/metrics", self.http.address())).send().await?.text().await?)
    }

    /// Somebody who drives agents of a tenant: may do everything in its account.
    pub async fn driver(&self, tenant: Identity) -> Result<Caller> {
        let all = json!({ "allow": [">"] });
        self.user(Owner::TenantAccount(tenant), all.clone(), all).await
    }

    /// Somebody in an account with these rights, whom whoever has the secret lets in.
    pub async fn user(&self, account: Owner, says: Value, hears: Value) -> Result<Caller> {
        let now = now()?;
        let nats = json!({
            "pub": says, "sub": hears, "subs": -1, "data": -1, "payload": -1, "bearer_token": true,
            "type": "user", "version": 2,
        });
        // Any user's key will do, and the secret makes some.
        let sub = self.root.key(Owner::Keeper)?.public().to_string();
        let claims = Claims { aud: None, exp: Some(now + 3600), name: "test".to_owned(), sub, nats };
        let jwt = sign(&claims, &self.root.key(account)?, now).context("no JWT")?;
        Caller::with_jwt(self, jwt).await
    }
}

/// What a server is called.
fn nats(number: usize) -> String {
    format!("nats-{number}")
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
}

/// What the doorkeeper's ServiceAccount needs to be there, as the chart has it.
pub fn doorkeeper_account() -> Result<Vec<kube::api::DynamicObject>> {
    let rules = json!([
        { "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"] },
        { "apiGroups": ["steading.dev"], "resources": ["tenants"], "verbs": ["get"] },
    ]);
    let objects = [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT, "namespace": NAMESPACE } }),
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": ACCOUNT }, "rules": rules }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": ACCOUNT },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT },
            "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE }],
        }),
    ];
    objects.into_iter().map(|object| Ok(serde_json::from_value(object)?)).collect()
}

/// The Service of the relay, as the chart has it.
pub const SERVICE: &str = "steading-relay";

/// Makes the Service as if the chart had installed the relay, for operators that only have to know where it is.
pub async fn point_out(client: &kube::Client) -> Result<()> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": SERVICE, "namespace": OPERATOR_NAMESPACE },
        "spec": { "ports": [{ "name": "nats", "port": 4222 }] },
    });
    crate::manifests::apply(client, &serde_json::from_value(service)?).await
}

/// Puts it onto a plane.
pub async fn admit_doorkeeper(plane: &Plane) -> Result<()> {
    let client = plane.admin()?;
    for object in doorkeeper_account()? {
        crate::manifests::apply(&client, &object).await?;
    }
    Ok(())
}
