//! OpenFGA, the authorization server. In: an authority. Out: a server with TLS and two preshared keys: the operator's, and that of whoever
//! stands for an application; or one with access control, to which everybody signs in with a token of their own. Its store is a file, so it
//! can be stopped and started again with what it knows.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::openbao::OpenBao;
use super::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, https_client};
use crate::certificates::Authority;
use crate::components::Component;
use crate::nursery::Nursery;
use crate::ports::Port;

/// The model of access control, as users get it.
const ACCESS_CONTROL: &str = include_str!("../../../examples/openfga/access-control.json");

/// Who may call a server.
enum Callers {
    /// Whoever has one of its preshared keys.
    Keys,
    /// Everybody who reaches it: only while access control is set up.
    Everybody,
    /// Those whose tokens are of this issuer, for what this store says by this model.
    Known { issuer: String, store: String, model: String },
}

/// A running OpenFGA.
pub struct OpenFga {
    callers: Callers,
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
        let mut openfga = Self::prepared(authority, host, Callers::Keys).await?;
        openfga.run().await?;
        Ok(openfga)
    }

    /// Starts, at this address of the host, a server with access control, which trusts the identities that `openbao` issues. The operator
    /// administers it.
    pub async fn start_with_access_control(authority: &Authority, host: &str, openbao: &OpenBao) -> Result<Self> {
        let mut openfga = Self::prepared(authority, host, Callers::Everybody).await?;
        openfga.run().await?;
        let id = |answer: &Value, name: &str| {
            answer.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {name}: {answer}"))
        };
        let made = openfga.call(Method::POST, "", Some(&json!({ "name": "access-control" }))).await?;
        let store = id(&made, "id")?;
        let model = serde_json::from_str(ACCESS_CONTROL)?;
        let written = openfga.call(Method::POST, &format!("/{store}/authorization-models"), Some(&model)).await?;
        let operator = format!("application:{OPERATOR_NAMESPACE}/{OPERATOR_ACCOUNT}");
        let admin = json!({ "user": operator, "relation": "admin", "object": "system:fga" });
        let body = json!({ "writes": { "tuple_keys": [admin] } });
        openfga.call(Method::POST, &format!("/{store}/write"), Some(&body)).await?;
        openfga.interrupt()?;
        let model = id(&written, "authorization_model_id")?;
        openfga.callers = Callers::Known { issuer: openbao.issuer(), store, model };
        openfga.run().await?;
        Ok(openfga)
    }

    async fn prepared(authority: &Authority, host: &str, callers: Callers) -> Result<Self> {
        let nursery = Nursery::new("openfga")?;
        let serving = authority.server("openfga", &[host, "localhost"])?;
        nursery.write("server.crt", &serving.certificate)?;
        nursery.write("server.key", serving.key.expose_secret())?;
        nursery.write("authority.crt", authority.certificate())?;
        let key = || SecretString::from(uuid::Uuid::new_v4().simple().to_string());
        let openfga = Self {
            callers,
            client: https_client(authority.certificate())?,
            operator: key(),
            application: key(),
            http: Port::reserve_at(host)?,
            grpc: Port::reserve()?,
            nursery,
        };
        openfga.migrate().await?;
        Ok(openfga)
    }

    /// Its access control store, if it has one.
    pub fn access_control(&self) -> Option<&str> {
        match &self.callers {
            Callers::Known { store, .. } => Some(store),
            Callers::Keys | Callers::Everybody => None,
        }
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
        let (status, answer) = self.call_as(&self.application, method, path, body).await?;
        if !status.is_success() {
            bail!("OpenFGA answered {path} with {status}: {answer}");
        }
        Ok(answer)
    }

    /// The same as the holder of a token, whatever comes of it. The answer is null if there is none.
    pub async fn call_as(
        &self,
        token: &SecretString,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let url = format!("{}/stores{path}", self.endpoint());
        let mut request = self.client.request(method, &url).bearer_auth(token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("cannot reach {url}"))?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok((status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? }))
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
        let mut command = self.command("run").await?;
        command
            .env("OPENFGA_HTTP_ADDR", self.http.address())
            .env("OPENFGA_HTTP_TLS_ENABLED", "true")
            .env("OPENFGA_HTTP_TLS_CERT", directory.join("server.crt"))
            .env("OPENFGA_HTTP_TLS_KEY", directory.join("server.key"))
            .env("OPENFGA_GRPC_ADDR", self.grpc.address())
            .env("OPENFGA_PLAYGROUND_ENABLED", "false")
            .env("OPENFGA_METRICS_ENABLED", "false")
            .env("OPENFGA_LOG_LEVEL", "warn")
            // Its socket lies below it.
            .env("TMPDIR", directory);
        self.admit(&mut command);
        let (client, url) = (self.client.clone(), format!("{}/healthz", self.endpoint()));
        self.nursery
            .spawn("openfga", &mut command)?
            .until_ready(Duration::from_mins(1), async || {
                let answer = client.get(&url).send().await;
                answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
            })
            .await
    }

    /// Tells the server who may call it.
    fn admit(&self, command: &mut Command) {
        match &self.callers {
            Callers::Everybody => command.env("OPENFGA_AUTHN_METHOD", "none"),
            Callers::Keys => {
                let keys = [&self.operator, &self.application].map(secrecy::ExposeSecret::expose_secret).join(",");
                command.env("OPENFGA_AUTHN_METHOD", "preshared").env("OPENFGA_AUTHN_PRESHARED_KEYS", keys)
            }
            Callers::Known { issuer, store, model } => command
                // Each call is two for it, and a refusal is what it answers when the first takes too long.
                .env("OPENFGA_REQUEST_TIMEOUT", "25s")
                .env("OPENFGA_LIST_OBJECTS_DEADLINE", "20s")
                // As with more tenants than it lists.
                .env("OPENFGA_LIST_OBJECTS_MAX_RESULTS", "1")
                .env("SSL_CERT_FILE", self.nursery.directory().join("authority.crt"))
                .env("OPENFGA_AUTHN_METHOD", "oidc")
                .env("OPENFGA_AUTHN_OIDC_ISSUER", issuer)
                .env("OPENFGA_AUTHN_OIDC_AUDIENCE", "openfga")
                .env("OPENFGA_AUTHN_OIDC_CLIENT_ID_CLAIMS", "azp")
                .env("OPENFGA_EXPERIMENTALS", "enable-access-control")
                .env("OPENFGA_ACCESS_CONTROL_ENABLED", "true")
                .env("OPENFGA_ACCESS_CONTROL_STORE_ID", store)
                .env("OPENFGA_ACCESS_CONTROL_MODEL_ID", model),
        };
    }
}
