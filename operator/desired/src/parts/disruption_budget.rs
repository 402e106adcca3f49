//! The PodDisruptionBudget of agents: nobody evicts a claimed desktop for as long as it is protected.

use api::labels;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use super::metadata;
use crate::workspace::Facts;

/// More than a stack can hold. A share would be one of how many there should be, and that nobody could say of claimed ones.
const ALL: i32 = 100_000;

/// Keeps those that bear the label of protection. It is taken off when their time is over, so that a drain comes to its end.
pub(crate) fn of_agents(facts: &Facts) -> PodDisruptionBudget {
    let is_protected =
        LabelSelectorRequirement { key: labels::PROTECTED.to_owned(), operator: "Exists".to_owned(), values: None };
    let spec = PodDisruptionBudgetSpec {
        min_available: Some(IntOrString::Int(ALL)),
        selector: Some(LabelSelector { match_expressions: Some(vec![is_protected]), match_labels: None }),
        // One that cannot be used just now is still somebody's.
        unhealthy_pod_eviction_policy: Some("IfHealthyBudget".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget { metadata: metadata(facts, "agents"), spec: Some(spec), status: None }
}
