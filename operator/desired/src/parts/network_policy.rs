//! The NetworkPolicies of a stack: everything is denied, and then as little as its parts need is allowed.
//!
//! Each allow policy has exactly one policy type. In at least one enforcer the ingress rules of a policy that names both types
//! also satisfy egress, so that such a policy would allow more than it says. Only the deny-all, which has no rules, names both.

use std::collections::BTreeSet;

use api::{ConsumerNamespace, labels};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use super::{DATABASE_PART, DRILL_PART, metadata};
use crate::{
    agents::RELAY_PORT,
    database::{Reach, range_of},
    workspace::Facts,
};

/// The port of DNS. Policies see the port of the DNS pod, which listens on the same one.
const DNS_PORT: i32 = 53;

/// Denies every packet to and from every pod of the stack. Both rule lists are written though they are empty: a rule that
/// somebody adds would otherwise be in a field that is not ours, and stay.
pub(crate) fn deny_all(facts: &Facts) -> NetworkPolicy {
    let spec = NetworkPolicySpec {
        pod_selector: Some(LabelSelector::default()),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(Vec::new()),
        egress: Some(Vec::new()),
    };
    NetworkPolicy { metadata: metadata(facts, "deny-all"), spec: Some(spec) }
}

/// Lets nobody in to agents: they dial out. It says so beside deny-all, so that nothing that selects every pod of the stack opens a way in.
pub(crate) fn agents_ingress(facts: &Facts) -> NetworkPolicy {
    let spec = NetworkPolicySpec {
        pod_selector: Some(agents()),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(Vec::new()),
        egress: None,
    };
    NetworkPolicy { metadata: metadata(facts, "agents-ingress"), spec: Some(spec) }
}

/// Lets agents out to the relay, which lies in this namespace beside Steading's operator, and to nobody else; not even to DNS.
pub(crate) fn agents_egress(facts: &Facts, operator_namespace: &str) -> NetworkPolicy {
    let spec = NetworkPolicySpec {
        pod_selector: Some(agents()),
        policy_types: Some(vec!["Egress".to_owned()]),
        ingress: None,
        egress: Some(vec![to_relay(operator_namespace)]),
    };
    NetworkPolicy { metadata: metadata(facts, "agents-egress"), spec: Some(spec) }
}

fn to_relay(namespace: &str) -> NetworkPolicyEgressRule {
    let pods = [("app.kubernetes.io/name", "steading-relay"), ("app.kubernetes.io/component", "nats")];
    let pods = pods.map(|(key, value)| (key.to_owned(), value.to_owned()));
    // One peer with both selectors: those pods in that namespace. As two peers it would mean either.
    let relay = NetworkPolicyPeer {
        namespace_selector: Some(labelled("kubernetes.io/metadata.name", namespace)),
        pod_selector: Some(LabelSelector { match_labels: Some(pods.into()), match_expressions: None }),
        ip_block: None,
    };
    NetworkPolicyEgressRule { to: Some(vec![relay]), ports: Some(vec![tcp(RELAY_PORT)]) }
}

/// The agents of the stack, of whichever pool. They are no parts.
fn agents() -> LabelSelector {
    let is_agent =
        LabelSelectorRequirement { key: labels::POOL.to_owned(), operator: "Exists".to_owned(), values: None };
    LabelSelector { match_expressions: Some(vec![is_agent]), match_labels: None }
}

/// Name of the policy for consumers.
pub const CONSUMERS: &str = "allow-database-consumers";

/// The port of PostgreSQL.
const POSTGRESQL_PORT: u16 = 5432;

/// The port at which CloudNativePG looks after an instance: its status and its orders. It never speaks to PostgreSQL itself.
const INSTANCE_PORT: u16 = 8000;

/// Lets CloudNativePG's own pods reach the instances of the database.
pub(crate) fn allow_database_operator(facts: &Facts, reach: &Reach) -> NetworkPolicy {
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(labelled("kubernetes.io/metadata.name", &reach.operator_namespace)),
        pod_selector: Some(labelled("app.kubernetes.io/name", "cloudnative-pg")),
        ip_block: None,
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(instances()),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![NetworkPolicyIngressRule {
            from: Some(vec![operator]),
            ports: Some(vec![tcp(INSTANCE_PORT)]),
        }]),
        egress: None,
    };
    NetworkPolicy { metadata: metadata(facts, "allow-database-operator"), spec: Some(spec) }
}

