//! Where stories of pools take place. In: a stage. Out: a tenant with a Workspace whose class offers agents, and eyes on their pods.

use anyhow::{Context as _, Result};
use api::{AgentPool, Tenant, TenantClass, Workspace};
use e2e::relays::point_out;
use e2e::story::{Manifest, PATIENCE, Stage, agent_pool, class, tenant, workspace};
use e2e::unique;
use e2e::wait::until;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

/// A tenant, its class and its Workspace.
pub struct Scene<'a> {
    pub stage: &'a Stage,
    pub class: Manifest<TenantClass>,
    pub tenant: Manifest<Tenant>,
    pub workspace: Manifest<Workspace>,
    /// Name of the RuntimeClass.
    pub runtime: String,
    /// The stack namespace; empty before there is one.
    pub stack: String,
}

impl<'a> Scene<'a> {
    /// One that nothing was applied of.
    pub fn unset(stage: &'a Stage) -> Self {
        let runtime = unique("gvisor");
        let class = class(&unique("onprem")).with("agents", json!({ "runtimeClass": runtime }));
        let tenant = tenant(&unique("acme")).of_class(&class);
        let workspace = workspace("finance").of_tenant(&tenant);
        Self { stage, class, tenant, workspace, runtime, stack: String::new() }
    }

    /// One that stands, with a sandbox.
    pub async fn set(stage: &'a Stage) -> Result<Self> {
        Self::with(stage, |workspace| workspace).await
    }

    /// The same with a Workspace of one's own.
    pub async fn with(
        stage: &'a Stage,
        adjust: impl FnOnce(Manifest<Workspace>) -> Manifest<Workspace>,
    ) -> Result<Self> {
        let mut scene = Self::unset(stage);
        scene.workspace = adjust(scene.workspace);
        scene.make_runtime().await?;
        stage.platform.apply(&scene.class).await?;
        stage.platform.apply(&scene.tenant).await?;
        stage.platform.apply(&scene.workspace).await?;
        scene.completed().await
    }

    /// The same, once its stack is there.
    pub async fn completed(mut self) -> Result<Self> {
        self.stage.platform.until_ready(&self.workspace).await?;
        self.stack = self.stage.platform.stack_of(&self.workspace).await?;
        Ok(self)
    }

    /// The sandbox, which adds 50m and 64Mi to each pod, and the relay. Nothing of either runs on fake nodes.
    pub async fn make_runtime(&self) -> Result<()> {
        point_out(&self.stage.platform.client).await?;
        let api: Api<RuntimeClass> = Api::all(self.stage.platform.client.clone());
        let runtime = json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": self.runtime },
            "handler": "runsc", "overhead": { "podFixed": { "cpu": "50m", "memory": "64Mi" } },
        });
        api.patch(&self.runtime, &PatchParams::apply("test").force(), &Patch::Apply(runtime)).await?;
        Ok(())
    }

    /// A pool of three, applied.
    pub async fn pool(&self, name: &str) -> Result<Manifest<AgentPool>> {
        self.stage.platform.applied(agent_pool(name).of_workspace(&self.workspace)).await
    }

    /// Deletes it, and waits until nothing of it is there.
    pub async fn goes(&self, pool: &Manifest<AgentPool>) -> Result<()> {
        let going = self.stage.platform.get(pool).await?;
        self.stage.platform.delete(pool).await?;
        self.stage.platform.until_gone(pool, &going).await?;
        until("no pod of it is left", PATIENCE, async || Ok(self.pods(pool.name()).await?.is_empty())).await
    }

    /// Pods of a pool.
    pub async fn pods(&self, pool: &str) -> Result<Vec<Pod>> {
        let params = ListParams::default().labels(&format!("steading.dev/pool={pool}"));
        Ok(self.api().list(&params).await?.items)
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.stage.platform.client.clone(), &self.stack)
    }

    /// Changes a pod as somebody who may.
    pub async fn change(&self, pod: &Pod, patch: &Value) -> Result<Pod> {
        let api: Api<Pod> = Api::namespaced(self.stage.break_glass()?, &self.stack);
        let patched = api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.context("change a pod")
    }

    /// Writes into the status of a pod what a kubelet would.
    pub async fn tell(&self, pod: &Pod, status: &Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api().patch_status(&pod.name_any(), &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Claims a desktop as a session does.
    pub async fn claim(&self, pod: &Pod) -> Result<Pod> {
        let session = uuid::Uuid::new_v4().to_string();
        self.change(pod, &json!({ "metadata": { "annotations": { "steading.dev/session-uid": session } } })).await
    }

    /// Deletes a pod as somebody who may.
    pub async fn end(&self, pod: &Pod) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(self.stage.break_glass()?, &self.stack);
        api.delete(&pod.name_any(), &DeleteParams::default()).await?;
        Ok(())
    }
}

/// Whether a session has claimed it.
pub fn is_claimed(pod: &Pod) -> bool {
    pod.annotations().contains_key("steading.dev/session-uid")
}

/// How many of these are not claimed, those on their way out included.
pub fn warm(pods: &[Pod]) -> usize {
    pods.iter().filter(|pod| !is_claimed(pod)).count()
}

/// Whether it can be used.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}
