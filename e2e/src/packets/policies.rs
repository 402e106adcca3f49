//! What the policies of a cluster say about packets. In: its objects. Out: the same as was seen, had every policy been enforced.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use model::network::{End, Network, Pod};

use super::{Crowd, Goal, Labels, Seen, Verdict};

/// What each pod of the crowd must reach of these goals by the policies that exist now. `others` are pods that are goals and do not
/// send: namespace, labels, address.
pub async fn predicted(
    client: &Client,
    crowd: &Crowd,
    goals: &[Goal],
    others: &[(String, Labels, IpAddr)],
) -> Result<Seen> {
    let network = network(client).await?;
    let named = |(number, (namespace, labels, address)): (usize, (&String, &Labels, &IpAddr))| Pod {
        namespace: namespace.clone(),
        name: number.to_string(),
        labels: labels.clone(),
        address: *address,
        ports: BTreeMap::new(),
    };
    let members = crowd.members().iter().map(|it| (&it.spot.namespace, &it.spot.labels, &it.address));
    let pods: Vec<Pod> = members.chain(others.iter().map(|(a, b, c)| (a, b, c))).enumerate().map(named).collect();
    let mut seen = Seen::new(goals);
    for (member, from) in crowd.members().iter().zip(&pods) {
        let verdict = |goal: &Goal| {
            let (address, port) = goal.behind.unwrap_or((goal.address, goal.port));
            // This cluster's network knows no address of version 6.
            if address.is_ipv6() {
                return Verdict::Blocked;
            }
            let to = pods.iter().find(|pod| pod.address == address).map_or(End::Address(address), End::Pod);
            match network.verdict(&End::Pod(from), &to, goal.protocol.name(), port.into()) {
                model::network::Verdict::Passes => Verdict::Open,
                model::network::Verdict::NotOut | model::network::Verdict::NotIn => Verdict::Blocked,
            }
        };
        seen.add(&member.spot.name(), goals.iter().map(verdict).collect());
    }
    Ok(seen)
}

async fn network(client: &Client) -> Result<Network> {
    let all = ListParams::default();
    let namespaces = Api::<Namespace>::all(client.clone()).list(&all).await?;
    let policies = Api::<NetworkPolicy>::all(client.clone()).list(&all).await?;
    let namespaces = namespaces.items.into_iter().map(|it| (it.name_any(), it.labels().clone()));
    Ok(Network { namespaces: namespaces.collect(), policies: policies.items })
}
