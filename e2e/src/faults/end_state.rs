//! What a story left behind. In: a cast, the API server, the world outside. Out: all of it as one value, with what differs from run to
//! run masked, so that a run with faults can be compared with one without.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use providers::memory::{MemoryStore, World};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::cast::Cast;

/// Fields that differ from run to run: names that the API server gives, times, and numbers that count rounds.
const MASKED: [&str; 10] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "lastTransitionTime",
    "observedAt",
    "completedAt",
    "quotaRevision",
    "revision",
    "steading.dev/desired-hash",
];

/// All that is left of a cast.
pub(super) async fn of(cast: &Cast, client: &Client, world: &World) -> Result<Value> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let key = world.keys().get(&cast.key).map(|key| {
        let period = key.rotation_period.map(|period| period.as_secs());
        json!({ "version": key.latest_version, "period": period, "enabled": key.enabled })
    });
    let bucket = world.buckets().get(&cast.bucket).map(|bucket| {
        json!({ "tags": bucket.tags, "objects": bucket.objects, "settings": format!("{:?}", bucket.settings) })
    });
    let stores = cast.stores(world);
    let contents = |store: &MemoryStore| {
        let tuples = store.tuples.keys().map(|it| format!("{} {} {}", it.user, it.relation, it.object));
        json!({ "models": store.models.len(), "tuples": tuples.collect::<Vec<_>>() })
    };
    let mut policies = all::<NetworkPolicy>(client, &cast.stack).await?;
    for policy in policies.values_mut() {
        // An apply of empty rule lists, such as those of deny-all, counts as a change for the API server each time.
        policy["metadata"]["generation"] = "*".into();
    }
    let found = json!({
        "tenant": cast.tenant.api(client).get_opt(cast.tenant.name()).await?,
        "workspace": cast.finance.api(client).get_opt(cast.finance.name()).await?,
        "namespace": namespaces.get_opt(&cast.stack).await?,
        "policies": policies,
        "quotas": all::<ResourceQuota>(client, &cast.stack).await?,
        "limits": all::<LimitRange>(client, &cast.stack).await?,
        "rights": all::<RoleBinding>(client, &cast.stack).await?,
        "key": key,
        "bucket": bucket,
        "stores": stores.values().map(contents).collect::<Vec<_>>(),
    });
    let ids = stores.iter().flat_map(|(id, store)| [id].into_iter().chain(store.models.iter().map(|model| &model.id)));
    let names = ids.map(|id| (id.as_str(), "<id>")).chain(names(cast)).collect::<Vec<_>>();
    Ok(masked(found, &names))
}

/// Where two end states differ, with what is there and what should be.
pub(super) fn differences(found: &Value, expected: &Value) -> Vec<String> {
    let (found, expected) = (leaves(found), leaves(expected));
    let mut differences = Vec::new();
    for path in found.keys().chain(expected.keys()) {
        let (is, should) = (found.get(path), expected.get(path));
        if is != should {
            differences.push(format!("{path} is {} instead of {}", text(is), text(should)));
        }
    }
    differences.sort();
    differences.dedup();
    differences
}

fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), Value::to_string)
}

async fn all<K>(client: &Client, namespace: &str) -> Result<BTreeMap<String, Value>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let list = api.list(&ListParams::default()).await?.items;
    let name = |object: &K| object.meta().name.clone().unwrap_or_default();
    list.into_iter().map(|object| Ok((name(&object), serde_json::to_value(object)?))).collect()
}

/// Longest first: a stack's name holds that of its Tenant.
fn names(cast: &Cast) -> Vec<(&str, &str)> {
    vec![
        (&cast.stack, "<stack>"),
        (&cast.key, "<key>"),
        (&cast.bucket, "<bucket>"),
        (&cast.tenant_identity, "<tenant identity>"),
        (&cast.workspace_identity, "<workspace identity>"),
        (&cast.name, "<tenant>"),
    ]
}

fn masked(value: Value, names: &[(&str, &str)]) -> Value {
    match value {
        Value::Object(fields) => {
            let mask = |(field, value): (String, Value)| {
                let value = match field.as_str() {
                    "managedFields" => managers(&value),
                    field if MASKED.contains(&field) => Value::from("*"),
                    _ => masked(value, names),
                };
                (field, value)
            };
            Value::Object(fields.into_iter().map(mask).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| masked(item, names)).collect()),
        Value::String(text) => Value::String(names.iter().fold(text, |text, (name, mask)| text.replace(name, mask))),
        other => other,
    }
}

/// Who wrote to the object and how, in order.
fn managers(fields: &Value) -> Value {
    let entries = fields.as_array().into_iter().flatten();
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut managers: Vec<String> = entries
        .map(|entry| text(entry, "manager") + " " + &text(entry, "operation") + " " + &text(entry, "subresource"))
        .collect();
    managers.sort();
    json!(managers)
}

/// Each value that holds no others, under its path.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut left = vec![(String::new(), value)];
    while let Some((path, value)) = left.pop() {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                left.extend(fields.iter().map(|(field, value)| (format!("{path}/{field}"), value)));
            }
            Value::Array(items) if !items.is_empty() => {
                left.extend(items.iter().enumerate().map(|(index, value)| (format!("{path}/{index}"), value)));
            }
            leaf => drop(found.insert(path, leaf.clone())),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_no_difference_and_all_else_is() {
        let state = |uid: &str, name: &str, cpu: &str| {
            let found = json!({ "metadata": { "uid": uid, "name": format!("{name}-finance") }, "cpu": [cpu],
                                "managedFields": [{ "manager": "steading", "time": uid }] });
            masked(found, &[(name, "<tenant>")])
        };
        assert_eq!(differences(&state("1", "acme", "2"), &state("2", "globex", "2")), Vec::<String>::new());
        assert_eq!(
            differences(&state("1", "acme", "2"), &state("1", "acme", "3")),
            ["/cpu/0 is \"2\" instead of \"3\""]
        );
        let none = json!({});
        assert!(!differences(&state("1", "acme", "2"), &none).is_empty());
        assert!(!differences(&none, &state("1", "acme", "2")).is_empty());
    }
}
