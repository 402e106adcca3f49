//! OpenFGA, the authorization server. In: an authority. Out: a server with TLS and two preshared keys: the operator's, and that of whoever
//! stands for an application. Its store is a file, so it can be stopped and started again with what it knows.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, Method};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::https_client;
use crate::certificates::Authority;
use crate::components::Component;
use crate::nursery::Nursery;
use crate::ports::Port;

/// A running OpenFGA.
pub struct OpenFga {
    client: Client,
    operator: SecretString,
    application: SecretString,
    nursery: Nursery,
    http: Port,
    /// Not spoken to; the server cannot do without.
    grpc: Port,
}

impl OpenFga {
    /// Starts, at this address of the host, a server without stores.
    pub async fn start(authority: &Authority, host: &str) -> Result<Self> {
        let nursery = Nursery::new("openfga")?;
        let serving = authority.server("openfga", &[host, "localhost"])?;
        nursery.write("server.crt", &serving.certificate)?;
        nursery.write("server.key", serving.key.expose_secret())?;
        let key = || SecretString::from(uuid::Uuid::new_v4().simple().to_string());
        let mut openfga = Self {
            client: https_client(authority.certificate())?,
            operator: key(),
            application: key(),
            http: Port::reserve_at(host)?,
            grpc: Port::reserve()?,
            nursery,
        };
        openfga.migrate().await?;
        openfga.run().await?;
        Ok(openfga)
    }

    /// Its address, such as `https://127.0.0.1:20456`.
    pub fn endpoint(&self) -> String {
        self.http.https()
    }

    /// The preshared key of the operator.
    pub fn operator_key(&self) -> &SecretString {
        &self.operator
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        self.nursery.directory()
    }

    /// The ids of its processes.
    pub fn process_ids(&self) -> Vec<u32> {
        self.nursery.process_ids()
    }

    /// Kills the server; what it knows stays. For tests of an outage.
    pub fn interrupt(&mut self) -> Result<()> {
        self.nursery.kill("openfga")
    }

    /// Starts it again on the same address.
    pub async fn resume(&mut self) -> Result<()> {
        self.run().await
    }

    /// Calls it as an application does: `path` begins behind `/stores`.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}/stores{path}", self.endpoint());
        let mut request = self.client.request(method, &url).bearer_auth(self.application.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("cannot reach {url}"))?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("OpenFGA answered {path} with {status}: {text}");
        }
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// Whether somebody stands in this relation to `object`, as an application asks that knows the groups from a token.
    pub async fn check(
        &self,
        store: &str,
        (user, groups): (&str, &[&str]),
        relation: &str,
        object: &str,
    ) -> Result<bool> {
        let of_group = |group: &&str| json!({ "user": user, "relation": "member", "object": format!("group:{group}") });
        let body = json!({
            "tuple_key": { "user": user, "relation": relation, "object": object },
            "contextual_tuples": { "tuple_keys": groups.iter().map(of_group).collect::<Vec<_>>() },
        });
        let answer = self.call(Method::POST, &format!("/{store}/check"), Some(&body)).await?;
        answer.get("allowed").and_then(Value::as_bool).with_context(|| format!("no verdict: {answer}"))
    }

    /// What server and migration share: the place of the data.
    async fn command(&self, action: &str) -> Result<Command> {
        let mut command = Command::new(Component::OpenFga.path().await?);
        command
            .arg(action)
            .env("OPENFGA_DATASTORE_ENGINE", "sqlite")
            .env("OPENFGA_DATASTORE_URI", format!("file:{}", self.nursery.directory().join("data.db").display()))
            .stdin(Stdio::null());
        Ok(command)
    }

    async fn migrate(&self) -> Result<()> {
        let mut command = self.command("migrate").await?;
        let output = tokio::task::spawn_blocking(move || command.output()).await?.context("cannot run openfga")?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`openfga migrate` failed: {text}");
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let directory = self.nursery.directory();
        let keys = [&self.operator, &self.application].map(secrecy::ExposeSecret::expose_secret).join(",");
        let mut command = self.command("run").await?;
        command
            .env("OPENFGA_HTTP_ADDR", self.http.address())
            .env("OPENFGA_HTTP_TLS_ENABLED", "true")
            .env("OPENFGA_HTTP_TLS_CERT", directory.join("server.crt"))
            .env("OPENFGA_HTTP_TLS_KEY", directory.join("server.key"))
            .env("OPENFGA_GRPC_ADDR", self.grpc.address())
            .env("OPENFGA_AUTHN_METHOD", "preshared")
            .env("OPENFGA_AUTHN_PRESHARED_KEYS", keys)
            .env("OPENFGA_PLAYGROUND_ENABLED", "false")
            .env("OPENFGA_METRICS_ENABLED", "false")
            .env("OPENFGA_LOG_LEVEL", "warn")
            // Its socket lies below it.
            .env("TMPDIR", directory);
        let (client, url) = (self.client.clone(), format!("{}/healthz", self.endpoint()));
        self.nursery
            .spawn("openfga", &mut command)?
            .until_ready(Duration::from_mins(1), async || {
                let answer = client.get(&url).send().await;
                answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
            })
            .await
    }
}
