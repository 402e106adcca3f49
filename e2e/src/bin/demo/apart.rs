//! What keeps two stacks apart. In: the stacks. Out: their policies and quotas, and that nothing in one speaks of another.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::objects::Stack;
use crate::show::Show;

/// The one peer outside its own namespace that a policy of a stack may name.
const DNS: &str = "kube-dns in kube-system";

/// What `finance` asks for in the quickstart.
pub(crate) const FINANCE: Asked = Asked { cpu: "4", memory: "16Gi", storage: "100Gi" };
/// What `research` asks for in the quickstart.
pub(crate) const RESEARCH: Asked = Asked { cpu: "8", memory: "32Gi", storage: "200Gi" };

/// What a workspace asks for.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) cpu: &'static str,
    pub(crate) memory: &'static str,
    pub(crate) storage: &'static str,
}

impl Asked {
    /// What its quota comes to.
    fn quota(&self) -> [(&'static str, &'static str); 9] {
        [
            ("requests.cpu", self.cpu),
            ("limits.cpu", self.cpu),
            ("requests.memory", self.memory),
            ("limits.memory", self.memory),
            ("requests.storage", self.storage),
            ("pods", "200"),
            ("services.loadbalancers", "0"),
            ("services.nodeports", "0"),
            ("count/ingresses.networking.k8s.io", "0"),
        ]
    }
}

/// Shows namespaces, policies and quotas of two stacks, each with what its workspace asks for; `all` are others beside them, and
/// `enforcement` is what their class says of the network.
pub(crate) async fn objects(
    show: &Show,
    client: &Client,
    all: &[&Stack],
    two: [(&Stack, Asked); 2],
    enforcement: &str,
) -> Result<()> {
    show.step("apart", "The two stacks are apart: namespaces, policies, quotas");
    let stacks = two.each_ref().map(|(stack, _)| *stack);
    let names: BTreeSet<&str> = all.iter().map(|stack| stack.namespace.as_str()).collect();
    show.check("each workspace has a namespace of its own", names.len() == all.len());
    namespaces(show, client, stacks).await?;
    policies(show, client, stacks, enforcement).await?;
    quotas(show, client, two).await
}

async fn namespaces(show: &Show, client: &Client, stacks: [&Stack; 2]) -> Result<()> {
    for stack in stacks {
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

async fn policies(show: &Show, client: &Client, stacks: [&Stack; 2], enforcement: &str) -> Result<()> {
    let mut tables = Vec::new();
    for stack in stacks {
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
    let [first, ..] = stacks;
    show.say(&format!("What isolation rests on, says status: {}", first.isolated));
    let (what, reason) = match enforcement {
        "Required" => ("status says that probes show on each node that the network enforces them", "True/Available"),
        _ => ("status says that enforcement is assumed, not shown", "True/Assumed"),
    };
    show.check(what, stacks.iter().all(|stack| stack.isolated.starts_with(reason)));
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

async fn quotas(show: &Show, client: &Client, two: [(&Stack, Asked); 2]) -> Result<()> {
    let [(one, of_one), (other, of_other)] = two;
    let (held, other_held) = (hard(client, one).await?, hard(client, other).await?);
    let mut rows = vec![vec!["RESOURCEQUOTA".to_owned(), one.workspace.to_uppercase(), other.workspace.to_uppercase()]];
    let mut is_as_written = true;
    for ((resource, wanted), (_, other_wanted)) in of_one.quota().into_iter().zip(of_other.quota()) {
        let found = |hard: &BTreeMap<String, String>| hard.get(resource).cloned().unwrap_or_else(|| "none".to_owned());
        let (left, right) = (found(&held), found(&other_held));
        is_as_written &= left == wanted && right == other_wanted;
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
