//! Real nodes whose network breaks, in each way that a probe must find.

use anyhow::{Context as _, Result, ensure};
use api::{TenantClass, Workspace, conditions as names};
use e2e::install::chart_directory;
use e2e::servers::OPERATOR_NAMESPACE;
use e2e::site::SiteOptions;
use e2e::story::{Manifest, Platform, class, condition, tenant, workspace};
use e2e::{Site, Tier, lacks_real_nodes, show};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

/// The probes that are shut off.
const ISOLATED: &str = "app.kubernetes.io/name=steading-probe,app.kubernetes.io/component=isolated";

#[tokio::test(flavor = "multi_thread")]
async fn probes_find_the_node_the_runtime_and_the_way_and_classes_that_require_it_say_so() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let mut site = Site::start(Tier::Three, SiteOptions::default(), |_| {}).await?;
    let scene = Scene::build(&site).await?;
    scene.until_enforced("at first").await?;

    // This network lets what comes in by such a policy go out as well.
    let policies: Api<NetworkPolicy> = Api::namespaced(site.plane.admin()?, OPERATOR_NAMESPACE);
    policies.create(&PostParams::default(), &of_two_types()?).await?;
    scene.until_told("a policy of two types", &["packets pass to pods that are shut off too"], &[]).await?;
    policies.delete("two-types", &DeleteParams::default()).await?;
    scene.until_enforced("without it").await?;

    site.plane.stop_enforcing(2)?;
    scene.renew_probes("node-2").await?;
    let ways = ["on node-2 under default packets pass", "on node-2 under gvisor packets pass", "to the API server"];
    scene.until_told("no enforcer on node-2", &ways, &["node-1"]).await?;

    site.plane.start_enforcing(2).await?;
    let at_first =
        ["on node-2 under default in a pod's first second packets pass to the API server", "under gvisor in a"];
    scene.until_told("the enforcer is back, and these pods have seen its absence", &at_first, &["node-1"]).await?;
    scene.renew_probes("node-2").await?;
    scene.until_enforced("with new probes").await?;

    // The probes that are there keep their rules; it is when they are due that they find out.
    let chart = chart_directory().display().to_string();
    let upgrade = ["upgrade", "steading", &chart, "--reuse-values", "--set", "probe.renewal=60"];
    site.installation.helm(&site.plane, &upgrade.map(str::to_owned)).await?;
    scene.until_rolled_out().await?;
    scene.until_enforced("with probes that are renewed soon").await?;
    site.plane.stop_enforcing(1)?;
    let ways = ["on node-1 under default packets pass", "on node-1 under gvisor packets pass"];
    scene.until_told("no enforcer on node-1, and nobody touched its probes", &ways, &["node-2"]).await
}

/// Lets probes be reached by probes, and reach nobody.
fn of_two_types() -> Result<NetworkPolicy> {
    let isolated = json!({ "matchLabels": { "app.kubernetes.io/component": "isolated" } });
    Ok(serde_json::from_value(json!({
        "metadata": { "name": "two-types" },
        "spec": {
            "podSelector": isolated, "policyTypes": ["Ingress", "Egress"], "ingress": [{ "from": [{ "podSelector": isolated }] }],
        },
    }))?)
}

/// A class that requires enforcement, and a Workspace of it.
struct Scene {
    platform: Platform,
    class: Manifest<TenantClass>,
    finance: Manifest<Workspace>,
}

impl Scene {
    async fn build(site: &Site) -> Result<Self> {
        let platform = Platform::new(site.plane.admin()?);
        let spec = site.servers.class_spec(&site.plane, "Required");
        let class = ["residency", "keys", "buckets", "network"]
            .into_iter()
            .fold(class("strict"), |class, field| class.with(field, spec[field].clone()));
        let class = platform.applied(class).await?;
        let acme = platform.applied(tenant("acme").of_class(&class)).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        Ok(Self { platform, class, finance })
    }

    async fn until_enforced(&self, when: &str) -> Result<()> {
        let class = self.platform.until_ready(&self.class).await?;
        let told = condition(&class, names::NETWORK_ENFORCED).context("the class says nothing of the network")?;
        show(&format!("enforcement: {when}: {} {}: {}", told.status, told.reason, told.message));
        ensure!(told.reason == names::AVAILABLE && told.message.contains("under default and gvisor"), "{told:?}");
        self.platform.until_ready(&self.finance).await.map(drop)
    }

    /// Waits until class and Workspace say all of `parts` of the network, and nothing of what is `absent`.
    async fn until_told(&self, when: &str, parts: &[&str], absent: &[&str]) -> Result<()> {
        let says = |message: &str| {
            parts.iter().all(|part| message.contains(part)) && !absent.iter().any(|part| message.contains(part))
        };
        let holds = |class: &TenantClass| condition(class, names::NETWORK_ENFORCED).is_some_and(|it| says(&it.message));
        let class = self.platform.until(&self.class, &format!("tells {parts:?}"), holds).await?;
        let told = condition(&class, names::NETWORK_ENFORCED).context("the class says nothing of the network")?;
        show(&format!("enforcement: {when}: {} {}: {}", told.status, told.reason, told.message));
        ensure!((told.status.as_str(), told.reason.as_str()) == ("False", names::NOT_ENFORCED), "{told:?}");
        let holds = |finance: &Workspace| {
            condition(finance, names::ISOLATED).is_some_and(|it| it.reason == names::NOT_ENFORCED && says(&it.message))
        };
        self.platform.until(&self.finance, &format!("tells {parts:?}"), holds).await.map(drop)
    }

    /// Waits until all probes are of the newest template.
    async fn until_rolled_out(&self) -> Result<()> {
        let all_are_new = |set: &DaemonSet| {
            set.status.as_ref().is_some_and(|status| {
                status.observed_generation == set.metadata.generation
                    && status.updated_number_scheduled == Some(status.desired_number_scheduled)
                    && status.number_ready == status.desired_number_scheduled
            })
        };
        for name in ["steading-probe-default", "steading-probe-gvisor"] {
            let sets: Api<DaemonSet> = Api::namespaced(self.platform.client.clone(), OPERATOR_NAMESPACE);
            self.platform.until_object(sets, name, "is rolled out", all_are_new).await?;
        }
        Ok(())
    }

    /// Deletes the probes of a node, so that others take their place.
    async fn renew_probes(&self, node: &str) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.platform.client.clone(), OPERATOR_NAMESPACE);
        let there = ListParams::default().labels(ISOLATED).fields(&format!("spec.nodeName={node}"));
        let there = pods.list(&there).await?;
        ensure!(there.items.len() == 2, "{} probes run on {node}", there.items.len());
        for pod in there {
            pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
        }
        Ok(())
    }
}
