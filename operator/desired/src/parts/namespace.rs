//! The stack namespace.

use api::labels;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use crate::workspace::Facts;

/// The three modes of Pod Security: refuse, record, tell the user.
const POD_SECURITY_MODES: [&str; 3] = ["enforce", "audit", "warn"];

/// The namespace with nothing but its name and labels. It is created before it is applied, so that a namespace of that name that is
/// not ours is found instead of merged into. Pod Security is among the labels: there is no moment in which other pods could start.
pub(crate) fn namespace(facts: &Facts) -> Namespace {
    let mut labels = facts.labels();
    labels.insert(labels::STACK.to_owned(), facts.identity.to_string());
    for mode in POD_SECURITY_MODES {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
        labels.insert(format!("pod-security.kubernetes.io/{mode}-version"), "latest".to_owned());
    }
    Namespace {
        metadata: ObjectMeta {
            name: Some(facts.namespace().to_string()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{IDENTITY, acme_finance, json_of};

    #[test]
    fn the_namespace_is_named_after_tenant_workspace_and_identity() {
        let name = namespace(&acme_finance()).metadata.name.unwrap();
        assert!(name.starts_with("acme-finance-") && name.len() == "acme-finance-".len() + 6, "{name}");
    }

    #[test]
    fn every_pod_must_be_restricted() {
        let labels = namespace(&acme_finance()).metadata.labels.unwrap();
        let pod_security: Vec<_> = labels
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("pod-security.kubernetes.io/")?, value.as_str())))
            .collect();
        assert_eq!(
            pod_security,
            [
                ("audit", "restricted"),
                ("audit-version", "latest"),
                ("enforce", "restricted"),
                ("enforce-version", "latest"),
                ("warn", "restricted"),
                ("warn-version", "latest"),
            ]
        );
    }

    #[test]
    fn the_namespace_carries_name_and_labels_only() {
        assert_eq!(
            json_of(&namespace(&acme_finance())),
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {
                    "name": acme_finance().namespace().as_str(),
                    "labels": {
                        "app.kubernetes.io/managed-by": "steading",
                        "steading.dev/tenant": "acme",
                        "steading.dev/workspace": "finance",
                        "steading.dev/owner": IDENTITY,
                        "steading.dev/stack": IDENTITY,
                        "pod-security.kubernetes.io/enforce": "restricted",
                        "pod-security.kubernetes.io/enforce-version": "latest",
                        "pod-security.kubernetes.io/audit": "restricted",
                        "pod-security.kubernetes.io/audit-version": "latest",
                        "pod-security.kubernetes.io/warn": "restricted",
                        "pod-security.kubernetes.io/warn-version": "latest",
                    },
                },
            })
        );
    }
}
