//! What a story left behind. In: a cast, the API server, the world outside. Out: all of it as one value, with what differs from run to
//! run masked, so that a run with faults can be compared with one without.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt as _};
use providers::memory::{MemoryStore, World};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::cast::Cast;
use crate::databases::objects;

/// Fields that differ from run to run: names that the API server gives, times, and numbers that count rounds.
const MASKED: [&str; 30] = [
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
    // What a drill measured.
    "newestRow",
    "recoveryPoint",
    "recoveryTime",
    // When full backups were.
    "lastFull",
    "recoverableSince",
    "lastLog",
    // By the Workspace's identity, so that not all begin at once.
    "schedule",
    // Credentials, and how they are known at the store.
    "accessKeyID",
    "secretAccessKey",
    "sessionToken",
    "bucket-access-key-id",
    "bucket-secret-access-key",
    "bucket-session-token",
    "bucket-expires-at",
    "session",
    "expiresAt",
    "credentialsExpireAt",
    "endsAt",
    "revokedAt",
    "namespaceUID",
];

/// What a database and its consumers consist of beside what every stack has. What CloudNativePG says of it is played, and no matter here.
pub(super) const OF_DATABASES: [(&str, &str); 7] = [
    ("postgresql.cnpg.io", "Cluster"),
    ("postgresql.cnpg.io", "DatabaseRole"),
    ("postgresql.cnpg.io", "ScheduledBackup"),
    ("postgresql.cnpg.io", "Backup"),
    ("barmancloud.cnpg.io", "ObjectStore"),
    ("apps", "Deployment"),
    ("batch", "Job"),
];

/// All that is left of a cast.
pub(super) async fn of(cast: &Cast, client: &Client, world: &World) -> Result<Value> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let key = world.keys().get(&cast.key).map(|key| {
        let period = key.rotation_period.map(|period| period.as_secs());
        json!({ "version": key.latest_version, "period": period, "enabled": key.enabled })
    });
    let bucket = |name: &str| {
        let found = world.buckets().remove(name);
        found.map(|it| json!({ "tags": it.tags, "objects": it.objects, "settings": format!("{:?}", it.settings) }))
    };
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
    if let Some(policy) = policies.get_mut("allow-database-api-server") {
        policy["spec"] = "the address of this API server".into();
    }
    let mut finance = json!(cast.finance.api(client).get_opt(cast.finance.name()).await?);
    forget_figures(&mut finance);
    let server = finance["status"]["database"]["backup"]["serverName"].as_str().map(str::to_owned);
    let found = json!({
        "tenant": cast.tenant.api(client).get_opt(cast.tenant.name()).await?,
        "workspace": finance,
        "namespace": namespaces.get_opt(&cast.stack).await?,
        "policies": policies,
        "quotas": all::<ResourceQuota>(client, &cast.stack).await?,
        "limits": all::<LimitRange>(client, &cast.stack).await?,
        "rights": all::<RoleBinding>(client, &cast.stack).await?,
        "database": of_database(cast, client).await?,
        "shop": of_shop(cast, client).await?,
        "key": key,
        "bucket": bucket(&cast.bucket),
        "backups": bucket(&cast.backups),
        "identities": identities(cast, world),
        "stores": stores.values().map(contents).collect::<Vec<_>>(),
    });
    let ids = stores.iter().flat_map(|(id, store)| [id].into_iter().chain(store.models.iter().map(|model| &model.id)));
    let server = server.iter().map(|server| (server.as_str(), "<server>"));
    let names = ids.map(|id| (id.as_str(), "<id>")).chain(server).chain(names(cast)).collect::<Vec<_>>();
    Ok(masked(found, &names))
}

/// How long a restore took and how old its newest row was stands in a sentence.
fn forget_figures(finance: &mut Value) {
    let conditions = finance["status"]["conditions"].as_array_mut();
    for condition in conditions.into_iter().flatten().filter(|it| it["type"] == "RestoreProven") {
        condition["message"] = "*".into();
    }
}

/// The objects of a database, by kind and name. Its backups out of turn are named by the time.
async fn of_database(cast: &Cast, client: &Client) -> Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for (group, kind) in OF_DATABASES {
        for object in objects(client, &cast.stack, group, kind).list(&ListParams::default()).await?.items {
            let name = if kind == "Backup" { "*".to_owned() } else { object.name_any() };
            found.insert(format!("{kind} {name}"), without_status(object, &name)?);
        }
    }
    let of_cloud_native_pg = |name: &str| name.ends_with("-client-cert") || name.ends_with("-ca");
    let secrets = all::<Secret>(client, &cast.stack).await?.into_iter();
    found.extend(secrets.filter(|(name, _)| !of_cloud_native_pg(name)).map(|(name, it)| (name, legible(it))));
    Ok(found)
}

fn without_status(object: DynamicObject, name: &str) -> Result<Value> {
    let mut object = serde_json::to_value(object)?;
    object["metadata"]["name"] = name.into();
    object["status"] = Value::Null;
    // Whoever plays writes nothing but status.
    if let Some(entries) = object["metadata"]["managedFields"].as_array_mut() {
        entries.retain(|entry| entry["subresource"].is_null());
    }
    Ok(object)
}

/// What lies where the application is at home.
async fn of_shop(cast: &Cast, client: &Client) -> Result<Value> {
    let Some(shop) = &cast.shop else { return Ok(Value::Null) };
    let secrets = all::<Secret>(client, shop).await?.into_iter().map(|(name, it)| (name, legible(it)));
    let in_order = |found: BTreeMap<String, Value>| found.into_values().collect::<Vec<_>>();
    Ok(json!({ "secrets": in_order(secrets.collect()), "rights": in_order(all::<RoleBinding>(client, shop).await?) }))
}

/// A Secret with its entries as texts, so that names in them are known.
fn legible(mut secret: Value) -> Value {
    for entry in secret["data"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        let bytes = data_encoding::BASE64.decode(entry.as_str().unwrap_or_default().as_bytes()).unwrap_or_default();
        *entry = String::from_utf8_lossy(&bytes).into_owned().into();
    }
    secret
}

/// Each sort of credentials that lives or is revoked: how many of a sort were issued depends on whose answer was lost.
fn identities(cast: &Cast, world: &World) -> Vec<String> {
    let told = cast.identities(world).into_iter().map(|it| {
        let state = if it.is_revoked { "revoked" } else { "living" };
        let bucket = if it.bucket == cast.backups { "<backups>" } else { "<bucket>" };
        format!("{bucket} {:?} {} {state}", it.access, it.revocable_as.map_or("lasting", |_| "revocable"))
    });
    told.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
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
        (&cast.backups, "<backups>"),
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
                (nameless(field, names), value)
            };
            Value::Object(fields.into_iter().map(mask).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| masked(item, names)).collect()),
        Value::String(text) => {
            let text = nameless(text, names);
            let is_time = |word: &str| word.trim_end_matches([',', ';']).parse::<Timestamp>().is_ok();
            let words = text.split(' ').map(|word| if is_time(word) { "<time>" } else { word });
            Value::String(words.collect::<Vec<_>>().join(" "))
        }
        other => other,
    }
}

fn nameless(text: String, names: &[(&str, &str)]) -> String {
    names.iter().fold(text, |text, (name, mask)| text.replace(name, mask))
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
                                "said": format!("it was so at 2026-11-23T10:00:0{uid}Z, and is so"),
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
