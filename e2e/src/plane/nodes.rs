//! The rest of a T2 plane. In: an API server. Out: running controllers, a scheduler and Ready fake nodes. T3 has the former two.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use super::Identity;
use super::access::{Way, write_kubeconfig};
use crate::components::Component;
use crate::nursery::Nursery;
use crate::wait::until;

/// Longest wait until controllers and nodes are at work.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// The annotation by which kwok knows the nodes that it plays.
const FAKE_NODE: &str = "kwok.x-k8s.io/node";

/// Starts the controllers, the scheduler and kwok, makes `count` nodes and waits until all are Ready.
pub(super) async fn start(
    nursery: &mut Nursery,
    way: Way<'_>,
    token_key: &Path,
    admin: &Identity,
    count: usize,
) -> Result<()> {
    let client = Client::try_from(way.config(admin)?)?;
    start_controllers(nursery, way, token_key).await?;
    start_kwok(nursery, way).await?;
    create_nodes(&client, count).await?;
    until("the default ServiceAccount appears", PATIENCE, async || {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        Ok(accounts.get_opt("default").await?.is_some())
    })
    .await?;
    until("all nodes are Ready", PATIENCE, async || {
        let nodes = Api::<Node>::all(client.clone()).list(&kube::api::ListParams::default()).await?;
        Ok(nodes.items.len() == count && nodes.items.iter().all(is_ready))
    })
    .await
}

/// Starts the controllers and the scheduler.
pub(super) async fn start_controllers(nursery: &mut Nursery, way: Way<'_>, token_key: &Path) -> Result<()> {
    start_controller_manager(nursery, way, token_key).await?;
    start_scheduler(nursery, way).await
}

async fn start_controller_manager(nursery: &mut Nursery, way: Way<'_>, token_key: &Path) -> Result<()> {
    let kubeconfig = kubeconfig(nursery, way, "system:kube-controller-manager", &[])?;
    let authority = nursery.write("ca.crt", way.authority.certificate())?;
    let authority_key = nursery.write("ca.key", way.authority.key())?;
    let mut command = Command::new(Component::KubeControllerManager.path().await?);
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--service-account-private-key-file={}", token_key.display()))
        .arg(format!("--root-ca-file={}", authority.display()))
        .arg(format!("--cluster-signing-cert-file={}", authority.display()))
        .arg(format!("--cluster-signing-key-file={}", authority_key.display()))
        .args(["--use-service-account-credentials", "--leader-elect=false", "--secure-port=0"])
        .args(["--allocate-node-cidrs", "--cluster-cidr=10.244.0.0/16"])
        .arg("--controllers=*,bootstrapsigner,tokencleaner");
    nursery.spawn("kube-controller-manager", &mut command)?;
    Ok(())
}

async fn start_scheduler(nursery: &mut Nursery, way: Way<'_>) -> Result<()> {
    let kubeconfig = kubeconfig(nursery, way, "system:kube-scheduler", &[])?;
    let mut command = Command::new(Component::KubeScheduler.path().await?);
    command.arg(format!("--kubeconfig={}", kubeconfig.display())).args(["--leader-elect=false", "--secure-port=0"]);
    nursery.spawn("kube-scheduler", &mut command)?;
    Ok(())
}

/// kwok plays every kubelet at once: it is in their group, by which admission policies know them, and has all rights,
/// because the kubelets' own are limited to one node each.
async fn start_kwok(nursery: &mut Nursery, way: Way<'_>) -> Result<()> {
    let kubeconfig = kubeconfig(nursery, way, "steading-e2e-kwok", &["system:masters", "system:nodes"])?;
    let mut command = Command::new(Component::Kwok.path().await?);
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--config={}", Component::kwok_stages().await?.display()))
        .arg("--manage-all-nodes=false")
        .arg(format!("--manage-nodes-with-annotation-selector={FAKE_NODE}=fake"));
    nursery.spawn("kwok", &mut command)?;
    Ok(())
}

/// Writes a kubeconfig for `user` beside the other files of the plane.
fn kubeconfig(nursery: &Nursery, way: Way<'_>, user: &str, groups: &[&str]) -> Result<PathBuf> {
    let identity = Identity::certificate(way.authority, user, groups)?;
    let path = nursery.directory().join(format!("{}.kubeconfig", user.trim_start_matches("system:")));
    write_kubeconfig(&way.kubeconfig(&identity), &path)?;
    Ok(path)
}

async fn create_nodes(client: &Client, count: usize) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    for index in 0..count {
        let node = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": format!("fake-{index}"),
                "annotations": { FAKE_NODE: "fake" },
                "labels": {
                    "kubernetes.io/hostname": format!("fake-{index}"),
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                },
            },
            "status": {
                "allocatable": { "cpu": "32", "memory": "256Gi", "pods": "110" },
                "capacity": { "cpu": "32", "memory": "256Gi", "pods": "110" },
            },
        }))?;
        nodes
            .create(&PostParams::default(), &node)
            .await
            .with_context(|| format!("cannot create node fake-{index}"))?;
    }
    Ok(())
}

pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
