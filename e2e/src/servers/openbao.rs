//! OpenBao with a transit engine. In: a plane whose ServiceAccount tokens it shall take. Out: a server that holds keys.
//!
//! It is an ordinary unsealed server with TLS and a store on disk, not the development mode, so it can be stopped and
//! started again with its keys. To check tokens it calls the plane's `TokenReview` as a ServiceAccount of its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::Api;
use kube::api::{DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::core::ApiResource;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::{MANAGER, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, ensure_namespace, https_client};
use crate::components::Component;
use crate::nursery::Nursery;
use crate::plane::Plane;
use crate::ports::Port;

mod identities;

pub(super) use identities::OPENFGA;

/// Mount of the transit engine.
pub(super) const TRANSIT_MOUNT: &str = "transit";

/// Mount of the Kubernetes auth method.
pub(super) const AUTH_MOUNT: &str = "kubernetes";

/// Role that the operator signs in to.
pub(super) const OPERATOR_ROLE: &str = "steading";

/// Audience that a token must have.
pub(super) const AUDIENCE: &str = "openbao";

/// Where the token reviewer lives.
const REVIEWER_NAMESPACE: &str = "openbao";

/// The ServiceAccount as which OpenBao asks the API server about tokens.
const REVIEWER_ACCOUNT: &str = "token-reviewer";

/// How long the reviewer's token lives: longer than any cluster by hand is left running.
const REVIEWER_SECONDS: i64 = 365 * 24 * 3600;

/// What the operator may do: make, read and rotate keys, and put them out of use so that it can be undone. It may
/// neither delete a key nor allow its deletion, and it may not use one: it never needs a tenant's data.
const OPERATOR_POLICY: &str = r#"
path "transit/keys/+" { capabilities = ["create", "update", "read"] }
path "transit/keys/+/config" {
  capabilities = ["create", "update"]
  denied_parameters = { "deletion_allowed" = [true, "true", 1, "1"] }
}
path "transit/keys/+/rotate" { capabilities = ["create", "update"] }
path "transit/keys/+/soft-delete" { capabilities = ["delete"] }
path "transit/keys/+/soft-delete-restore" { capabilities = ["create", "update"] }
"#;

/// A running OpenBao.
pub struct OpenBao {
    client: Client,
    root_token: SecretString,
    unseal_key: SecretString,
    nursery: Nursery,
    port: Port,
}

impl OpenBao {
    /// Starts and initialises a server, and lets the operator of `plane` in.
    pub async fn start(plane: &Plane) -> Result<Self> {
        let mut nursery = Nursery::new("openbao")?;
        let port = Port::reserve_at(plane.host())?;
        let client = https_client(plane.authority().certificate())?;
        write_configuration(&nursery, &port, plane)?;
        run(&mut nursery, &client, &port).await?;
        let address = port.https();
        let request = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let answer = call(&client, &address, Method::PUT, "sys/init", None, Some(&request)).await?;
        let mut openbao = Self {
            client,
            root_token: secret_at(&answer, "/root_token")?,
            unseal_key: secret_at(&answer, "/keys_base64/0")?,
            nursery,
            port,
        };
        openbao.unseal().await?;
        openbao.configure(plane).await?;
        Ok(openbao)
    }

    /// Its address, such as `https://127.0.0.1:20345`.
    pub fn address(&self) -> String {
        self.port.https()
    }

    /// Reads `path` (without `v1/`) as root; `None` if there is nothing.
    pub async fn read(&self, path: &str) -> Result<Option<Value>> {
        let (status, body) = self.send(Method::GET, path, &self.root_token, None).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(body)),
            status => bail!("reading {path} at OpenBao was answered with {status}: {body}"),
        }
    }

    /// Writes `body` to `path` (without `v1/`) as root and returns the answer.
    pub async fn write(&self, path: &str, body: &Value) -> Result<Value> {
        call(&self.client, &self.address(), Method::POST, path, Some(&self.root_token), Some(body)).await
    }

    /// Calls `path` with any token; for tests of what a token may not do. The body is null if there is none.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        send(&self.client, &self.address(), method, path, Some(token), body).await
    }

    /// Signs in to the operator's role with a ServiceAccount token; the answer is OpenBao's token or its refusal.
    pub async fn sign_in(&self, service_account_token: &SecretString) -> Result<SecretString> {
        let body = json!({ "role": OPERATOR_ROLE, "jwt": service_account_token.expose_secret() });
        let path = format!("auth/{AUTH_MOUNT}/login");
        let answer = call(&self.client, &self.address(), Method::POST, &path, None, Some(&body)).await?;
        secret_at(&answer, "/auth/client_token")
    }

    /// The audience that tokens for [`OpenBao::sign_in`] must have.
    pub fn audience(&self) -> &'static str {
        AUDIENCE
    }

    /// A token that may do everything.
    pub fn root_token(&self) -> &SecretString {
        &self.root_token
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
        self.nursery.kill("openbao")
    }

    /// Starts it again on the same address with the same keys.
    pub async fn resume(&mut self) -> Result<()> {
        run(&mut self.nursery, &self.client, &self.port).await?;
        self.unseal().await
    }

    async fn unseal(&mut self) -> Result<()> {
        let body = json!({ "key": self.unseal_key.expose_secret() });
        let address = self.address();
        call(&self.client, &address, Method::PUT, "sys/unseal", None, Some(&body)).await?;
        wait_for(&mut self.nursery, &self.client, &address, |status| status == StatusCode::OK).await
    }

    async fn configure(&self, plane: &Plane) -> Result<()> {
        make_reviewer(plane).await?;
        let reviewer = plane.token_for(REVIEWER_NAMESPACE, REVIEWER_ACCOUNT, &[], REVIEWER_SECONDS).await?;
        self.write(&format!("sys/mounts/{TRANSIT_MOUNT}"), &json!({ "type": "transit" })).await?;
        self.write(&format!("sys/auth/{AUTH_MOUNT}"), &json!({ "type": "kubernetes" })).await?;
        let configuration = json!({
            "kubernetes_host": plane.url(),
            "kubernetes_ca_cert": plane.authority().certificate(),
            "token_reviewer_jwt": reviewer.expose_secret(),
            "disable_local_ca_jwt": true,
        });
        self.write(&format!("auth/{AUTH_MOUNT}/config"), &configuration).await?;
        let policy = json!({ "policy": OPERATOR_POLICY });
        self.write(&format!("sys/policies/acl/{OPERATOR_ROLE}"), &policy).await?;
        self.let_operator_in(&[OPERATOR_ROLE]).await
    }

    /// Lets the operator sign in with these policies. Its alias is its name, so that identity tokens can bear it.
    async fn let_operator_in(&self, policies: &[&str]) -> Result<()> {
        let role = json!({
            "bound_service_account_names": [OPERATOR_ACCOUNT],
            "bound_service_account_namespaces": [OPERATOR_NAMESPACE],
            "audience": AUDIENCE,
            "token_policies": policies,
            "alias_name_source": "serviceaccount_name",
            "token_no_default_policy": true,
            "token_ttl": "15m",
        });
        self.write(&format!("auth/{AUTH_MOUNT}/role/{OPERATOR_ROLE}"), &role).await?;
        Ok(())
    }
}

