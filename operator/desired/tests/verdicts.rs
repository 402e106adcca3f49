//! What the policies of a stack mean: who reaches whom, for any two stacks, as one table. It is what the policies say; that a network
//! enforces it is shown by packets on real nodes alone.

// Helpers of tests are tests: clippy.toml lets only functions marked as tests unwrap.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeMap, fmt::Write as _};

use api::{Amounts, labels};
use desired::workspace::{Facts, stack};
use model::network::{End, Labels, Network, Pod, Verdict};
use proptest::prelude::*;

/// Who sends and who receives, with the address of what is no pod.
const ENDS: [(&str, &str); 11] = [
    ("acme/finance part", ""),
    ("acme/finance other part", ""),
    ("acme/finance plain pod", ""),
    ("acme/sales part", ""),
    ("globex/finance part", ""),
    ("DNS", ""),
    ("kube-system pod", ""),
    ("pod of nobody", ""),
    ("API server", "10.96.0.1"),
    ("metadata", "169.254.169.254"),
    ("outside", "203.0.113.7"),
];

/// What is asked of each pair: DNS, and what applications speak.
const PORTS: [(&str, i32); 4] = [("UDP", 53), ("TCP", 53), ("TCP", 443), ("TCP", 5432)];

/// `*` everything passes, `d` DNS alone, `o` nothing gets out of the sender, `i` nothing gets in to the receiver.
const TABLE: &str = "
from \\ to                  1 2 3 4 5 6 7 8 9 10 11
 1 acme/finance part       * * o o o d o o o o o
 2 acme/finance other part * * o o o d o o o o o
 3 acme/finance plain pod  o o * o o o o o o o o
 4 acme/sales part         o o o * o d o o o o o
 5 globex/finance part     o o o o * d o o o o o
 6 DNS                     i i i i i * * * * * *
 7 kube-system pod         i i i i i * * * * * *
 8 pod of nobody           i i i i i * * * * * *
 9 API server              i i i i i * * * * * *
10 metadata                i i i i i * * * * * *
11 outside                 i i i i i * * * * * *
";

fn facts(tenant: &str, workspace: &str, number: u64) -> Facts {
    Facts {
        tenant: tenant.parse().unwrap(),
        workspace: workspace.parse().unwrap(),
        identity: format!("00000000-0000-4000-8000-{number:012}").parse().unwrap(),
        owners: Vec::new(),
        members: Vec::new(),
        granted: Amounts::default(),
        database: None,
        agents: None,
    }
}

fn labelled(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The label that every namespace has.
fn named(name: &str) -> (String, String) {
    ("kubernetes.io/metadata.name".to_owned(), name.to_owned())
}

/// A cluster with these stacks.
fn network_of(stacks: &[Facts]) -> Network {
    let mut network = Network::default();
    for facts in stacks {
        let stack = stack(facts);
        let labels = stack.namespace.metadata.labels.into_iter().flatten().chain([named(facts.namespace().as_str())]);
        network.namespaces.insert(facts.namespace().to_string(), labels.collect());
        let policies = [stack.deny_all, stack.allow_parts_ingress, stack.allow_parts_egress, stack.allow_dns];
        network.policies.extend(policies);
    }
    for name in ["kube-system", "default"] {
        network.namespaces.insert(name.to_owned(), [named(name)].into());
    }
    network
}

/// Three stacks beside what every cluster has.
fn cluster() -> (Network, BTreeMap<&'static str, Pod>) {
    let stacks = [facts("acme", "finance", 1), facts("acme", "sales", 2), facts("globex", "finance", 3)];
    let network = network_of(&stacks);
    let namespace = |index: usize| stacks[index].namespace().to_string();
    let part = |name| labelled(&[(labels::PART, name)]);
    let pods = [
        ("acme/finance part", namespace(0), part("database")),
        ("acme/finance other part", namespace(0), part("canary")),
        ("acme/finance plain pod", namespace(0), labelled(&[("app", "own")])),
        ("acme/sales part", namespace(1), part("database")),
        ("globex/finance part", namespace(2), part("database")),
        ("DNS", "kube-system".to_owned(), labelled(&[("k8s-app", "kube-dns")])),
        ("kube-system pod", "kube-system".to_owned(), labelled(&[("k8s-app", "metrics-server")])),
        // Whoever may label his own pods must gain nothing by it.
        ("pod of nobody", "default".to_owned(), labelled(&[(labels::PART, "database"), ("k8s-app", "kube-dns")])),
    ];
    let pods = pods.into_iter().enumerate().map(|(number, (end, namespace, labels))| {
        let address = format!("10.244.0.{number}").parse().unwrap();
        (end, Pod { namespace, name: end.to_owned(), labels, address, ports: BTreeMap::new() })
    });
    (network, pods.collect())
}

fn end<'a>(pods: &'a BTreeMap<&'static str, Pod>, (name, address): (&'static str, &str)) -> End<'a> {
    pods.get(name).map_or_else(|| End::Address(address.parse().unwrap()), End::Pod)
}

