//! What NetworkPolicies mean: may this end send packets to that one?
//!
//! In: namespaces, pods and policies as objects, two ends, protocol and port. Out: a [`Verdict`]. The semantics are those of the
//! documentation of `networking.k8s.io/v1`: a pod that no policy selects in a direction is open in it; a pod that some select may do
//! what any of them allows; a packet passes if the sender may send and the receiver may receive.
//!
//! **It leaves out** what a policy cannot say: answers to packets that passed (they pass), packets of a node to its own pods (they
//! always pass), pods on the host's network, and addresses that are rewritten on the way, such as those of Services: ask about the
//! pod behind. Whether an `ipBlock` also means pods is left to the enforcer; here it means whoever has the address. Whether the
//! network enforces any of it is shown by packets alone.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

/// Labels of a pod or namespace.
pub type Labels = BTreeMap<String, String>;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its address.
    pub address: IpAddr,
    /// Ports that its containers give names to.
    pub ports: BTreeMap<String, i32>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A pod of the cluster.
    Pod(&'a Pod),
    /// Whatever else has this address.
    Address(IpAddr),
}

impl End<'_> {
    fn address(&self) -> IpAddr {
        match self {
            Self::Pod(pod) => pod.address,
            Self::Address(address) => *address,
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives.
    Passes,
    /// The sender's policies let it not out.
    NotOut,
    /// The receiver's policies let it not in.
    NotIn,
}

/// All that policies look at.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Labels of each namespace.
    pub namespaces: BTreeMap<String, Labels>,
    /// All policies.
    pub policies: Vec<NetworkPolicy>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

impl Network {
    /// What becomes of a packet of `protocol` (`TCP`, `UDP`, `SCTP`) to this port.
    #[must_use]
    pub fn verdict(&self, from: &End<'_>, to: &End<'_>, protocol: &str, port: i32) -> Verdict {
        if let (End::Pod(one), End::Pod(other)) = (from, to)
            && one == other
        {
            return Verdict::Passes; // nobody can keep a pod from itself
        }
        if !self.lets(Direction::Egress, from, to, to, protocol, port) {
            return Verdict::NotOut;
        }
        if self.lets(Direction::Ingress, to, from, to, protocol, port) { Verdict::Passes } else { Verdict::NotIn }
    }

    /// Whether the policies of `subject` let packets of or to `peer` pass; `to` is the one of both that receives.
    fn lets(
        &self,
        direction: Direction,
        subject: &End<'_>,
        peer: &End<'_>,
        to: &End<'_>,
        protocol: &str,
        port: i32,
    ) -> bool {
        let End::Pod(pod) = subject else { return true }; // policies select pods only
        let mut isolated = false;
        for policy in self.policies.iter().filter(|policy| selects(policy, pod) && speaks_of(policy, direction)) {
            isolated = true;
            let allowed = rules(policy, direction)
                .into_iter()
                .any(|rule| self.is_peer(policy, rule.peers, peer) && is_port(rule.ports, to, protocol, port));
            if allowed {
                return true;
            }
        }
        !isolated
    }

    fn is_peer(&self, policy: &NetworkPolicy, peers: &[NetworkPolicyPeer], end: &End<'_>) -> bool {
        peers.is_empty() || peers.iter().any(|peer| self.fits(policy, peer, end))
    }

    fn fits(&self, policy: &NetworkPolicy, peer: &NetworkPolicyPeer, end: &End<'_>) -> bool {
        if let Some(block) = &peer.ip_block {
            return in_block(block, end.address());
        }
        let End::Pod(pod) = end else { return false };
        let nothing = Labels::new();
        let in_namespace = match &peer.namespace_selector {
            None => policy.metadata.namespace.as_deref() == Some(pod.namespace.as_str()),
            Some(selector) => matches(selector, self.namespaces.get(&pod.namespace).unwrap_or(&nothing)),
        };
        in_namespace && peer.pod_selector.as_ref().is_none_or(|selector| matches(selector, &pod.labels))
    }
}

fn selects(policy: &NetworkPolicy, pod: &Pod) -> bool {
    let spec = policy.spec.as_ref();
    let selector = spec.and_then(|spec| spec.pod_selector.as_ref());
    policy.metadata.namespace.as_deref() == Some(pod.namespace.as_str())
        && selector.is_none_or(|selector| matches(selector, &pod.labels))
}

/// A policy that does not say of what it speaks speaks of ingress, and of egress if it has rules for it.
fn speaks_of(policy: &NetworkPolicy, direction: Direction) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let name = if direction == Direction::Ingress { "Ingress" } else { "Egress" };
    match spec.policy_types.as_deref() {
        None | Some([]) => {
            direction == Direction::Ingress || spec.egress.as_ref().is_some_and(|rules| !rules.is_empty())
        }
        Some(types) => types.iter().any(|kind| kind == name),
    }
}

/// One rule. No peers means all, no ports means all.
struct Rule<'a> {
    peers: &'a [NetworkPolicyPeer],
    ports: &'a [NetworkPolicyPort],
}

fn rules(policy: &NetworkPolicy, direction: Direction) -> Vec<Rule<'_>> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    match direction {
        Direction::Ingress => {
            let rules = spec.ingress.iter().flatten();
            rules
                .map(|rule| Rule {
                    peers: rule.from.as_deref().unwrap_or_default(),
                    ports: rule.ports.as_deref().unwrap_or_default(),
                })
                .collect()
        }
        Direction::Egress => {
            let rules = spec.egress.iter().flatten();
            rules
                .map(|rule| Rule {
                    peers: rule.to.as_deref().unwrap_or_default(),
                    ports: rule.ports.as_deref().unwrap_or_default(),
                })
                .collect()
        }
    }
}

fn is_port(ports: &[NetworkPolicyPort], to: &End<'_>, protocol: &str, port: i32) -> bool {
    let fits = |allowed: &NetworkPolicyPort| {
        let number = match &allowed.port {
            None => return true,
            Some(IntOrString::Int(number)) => Some(*number),
            // A name means what the receiving pod calls so.
            Some(IntOrString::String(name)) => match to {
                End::Pod(pod) => pod.ports.get(name).copied(),
                End::Address(_) => None,
            },
        };
        number.is_some_and(|first| (first..=allowed.end_port.unwrap_or(first)).contains(&port))
    };
    let speaks = |allowed: &NetworkPolicyPort| allowed.protocol.as_deref().unwrap_or("TCP") == protocol;
    ports.is_empty() || ports.iter().any(|allowed| speaks(allowed) && fits(allowed))
}

/// Whether a selector matches labels. An empty one matches all.
#[must_use]
pub fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let exact = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten().all(|wanted| {
        let (found, values) = (labels.get(&wanted.key), wanted.values.as_deref().unwrap_or_default());
        match wanted.operator.as_str() {
            "In" => found.is_some_and(|value| values.contains(value)),
            "NotIn" => found.is_none_or(|value| !values.contains(value)),
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => false,
        }
    });
    exact && expressions
}

fn in_block(block: &IPBlock, address: IpAddr) -> bool {
    in_range(&block.cidr, address) && !block.except.iter().flatten().any(|range| in_range(range, address))
}

/// Whether an address is in `address/bits`.
fn in_range(range: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = range.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let same = |one: u128, other: u128, width: u32| {
        bits <= width && (bits == 0 || (one ^ other).checked_shr(width - bits).unwrap_or(0) == 0)
    };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => same(base.to_bits().into(), address.to_bits().into(), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => same(base.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
