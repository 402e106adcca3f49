//! Promise: deletion goes in order, can be cut off anywhere, keeps what the policy says, touches nothing else, and names what
//! holds it up.
//!
//! On a plane with controllers, because without them no namespace ever goes. The stories share it and one operator, and keep apart
//! by names; the one that kills the operator again and again has its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod blocked;
mod breakage;
mod order;
mod policy;
mod resume;
mod together;
mod unborn;

use anyhow::Result;
use api::{Tenant, TenantClass, Workspace};
use e2e::story::{Manifest, PATIENCE, Stage, Told, class, condition, tenant, workspace};
use e2e::unique;
use e2e::wait::until;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{Patch, PatchParams};
use providers::memory::Operation;
use serde_json::json;

/// A customer whose stack stands, with data in its bucket.
struct Customer {
    class: Manifest<TenantClass>,
    tenant: Manifest<Tenant>,
    tenant_seen: Tenant,
    finance: Manifest<Workspace>,
    finance_seen: Workspace,
    stack: String,
    bucket: String,
    key: String,
}

/// How many objects the bucket holds: more than one call removes.
const OBJECTS: u64 = 2_500;

impl Customer {
    async fn of_policy(stage: &Stage, policy: &str) -> Result<Self> {
        let platform = &stage.platform;
        let class = platform.applied(class(&unique("onprem"))).await?;
        let tenant = tenant(&unique("acme")).of_class(&class).with("deletionPolicy", policy);
        platform.apply(&tenant).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&tenant)).await?;
        let finance_seen = platform.until_ready(&finance).await?;
        let tenant_seen = platform.until_ready(&tenant).await?;
        let (stack, bucket) = (platform.stack_of(&finance).await?, platform.bucket_of(&finance).await?);
        let key = platform.key_of(&tenant).await?;
        stage.world.tamper_bucket(&bucket, |bucket| bucket.objects = OBJECTS);
        Ok(Self { class, tenant, tenant_seen, finance, finance_seen, stack, bucket, key })
    }
}

/// Keeps a stack namespace from going: a ConfigMap with a finalizer of somebody else, put there as only break-glass may.
struct Hold(Api<ConfigMap>);

impl Hold {
    async fn of(stage: &Stage, stack: &str) -> Result<Self> {
        let config_maps: Api<ConfigMap> = Api::namespaced(stage.break_glass()?, stack);
        let hold = json!({ "apiVersion": "v1", "kind": "ConfigMap",
                           "metadata": { "name": "hold", "finalizers": ["example.com/hold"] } });
        config_maps.patch("hold", &PatchParams::apply("bettina").force(), &Patch::Apply(hold)).await?;
        Ok(Self(config_maps))
    }

    async fn release(self) -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        self.0.patch("hold", &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

fn namespaces(stage: &Stage) -> Api<Namespace> {
    Api::all(stage.platform.client.clone())
}

async fn until_namespace_is_gone(stage: &Stage, name: &str) -> Result<()> {
    let namespaces = namespaces(stage);
    until(&format!("namespace {name} is gone"), PATIENCE, async || Ok(namespaces.get_opt(name).await?.is_none())).await
}

/// How often an operation was called on an object outside.
fn calls(stage: &Stage, operation: Operation, object: &str) -> usize {
    stage.world.log().iter().filter(|(called, on)| *called == operation && on == object).count()
}

/// The message of the condition Ready.
fn message<K: Told>(object: &K) -> String {
    condition(object, api::conditions::READY).map(|ready| ready.message.clone()).unwrap_or_default()
}

/// Fails unless the text holds each of these.
#[track_caller]
fn assert_tells(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}
