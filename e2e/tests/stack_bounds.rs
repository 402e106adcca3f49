//! What a stack refuses by itself: quota, limits and Pod Security as `desired` makes them, tried on a real control plane.

// Helpers of tests are tests: clippy.toml lets only functions marked as tests unwrap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use api::{Amounts, labels};
use desired::workspace::{Facts, Stack, stack};
use e2e::{Plane, Tier, unique};
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Namespace, Pod, ResourceQuota, Service, ServiceAccount},
    networking::v1::Ingress,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
    runtime::wait::await_condition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// How long the controllers may take to count a quota or to make a ServiceAccount.
const PATIENCE: Duration = Duration::from_mins(1);

/// A stack with this quota, in which pods can be made: its quota is counted and its ServiceAccount is there.
async fn stand(client: &Client, granted: Amounts) -> String {
    let facts = Facts {
        tenant: unique("acme").parse().unwrap(),
        workspace: "finance".parse().unwrap(),
        identity: uuid::Uuid::new_v4().to_string().parse().unwrap(),
        owners: Vec::new(),
        members: Vec::new(),
        granted,
        database: None,
        agents: None,
    };
    let namespace = facts.namespace().to_string();
    // Policies and bindings bound nothing here.
    let Stack { namespace: object, quota, limits, .. } = stack(&facts);
    apply(&Api::<Namespace>::all(client.clone()), &object).await;
    apply(&Api::namespaced(client.clone(), &namespace), &limits).await;
    apply(&Api::namespaced(client.clone(), &namespace), &quota).await;
    let counted = |quota: Option<&ResourceQuota>| {
        let (spec, status) = quota.map(|quota| (quota.spec.as_ref(), quota.status.as_ref())).unwrap_or_default();
        status.is_some_and(|status| {
            status.used.is_some() && status.hard.is_some() && status.hard == spec.and_then(|spec| spec.hard.clone())
        })
    };
    let quotas = Api::<ResourceQuota>::namespaced(client.clone(), &namespace);
    tokio::time::timeout(PATIENCE, await_condition(quotas, "steading", counted))
        .await
        .expect("the quota is counted")
        .unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &namespace);
    let there = |account: Option<&ServiceAccount>| account.is_some();
    tokio::time::timeout(PATIENCE, await_condition(accounts, "default", there))
        .await
        .expect("the ServiceAccount is there")
        .unwrap();
    namespace
}

async fn apply<K>(api: &Api<K>, object: &K)
where
    K: Resource + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let parameters = PatchParams::apply(labels::MANAGER_WORKSPACE).force();
    api.patch(object.meta().name.as_deref().unwrap(), &parameters, &Patch::Apply(object)).await.unwrap();
}

/// Tries to create an object; `Err` holds the message of the refusal.
async fn create<K>(client: &Client, namespace: &str, object: Value) -> Result<(), String>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let object: K = serde_json::from_value(object).unwrap();
    let api = Api::<K>::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &object).await.map(|_| ()).map_err(|error| error.to_string())
}

/// A pod that Pod Security accepts, of containers with these resources.
fn pod(containers: &[Value]) -> Value {
    let container = |(index, resources): (usize, &Value)| {
        json!({
            "name": format!("part-{index}"), "image": "registry.example/part", "resources": resources,
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "part-"},
        "spec": {
            "containers": containers.iter().enumerate().map(container).collect::<Vec<_>>(),
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        },
    })
}

fn ordinary() -> Amounts {
    Amounts { cpu: Some(4_000), memory: Some(8 << 30), storage: Some(10 << 30), agents: None }
}

#[tokio::test]
async fn a_pod_that_says_nothing_fits_the_smallest_quota_there_is() {
    let client = Plane::shared(Tier::Two).await.unwrap().admin().unwrap();
    let smallest = Amounts { cpu: Some(1), memory: Some(1 << 20), storage: Some(1 << 20), agents: None };
    let namespace = stand(&client, smallest).await;
    create::<Pod>(&client, &namespace, pod(&[json!({})])).await.unwrap();
    let second = create::<Pod>(&client, &namespace, pod(&[json!({})])).await.unwrap_err();
    assert!(second.contains("exceeded quota: steading"), "{second}");
}

