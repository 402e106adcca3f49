//! A namespace as a stack has it, and databases in it. In: a plane and a store. Out: databases that can be asked, backed up, broken and
//! brought back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::databases::STORAGE_CLASS;
use e2e::wait::until;
use e2e::{Plane, show, unique};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{
    ApiResource, AttachParams, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::store::{BUCKET, Store};

/// Longest wait for each step.
const PATIENCE: Duration = Duration::from_mins(4);

const PLUGIN: &str = "barman-cloud.cloudnative-pg.io";

/// The archive of the namespace.
const ARCHIVE: &str = "archive";

/// Tells how long each step took, if somebody wants to know.
pub struct Steps(Option<Instant>);

impl Steps {
    pub fn begin() -> Self {
        Self(std::env::var_os("STEADING_TIMES").map(|_| Instant::now()))
    }

    pub fn end(&mut self, what: &str) {
        if let Some(begun) = &mut self.0 {
            show(&format!("database: {:5.1} s: {what}", begun.elapsed().as_secs_f32()));
            *begun = Instant::now();
        }
    }
}

/// A namespace that takes none but restricted pods that say what they use, with an archive.
pub struct Namespace {
    name: String,
    client: Client,
}

impl Namespace {
    pub async fn make(plane: &Plane, store: &Store) -> Result<Self> {
        let namespace = Self { name: unique("stack"), client: plane.admin()? };
        let restricted = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let quota = json!({
            "requests.cpu": "2", "requests.memory": "4Gi", "limits.cpu": "32", "limits.memory": "16Gi",
        });
        let (access_key, secret_key) = (&store.account.access_key, &store.account.secret_key);
        let secret = |key: &str| json!({ "name": ARCHIVE, "key": key });
        let objects = [
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "labels": restricted } }),
            json!({ "apiVersion": "v1", "kind": "ResourceQuota", "spec": { "hard": quota } }),
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "stringData": {
                    "accessKeyID": access_key.expose_secret(), "secretAccessKey": secret_key.expose_secret(),
                    "ca.crt": plane.authority().certificate(),
                },
            }),
            json!({
                "apiVersion": "barmancloud.cnpg.io/v1", "kind": "ObjectStore",
                "spec": {
                    "configuration": {
                        "destinationPath": format!("s3://{BUCKET}/"),
                        "endpointURL": store.endpoint,
                        "endpointCA": secret("ca.crt"),
                        "s3Credentials": {
                            "accessKeyId": secret("accessKeyID"), "secretAccessKey": secret("secretAccessKey"),
                        },
                    },
                    // Without them the quota refuses every pod of a database, and only the operator's log says so.
                    "instanceSidecarConfiguration": { "resources": resources() },
                },
            }),
        ];
        for mut object in objects {
            let name = if object["kind"] == "Namespace" { &namespace.name } else { ARCHIVE };
            object["metadata"]["name"] = json!(name);
            namespace.apply(object).await?;
        }
        Ok(namespace)
    }

    /// A new database of two instances.
    pub async fn database(&self, name: &str, image: &str) -> Result<Database> {
        self.cluster(name, image, json!({ "instances": 2 })).await
    }

    /// A database of one instance that is as another was at a moment.
    pub async fn restored(&self, name: &str, image: &str, of: &Database, moment: &str) -> Result<Database> {
        let origin = json!({ "name": PLUGIN, "parameters": { "barmanObjectName": ARCHIVE, "serverName": of.name } });
        let own = json!({
            "instances": 1,
            "bootstrap": { "recovery": { "source": "origin", "recoveryTarget": { "targetTime": moment } } },
            "externalClusters": [{ "name": "origin", "plugin": origin }],
        });
        self.cluster(name, image, own).await
    }

    async fn cluster(&self, name: &str, image: &str, own: Value) -> Result<Database> {
        let mut spec = json!({
            "imageName": image,
            "imagePullPolicy": "Never",
            "storage": { "storageClass": STORAGE_CLASS, "size": "1Gi" },
            "resources": resources(),
            "postgresql": { "parameters": { "shared_buffers": "32MB" } },
            "plugins": [{
                "name": PLUGIN, "isWALArchiver": true,
                "parameters": { "barmanObjectName": ARCHIVE, "serverName": name },
            }],
            // Looked at every ten seconds, each instance would be ten seconds late.
            "probes": {
                "startup": { "periodSeconds": 1, "failureThreshold": 3600 }, "readiness": { "periodSeconds": 1 },
            },
            // How long the others wait for a primary that says nothing.
            "primaryLease": { "leaseDurationSeconds": 8, "renewDeadlineSeconds": 6, "retryPeriodSeconds": 1 },
        });
        spec.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let cluster = json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": { "name": name }, "spec": spec,
        });
        self.apply(cluster).await?;
        let (namespace, client) = (self.name.clone(), self.client.clone());
        Ok(Database { name: name.to_owned(), namespace, client })
    }

    /// Deletes these databases and waits until their volumes are gone, which go last.
    pub async fn delete(&self, databases: &[&Database]) -> Result<()> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &self.name);
        let claims = claims.list(&ListParams::default()).await?.items;
        let volumes: Vec<_> = claims.into_iter().filter_map(|claim| claim.spec?.volume_name).collect();
        ensure!(volumes.len() > databases.len(), "these cannot be all volumes: {volumes:?}");
        for database in databases {
            database.objects("Cluster").delete(&database.name, &DeleteParams::background()).await?;
        }
        for volume in volumes {
            let gone = await_condition(Api::<PersistentVolume>::all(self.client.clone()), &volume, |it: Option<&_>| {
                it.is_none()
            });
            timeout(PATIENCE, gone).await.with_context(|| format!("{volume} is still there"))??;
        }
        Ok(())
    }

    async fn apply(&self, object: Value) -> Result<()> {
        apply(&self.client, &self.name, object).await
    }
}

