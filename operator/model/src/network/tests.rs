use serde_json::{Value, json};

use super::*;

fn pod(namespace: &str, name: &str, labels: Value) -> Pod {
    Pod {
        namespace: namespace.into(),
        name: name.into(),
        labels: serde_json::from_value(labels).unwrap(),
        address: "10.0.0.1".parse().unwrap(),
        ports: BTreeMap::from([("web".to_owned(), 8080)]),
    }
}

fn policy(namespace: &str, spec: impl Into<Value>) -> NetworkPolicy {
    let spec: Value = spec.into();
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": namespace}, "spec": spec})).unwrap()
}

fn network(policies: Vec<NetworkPolicy>) -> Network {
    let labels = |name: &str| Labels::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]);
    let namespaces = ["a", "b"].map(|name| (name.to_owned(), labels(name)));
    Network { namespaces: namespaces.into(), policies }
}

/// Whether pod `x` of namespace `b` reaches the web server in `a` on this port.
fn reaches(spec: Value, port: i32) -> Verdict {
    let network = network(vec![policy("a", spec)]);
    let (client, server) = (pod("b", "x", json!({"app": "client"})), pod("a", "s", json!({"app": "server"})));
    network.verdict(&End::Pod(&client), &End::Pod(&server), "TCP", port)
}

#[test]
fn where_no_policy_selects_everything_passes() {
    assert_eq!(
        reaches(json!({"podSelector": {"matchLabels": {"app": "other"}}, "policyTypes": ["Ingress"]}), 80),
        Verdict::Passes
    );
    assert_eq!(reaches(json!({"podSelector": {}, "policyTypes": ["Egress"]}), 80), Verdict::Passes);
}

#[test]
fn a_selected_pod_gets_in_only_what_a_rule_allows() {
    assert_eq!(reaches(json!({"podSelector": {}, "policyTypes": ["Ingress"]}), 80), Verdict::NotIn);
    assert_eq!(reaches(json!({"podSelector": {}}), 80), Verdict::NotIn, "ingress is meant where nothing is said");
    assert_eq!(reaches(json!({"podSelector": {}, "ingress": [{}]}), 80), Verdict::Passes, "an empty rule allows all");
}

#[test]
fn two_selectors_in_one_peer_mean_both_and_in_two_peers_either() {
    let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": "b"}});
    let stranger = json!({"matchLabels": {"app": "stranger"}});
    let both =
        json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": namespace, "podSelector": stranger}]}]});
    let either = json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": namespace}, {"podSelector": stranger}]}]});
    assert_eq!((reaches(both, 80), reaches(either, 80)), (Verdict::NotIn, Verdict::Passes));
}

#[test]
fn a_pod_selector_alone_means_pods_of_the_same_namespace() {
    let spec = json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]});
    assert_eq!(reaches(spec, 80), Verdict::NotIn);
}

#[test]
fn ports_are_meant_by_number_range_name_and_protocol() {
    let ports = |ports: Value| json!({"podSelector": {}, "ingress": [{"ports": ports}]});
    for (allowed, port, verdict) in [
        (json!([{"port": 80}]), 80, Verdict::Passes),
        (json!([{"port": 80}]), 81, Verdict::NotIn),
        (json!([{"port": 80, "endPort": 82}]), 82, Verdict::Passes),
        (json!([{"port": 80, "endPort": 82}]), 83, Verdict::NotIn),
        (json!([{"port": "web"}]), 8080, Verdict::Passes),
        (json!([{"port": "web"}]), 80, Verdict::NotIn),
        (json!([{"port": "nothing"}]), 80, Verdict::NotIn),
        (json!([{"port": 80, "protocol": "UDP"}]), 80, Verdict::NotIn),
        (json!([{"protocol": "TCP"}]), 80, Verdict::Passes),
    ] {
        assert_eq!(reaches(ports(allowed.clone()), port), verdict, "{allowed} {port}");
    }
}

#[test]
fn policies_add_up() {
    let deny = policy("a", json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
    let allow = policy("a", json!({"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}));
    let (client, server) = (pod("b", "x", json!({})), pod("a", "s", json!({})));
    let network = network(vec![deny, allow]);
    assert_eq!(network.verdict(&End::Pod(&client), &End::Pod(&server), "TCP", 80), Verdict::Passes);
    assert_eq!(network.verdict(&End::Pod(&client), &End::Pod(&server), "TCP", 81), Verdict::NotIn);
}

#[test]
fn egress_speaks_of_addresses_with_exceptions() {
    let spec = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]}]});
    let network = network(vec![policy("a", spec)]);
    let sender = pod("a", "s", json!({}));
    let to = |address: &str| network.verdict(&End::Pod(&sender), &End::Address(address.parse().unwrap()), "TCP", 80);
    assert_eq!((to("203.0.113.7"), to("169.254.169.254")), (Verdict::Passes, Verdict::NotOut));
    assert_eq!(to("2001:db8::1"), Verdict::NotOut, "another family is another world");
}

#[test]
fn ranges_hold_what_they_say() {
    for (range, address, inside) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.1/32", "10.0.0.1", true),
        ("10.0.0.1/32", "10.0.0.0", false),
        ("fd00::/8", "fd12::1", true),
        ("fe80::/10", "fd12::1", false),
        ("10.0.0.0/33", "10.0.0.0", false),
        ("nonsense", "10.0.0.0", false),
    ] {
        assert_eq!(in_range(range, address.parse().unwrap()), inside, "{range} {address}");
    }
}

#[test]
fn every_operator_of_a_selector_is_known() {
    let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
    let selector = |operator: &str, key: &str, values: &[&str]| {
        serde_json::from_value::<LabelSelector>(
            json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}),
        )
        .unwrap()
    };
    for (operator, key, values, expected) in [
        ("In", "app", &["web"][..], true),
        ("In", "app", &["db"], false),
        ("In", "tier", &["web"], false),
        ("NotIn", "app", &["web"], false),
        ("NotIn", "app", &["db"], true),
        ("NotIn", "tier", &["web"], true),
        ("Exists", "app", &[], true),
        ("Exists", "tier", &[], false),
        ("DoesNotExist", "tier", &[], true),
        ("DoesNotExist", "app", &[], false),
    ] {
        assert_eq!(matches(&selector(operator, key, values), &labels), expected, "{operator} {key} {values:?}");
    }
}

#[test]
fn nobody_keeps_a_pod_from_itself() {
    let network = network(vec![policy("a", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))]);
    let one = pod("a", "s", json!({}));
    assert_eq!(network.verdict(&End::Pod(&one), &End::Pod(&one), "TCP", 80), Verdict::Passes);
}
