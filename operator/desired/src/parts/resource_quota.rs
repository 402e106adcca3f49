//! The ResourceQuota of a stack.

use api::{Amounts, amounts};
use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaSpec, ScopeSelector},
    apimachinery::pkg::api::resource::Quantity,
};

use super::metadata;
use crate::workspace::Facts;

/// How many objects of a kind a stack can hold: far above what its parts need, far below what would trouble etcd or the
/// controllers that others share. A Service never gets a way in from outside: no load balancer, no node port.
const OBJECT_COUNTS: [(&str, u32); 18] = [
    // Pods that may run, and pods in all: finished ones stay until somebody removes them.
    ("pods", 200),
    ("count/pods", 500),
    ("services", 50),
    ("services.loadbalancers", 0),
    ("services.nodeports", 0),
    ("persistentvolumeclaims", 100),
    ("count/secrets", 500),
    ("count/configmaps", 500),
    ("count/serviceaccounts", 100),
    ("count/deployments.apps", 100),
    ("count/replicasets.apps", 500),
    ("count/statefulsets.apps", 50),
    // A daemon on every node is no part of a stack.
    ("count/daemonsets.apps", 0),
    ("count/jobs.batch", 500),
    ("count/cronjobs.batch", 50),
    ("count/poddisruptionbudgets.policy", 100),
    ("count/leases.coordination.k8s.io", 100),
    // A way in from outside is no part of a stack.
    ("count/ingresses.networking.k8s.io", 0),
];

/// Name of the ResourceQuota.
pub const NAME: &str = "steading";

/// What every namespace holds without anybody's doing: the cluster's certificates, and the default ServiceAccount.
const ALWAYS_THERE: [(&str, u32); 2] = [("count/configmaps", 1), ("count/serviceaccounts", 1)];

/// What a stack holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing but what every namespace holds.
    Nothing,
    /// This, such as `2 pods, 1 persistentvolumeclaims`.
    Something(String),
    /// The quota controller has not counted all of it yet.
    NotCounted,
}

/// What a stack holds, as its ResourceQuota counts it. What no quota counts (policies, roles, custom resources) runs nothing and
/// keeps no data by itself.
#[must_use]
pub fn content(quota: &ResourceQuota) -> Content {
    let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
    let counted = |resource: &str| used?.get(resource)?.0.parse::<u32>().ok();
    let always =
        |resource: &str| ALWAYS_THERE.iter().find(|(there, _)| *there == resource).map_or(0, |(_, count)| *count);
    let counts: Option<Vec<(&str, u32)>> =
        OBJECT_COUNTS.iter().map(|(resource, _)| Some((*resource, counted(resource)?))).collect();
    let Some(counts) = counts else { return Content::NotCounted };
    let found = counts.into_iter().filter(|(resource, count)| *count > always(resource));
    let told: Vec<String> =
        found.map(|(resource, count)| format!("{count} {}", resource.trim_start_matches("count/"))).collect();
    if told.is_empty() { Content::Nothing } else { Content::Something(told.join(", ")) }
}

