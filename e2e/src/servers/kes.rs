//! KES, the key server of MinIO. In: an authority. Out: a server that knows three callers: MinIO, the operator, and us.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::certificates::Authority;
use crate::components::Component;
use crate::nursery::Nursery;
use crate::ports::Port;

/// The key that MinIO uses where nobody names one. It serves no tenant.
pub(super) const DEFAULT_KEY: &str = "store-default";

/// The folder with its keys, each in a file of its name.
const KEYS: &str = "keys";

/// A running KES.
pub struct Kes {
    admin: Caller,
    minio: Caller,
    operator: Caller,
    /// Certificate and key of whoever calls in the operator's place.
    stand_in: String,
    nursery: Nursery,
    port: Port,
}

/// A key that was taken away, to be given back. Whoever has it can read what lies under it.
pub struct TakenKey {
    name: String,
    content: Vec<u8>,
}

/// A caller as KES knows it: by the hash of its key.
struct Caller {
    api_key: SecretString,
    identity: String,
}

impl Kes {
    /// Starts, at this address of the host, a server with an empty store, except for MinIO's default key.
    pub async fn start(authority: &Authority, host: &str) -> Result<Self> {
        let nursery = Nursery::new("kes")?;
        let port = Port::reserve_at(host)?;
        let (admin, minio, operator) = (new_caller().await?, new_caller().await?, new_caller().await?);
        let serving = authority.server("kes", &[host, "localhost"])?;
        nursery.write("ca.crt", authority.certificate())?;
        let (stand_in, stand_in_identity) = stand_in(&nursery).await?;
        let configuration = json!({
            "version": "v1",
            "address": port.address(),
            "admin": { "identity": admin.identity },
            "tls": {
                "cert": nursery.write("server.crt", &serving.certificate)?,
                "key": nursery.write("server.key", serving.key.expose_secret())?,
            },
            "policy": {
                "minio": {
                    "allow": [
                        "/v1/key/create/*",
                        "/v1/key/describe/*",
                        "/v1/key/generate/*",
                        "/v1/key/decrypt/*",
                        "/v1/key/bulk/decrypt/*",
                        "/v1/key/list/*",
                    ],
                    "identities": [minio.identity],
                },
                // The operator makes keys and looks at them; it neither uses nor deletes one.
                "steading": {
                    "allow": ["/v1/key/create/*", "/v1/key/describe/*", "/v1/key/list/*"],
                    "identities": [operator.identity, stand_in_identity],
                },
            },
            "keys": [{ "name": DEFAULT_KEY }],
            "keystore": { "fs": { "path": nursery.subdirectory(KEYS)? } },
            // A deleted key must stop working at once in tests, so nothing is kept for long.
            "cache": { "expiry": { "any": "1s", "unused": "1s", "offline": "0s" } },
        });
        // JSON is YAML, which is what KES reads.
        nursery.write("kes.yaml", configuration.to_string())?;
        let mut kes = Self { admin, minio, operator, stand_in, nursery, port };
        kes.run().await?;
        Ok(kes)
    }

    /// Its address, such as `https://127.0.0.1:20456`.
    pub fn endpoint(&self) -> String {
        self.port.https()
    }

    /// The API key of the operator, which may create, describe and list keys.
    pub fn operator_key(&self) -> &SecretString {
        &self.operator.api_key
    }

    /// Certificate and key in PEM of a caller with the rights of the operator: for a wire, which cannot show the operator's own.
    pub fn stand_in(&self) -> &str {
        &self.stand_in
    }

    /// The API key of MinIO.
    pub(super) fn minio_key(&self) -> &SecretString {
        &self.minio.api_key
    }

    /// Runs KES's own command line against this server as its administrator and returns what it prints; for example
    /// `["key", "rm", "s-demo-…"]` destroys a key.
    pub async fn run_as_admin(&self, arguments: &[&str]) -> Result<String> {
        self.run_as(&self.admin.api_key, arguments).await
    }

