//! The operator as its users have it: pods of the chart's Deployment, from the image that `make image` packs. In: a plane with real
//! nodes. Out: the chart installed, and replicas that are ready.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::Installation;
use crate::components::attend;
use crate::nursery::Nursery;
use crate::plane::Plane;
use crate::servers::OPERATOR_NAMESPACE;
use crate::wait::until;

/// The image, which no registry has.
const REPOSITORY: &str = "steading.test/operator";
const TAG: &str = "e2e";

/// The chart's Deployment, and the label of its pods.
const DEPLOYMENT: &str = "steading";
const SELECTOR: &str = "app.kubernetes.io/name=steading";

/// The Lease of leadership.
pub const LEASE: &str = "steading-operator";

/// Longest wait until replicas are as many as asked for.
const PATIENCE: Duration = Duration::from_mins(2);

/// The operator in pods.
pub struct OperatorPods {
    /// The chart.
    pub installation: Installation,
}

impl OperatorPods {
    /// Packs the image, gives it to the nodes, installs the chart with two replicas and waits until both are ready.
    pub async fn start(plane: &Plane, name: &str, values: &Value) -> Result<Self> {
        let nursery = Nursery::new("image")?;
        let archive = nursery.directory().join("operator.tar");
        let target = archive.clone();
        tokio::task::spawn_blocking(move || pack(&target)).await??;
        plane.import_image(&archive).await?;
        // Probes only where somebody looks at them: they take their part of a small machine.
        let mut ours = json!({
            "replicas": 2, "image": { "repository": REPOSITORY, "tag": TAG }, "probe": { "enabled": false },
        });
        merge(&mut ours, values);
        let pods = Self { installation: Installation::install(plane, name, &ours).await? };
        pods.until_ready(plane, 2).await?;
        Ok(pods)
    }

    /// Asks for so many replicas and waits until there are just as many.
    pub async fn scale(&self, plane: &Plane, replicas: usize) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(plane.admin()?, OPERATOR_NAMESPACE);
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        deployments.patch(DEPLOYMENT, &PatchParams::default(), &patch).await.context("cannot scale the operator")?;
        self.until_ready(plane, replicas).await
    }

    /// Its pods.
    pub async fn list(&self, plane: &Plane) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(plane.admin()?, OPERATOR_NAMESPACE);
        Ok(pods.list(&ListParams::default().labels(SELECTOR)).await?.items)
    }

    /// The name of the pod that leads: the holder of the Lease.
    pub async fn leader(&self, plane: &Plane) -> Result<String> {
        let leases: Api<Lease> = Api::namespaced(plane.admin()?, OPERATOR_NAMESPACE);
        let lease = leases.get(LEASE).await.context("the operator has no Lease")?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let pods = self.list(plane).await?;
        let leader = pods.iter().find(|pod| holder.starts_with(&pod.name_any()));
        Ok(leader.with_context(|| format!("{holder:?} holds the Lease and is none of the pods"))?.name_any())
    }

    async fn until_ready(&self, plane: &Plane, replicas: usize) -> Result<()> {
        until(&format!("{replicas} replicas of the operator are ready"), PATIENCE, async || {
            let pods = self.list(plane).await?;
            Ok(pods.len() == replicas && pods.iter().all(is_ready))
        })
        .await
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

/// Packs the operator of this checkout, as `make image` does for everybody.
pub fn pack(archive: &Path) -> Result<()> {
    let goal = ["image".to_owned(), format!("IMAGE={REPOSITORY}:{TAG}"), format!("OUTPUT={}", archive.display())];
    make(&goal, "building the operator's image (about 8 min on 2 cores the first time)").map(drop)
}

/// Runs this checkout's Makefile, and returns the last line of what it says.
pub(crate) fn make(goal: &[String], what: &str) -> Result<String> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in no checkout")?;
    let mut command = Command::new("make");
    command
        .arg("--no-print-directory")
        .args(goal)
        // What a test was started with is not for a program that is shipped.
        .env_remove("RUSTFLAGS")
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .current_dir(checkout);
    let mut nursery = Nursery::new("build")?;
    let process = nursery.spawn("make", &mut command)?;
    let status = attend(process, what)?;
    ensure!(status.success(), "`make {}` failed ({status})\n{}", goal.join(" "), process.last_lines());
    Ok(process.last_lines().lines().last().unwrap_or_default().trim().to_owned())
}

/// Lays `over` over `under`, object by object.
pub fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}
