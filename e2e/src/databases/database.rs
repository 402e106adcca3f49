//! A database as somebody sees it who may act in its namespace. In: its name and place. Out: what it answers, and ways to break it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ApiResource, AttachParams, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::visitor::Session;

/// Longest wait for each step.
pub const PATIENCE: Duration = Duration::from_mins(4);

/// The plugin for backups, as a Cluster names it.
pub const PLUGIN: &str = "barman-cloud.cloudnative-pg.io";

/// A database, which is a Cluster to its operator.
#[derive(Clone)]
pub struct Database {
    name: String,
    namespace: String,
    client: Client,
}

impl Database {
    /// The database of this name in a namespace, seen by this client.
    pub fn new(name: &str, namespace: &str, client: Client) -> Self {
        Self { name: name.to_owned(), namespace: namespace.to_owned(), client }
    }

    /// By whom it is seen.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Connects over the network with a password, from the pod that takes writes.
    pub async fn connect(&self, user: &str, password: &str, sslmode: &str) -> Result<String> {
        let service = format!("{}-rw", self.name);
        let target =
            format!("host={service} dbname=app user={user} password={password} sslmode={sslmode} connect_timeout=10");
        let command = ["psql", "--no-psqlrc", "-At", "--dbname", &target, "--command", "SELECT 1"];
        self.run(&self.primary().await?, &command).await
    }

    /// What is answered to whoever presents this certificate at the pod that takes writes, tried from that pod itself: no packet is stopped
    /// on the way, so PostgreSQL has to refuse.
    pub async fn present(&self, certificate: &Secret, user: &str) -> Result<String> {
        self.ask_as(certificate, user, "SELECT 1").await
    }

    /// The same, asking something else.
    pub async fn ask_as(&self, certificate: &Secret, user: &str, statement: &str) -> Result<String> {
        const SCRIPT: &str = "umask 077; printf %s \"$1\" >/dev/shm/tls.crt; printf %s \"$2\" >/dev/shm/tls.key
            psql --no-psqlrc -At --set=ON_ERROR_STOP=1 --dbname \"$3\" --command \"$4\"; code=$?
            rm /dev/shm/tls.crt /dev/shm/tls.key; exit $code";
        let entry =
            |name: &str| certificate.data.as_ref()?.get(name).map(|it| String::from_utf8_lossy(&it.0).into_owned());
        let (certificate, key) = entry("tls.crt").zip(entry("tls.key")).context("the Secret has no certificate")?;
        let target = format!(
            "host={}-rw dbname=app user={user} sslmode=require connect_timeout=30 sslcert=/dev/shm/tls.crt sslkey=/dev/shm/tls.key",
            self.name
        );
        self.run(&self.primary().await?, &["sh", "-c", SCRIPT, "sh", &certificate, &key, &target, statement]).await
    }

    /// Whether a packet gets from the pod that takes writes to PostgreSQL at this address, whatever that answers.
    pub async fn reaches(&self, address: &str) -> Result<bool> {
        let asked = self.run(&self.primary().await?, &["pg_isready", "--host", address, "--timeout=5"]).await;
        match asked {
            Ok(_) => Ok(true),
            // It says so on standard output, and ends with an error that has no text.
            Err(error) if error.to_string().contains("no response") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until so many instances are there and all is well.
    pub async fn until_healthy(&self, instances: u64) -> Result<()> {
        let is_healthy = move |it: &Value| {
            it.get("readyInstances").is_some_and(|ready| *ready == instances)
                && it.get("phase").is_some_and(|phase| phase == "Cluster in healthy state")
        };
        self.until("Cluster", &self.name, is_healthy).await
    }

    /// The name of the pod that takes writes.
    pub async fn primary(&self) -> Result<String> {
        let status = self.status("Cluster", &self.name).await?;
        Ok(status.get("currentPrimary").and_then(Value::as_str).context("there is no primary")?.to_owned())
    }

    /// What the primary answers to this, in a line.
    pub async fn sql(&self, statement: &str) -> Result<String> {
        self.sql_at(&self.primary().await?, statement).await
    }

    /// Waits until another pod than `before` is the primary.
    pub async fn until_another_than(&self, before: &str) -> Result<()> {
        let lost = before.to_owned();
        self.until("Cluster", &self.name, move |it| it.get("currentPrimary").is_some_and(|primary| *primary != *lost))
            .await
    }

    async fn sql_at(&self, pod: &str, statement: &str) -> Result<String> {
        let command = ["psql", "--no-psqlrc", "-At", "--dbname=app", "--set=ON_ERROR_STOP=1", "--command", statement];
        self.run(pod, &command).await
    }

    /// Connects within the pod that takes writes, and stays connected.
    pub async fn session(&self) -> Result<Session> {
        Session::open(&self.pods(), &self.primary().await?, "postgres", "dbname=app").await
    }

    /// What a program in one of its pods says.
    pub async fn run(&self, pod: &str, command: &[&str]) -> Result<String> {
        exec(&self.pods(), pod, "postgres", command).await
    }

    /// Kills a pod as if its machine had died.
    pub async fn kill(&self, pod: &str) -> Result<()> {
        self.pods().delete(pod, &DeleteParams::default().grace_period(0)).await.map(drop)?;
        Ok(())
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn objects(&self, kind: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("postgresql.cnpg.io", "v1", kind);
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::from_gvk(&kind))
    }

    /// Waits until the status of an object is so; tells what it is instead.
    async fn until(&self, kind: &str, name: &str, is_so: impl Fn(&Value) -> bool + Send) -> Result<()> {
        let is_so = |it: Option<&DynamicObject>| it.and_then(|it| it.data.get("status")).is_some_and(&is_so);
        match timeout(PATIENCE, await_condition(self.objects(kind), name, is_so)).await {
            Ok(outcome) => outcome.map(drop).with_context(|| format!("{kind} {name} cannot be watched")),
            Err(_) => bail!("waited in vain for {kind} {name}: {:#}", self.status(kind, name).await?),
        }
    }

    async fn status(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(self.objects(kind).get(name).await?.data.get("status").cloned().unwrap_or_default())
    }
}

/// What a program in a pod says; all that it says is the error if it fails.
pub async fn exec(pods: &Api<Pod>, pod: &str, container: &str, command: &[&str]) -> Result<String> {
    let parameters = AttachParams::default().container(container);
    let mut process = pods.exec(pod, command.to_vec(), &parameters).await?;
    let status = process.take_status().context("nobody would tell how it ended")?;
    let (mut output, mut errors) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (process.stdout().context("no output")?, process.stderr().context("no errors")?);
    tokio::try_join!(stdout.read_to_string(&mut output), stderr.read_to_string(&mut errors))?;
    let status = status.await.context("it ended without a word")?;
    let program = command.first().unwrap_or(&"nothing");
    ensure!(status.status.as_deref() == Some("Success"), "{program}: {output}{errors}");
    Ok(output.trim().to_owned())
}

/// Applies an object into a namespace, or a namespace.
pub async fn apply(client: &Client, namespace: &str, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.as_ref().context("it has no kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api: Api<DynamicObject> = match types.kind.as_str() {
        "Namespace" => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let (name, parameters) = (object.name_any(), PatchParams::apply("steading-e2e").force());
    api.patch(&name, &parameters, &Patch::Apply(&object))
        .await
        .with_context(|| format!("cannot apply {} {name}", types.kind))?;
    Ok(())
}