/// A database, which is a Cluster to its operator.
pub struct Database {
    name: String,
    namespace: String,
    client: Client,
}

impl Database {
    /// Waits until so many instances are there and all is well.
    pub async fn until_healthy(&self, instances: u64) -> Result<()> {
        let is_healthy =
            move |it: &Value| it["readyInstances"] == instances && it["phase"] == "Cluster in healthy state";
        self.until("Cluster", &self.name, is_healthy).await
    }

    /// The name of the pod that takes writes.
    pub async fn primary(&self) -> Result<String> {
        let status = self.status("Cluster", &self.name).await?;
        Ok(status["currentPrimary"].as_str().context("there is no primary")?.to_owned())
    }

    /// What the primary answers to this, in a line.
    pub async fn sql(&self, statement: &str) -> Result<String> {
        self.sql_at(&self.primary().await?, statement).await
    }

    /// Waits until another pod than `before` is the primary and takes this.
    pub async fn until_written_without(&self, before: &str, statement: &str) -> Result<()> {
        let (lost, is_other) = (before.to_owned(), |it: &Value, lost: &str| it["currentPrimary"] != lost);
        self.until("Cluster", &self.name, move |it| is_other(it, &lost)).await?;
        let primary = self.primary().await?;
        until("the new primary takes writes", PATIENCE, async || Ok(self.sql_at(&primary, statement).await.is_ok()))
            .await
    }

    async fn sql_at(&self, pod: &str, statement: &str) -> Result<String> {
        let command = ["psql", "--no-psqlrc", "-At", "--dbname=app", "--set=ON_ERROR_STOP=1", "--command", statement];
        let parameters = AttachParams::default().container("postgres");
        let mut process = self.pods().exec(pod, command, &parameters).await?;
        let status = process.take_status().context("nobody would tell how it ended")?;
        let (mut output, mut errors) = (String::new(), String::new());
        let (stdout, stderr) = (process.stdout().context("no output")?, process.stderr().context("no errors")?);
        let (mut stdout, mut stderr) = (stdout, stderr);
        tokio::try_join!(stdout.read_to_string(&mut output), stderr.read_to_string(&mut errors))?;
        let status = status.await.context("it ended without a word")?;
        ensure!(status.status.as_deref() == Some("Success"), "{statement}: {errors}");
        Ok(output.trim().to_owned())
    }

    /// Makes a backup and waits until it is complete.
    pub async fn back_up(&self, name: &str) -> Result<()> {
        let backup = json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup", "metadata": { "name": name },
            "spec": {
                "cluster": { "name": self.name }, "method": "plugin", "pluginConfiguration": { "name": PLUGIN },
            },
        });
        apply(&self.client, &self.namespace, backup).await?;
        let is_over = |it: &Value| it["phase"] == "completed" || it["phase"] == "failed";
        self.until("Backup", name, is_over).await?;
        let status = self.status("Backup", name).await?;
        ensure!(status["phase"] == "completed", "the backup failed: {}", status["error"]);
        Ok(())
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
        let is_so = |it: Option<&DynamicObject>| it.is_some_and(|it| is_so(&it.data["status"]));
        match timeout(PATIENCE, await_condition(self.objects(kind), name, is_so)).await {
            Ok(outcome) => outcome.map(drop).with_context(|| format!("{kind} {name} cannot be watched")),
            Err(_) => bail!("waited in vain for {kind} {name}: {:#}", self.status(kind, name).await?),
        }
    }

    async fn status(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(self.objects(kind).get(name).await?.data["status"].clone())
    }
}

/// What each container may use. The archiver's programs are started often, and what it may not use everybody waits for.
fn resources() -> Value {
    json!({ "requests": { "cpu": "20m", "memory": "128Mi" }, "limits": { "cpu": "2", "memory": "512Mi" } })
}

async fn apply(client: &Client, namespace: &str, object: Value) -> Result<()> {
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