    /// The same with another caller's API key.
    pub async fn run_as(&self, api_key: &SecretString, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(Component::Kes.path().await?);
        command
            .args(arguments)
            .env("KES_SERVER", self.endpoint())
            .env("KES_API_KEY", api_key.expose_secret())
            .env("SSL_CERT_FILE", self.nursery.directory().join("ca.crt"))
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await?.context("cannot run kes")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            bail!("`kes {}` failed: {} {}", arguments.join(" "), text(&output.stderr), text(&output.stdout));
        }
        Ok(text(&output.stdout))
    }

    /// Takes a key away, as if it had been lost: from now on nobody reads or writes what lies under it.
    pub async fn take_away(&self, name: &str) -> Result<TakenKey> {
        let content = std::fs::read(self.file_of(name)).with_context(|| format!("KES keeps no key {name}"))?;
        // By its own command, so that it forgets what it remembers too.
        self.run_as_admin(&["key", "rm", name]).await?;
        Ok(TakenKey { name: name.to_owned(), content })
    }

    /// Gives it back, byte for byte. Fails if there is another key of its name by now.
    pub fn give_back(&self, key: &TakenKey) -> Result<()> {
        let TakenKey { name, content } = key;
        let file = std::fs::File::create_new(self.file_of(name));
        file.and_then(|mut file| file.write_all(content)).with_context(|| format!("key {name} cannot be given back"))
    }

    fn file_of(&self, name: &str) -> PathBuf {
        self.nursery.directory().join(KEYS).join(name)
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        self.nursery.directory()
    }

    /// The ids of its processes.
    pub fn process_ids(&self) -> Vec<u32> {
        self.nursery.process_ids()
    }

    /// Kills the server; its keys stay on disk. For tests of an outage.
    pub fn interrupt(&mut self) -> Result<()> {
        self.nursery.kill("kes")
    }

    /// Starts it again on the same address with the same keys.
    pub async fn resume(&mut self) -> Result<()> {
        self.run().await
    }

    async fn run(&mut self) -> Result<()> {
        let mut command = Command::new(Component::Kes.path().await?);
        command.arg("server").arg("--config").arg(self.nursery.directory().join("kes.yaml"));
        let address = self.port.address();
        self.nursery
            .spawn("kes", &mut command)?
            .until_ready(Duration::from_mins(1), async || tokio::net::TcpStream::connect(&address).await.ok())
            .await?;
        Ok(())
    }
}

/// A client certificate with its key, and the identity that KES sees in it.
async fn stand_in(nursery: &Nursery) -> Result<(String, String)> {
    let key = rcgen::KeyPair::generate().context("cannot make a key")?;
    let certificate = rcgen::CertificateParams::default().self_signed(&key).context("cannot make a certificate")?;
    let file = nursery.write("stand-in.crt", certificate.pem())?;
    let mut command = Command::new(Component::Kes.path().await?);
    command.args(["identity", "of"]).arg(file).stdin(Stdio::null());
    let output =
        tokio::task::spawn_blocking(move || command.output()).await?.context("cannot run `kes identity of`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let identity = identity_in(&text).context("`kes identity of` printed no identity")?;
    Ok((certificate.pem() + &key.serialize_pem(), identity))
}

/// The identity in what KES prints.
fn identity_in(text: &str) -> Option<String> {
    let is_identity = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split_whitespace().find(is_identity).map(str::to_owned)
}

/// Makes an API key and the identity that goes with it, by KES's own command.
async fn new_caller() -> Result<Caller> {
    let mut command = Command::new(Component::Kes.path().await?);
    command.args(["identity", "new"]).stdin(Stdio::null());
    let output =
        tokio::task::spawn_blocking(move || command.output()).await?.context("cannot run `kes identity new`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let api_key = text.split_whitespace().find(|word| word.starts_with("kes:v1:"));
    let api_key = api_key.context("`kes identity new` printed no API key")?.into();
    let identity = identity_in(&text).context("`kes identity new` printed no identity")?;
    Ok(Caller { api_key, identity })
}
