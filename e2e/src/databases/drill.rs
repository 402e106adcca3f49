//! What is said of a canary and of a restore drill, said by hand. In: a stack, somebody who may write there. Out: what the operator reads of
//! the canary's pod, of a database that is restored, and of what looks at it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::Keeper;

/// The Deployment of a canary, and its `DatabaseRole`.
pub const CANARY: &str = "database-canary";
/// The Cluster of a drill, its `DatabaseRole` and its Job.
pub const DRILL: &str = "database-drill";

impl Keeper {
    /// The canary's pod is ready since then, or is not.
    pub async fn canary_writes(&self, writes: bool, since: Timestamp) -> Result<()> {
        let status = if writes { "True" } else { "False" };
        let available = json!({
            "type": "Available", "status": status, "reason": "Reason", "message": "", "lastTransitionTime": since,
        });
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), &self.stack);
        let generation = deployments.get_metadata(CANARY).await?.metadata.generation;
        let status = json!({
            "observedGeneration": generation, "replicas": 1, "readyReplicas": u8::from(writes),
            "availableReplicas": u8::from(writes), "conditions": [available],
        });
        let patch = Patch::Merge(json!({ "status": status }));
        let said = deployments.patch_status(CANARY, &PatchParams::default(), &patch).await;
        said.map(drop).context("the canary's Deployment takes no status")
    }

    /// The database of a drill is at this, as CloudNativePG calls it.
    pub async fn restores(&self, phase: &str) -> Result<()> {
        self.says("postgresql.cnpg.io", "Cluster", DRILL, json!({ "phase": phase, "instances": 1 })).await
    }

    /// The database of a drill is there.
    pub async fn restored(&self) -> Result<()> {
        let status = json!({
            "phase": "Cluster in healthy state", "instances": 1, "readyInstances": 1, "currentPrimary": "database-drill-1",
        });
        self.says("postgresql.cnpg.io", "Cluster", DRILL, status).await
    }

    /// What looks at it has ended, well or not, and its pod has told this.
    pub async fn looked(&self, well: bool, told: &str) -> Result<()> {
        let jobs = Api::<Job>::namespaced(self.client.clone(), &self.stack);
        let job = jobs.get(DRILL).await.context("there is no Job")?;
        self.pod_ends(&job, well, told).await?;
        let (first, last) = if well { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
        let condition = |name: &str| json!({ "type": name, "status": "True", "reason": "Reason", "message": "", "lastTransitionTime": Timestamp::now() });
        let now = Timestamp::now();
        let status = json!({
            "startTime": now, "completionTime": well.then_some(now), "succeeded": u8::from(well), "failed": u8::from(!well),
            "conditions": [condition(first), condition(last)],
        });
        let patch = Patch::Merge(json!({ "status": status }));
        jobs.patch_status(DRILL, &PatchParams::default(), &patch).await.context("the Job takes no status")?;
        Ok(())
    }

    /// The pod of a Job, made from its template, as it is when its container has ended.
    async fn pod_ends(&self, job: &Job, well: bool, told: &str) -> Result<()> {
        let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "default" } }))?;
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &self.stack);
        let params = PatchParams::apply("cluster").force();
        accounts.patch("default", &params, &Patch::Apply(account)).await?;

        let template = job.spec.clone().context("the Job has no spec")?.template;
        let mut labels = template.metadata.and_then(|it| it.labels).unwrap_or_default();
        labels.insert("batch.kubernetes.io/job-name".to_owned(), DRILL.to_owned());
        let name = crate::unique(DRILL);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": labels, "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": DRILL, "uid": job.uid(), "controller": true,
            }]},
            "spec": template.spec,
        }))?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.stack);
        let container = pod.spec.iter().flat_map(|spec| &spec.containers).next().context("the Job has no container")?;
        let status = ended(&container.name, well, told);
        pods.create(&PostParams::default(), &pod).await.context("the pod of the Job is refused")?;
        let patch = Patch::Merge(json!({ "status": status }));
        pods.patch_status(&name, &PatchParams::default(), &patch).await.context("the pod takes no status")?;
        Ok(())
    }
}

/// What a Job tells that has found everything, the newest row as old as this.
#[must_use]
pub fn good(newest: Timestamp) -> String {
    json!({ "newestRow": newest, "rows": 12, "size": 30 << 20, "tables": 7, "unread": 0 }).to_string()
}

/// A moment so many minutes ago, in whole seconds.
#[must_use]
pub fn ago(minutes: u64) -> Timestamp {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    now - Duration::from_mins(minutes)
}

fn ended(container: &str, well: bool, told: &str) -> Value {
    let (phase, code) = if well { ("Succeeded", 0) } else { ("Failed", 1) };
    let now = Timestamp::now();
    let terminated =
        json!({ "exitCode": code, "message": told, "reason": "Reason", "startedAt": now, "finishedAt": now });
    let container = json!({
        "name": container, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": terminated },
    });
    json!({ "phase": phase, "containerStatuses": [container] })
}