/// Lets the namespaces of consumers reach PostgreSQL, and nothing else of the stack. `None` without any: a rule without peers would let in
/// everybody.
pub(crate) fn allow_database_consumers(
    facts: &Facts,
    consumers: &BTreeSet<ConsumerNamespace>,
) -> Option<NetworkPolicy> {
    if consumers.is_empty() {
        return None;
    }
    let named = LabelSelectorRequirement {
        key: "kubernetes.io/metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(consumers.iter().map(ToString::to_string).collect()),
    };
    let consumers = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector { match_expressions: Some(vec![named]), match_labels: None }),
        ..NetworkPolicyPeer::default()
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(labelled(labels::PART, DATABASE_PART)),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![NetworkPolicyIngressRule {
            from: Some(vec![consumers]),
            ports: Some(vec![tcp(POSTGRESQL_PORT)]),
        }]),
        egress: None,
    };
    Some(NetworkPolicy { metadata: metadata(facts, CONSUMERS), spec: Some(spec) })
}

/// Lets the instances of the database reach the API server, from which they read their orders.
pub(crate) fn allow_database_api_server(facts: &Facts, reach: &Reach) -> NetworkPolicy {
    let rules = reach.api_server.iter().map(|address| outwards(vec![range_of(address.ip())], address.port()));
    egress_of_database(facts, "allow-database-api-server", rules.collect())
}

/// Lets the instances of the database send their backups.
pub(crate) fn allow_database_store(facts: &Facts, reach: &Reach) -> NetworkPolicy {
    let rule = outwards(reach.store.iter().cloned().collect(), reach.store_port);
    egress_of_database(facts, "allow-database-store", vec![rule])
}

fn egress_of_database(facts: &Facts, name: &str, rules: Vec<NetworkPolicyEgressRule>) -> NetworkPolicy {
    let spec = NetworkPolicySpec { pod_selector: Some(instances()), ..egress_of_parts(rules) };
    NetworkPolicy { metadata: metadata(facts, name), spec: Some(spec) }
}

fn outwards(ranges: Vec<String>, port: u16) -> NetworkPolicyEgressRule {
    let block =
        |cidr| NetworkPolicyPeer { ip_block: Some(IPBlock { cidr, except: None }), ..NetworkPolicyPeer::default() };
    NetworkPolicyEgressRule { to: Some(ranges.into_iter().map(block).collect()), ports: Some(vec![tcp(port)]) }
}

fn tcp(port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort { port: Some(IntOrString::Int(port.into())), protocol: Some("TCP".to_owned()), end_port: None }
}

/// Lets the stack's own parts be reached by its other parts. No namespace selector: only pods of the same namespace are meant.
pub(crate) fn allow_parts_ingress(facts: &Facts) -> NetworkPolicy {
    let from_parts = NetworkPolicyIngressRule { from: Some(vec![parts_here()]), ports: None };
    let spec = NetworkPolicySpec {
        pod_selector: Some(parts()),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![from_parts]),
        egress: None,
    };
    NetworkPolicy { metadata: metadata(facts, "allow-parts-ingress"), spec: Some(spec) }
}

/// Lets the stack's own parts reach its other parts.
pub(crate) fn allow_parts_egress(facts: &Facts) -> NetworkPolicy {
    let to_parts = NetworkPolicyEgressRule { to: Some(vec![parts_here()]), ports: None };
    NetworkPolicy { metadata: metadata(facts, "allow-parts-egress"), spec: Some(egress_of_parts(vec![to_parts])) }
}

