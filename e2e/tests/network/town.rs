//! Two tenants with a stack each, and those who are neither. In: a stage. Out: pods that send, and all that they can try to reach.

use anyhow::{Context as _, Result};
use api::{TenantClass, labels};
use e2e::packets::{Crowd, Goal, Labels, Member, Runtime, Spot, Surroundings};
use e2e::story::{Manifest, Platform, Stage, class, tenant, workspace};
use e2e::{Plane, Servers, unique};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

/// The port of a Service, which is not that of the pods behind it.
const SERVICE_PORT: u16 = 80;

/// An address of nobody's (RFC 5737), which a Service may claim for itself.
const CLAIMED: &str = "198.51.100.7";

pub fn labelled(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The stack namespace of a new tenant's workspace `finance`.
pub async fn stack_of(platform: &Platform, class: &Manifest<TenantClass>, name: &str) -> Result<String> {
    let tenant = platform.applied(tenant(&unique(name)).of_class(class)).await?;
    let finance = platform.applied(workspace("finance").of_tenant(&tenant)).await?;
    platform.until_ready(&finance).await?;
    platform.stack_of(&finance).await
}

/// Two tenants of a class.
pub async fn two_stacks(platform: &Platform, class: &Manifest<TenantClass>) -> Result<[String; 2]> {
    Ok([stack_of(platform, class, "acme").await?, stack_of(platform, class, "globex").await?])
}

/// Two tenants of a class of their own.
pub async fn two_new_stacks(stage: &Stage) -> Result<[String; 2]> {
    two_stacks(&stage.platform, &stage.platform.applied(class(&unique("onprem"))).await?).await
}

/// A class that leads to servers, which pods reach too.
pub fn of_servers(plane: &Plane, servers: &Servers) -> Manifest<TenantClass> {
    let spec = servers.class_spec(plane, "Assumed");
    ["residency", "keys", "buckets", "network"]
        .into_iter()
        .fold(class("onprem"), |class, field| class.with(field, spec[field].clone()))
}

/// A namespace without any policy.
pub async fn open_namespace(client: &Client, purpose: &str) -> Result<String> {
    let name = unique(purpose);
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(name)
}

/// A Service of its own before one pod.
pub async fn service_before(client: &Client, name: &str, member: &Member) -> Result<Goal> {
    let (protocol, port) = e2e::packets::PORTS[0];
    let service: Service = serde_json::from_value(json!({
        "metadata": { "generateName": "packets-" },
        "spec": {
            "selector": { "steading.test/pod": member.spot.labels.get("steading.test/pod").context("it has no label of its own")? },
            "ports": [{ "port": SERVICE_PORT, "targetPort": port }],
        },
    }))?;
    let made = Api::<Service>::namespaced(client.clone(), &member.spot.namespace)
        .create(&PostParams::default(), &service)
        .await?;
    let address = made.spec.and_then(|spec| spec.cluster_ip).context("a Service has no address")?;
    Ok(Goal::new(name, protocol, address.parse()?, SERVICE_PORT).before(member.address, port))
}

/// Two Services that somebody makes in a namespace of his own: one leads to a pod that is not his, and one claims an address of the
/// world for a pod of his, so that others send him what is not for him.
async fn forged(client: &Client, namespace: &str, theirs: &Member, his: &Member) -> Result<[Goal; 2]> {
    let (protocol, port) = e2e::packets::PORTS[0];
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let ports = json!([{ "name": "packets", "port": SERVICE_PORT, "targetPort": port }]);
    let forged = json!({ "metadata": { "name": "forged" }, "spec": { "ports": ports } });
    let lure = json!({ "metadata": { "name": "lure" }, "spec": { "ports": ports, "externalIPs": [CLAIMED] } });
    let made = services.create(&PostParams::default(), &serde_json::from_value(forged)?).await?;
    services.create(&PostParams::default(), &serde_json::from_value(lure)?).await?;
    for (service, address) in [("forged", theirs.address), ("lure", his.address)] {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": { "name": service, "labels": { "kubernetes.io/service-name": service } },
            "addressType": "IPv4",
            "ports": [{ "name": "packets", "port": port, "protocol": "TCP" }],
            "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }],
        }))?;
        Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &slice).await?;
    }
    let address = made.spec.and_then(|spec| spec.cluster_ip).context("a Service has no address")?;
    Ok([
        Goal::new("forged Service", protocol, address.parse()?, SERVICE_PORT).before(theirs.address, port),
        Goal::new("claimed address", protocol, CLAIMED.parse()?, SERVICE_PORT).before(his.address, port),
    ])
}

/// Parts of two stacks and a pod of the first that is none, under both kernels on both nodes, and two pods of nobody.
pub struct Town {
    /// The namespaces of both stacks.
    pub stacks: [String; 2],
    pub crowd: Crowd,
    pub goals: Vec<Goal>,
    pub surroundings: Surroundings,
}

impl Town {
    /// `client` is of somebody who may make pods in these stacks.
    pub async fn build(plane: &Plane, client: &Client, stacks: [String; 2]) -> Result<Self> {
        let platform = plane.admin()?;
        let nobody = open_namespace(&platform, "nobody").await?;
        let part = labelled(&[(labels::PART, "database")]);
        let mut spots = Vec::new();
        for (who, stack) in ["acme", "globex"].into_iter().zip(&stacks) {
            spots.extend(Spot::everywhere(who, stack, &part));
        }
        // Each can be named by a Service.
        for (number, spot) in spots.iter_mut().enumerate() {
            spot.labels.insert("steading.test/pod".to_owned(), number.to_string());
        }
        spots.push(Spot::new("acme, no part", &stacks[0], &labelled(&[("app", "own")]), Runtime::Runc, 1));
        // Whoever may label pods of his own must gain nothing by it.
        let posing = labelled(&[(labels::PART, "database"), ("k8s-app", "kube-dns")]);
        spots.push(Spot::new("nobody", &nobody, &posing, Runtime::Runc, 1));
        spots.push(Spot::new("nobody", &nobody, &posing, Runtime::Gvisor, 2));
        let crowd = Crowd::place(client, spots).await?;
        let surroundings = Surroundings::of(plane).await?;
        let mut goals = crowd.goals();
        for (name, member) in [("acme Service", 0), ("globex Service", 5)] {
            goals.push(service_before(client, name, &crowd.members()[member]).await?);
        }
        goals.extend(forged(&platform, &nobody, &crowd.members()[5], &crowd.members()[9]).await?);
        goals.extend(surroundings.goals.clone());
        Ok(Self { stacks, crowd, goals, surroundings })
    }
}
