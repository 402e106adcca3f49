//! The LimitRange of a stack: what a container gets that says nothing about itself.

use std::collections::BTreeMap;

use api::amounts::{format_bytes, format_cpu};
use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec},
    apimachinery::pkg::api::resource::Quantity,
};

use super::metadata;
use crate::workspace::Facts;

/// What a container may use by default where there is plenty.
const LIMIT: Pair = Pair { millicores: 500, mebibytes: 512 };
/// What a container is promised by default where there is plenty.
const REQUEST: Pair = Pair { millicores: 100, mebibytes: 128 };
/// A default limit takes at most this part of the quota, so that a pod of several containers that say nothing still fits.
const SHARE: u64 = 8;

struct Pair {
    millicores: u64,
    mebibytes: u64,
}

/// One resource of the LimitRange, in its smallest unit: millicores or mebibytes. Request ≤ limit ≤ most always holds.
#[derive(Debug, PartialEq, Eq)]
struct Bounds {
    request: u64,
    /// `None` where the quota limits nothing: then a limit that nobody asked for would only get in the way.
    limit: Option<u64>,
    /// The whole quota: more can never be admitted, and this says so at once and per container.
    most: Option<u64>,
}

impl Bounds {
    fn within(granted: Option<u64>, request: u64, limit: u64) -> Self {
        let Some(granted) = granted else { return Self { request, limit: None, most: None } };
        let most = granted.max(1);
        let limit = limit.min((most / SHARE).max(1));
        Self { request: request.min(limit), limit: Some(limit), most: Some(most) }
    }
}

/// Gives each container that names no requests and limits some that fit the quota; without them the quota would refuse its pod.
pub(crate) fn limit_range(facts: &Facts) -> LimitRange {
    let cpu = Bounds::within(facts.granted.cpu, REQUEST.millicores, LIMIT.millicores);
    // Rounded down: a default must not exceed what the quota holds.
    let granted_mebibytes = facts.granted.memory.map(|bytes| bytes >> 20);
    let memory = Bounds::within(granted_mebibytes, REQUEST.mebibytes, LIMIT.mebibytes);
    let item = LimitRangeItem {
        type_: "Container".to_owned(),
        default_request: quantities(Some(cpu.request), Some(memory.request)),
        default: quantities(cpu.limit, memory.limit),
        max: quantities(cpu.most, memory.most),
        ..LimitRangeItem::default()
    };
    LimitRange { metadata: metadata(facts, "steading"), spec: Some(LimitRangeSpec { limits: vec![item] }) }
}

fn quantities(millicores: Option<u64>, mebibytes: Option<u64>) -> Option<BTreeMap<String, Quantity>> {
    let cpu = millicores.map(|amount| ("cpu".to_owned(), Quantity(format_cpu(amount))));
    let memory = mebibytes.map(|amount| ("memory".to_owned(), Quantity(format_bytes(amount << 20))));
    let both: BTreeMap<_, _> = cpu.into_iter().chain(memory).collect();
    if both.is_empty() { None } else { Some(both) }
}

#[cfg(test)]
mod tests {
    use api::Amounts;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{acme_finance, amounts, json_of};

    fn limits(granted: Amounts) -> Value {
        json_of(&limit_range(&Facts { granted, ..acme_finance() })).pointer("/spec/limits").unwrap().clone()
    }

    #[test]
    fn a_roomy_quota_gives_ordinary_defaults_and_bounds_a_container_by_the_whole() {
        assert_eq!(
            limits(amounts("16", "64Gi", "500Gi")),
            json!([{
                "type": "Container",
                "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
                "default": {"cpu": "500m", "memory": "512Mi"},
                "max": {"cpu": "16", "memory": "64Gi"},
            }])
        );
    }

    #[test]
    fn a_small_quota_gives_small_defaults() {
        assert_eq!(
            limits(amounts("200m", "256Mi", "1Gi")),
            json!([{
                "type": "Container",
                "defaultRequest": {"cpu": "25m", "memory": "32Mi"},
                "default": {"cpu": "25m", "memory": "32Mi"},
                "max": {"cpu": "200m", "memory": "256Mi"},
            }])
        );
    }

    #[test]
    fn the_smallest_quota_still_admits_one_container() {
        assert_eq!(
            limits(amounts("1m", "1Mi", "1Mi")),
            json!([{
                "type": "Container",
                "defaultRequest": {"cpu": "1m", "memory": "1Mi"},
                "default": {"cpu": "1m", "memory": "1Mi"},
                "max": {"cpu": "1m", "memory": "1Mi"},
            }])
        );
    }

    #[test]
    fn where_nothing_is_limited_a_container_is_promised_something_and_limited_by_nothing() {
        assert_eq!(
            limits(Amounts::default()),
            json!([{"type": "Container", "defaultRequest": {"cpu": "100m", "memory": "128Mi"}}])
        );
    }

    proptest! {
        #[test]
        fn a_container_that_says_nothing_always_fits_an_empty_quota(granted in prop_oneof![1u64..100, 1u64..=9_999_999_000], request in 1u64..1_000, limit in 1u64..1_000) {
            let bounds = Bounds::within(Some(granted), request, limit);
            let (limit, most) = (bounds.limit.unwrap(), bounds.most.unwrap());
            prop_assert!(1 <= bounds.request && bounds.request <= limit && limit <= most && most == granted, "{:?}", bounds);
        }

        #[test]
        fn eight_containers_that_say_nothing_fit_a_quota_of_eight_units_or_more(granted in prop_oneof![SHARE..8_000, SHARE..=9_999_999_000]) {
            let bounds = Bounds::within(Some(granted), REQUEST.millicores, LIMIT.millicores);
            prop_assert!(bounds.limit.unwrap() * SHARE <= granted, "{:?}", bounds);
        }
    }
}