/// All ports in one character.
fn cell(network: &Network, from: &End<'_>, to: &End<'_>) -> char {
    let verdicts = PORTS.map(|(protocol, port)| network.verdict(from, to, protocol, port));
    match verdicts {
        [Verdict::Passes, Verdict::Passes, Verdict::Passes, Verdict::Passes] => '*',
        [Verdict::Passes, Verdict::Passes, Verdict::NotOut, Verdict::NotOut] => 'd',
        [Verdict::NotOut, Verdict::NotOut, Verdict::NotOut, Verdict::NotOut] => 'o',
        [Verdict::NotIn, Verdict::NotIn, Verdict::NotIn, Verdict::NotIn] => 'i',
        other => panic!("no character for {other:?}"),
    }
}

#[test]
fn stacks_reach_their_own_parts_and_dns_and_nobody_else_reaches_them() {
    let (network, pods) = cluster();
    let mut table = format!("\n{:<26}", "from \\ to");
    table.extend((1..=ENDS.len()).map(|number| format!(" {number}")));
    for (number, from) in ENDS.into_iter().enumerate() {
        write!(table, "\n{:>2} {:<23}", number + 1, from.0).unwrap();
        for to in ENDS {
            write!(table, " {}", cell(&network, &end(&pods, from), &end(&pods, to))).unwrap();
        }
    }
    table.push('\n');
    println!("{table}");
    assert_eq!(table, TABLE);
}

fn any_name() -> impl Strategy<Value = String> {
    // Few letters and many dashes, so that names that run into one another are among them.
    "[ab]([ab-]{0,4}[ab])?"
}

/// Whatever a tenant may write on its pods: the marks of our own parts, and of the cluster's DNS, among it.
fn any_labels() -> impl Strategy<Value = Labels> {
    let pairs = [(labels::PART, "database"), ("k8s-app", "kube-dns"), ("app", "web"), ("name", "kube-system")];
    prop::sample::subsequence(pairs.to_vec(), 0..=pairs.len()).prop_map(|pairs| labelled(&pairs))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_packet_passes_between_two_stacks_whatever_they_and_their_pods_are_called(
        names in (any_name(), any_name(), any_name(), any_name()),
        numbers in (0_u64..1_000, 1_000_u64..2_000),
        pods in (any_labels(), any_labels()),
        protocol in prop_oneof![Just("TCP"), Just("UDP"), Just("SCTP")],
        port in prop_oneof![Just(53), Just(443), 1..65_536_i32],
    ) {
        let stacks = [facts(&names.0, &names.1, numbers.0), facts(&names.2, &names.3, numbers.1)];
        let network = network_of(&stacks);
        let pod = |index: usize, labels: &Labels| Pod {
            namespace: stacks[index].namespace().to_string(),
            name: format!("pod-{index}"),
            labels: labels.clone(),
            address: format!("10.244.0.{index}").parse().unwrap(),
            ports: BTreeMap::new(),
        };
        let (one, other) = (pod(0, &pods.0), pod(1, &pods.1));
        prop_assert_eq!(network.verdict(&End::Pod(&one), &End::Pod(&other), protocol, port), Verdict::NotOut);
        prop_assert_eq!(network.verdict(&End::Pod(&other), &End::Pod(&one), protocol, port), Verdict::NotOut);
        // Also where one side's policies are lost: the other side's alone keep them apart.
        let half = Network { policies: network.policies.iter().filter(|policy| policy.metadata.namespace.as_deref() == Some(stacks[1].namespace().as_str())).cloned().collect(), ..network };
        prop_assert_eq!(half.verdict(&End::Pod(&one), &End::Pod(&other), protocol, port), Verdict::NotIn);
    }
}