#[tokio::test]
async fn eight_containers_that_say_nothing_fit_a_small_quota() {
    let client = Plane::shared(Tier::Two).await.unwrap().admin().unwrap();
    let small = Amounts { cpu: Some(100), memory: Some(64 << 20), ..Amounts::default() };
    let namespace = stand(&client, small).await;
    create::<Pod>(&client, &namespace, pod(&vec![json!({}); 8])).await.unwrap();
    let ninth = create::<Pod>(&client, &namespace, pod(&[json!({"limits": {"cpu": "12m", "memory": "8Mi"}})]))
        .await
        .unwrap_err();
    assert!(ninth.contains("exceeded quota: steading"), "{ninth}");
}

#[tokio::test]
async fn a_pod_may_use_all_that_was_granted_and_no_more() {
    let client = Plane::shared(Tier::Two).await.unwrap().admin().unwrap();
    let namespace = stand(&client, ordinary()).await;
    let using = |cpu: &str| pod(&[json!({"limits": {"cpu": cpu, "memory": "8Gi"}})]);
    let refused = create::<Pod>(&client, &namespace, using("4001m")).await.unwrap_err();
    assert!(refused.contains("maximum cpu usage per Container is 4"), "{refused}");
    create::<Pod>(&client, &namespace, using("4")).await.unwrap();
}

#[tokio::test]
async fn where_nothing_was_limited_a_pod_of_any_size_is_accepted() {
    let client = Plane::shared(Tier::Two).await.unwrap().admin().unwrap();
    let namespace = stand(&client, Amounts::default()).await;
    create::<Pod>(&client, &namespace, pod(&[json!({"requests": {"cpu": "900", "memory": "9Ti"}})])).await.unwrap();
    create::<Pod>(&client, &namespace, pod(&[json!({})])).await.unwrap();
}

#[tokio::test]
async fn a_pod_that_is_not_restricted_is_refused() {
    let client = Plane::shared(Tier::Two).await.unwrap().admin().unwrap();
    let namespace = stand(&client, ordinary()).await;
    for (field, value) in [("hostNetwork", json!(true)), ("hostPID", json!(true)), ("securityContext", json!({}))] {
        let mut weak = pod(&[json!({})]);
        weak["spec"][field] = value;
        let refused = create::<Pod>(&client, &namespace, weak).await.unwrap_err();
        assert!(refused.contains("violates PodSecurity \"restricted:latest\""), "{field}: {refused}");
    }
}

#[tokio::test]
async fn nothing_opens_a_way_in_from_outside() {
    let client = Plane::shared(Tier::Two).await.unwrap().admin().unwrap();
    let namespace = stand(&client, ordinary()).await;
    let service = |kind: &str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": "door-"}, "spec": {"type": kind, "ports": [{"port": 80}]}});
    for (kind, counted) in [("LoadBalancer", "services.loadbalancers"), ("NodePort", "services.nodeports")] {
        let refused = create::<Service>(&client, &namespace, service(kind)).await.unwrap_err();
        assert!(refused.contains("exceeded quota: steading") && refused.contains(counted), "{kind}: {refused}");
    }
    create::<Service>(&client, &namespace, service("ClusterIP")).await.unwrap();

    let backend = json!({"service": {"name": "door", "port": {"number": 80}}});
    let ingress = json!({"metadata": {"generateName": "door-"}, "spec": {"defaultBackend": backend}});
    let refused = create::<Ingress>(&client, &namespace, ingress).await.unwrap_err();
    assert!(refused.contains("exceeded quota: steading"), "{refused}");
}

#[tokio::test]
async fn no_daemon_runs_on_every_node() {
    let client = Plane::shared(Tier::Two).await.unwrap().admin().unwrap();
    let namespace = stand(&client, ordinary()).await;
    let mut template = pod(&[json!({})]);
    template["metadata"] = json!({"labels": {"app": "daemon"}});
    let daemon = json!({"metadata": {"generateName": "daemon-"}, "spec": {"selector": {"matchLabels": {"app": "daemon"}}, "template": template}});
    let refused = create::<DaemonSet>(&client, &namespace, daemon).await.unwrap_err();
    assert!(refused.contains("exceeded quota: steading"), "{refused}");
}
