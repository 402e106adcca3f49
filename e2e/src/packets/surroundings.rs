//! What is there besides tenants. In: a plane with real nodes. Out: goals that nobody in a stack may reach, and DNS, which its parts may.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::ListParams;

use super::{Goal, Labels, Protocol};
use crate::plane::{METADATA, OUTSIDE, Plane};

/// Where a cloud tells the same to instances with addresses of version 6.
const METADATA_V6: &str = "fd00:ec2::254";

/// What is there besides tenants: DNS, API server, kubelets, a cloud's metadata, the outside.
pub struct Surroundings {
    /// All of it.
    pub goals: Vec<Goal>,
    /// The pod of the cluster's DNS: namespace, labels, address.
    pub dns: (String, Labels, IpAddr),
}

impl Surroundings {
    /// Of this cluster.
    pub async fn of(plane: &Plane) -> Result<Self> {
        let client = plane.admin()?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
        let found = pods.list(&ListParams::default().labels("k8s-app=kube-dns")).await?;
        let pod = found.items.first().context("the cluster has no DNS")?;
        let dns: IpAddr =
            pod.status.as_ref().and_then(|it| it.pod_ip.as_ref()).context("DNS has no address")?.parse()?;
        let labels = pod.metadata.labels.clone().unwrap_or_default();

        let api: http::Uri = plane.url().parse()?;
        let host: IpAddr = api.host().context("the API server has no address")?.parse()?;
        let port = api.port_u16().context("the API server has no port")?;
        let tcp = |name: &str, address: IpAddr, port: u16| Goal::new(name, Protocol::Tcp, address, port);
        let mut goals = vec![
            tcp("DNS", "10.96.0.10".parse()?, 53).before(dns, 53),
            tcp("DNS", dns, 53),
            Goal::new("DNS", Protocol::Udp, "10.96.0.10".parse()?, 53).before(dns, 53),
            tcp("DNS other port", dns, 8181),
            tcp("API server", "10.96.0.1".parse()?, 443).before(host, port),
            tcp("API server", host, port),
        ];
        for node in Api::<Node>::all(client).list(&ListParams::default()).await? {
            let addresses = node.status.and_then(|it| it.addresses).unwrap_or_default();
            let internal =
                addresses.into_iter().find(|it| it.type_ == "InternalIP").context("a node has no address")?;
            goals.push(tcp("kubelets", internal.address.parse()?, 10250));
        }
        goals.push(tcp("metadata", METADATA.parse()?, 80));
        goals.push(tcp("metadata v6", METADATA_V6.parse()?, 80));
        goals.push(tcp("outside", OUTSIDE.parse()?, 443));
        goals.push(Goal::new("outside", Protocol::Udp, OUTSIDE.parse()?, 53));
        Ok(Self { goals, dns: ("kube-system".to_owned(), labels, dns) })
    }
}
