//! Somebody who tries to get in. In: a place to stand, with every certificate that was ever given away. Out: what the database answers.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::AttachParams;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines};
use tokio::time::timeout;

use super::consumer::ROWS;
use super::database::{PATIENCE, apply, exec};
use super::kept_node;
use super::refusal::UNANSWERED;
use crate::story::Platform;
use crate::wait::until;

/// The pod, its container and its ServiceAccount.
const NAME: &str = "visitor";

/// Where certificates lie in it, each in a folder of its own.
const CERTIFICATES: &str = "/run/certificates";

/// Longest wait for an answer in a session that is open: without one it is as good as closed.
const ANSWER: Duration = Duration::from_secs(30);

/// How to connect.
#[derive(Clone)]
pub struct Way {
    host: String,
    user: String,
    certificate: Option<&'static str>,
    authority: Option<&'static str>,
    mode: &'static str,
    seconds: u32,
}

impl Way {
    /// To this host, with TLS that knows it by its certificate, patiently.
    pub fn to(host: &str) -> Self {
        let user = "app".to_owned();
        Self { host: host.to_owned(), user, certificate: None, authority: None, mode: "verify-full", seconds: 30 }
    }

    /// The same at another host.
    #[must_use]
    pub fn at(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// The same as another user.
    #[must_use]
    pub fn for_user(self, user: &str) -> Self {
        Self { user: user.to_owned(), ..self }
    }

    /// With what lies in this folder of the visitor: a certificate, and the authority by which the host is known.
    #[must_use]
    pub fn with_certificate_of(self, folder: &'static str) -> Self {
        Self { certificate: Some(folder), authority: Some(folder), ..self }
    }

    /// The same with the certificate of another folder, so that it is the host that has to refuse.
    #[must_use]
    pub fn but_certificate_of(self, folder: &'static str) -> Self {
        Self { certificate: Some(folder), ..self }
    }

    /// With TLS alone.
    #[must_use]
    pub fn without_certificate(self) -> Self {
        Self { certificate: None, authority: None, mode: "require", ..self }
    }

    /// In the clear.
    #[must_use]
    pub fn without_tls(self) -> Self {
        Self { mode: "disable", ..self }
    }

    /// For where nobody is expected to answer.
    #[must_use]
    pub fn impatiently(self) -> Self {
        Self { seconds: 5, ..self }
    }

    /// As psql takes it.
    fn target(&self) -> String {
        let Self { host, user, mode, seconds, .. } = self;
        let target = format!("host={host} dbname=app user={user} sslmode={mode} connect_timeout={seconds}");
        let Some((own, theirs)) = self.certificate.zip(self.authority) else { return target };
        let (own, theirs) = (format!("{CERTIFICATES}/{own}"), format!("{CERTIFICATES}/{theirs}"));
        format!("{target} sslrootcert={theirs}/ca.crt sslcert={own}/tls.crt sslkey={own}/tls.key")
    }
}

/// A pod that sleeps until something is run in it.
#[derive(Clone)]
pub struct Visitor {
    pods: Api<Pod>,
}

impl Visitor {
    /// Puts it into a namespace, with this image and copies of these Secrets, each under the name of its folder.
    pub async fn stands(platform: &Platform, image: &str, namespace: &str, saved: &[(&str, Secret)]) -> Result<Self> {
        let admin = platform.client.clone();
        for (name, secret) in saved {
            let copy =
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": secret.data });
            apply(&admin, namespace, copy).await?;
        }
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": NAME } });
        apply(&admin, namespace, account).await?;
        let names: Vec<&str> = saved.iter().map(|(name, _)| *name).collect();
        apply(&admin, namespace, pod(image, &names)).await?;
        let pods: Api<Pod> = Api::namespaced(admin, namespace);
        let runs = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
        platform.until_object(pods.clone(), NAME, "runs", runs).await?;
        Ok(Self { pods })
    }

    /// What the database answers to this.
    pub async fn sql(&self, way: &Way, statement: &str) -> Result<String> {
        let target = way.target();
        let command =
            ["psql", "--no-psqlrc", "-At", "--set=ON_ERROR_STOP=1", "--dbname", &target, "--command", statement];
        exec(&self.pods, NAME, NAME, &command).await
    }

    /// Waits until it is let in.
    pub async fn is_let_in(&self, way: &Way) -> Result<()> {
        let is_known = async || Ok(self.sql(way, "SELECT current_user").await.is_ok_and(|user| user == way.user));
        let Err(error) = until(&format!("{} is let in", way.user), PATIENCE, is_known).await else { return Ok(()) };
        bail!("{error}: {:?}", self.sql(way, "SELECT current_user").await)
    }

    /// Whether nobody answers it.
    pub async fn gets_no_packet_by(&self, way: &Way) -> Result<bool> {
        let answer = self.sql(&way.clone().impatiently(), "SELECT 1").await;
        Ok(answer.is_err_and(|error| UNANSWERED.iter().any(|reason| format!("{error:#}").contains(reason))))
    }

    /// Connects, and stays connected.
    pub async fn session(&self, way: &Way) -> Result<Session> {
        Session::open(&self.pods, NAME, NAME, &way.target()).await
    }

    /// What a program in the pod says.
    pub async fn run(&self, command: &[&str]) -> Result<String> {
        exec(&self.pods, NAME, NAME, command).await
    }
}

type Output = Pin<Box<dyn AsyncRead + Send>>;

/// A connection that stays open.
pub struct Session {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Lines<BufReader<Output>>,
    _process: kube::api::AttachedProcess,
}

impl Session {
    /// Runs psql in a container, connected to `target`.
    pub(super) async fn open(pods: &Api<Pod>, pod: &str, container: &str, target: &str) -> Result<Self> {
        // The shell stays: if it gave way to psql, its standard error would be closed, and with that containerd closes standard input.
        let command = ["sh", "-c", "psql --no-psqlrc -At --dbname \"$1\" 2>&1; exit $?", "sh", target];
        let parameters = AttachParams::default().container(container).stdin(true).stderr(false);
        let mut process = pods.exec(pod, command, &parameters).await?;
        let input = Box::pin(process.stdin().context("it takes no input")?);
        let output: Output = Box::pin(process.stdout().context("it has no output")?);
        Ok(Self { input, output: BufReader::new(output).lines(), _process: process })
    }

    /// What is answered, be it an error; fails once the connection has ended.
    pub async fn ask(&mut self, statement: &str) -> Result<String> {
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

    /// Whether it still gets rows. It does not if it is refused, has ended, or nobody answers any more.
    pub async fn still_reads(&mut self) -> Result<bool> {
        let Ok(Ok(answer)) = timeout(ANSWER, self.ask(ROWS)).await else { return Ok(false) };
        let is_read = answer.parse::<u64>().is_ok();
        ensure!(is_read || answer.contains("permission denied for table invoices"), "{answer}");
        Ok(is_read)
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
            "nodeSelector": kept_node(),
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
