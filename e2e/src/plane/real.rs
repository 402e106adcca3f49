//! Real nodes. In: an API server on the ground's network. Out: Ready nodes, on which pods run under runc and gVisor, reach each other by
//! packets, are held to their policies and resolve names.
//!
//! A node is a set of namespaces on this machine; what runs in it is what runs on any node. Its processes belong to the plane's
//! nursery, so that they end with it.

mod addons;
mod disks;
mod ground;
mod host;
mod images;
mod node;

use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::ListParams;
use kube::{Api, Client};

use super::access::Way;
use super::{Identity, nodes};
use crate::nursery::Nursery;
use crate::wait::until;
use ground::Ground;
use node::{Node, Site};

pub use disks::Disks;
pub use ground::{MARK, METADATA, OUTSIDE, OUTSIDE_PORTS};
pub(crate) use host::provide;
pub use host::why_not;
pub use images::PACKETS;

/// The `RuntimeClass` under which a pod has gVisor's kernel instead of the host's.
pub const GVISOR: &str = "gvisor";

/// Addresses of Services.
const SERVICES: &str = "10.96.0.0/16";
/// The address of the cluster's DNS.
const CLUSTER_DNS: &str = "10.96.0.10";
/// What the names of Services end with.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// Real nodes of a plane.
pub(super) struct Real {
    ground: Ground,
    nodes: Vec<Node>,
    switch: u32,
}

impl Real {
    /// Takes the ground: from here on its address can be bound.
    pub(super) async fn prepare(nursery: &mut Nursery) -> Result<Self> {
        host::complete()?;
        let ground = Ground::take(nursery.directory()).await?;
        let (name, value) = ground.mark();
        nursery.mark(name, value);
        let switch = ground.start_switch(nursery).await?;
        Ok(Self { ground, nodes: Vec::new(), switch })
    }

    /// The name of its ground.
    pub(super) fn ground(&self) -> &str {
        self.ground.name()
    }

    /// The address at which pods, nodes and this host reach the API server.
    pub(super) fn address(&self) -> String {
        self.ground.host()
    }

    /// The disks of its nodes.
    pub(super) fn disks(&self, nursery: &Nursery) -> Disks {
        Disks::new(self.switch, nursery.directory())
    }

    /// Gives all nodes the images in this archive, beside each other.
    pub(super) async fn import(&self, archive: &Path) -> Result<()> {
        let imports = self.nodes.iter().map(async |node| {
            let (node, archive) = (node.clone(), archive.to_owned());
            tokio::task::spawn_blocking(move || node.import(&archive)).await.context("an import ended early")?
        });
        futures::future::try_join_all(imports).await.map(drop)
    }

    /// Ends what enforces NetworkPolicies on the node of this number.
    pub(super) fn stop_enforcing(&self, nursery: &mut Nursery, number: u8) -> Result<()> {
        self.node(number)?.stop_enforcing(nursery)
    }

    /// Starts it again.
    pub(super) async fn start_enforcing(&self, nursery: &mut Nursery, way: Way<'_>, number: u8) -> Result<()> {
        let site = Site { ground: &self.ground, way, switch: self.switch };
        self.node(number)?.start_enforcing(nursery, site).await
    }

    /// Ends the node of this number as when a machine loses its power.
    pub(super) fn lose(&self, nursery: &mut Nursery, number: u8) -> Result<()> {
        self.ground.untie(self.switch, number)?;
        self.node(number)?.lose(nursery)
    }

    /// Starts it again.
    pub(super) async fn return_node(&mut self, nursery: &mut Nursery, way: Way<'_>, number: u8) -> Result<()> {
        let mut node = self.node(number)?.clone();
        node.start_again(nursery, Site { ground: &self.ground, way, switch: self.switch }).await?;
        self.nodes.retain(|it| it.name() != node.name());
        self.nodes.push(node);
        Ok(())
    }

    fn node(&self, number: u8) -> Result<&Node> {
        let name = format!("node-{number}");
        self.nodes.iter().find(|node| node.name() == name).with_context(|| format!("there is no {name}"))
    }

    /// Starts so many nodes and waits until they are Ready and names resolve.
    pub(super) async fn start(
        &mut self,
        nursery: &mut Nursery,
        way: Way<'_>,
        token_key: &Path,
        admin: &Identity,
        count: u8,
    ) -> Result<()> {
        let client = Client::try_from(way.config(admin)?)?;
        nodes::start_controllers(nursery, way, token_key).await?;
        addons::apply(&client).await?;
        let images = images::all().await?;
        let site = Site { ground: &self.ground, way, switch: self.switch };
        for number in 1..=count {
            let node = Node::open(nursery, site, number).await?;
            node.start_runtime(nursery, site, &images)
                .await
                .with_context(|| format!("{} has no runtime", node.name()))?;
            node.start_agents(nursery, site).await?;
            self.nodes.push(node);
        }
        until("all nodes are Ready", nodes::PATIENCE, async || {
            let nodes = Api::<NodeObject>::all(client.clone()).list(&ListParams::default()).await?;
            Ok(nodes.items.len() == usize::from(count) && nodes.items.iter().all(nodes::is_ready))
        })
        .await?;
        addons::until_ready(&client).await
    }
}

fn say(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "e2e: {text}").ok();
}
