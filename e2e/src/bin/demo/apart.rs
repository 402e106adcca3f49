//! What keeps two stacks apart. In: the stacks. Out: their policies and quotas, and that nothing in one speaks of another.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use e2e::Tier;
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::objects::{Stack, Stacks};
use crate::scene::Scene;
use crate::show::Show;

/// The one peer outside its own namespace that a policy of a stack may name.
const DNS: &str = "kube-dns in kube-system";

/// What the quotas of `finance` and `research` in the quickstart come to.
const QUOTAS: [(&str, &str, &str); 9] = [
    ("requests.cpu", "4", "8"),
    ("limits.cpu", "4", "8"),
    ("requests.memory", "16Gi", "32Gi"),
    ("limits.memory", "16Gi", "32Gi"),
    ("requests.storage", "100Gi", "200Gi"),
    ("pods", "200", "200"),
    ("services.loadbalancers", "0", "0"),
    ("services.nodeports", "0", "0"),
    ("count/ingresses.networking.k8s.io", "0", "0"),
];

/// Shows namespaces, policies and quotas of the two stacks of the quickstart.
pub(crate) async fn objects(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<()> {
    show.step("apart", "The two stacks are apart: namespaces, policies, quotas");
    let client = scene.plane.admin()?;
    namespaces(show, &client, stacks).await?;
    policies(show, scene.plane.tier(), &client, stacks).await?;
    quotas(show, &client, stacks).await
}

async fn namespaces(show: &Show, client: &Client, stacks: &Stacks) -> Result<()> {
    let names: BTreeSet<&str> = stacks.all().map(|stack| stack.namespace.as_str()).into();
    show.check("each workspace has a namespace of its own", names.len() == stacks.all().len());
    for stack in [&stacks.finance, &stacks.research] {
        let namespace: Namespace = Api::all(client.clone()).get(&stack.namespace).await?;
        let has = |key: &str, value: &str| namespace.labels().get(key).is_some_and(|found| found == value);
        let is_restricted = ["enforce", "audit", "warn"]
            .iter()
            .all(|mode| has(&format!("pod-security.kubernetes.io/{mode}"), "restricted"));
        let is_marked = has("steading.dev/stack", &stack.identity);
        show.check(
            &format!("{}: Pod Security restricted, marked with identity {}", stack.namespace, stack.identity),
            is_restricted && is_marked,
        );
    }
    Ok(())
}

async fn policies(show: &Show, tier: Tier, client: &Client, stacks: &Stacks) -> Result<()> {
    let mut tables = Vec::new();
    for stack in [&stacks.finance, &stacks.research] {
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &stack.namespace);
        let listed = api.list(&ListParams::default()).await.context("cannot list NetworkPolicies")?.items;
        let rows: Vec<Policy> = listed.iter().map(Policy::of).collect();
        show.say(&format!("{} / {}", stack.workspace, stack.namespace));
        let heading = ["NETWORKPOLICY", "PODS", "LETS IN", "LETS OUT"].map(str::to_owned).to_vec();
        let cells = rows.iter().map(|it| [&it.name, &it.pods, &it.ingress, &it.egress].map(Clone::clone).to_vec());
        show.table(&[heading].into_iter().chain(cells).collect::<Vec<_>>());
        tables.push((stack, rows));
    }
    for (stack, rows) in &tables {
        let denies_all = rows
            .iter()
            .any(|it| it.name == "deny-all" && it.pods == "all" && it.ingress == "nothing" && it.egress == "nothing");
        show.check(&format!("{}: denied is every packet of every pod, both ways", stack.workspace), denies_all);
        let strangers: BTreeSet<&str> =
            rows.iter().flat_map(|it| &it.outside).map(String::as_str).filter(|peer| *peer != DNS).collect();
        show.check(
            &format!("{}: no exception leads out of its namespace, but to the cluster's DNS", stack.workspace),
            rows.len() == 4 && strangers.is_empty(),
        );
        show.check(
            &format!("{}: an exception is of one direction, and for Steading's own parts only", stack.workspace),
            rows.iter().filter(|it| it.name != "deny-all").all(|it| it.types == 1 && it.pods == "parts"),
        );
    }
    show.say("parts: pods of Steading's own in the stack; there are none in this version.");
    show.say(&format!("What isolation rests on, says status: {}", stacks.finance.isolated));
    let (what, reason) = match tier {
        Tier::Three => ("status says that probes show on each node that the network enforces them", "True/Available"),
        Tier::One | Tier::Two => ("status says that enforcement is assumed, not shown", "True/Assumed"),
    };
    let is_said = |stack: &Stack| stack.isolated.starts_with(reason);
    show.check(what, is_said(&stacks.finance) && is_said(&stacks.research));
    Ok(())
}

