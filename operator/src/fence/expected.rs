//! The fence as the chart of this version installs it. Pure. In: the file compiled in, what differs between clusters. Out: for
//! each policy, the specs that it and its binding must have.

use serde_json::{Value, json};

use crate::config::CloudNativePg;

/// The same file that the chart installs.
const FILE: &str = include_str!("../../../charts/steading/files/fence.yaml");

/// One policy and the binding of the same name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Policy {
    pub name: String,
    pub spec: Value,
    pub binding: Value,
}

/// The policies for an operator in `namespace`, these break-glass groups and this CloudNativePG, in the order of the file.
pub(super) fn policies(namespace: &str, groups: &[String], cnpg: &CloudNativePg) -> Result<Vec<Policy>, String> {
    let groups: Vec<String> = groups.iter().map(|group| format!("'{group}'")).collect();
    let text = FILE
        .replace("__OPERATOR_NAMESPACE__", namespace)
        .replace("__BREAK_GLASS_GROUPS__", &format!("[{}]", groups.join(", ")))
        .replace("__CNPG_NAMESPACE__", &cnpg.namespace)
        .replace("__CNPG_OPERATOR__", &cnpg.operator_service_account)
        .replace("__CNPG_PLUGIN__", &cnpg.plugin_service_account);
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| error.to_string())?;
    documents.iter().map(policy).collect()
}

fn policy(document: &Value) -> Result<Policy, String> {
    let name = document.pointer("/metadata/name").and_then(Value::as_str).ok_or("a policy without a name")?.to_owned();
    let spec = document.get("spec").cloned().ok_or_else(|| format!("{name} has no spec"))?;
    let binding = json!({ "policyName": name, "validationActions": ["Deny"] });
    Ok(Policy { name, spec, binding })
}

/// Where `found` differs from `wanted` first, as a path like `validations[3].message`; `None` if they are equal.
pub(super) fn difference(wanted: &Value, found: &Value) -> Option<String> {
    fn step(at: &str, wanted: &Value, found: &Value) -> Option<String> {
        match (wanted, found) {
            (Value::Object(wanted), Value::Object(found)) => {
                let keys = wanted.keys().chain(found.keys().filter(|key| !wanted.contains_key(*key)));
                keys.into_iter().find_map(|key| {
                    let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                    step(&at, wanted.get(key).unwrap_or(&Value::Null), found.get(key).unwrap_or(&Value::Null))
                })
            }
            (Value::Array(wanted), Value::Array(found)) => {
                let count = wanted.len().max(found.len());
                (0..count).find_map(|index| {
                    let (wanted, found) =
                        (wanted.get(index).unwrap_or(&Value::Null), found.get(index).unwrap_or(&Value::Null));
                    step(&format!("{at}[{index}]"), wanted, found)
                })
            }
            _ if wanted == found => None,
            _ => Some(at.to_owned()),
        }
    }
    step("", wanted, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(namespace: &str, groups: &[&str]) -> Vec<Policy> {
        let cnpg = CloudNativePg {
            namespace: "wells".to_owned(),
            operator_service_account: "well-keeper".to_owned(),
            plugin_service_account: "well-digger".to_owned(),
        };
        policies(namespace, &groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>(), &cnpg).unwrap()
    }

    #[test]
    fn the_file_holds_the_policies_of_the_fence() {
        let names: Vec<String> = named("farm", &[]).into_iter().map(|policy| policy.name).collect();
        let expected =
            ["namespaces", "stacks", "operator", "labels", "requests", "status"].map(|what| format!("steading-{what}"));
        assert_eq!(names, expected);
    }

    #[test]
    fn what_differs_between_clusters_is_filled_in() {
        let text = serde_json::to_string(
            &named("farm", &["vets", "fire brigade"]).iter().map(|p| &p.spec).collect::<Vec<_>>(),
        )
        .unwrap();
        assert!(text.contains("system:serviceaccount:farm:steading"), "{text}");
        assert!(text.contains("group in ['vets', 'fire brigade']"), "{text}");
        assert!(text.contains("'system:serviceaccount:wells:well-keeper'"), "{text}");
        assert!(text.contains("'system:serviceaccount:wells:well-digger'"), "{text}");
        assert!(text.contains("'kubernetes.io/metadata.name'].orValue('') == 'wells'"), "{text}");
        assert!(!text.contains("__"), "a placeholder was left");
        let without = serde_json::to_string(&named("farm", &[])[0].spec).unwrap();
        assert!(without.contains("group in []"), "{without}");
    }

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let wanted = json!({"a": [{"b": 1}, {"b": 2}], "c": true});
        assert_eq!(difference(&wanted, &wanted), None);
        assert_eq!(difference(&wanted, &json!({"a": [{"b": 1}, {"b": 3}], "c": true})).as_deref(), Some("a[1].b"));
        assert_eq!(difference(&wanted, &json!({"a": [{"b": 1}], "c": true})).as_deref(), Some("a[1]"));
        assert_eq!(difference(&wanted, &json!({"a": [{"b": 1}, {"b": 2}], "c": true, "d": 1})).as_deref(), Some("d"));
        assert_eq!(difference(&wanted, &Value::Null).as_deref(), Some(""));
    }
}
