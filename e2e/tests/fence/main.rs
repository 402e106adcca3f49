//! The fence is attacked: every rule, as everybody who might try, with every right that RBAC can give.
//!
//! Files are named after the policies of `charts/steading/files/fence.yaml` that they attack, and `works` is for what must go on
//! working. `fence-negate` runs these tests once for each rule with that rule made always true, and fails unless one of them notices.

// Helpers of tests are tests: clippy.toml lets only functions marked as tests unwrap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod caller;
mod kinds;
mod labels;
mod namespaces;
mod operator;
mod operator_agents;
mod operator_canary;
mod operator_consumers;
mod operator_consumers_roles;
mod operator_database;
mod operator_database_policies;
mod operator_drill;
mod operator_policies;
mod requests;
mod rules;
mod scene;
mod stacks;
mod stacks_consumers;
mod stacks_database;
mod stacks_drill;
mod stacks_keepers;
mod status;
mod works;

use std::collections::BTreeSet;

use serde_json::Value;

/// The policies as the chart and the operator read them.
const FENCE: &str = include_str!("../../../charts/steading/files/fence.yaml");

#[test]
fn every_rule_of_the_fence_is_known_to_these_tests_and_told_apart() {
    let mut unknown: BTreeSet<String> = BTreeSet::new();
    let mut seen = 0;
    for document in FENCE.split("\n---\n") {
        let policy: Value = serde_saphyr::from_str(document).unwrap();
        let name = policy["metadata"]["name"].as_str().unwrap();
        for validation in policy["spec"]["validations"].as_array().unwrap() {
            let field = |key: &str| validation[key].as_str().unwrap_or_default().to_owned();
            let told = field("message") + &field("messageExpression").replace("' + '", "");
            let known = rules::ALL.iter().filter(|rule| rule.policy == name && told.contains(rule.says)).count();
            if known != 1 {
                unknown.insert(format!("{name}: {told} (known {known} times)"));
            }
            assert!(told.trim_start_matches('\'').starts_with("steading: "), "{told}");
            seen += 1;
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert_eq!(seen, rules::ALL.len());
}

#[test]
fn no_rule_asks_whether_a_request_is_a_dry_run() {
    assert!(!FENCE.contains("dryRun"));
}
