//! Somebody who tries to get in. In: a place to stand, with every certificate that was ever given away. Out: what the database answers.

use std::pin::Pin;

use anyhow::{Context as _, Result, bail};
use e2e::wait::until;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::AttachParams;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines};

use crate::database::{PATIENCE, apply, exec};
use crate::world::World;

/// The pod, its container and its ServiceAccount.
const NAME: &str = "visitor";

/// Where certificates lie in it, each in a folder called after the ServiceAccount to which it was given.
const CERTIFICATES: &str = "/run/certificates";

/// How to connect.
#[derive(Clone)]
pub(super) struct Way {
    host: String,
    user: String,
    certificate: Option<&'static str>,
    mode: &'static str,
    seconds: u32,
}

impl Way {
    /// To this host, with TLS that knows it by its certificate, patiently.
    pub(super) fn to(host: &str) -> Self {
        Self { host: host.to_owned(), user: "app".to_owned(), certificate: None, mode: "verify-full", seconds: 30 }
    }

    pub(super) fn at(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    pub(super) fn for_user(self, user: &str) -> Self {
        Self { user: user.to_owned(), ..self }
    }

    pub(super) fn with_certificate_of(self, account: &'static str) -> Self {
        Self { certificate: Some(account), ..self }
    }

    pub(super) fn without_certificate(self) -> Self {
        Self { certificate: None, mode: "require", ..self }
    }

    pub(super) fn without_tls(self) -> Self {
        Self { mode: "disable", ..self }
    }

    /// For where nobody is expected to answer.
    pub(super) fn impatiently(self) -> Self {
        Self { seconds: 5, ..self }
    }

    /// As psql takes it.
    fn target(&self) -> String {
        let Self { host, user, mode, seconds, .. } = self;
        let target = format!("host={host} dbname=app user={user} sslmode={mode} connect_timeout={seconds}");
        let Some(account) = self.certificate else { return target };
        let folder = format!("{CERTIFICATES}/{account}");
        format!("{target} sslrootcert={folder}/ca.crt sslcert={folder}/tls.crt sslkey={folder}/tls.key")
    }
}

/// A pod that sleeps until something is run in it.
pub(super) struct Visitor {
    pods: Api<Pod>,
}

impl Visitor {
    /// Puts it into a namespace, with copies of these Secrets.
    pub(super) async fn stands(world: &World, namespace: &str, saved: &[(&str, Secret)]) -> Result<Self> {
        let admin = world.plane().admin()?;
        for (name, secret) in saved {
            let copy =
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": secret.data });
            apply(&admin, namespace, copy).await?;
        }
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": NAME } });
        apply(&admin, namespace, account).await?;
        let names: Vec<&str> = saved.iter().map(|(name, _)| *name).collect();
        apply(&admin, namespace, pod(&world.postgres.postgres, &names)).await?;
        let pods: Api<Pod> = Api::namespaced(admin, namespace);
        let runs = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
        world.platform().until_object(pods.clone(), NAME, "runs", runs).await?;
        Ok(Self { pods })
    }

    /// What the database answers to this.
    pub(super) async fn sql(&self, way: &Way, statement: &str) -> Result<String> {
        let target = way.target();
        let command =
            ["psql", "--no-psqlrc", "-At", "--set=ON_ERROR_STOP=1", "--dbname", &target, "--command", statement];
        exec(&self.pods, NAME, NAME, &command).await
    }

    /// Waits until it is let in.
    pub(super) async fn is_let_in(&self, way: &Way) -> Result<()> {
        let is_known = async || Ok(self.sql(way, "SELECT current_user").await.is_ok_and(|user| user == way.user));
        let Err(error) = until(&format!("{} is let in", way.user), PATIENCE, is_known).await else { return Ok(()) };
        bail!("{error}: {:?}", self.sql(way, "SELECT current_user").await)
    }

    /// Connects, and stays connected.
    pub(super) async fn session(&self, way: &Way) -> Result<Session> {
        let command = ["sh", "-c", "exec psql --no-psqlrc -At --dbname \"$1\" 2>&1", "sh", &way.target()];
        let parameters = AttachParams::default().container(NAME).stdin(true).stderr(false);
        let mut process = self.pods.exec(NAME, command, &parameters).await?;
        let input = Box::pin(process.stdin().context("it takes no input")?);
        let output: Output = Box::pin(process.stdout().context("it has no output")?);
        Ok(Session { input, output: BufReader::new(output).lines(), _process: process })
    }
}

type Output = Pin<Box<dyn AsyncRead + Send>>;

/// A connection that stays open.
pub(super) struct Session {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Lines<BufReader<Output>>,
    _process: kube::api::AttachedProcess,
}

impl Session {
    /// What is answered, be it an error; fails once the connection has ended.
    pub(super) async fn ask(&mut self, statement: &str) -> Result<String> {
        const END: &str = "that was all";
        self.input.write_all(format!("{statement};\n\\echo {END}\n").as_bytes()).await?;
        self.input.flush().await?;
        let mut said = Vec::new();
        while let Some(line) = self.output.next_line().await? {
            if line == END {
                return Ok(said.join("\n"));
            }
            said.push(line);
        }
        bail!("the session has ended: {}", said.join("\n"))
    }
}

/// As restricted as the example.
fn pod(image: &str, saved: &[&str]) -> Value {
    let volume = |name: &&str| json!({ "name": name, "secret": { "secretName": name, "defaultMode": 0o440 } });
    let mount = |name: &&str| json!({ "name": name, "mountPath": format!("{CERTIFICATES}/{name}"), "readOnly": true });
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": NAME },
        "spec": {
            "serviceAccountName": NAME,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 26, "runAsGroup": 26, "fsGroup": 26,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": NAME, "image": image, "command": ["sleep", "infinity"],
                "resources": {
                    "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "cpu": "500m", "memory": "128Mi" },
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                },
                "volumeMounts": saved.iter().map(mount).collect::<Vec<_>>(),
            }],
            "volumes": saved.iter().map(volume).collect::<Vec<_>>(),
        },
    })
}