/// Lets the stack's own parts ask the cluster's DNS, and nothing else in its namespace.
pub(crate) fn allow_dns(facts: &Facts) -> NetworkPolicy {
    let port = |protocol: &str| NetworkPolicyPort {
        port: Some(IntOrString::Int(DNS_PORT)),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    };
    // One peer with both selectors: those pods in that namespace. As two peers it would mean either.
    let dns_pods = NetworkPolicyPeer {
        namespace_selector: Some(labelled("kubernetes.io/metadata.name", "kube-system")),
        pod_selector: Some(labelled("k8s-app", "kube-dns")),
        ip_block: None,
    };
    let to_dns = NetworkPolicyEgressRule { to: Some(vec![dns_pods]), ports: Some(vec![port("UDP"), port("TCP")]) };
    NetworkPolicy { metadata: metadata(facts, "allow-dns"), spec: Some(egress_of_parts(vec![to_dns])) }
}

fn egress_of_parts(rules: Vec<NetworkPolicyEgressRule>) -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: Some(parts()),
        policy_types: Some(vec!["Egress".to_owned()]),
        ingress: None,
        egress: Some(rules),
    }
}

/// The instances of the database, and the one that is restored from its backups to be looked at.
fn instances() -> LabelSelector {
    let either = LabelSelectorRequirement {
        key: labels::PART.to_owned(),
        operator: "In".to_owned(),
        values: Some([DATABASE_PART, DRILL_PART].map(str::to_owned).to_vec()),
    };
    LabelSelector { match_expressions: Some(vec![either]), match_labels: None }
}

/// The pods that are parts of the stack, whichever part.
fn parts() -> LabelSelector {
    let is_part =
        LabelSelectorRequirement { key: labels::PART.to_owned(), operator: "Exists".to_owned(), values: None };
    LabelSelector { match_expressions: Some(vec![is_part]), match_labels: None }
}

/// The parts of this stack, as a peer.
fn parts_here() -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(parts()), namespace_selector: None, ip_block: None }
}

fn labelled(key: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some([(key.to_owned(), value.to_owned())].into()), match_expressions: None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{acme_finance, json_of};

    fn spec_of(build: fn(&Facts) -> NetworkPolicy) -> Value {
        json_of(&build(&acme_finance())).get("spec").unwrap().clone()
    }

    fn parts_json() -> Value {
        json!({"matchExpressions": [{"key": "steading.dev/part", "operator": "Exists"}]})
    }

    #[test]
    fn deny_all_selects_every_pod_in_both_directions_and_allows_nothing() {
        assert_eq!(
            spec_of(deny_all),
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []})
        );
    }

    #[test]
    fn a_database_is_reached_from_the_namespaces_of_its_consumers_at_the_port_of_postgresql_only() {
        assert_eq!(
            allow_database_consumers(&acme_finance(), &BTreeSet::new()),
            None,
            "without consumers there is no rule"
        );
        let consumers = ["shop", "billing"].map(|name| name.parse().unwrap()).into();
        let policy = allow_database_consumers(&acme_finance(), &consumers).unwrap();
        assert_eq!(
            json_of(&policy).get("spec"),
            Some(&json!({
                "podSelector": {"matchLabels": {"steading.dev/part": "database"}},
                "policyTypes": ["Ingress"],
                "ingress": [{
                    "from": [{"namespaceSelector": {"matchExpressions": [
                        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["billing", "shop"]},
                    ]}}],
                    "ports": [{"port": 5432, "protocol": "TCP"}],
                }],
            }))
        );
    }

    #[test]
    fn parts_are_reached_by_parts_of_the_same_namespace_only() {
        assert_eq!(
            spec_of(allow_parts_ingress),
            json!({"podSelector": parts_json(), "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": parts_json()}]}]})
        );
    }

    #[test]
    fn parts_reach_parts_of_the_same_namespace_only() {
        assert_eq!(
            spec_of(allow_parts_egress),
            json!({"podSelector": parts_json(), "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": parts_json()}]}]})
        );
    }

    #[test]
    fn parts_reach_the_dns_pods_of_kube_system_on_the_dns_port_only() {
        assert_eq!(
            spec_of(allow_dns),
            json!({
                "podSelector": parts_json(), "policyTypes": ["Egress"],
                "egress": [{
                    "to": [{
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                    }],
                    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
                }],
            })
        );
    }
}