/// A NetworkPolicy in words.
struct Policy {
    name: String,
    pods: String,
    ingress: String,
    egress: String,
    types: usize,
    /// Peers that are not pods of its own namespace.
    outside: Vec<String>,
}

impl Policy {
    fn of(policy: &NetworkPolicy) -> Self {
        let spec = policy.spec.clone().unwrap_or_default();
        let ingress: Vec<_> = spec.ingress.iter().flatten().map(|rule| rule.from.clone()).collect();
        let egress: Vec<_> = spec.egress.iter().flatten().map(|rule| rule.to.clone()).collect();
        let types = spec.policy_types.clone().unwrap_or_default();
        let told = |direction: &str, rules: &[Option<Vec<NetworkPolicyPeer>>]| {
            let peers: BTreeSet<String> = rules.iter().flat_map(|rule| peers(rule.as_deref())).collect();
            match (types.iter().any(|it| it == direction), peers.is_empty()) {
                (false, _) => "-".to_owned(),
                (true, true) => "nothing".to_owned(),
                (true, false) => peers.into_iter().collect::<Vec<_>>().join(", "),
            }
        };
        let outside = ingress
            .iter()
            .chain(&egress)
            .flat_map(|rule| peers(rule.as_deref()))
            .filter(|peer| peer != "parts" && peer != "pods here");
        Self {
            name: policy.name_any(),
            pods: pods(&spec),
            ingress: told("Ingress", &ingress),
            egress: told("Egress", &egress),
            types: types.len(),
            outside: outside.collect(),
        }
    }
}

fn pods(spec: &NetworkPolicySpec) -> String {
    match &spec.pod_selector {
        None => "all".to_owned(),
        Some(selector) if selector == &LabelSelector::default() => "all".to_owned(),
        Some(selector) if is_parts(selector) => "parts".to_owned(),
        Some(selector) => format!("{selector:?}"),
    }
}

/// Whom a rule lets through. A rule without peers lets everybody through.
fn peers(rule: Option<&[NetworkPolicyPeer]>) -> Vec<String> {
    match rule {
        None | Some([]) => vec!["everybody".to_owned()],
        Some(peers) => peers.iter().map(peer).collect(),
    }
}

fn peer(peer: &NetworkPolicyPeer) -> String {
    match (&peer.ip_block, &peer.namespace_selector, &peer.pod_selector) {
        (None, None, Some(pods)) if is_parts(pods) => "parts".to_owned(),
        (None, None, Some(_)) => "pods here".to_owned(),
        (None, Some(namespaces), Some(pods))
            if is_label(namespaces, "kubernetes.io/metadata.name", "kube-system")
                && is_label(pods, "k8s-app", "kube-dns") =>
        {
            DNS.to_owned()
        }
        _ => format!("{peer:?}"),
    }
}

fn is_parts(selector: &LabelSelector) -> bool {
    let requirements = selector.match_expressions.as_deref().unwrap_or_default();
    selector.match_labels.is_none()
        && matches!(requirements, [one] if one.key == "steading.dev/part" && one.operator == "Exists")
}

fn is_label(selector: &LabelSelector, key: &str, value: &str) -> bool {
    let wanted = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    selector.match_expressions.is_none() && selector.match_labels.as_ref() == Some(&wanted)
}

async fn quotas(show: &Show, client: &Client, stacks: &Stacks) -> Result<()> {
    let finance = hard(client, &stacks.finance).await?;
    let research = hard(client, &stacks.research).await?;
    let mut rows = vec![["RESOURCEQUOTA", "FINANCE", "RESEARCH"].map(str::to_owned).to_vec()];
    let mut is_as_written = true;
    for (resource, of_finance, of_research) in QUOTAS {
        let found = |hard: &BTreeMap<String, String>| hard.get(resource).cloned().unwrap_or_else(|| "none".to_owned());
        let (left, right) = (found(&finance), found(&research));
        is_as_written &= left == of_finance && right == of_research;
        rows.push(vec![resource.to_owned(), left, right]);
    }
    show.table(&rows);
    show.check("each stack is held to what its workspace asks for, and has no way in from outside", is_as_written);
    Ok(())
}

/// What the stack is held to.
async fn hard(client: &Client, stack: &Stack) -> Result<BTreeMap<String, String>> {
    let quota: ResourceQuota = Api::namespaced(client.clone(), &stack.namespace).get("steading").await?;
    let hard = quota.spec.and_then(|spec| spec.hard).unwrap_or_default();
    Ok(hard.into_iter().map(|(resource, quantity)| (resource, quantity.0)).collect())
}