fn write_configuration(nursery: &Nursery, port: &Port, plane: &Plane) -> Result<()> {
    let serving = plane.authority().server("openbao", &[plane.host(), "localhost"])?;
    let configuration = json!({
        "storage": { "file": { "path": nursery.subdirectory("data")? } },
        "listener": { "tcp": {
            "address": port.address(),
            "tls_cert_file": nursery.write("server.crt", &serving.certificate)?,
            "tls_key_file": nursery.write("server.key", serving.key.expose_secret())?,
        }},
        "api_addr": port.https(),
        "ui": false,
    });
    nursery.write("openbao.json", configuration.to_string())?;
    Ok(())
}

/// Starts the process and waits until it answers at all; a new server answers that it is not initialised.
async fn run(nursery: &mut Nursery, client: &Client, port: &Port) -> Result<()> {
    let mut command = Command::new(Component::OpenBao.path().await?);
    command.arg("server").arg(format!("-config={}", nursery.directory().join("openbao.json").display()));
    nursery.spawn("openbao", &mut command)?;
    wait_for(nursery, client, &port.https(), |_| true).await
}

async fn wait_for(
    nursery: &mut Nursery,
    client: &Client,
    address: &str,
    is_wanted: impl Fn(StatusCode) -> bool,
) -> Result<()> {
    let process = nursery.process("openbao")?;
    process
        .until_ready(Duration::from_mins(1), async || {
            let answer = send(client, address, Method::GET, "sys/health", None, None).await;
            answer.is_ok_and(|(status, _)| is_wanted(status)).then_some(())
        })
        .await
}

/// Makes the ServiceAccount as which OpenBao asks whose a token is, with that right and no other.
async fn make_reviewer(plane: &Plane) -> Result<()> {
    ensure_namespace(plane, REVIEWER_NAMESPACE).await?;
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": REVIEWER_ACCOUNT, "namespace": REVIEWER_NAMESPACE },
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "openbao-token-reviewer" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator" },
        "subjects": [{ "kind": "ServiceAccount", "name": REVIEWER_ACCOUNT, "namespace": REVIEWER_NAMESPACE }],
    });
    let client = plane.admin()?;
    let accounts = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ServiceAccount"));
    let bindings =
        ApiResource::from_gvk(&GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"));
    let accounts: Api<DynamicObject> = Api::namespaced_with(client.clone(), REVIEWER_NAMESPACE, &accounts);
    let bindings: Api<DynamicObject> = Api::all_with(client, &bindings);
    let params = PatchParams::apply(MANAGER).force();
    accounts
        .patch(REVIEWER_ACCOUNT, &params, &Patch::Apply(account))
        .await
        .context("cannot make OpenBao's reviewer")?;
    bindings
        .patch("openbao-token-reviewer", &params, &Patch::Apply(binding))
        .await
        .context("cannot bind the reviewer")?;
    Ok(())
}

/// One call; an answer outside 2xx is an error that carries what OpenBao said.
async fn call(
    client: &Client,
    address: &str,
    method: Method,
    path: &str,
    token: Option<&SecretString>,
    body: Option<&Value>,
) -> Result<Value> {
    let (status, answer) = send(client, address, method, path, token, body).await?;
    if !status.is_success() {
        bail!("calling {path} at OpenBao was answered with {status}: {answer}");
    }
    Ok(answer)
}

async fn send(
    client: &Client,
    address: &str,
    method: Method,
    path: &str,
    token: Option<&SecretString>,
    body: Option<&Value>,
) -> Result<(StatusCode, Value)> {
    let mut request = client.request(method, format!("{address}/v1/{path}"));
    if let Some(token) = token {
        request = request.header("X-Vault-Token", token.expose_secret());
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.with_context(|| format!("cannot call {path} at OpenBao"))?;
    let status = answer.status();
    let text = answer.text().await.with_context(|| format!("cannot read the answer to {path} of OpenBao"))?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

fn secret_at(answer: &Value, pointer: &str) -> Result<SecretString> {
    let text = answer.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("OpenBao's answer lacks {pointer}"))?.to_owned().into())
}