/// Holds the stack to exactly what the Tenant's ledger granted. Requests and limits have the same bound, so what a stack is
/// promised and what it can take are one number. A resource that was granted without limit has no bound here.
pub(crate) fn resource_quota(facts: &Facts) -> ResourceQuota {
    // Of agents no quota of the cluster knows: whoever makes them counts them.
    let Amounts { cpu, memory, storage, agents: _ } = facts.granted;
    let (cpu, memory, storage) =
        (cpu.map(amounts::format_cpu), memory.map(amounts::format_bytes), storage.map(amounts::format_bytes));
    let compute = [
        ("requests.cpu", cpu.clone()),
        ("limits.cpu", cpu),
        ("requests.memory", memory.clone()),
        ("limits.memory", memory),
        ("requests.storage", storage),
    ];
    let bounds = compute.into_iter().filter_map(|(resource, amount)| Some((resource, amount?)));
    let counts = OBJECT_COUNTS.into_iter().map(|(resource, most)| (resource, most.to_string()));
    let spec = ResourceQuotaSpec {
        hard: Some(bounds.chain(counts).map(|(resource, amount)| (resource.to_owned(), Quantity(amount))).collect()),
        // Empty, but ours: a selector that somebody adds would exempt pods from the quota. (Scopes cannot be changed.)
        scope_selector: Some(ScopeSelector::default()),
        scopes: None,
    };
    ResourceQuota { metadata: metadata(facts, NAME), spec: Some(spec), status: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::ResourceQuotaStatus;

    use super::*;
    use crate::fixtures::{acme_finance, amounts};

    fn hard(granted: Amounts) -> BTreeMap<String, String> {
        let quota = resource_quota(&Facts { granted, ..acme_finance() });
        quota.spec.unwrap().hard.unwrap().into_iter().map(|(resource, quantity)| (resource, quantity.0)).collect()
    }

    #[test]
    fn requests_and_limits_are_exactly_what_was_granted() {
        let hard = hard(amounts("16", "64Gi", "500Gi"));
        let compute: Vec<_> = ["requests.cpu", "limits.cpu", "requests.memory", "limits.memory", "requests.storage"]
            .map(|resource| hard.get(resource).map(String::as_str))
            .into();
        assert_eq!(compute, [Some("16"), Some("16"), Some("64Gi"), Some("64Gi"), Some("500Gi")]);
    }

    #[test]
    fn what_was_granted_without_limit_has_no_bound() {
        let hard = hard(Amounts { memory: Some(1 << 30), ..Amounts::default() });
        assert_eq!(hard.get("limits.memory").map(String::as_str), Some("1Gi"));
        assert!(!hard.keys().any(|resource| resource.contains("cpu") || resource.contains("storage")), "{hard:?}");
    }

    #[test]
    fn objects_are_counted_even_if_nothing_else_is_limited() {
        let hard = hard(Amounts::default());
        for resource in [
            "pods",
            "count/pods",
            "services",
            "persistentvolumeclaims",
            "count/secrets",
            "count/configmaps",
            "count/jobs.batch",
            "count/cronjobs.batch",
            "count/deployments.apps",
        ] {
            assert!(hard.get(resource).is_some_and(|most| most.parse::<u32>().unwrap() > 0), "{resource}");
        }
    }

    #[test]
    fn no_service_opens_a_way_in_from_outside() {
        let hard = hard(Amounts::default());
        for resource in ["services.loadbalancers", "services.nodeports", "count/ingresses.networking.k8s.io"] {
            assert_eq!(hard.get(resource).map(String::as_str), Some("0"), "{resource}");
        }
    }

    fn counted(counts: &[(&str, &str)]) -> ResourceQuota {
        let mut quota = resource_quota(&acme_finance());
        let mut used: BTreeMap<String, Quantity> =
            OBJECT_COUNTS.iter().map(|(resource, _)| ((*resource).to_owned(), Quantity("0".to_owned()))).collect();
        used.extend(counts.iter().map(|(resource, count)| ((*resource).to_owned(), Quantity((*count).to_owned()))));
        quota.status = Some(ResourceQuotaStatus { used: Some(used), ..ResourceQuotaStatus::default() });
        quota
    }

    #[test]
    fn a_stack_holds_what_is_counted_beyond_what_every_namespace_holds() {
        let bare = [("count/configmaps", "1"), ("count/serviceaccounts", "1")];
        assert_eq!(content(&counted(&[])), Content::Nothing);
        assert_eq!(content(&counted(&bare)), Content::Nothing);
        let found = [("count/configmaps", "2"), ("persistentvolumeclaims", "1")];
        assert_eq!(content(&counted(&found)), Content::Something("1 persistentvolumeclaims, 2 configmaps".to_owned()));
    }

    #[test]
    fn what_was_not_counted_is_not_nothing() {
        assert_eq!(content(&resource_quota(&acme_finance())), Content::NotCounted);
        assert_eq!(content(&counted(&[("pods", "many")])), Content::NotCounted);
        let mut quota = counted(&[]);
        quota.status.as_mut().and_then(|status| status.used.as_mut()).unwrap().remove("count/secrets");
        assert_eq!(content(&quota), Content::NotCounted, "added to the quota just now");
    }

    #[test]
    fn no_count_is_told_twice() {
        assert_eq!(
            OBJECT_COUNTS.map(|(resource, _)| resource).into_iter().collect::<std::collections::BTreeSet<_>>().len(),
            OBJECT_COUNTS.len()
        );
    }
}
