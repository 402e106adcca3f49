//! Valid objects in which every field is set, and a way to change one field. In: a kind. Out: JSON to send.

use serde_json::{Value, json};

pub const KINDS: [&str; 5] = ["TenantClass", "Tenant", "Workspace", "AgentPool", "AgentSet"];
/// An image that is the same for ever.
pub const IMAGE: &str =
    "registry.example/desktop@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub const IDENTITY: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";
pub const OTHER_IDENTITY: &str = "11111111-2222-4333-8444-555555555555";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n";

/// The part of the URL that names the kind.
pub fn plural(kind: &str) -> &'static str {
    match kind {
        "TenantClass" => "tenantclasses",
        "Tenant" => "tenants",
        "Workspace" => "workspaces",
        "AgentPool" => "agentpools",
        "AgentSet" => "agentsets",
        other => panic!("{other} is no kind of ours"),
    }
}

/// A valid object of this kind with every field set that can be set together with the others.
pub fn full(kind: &str) -> Value {
    let spec = match kind {
        "TenantClass" => json!({
            "residency": { "regions": ["site-a", "site-b"] },
            "keys": { "openbao": {
                "region": "site-a",
                "address": "https://bao.example:8200",
                "caBundle": CERTIFICATE,
                "namespace": "teams/platform",
                "mount": "transit",
                "auth": { "mount": "kubernetes", "role": "steading", "audience": "https://bao.example" },
                "rotationPeriod": { "default": "90d", "min": "1h", "max": "730d" },
            }},
            "buckets": { "s3": {
                "region": "site-b",
                "endpoint": "https://s3.example:9000",
                "cidrs": ["192.0.2.0/24"],
                "caBundle": CERTIFICATE,
                "credentials": { "secret": "s3-credentials" },
                "keyServer": { "kes": {
                    "endpoint": "https://kes.example:7373",
                    "caBundle": CERTIFICATE,
                    "credentials": { "secret": "kes-credentials" },
                }},
                "allowProviderManagedEncryption": false,
            }},
            "authorization": { "openfga": {
                "region": "site-a",
                "endpoint": "https://openfga.example:8080",
                "caBundle": CERTIFICATE,
                "credentials": { "identityToken": { "role": "openfga" } },
                "accessControl": { "storeID": "01JZ8Q5W3N8M4T6R2V9X7B1C0D" },
            }},
            "database": {
                "image": "registry.example/postgresql:18.4",
                "instances": 3,
                "storage": { "size": "20Gi", "storageClass": "fast" },
                "resources": { "cpu": "1", "memory": "2Gi" },
                "rpo": "15m",
                "rto": "1h",
                "backup": {
                    "fullEvery": "2h",
                    "retention": "30d",
                    "keepDeleted": "7d",
                    "archive": { "after": "14d", "storageClass": "STANDARD_IA" },
                },
                "restoreDrill": { "every": "7d" },
            },
            "agents": { "runtimeClass": "gvisor" },
            "network": { "enforcement": "Assumed" },
        }),
        "Tenant" => json!({
            "identity": IDENTITY,
            "class": "on-premises",
            "owners": [{ "kind": "Group", "name": "acme-admins" }],
            "encryption": { "rotationPeriod": "90d" },
            "quota": { "workspaces": 10, "cpu": "64", "memory": "256Gi", "storage": "2Ti", "agents": 50 },
            "deletionPolicy": "Retain",
            "paused": false,
        }),
        "Workspace" => json!({
            "identity": IDENTITY,
            "quota": { "cpu": "16", "memory": "64Gi", "storage": "500Gi", "agents": 20 },
            "members": [{ "kind": "User", "name": "ada@acme.example", "role": "viewer" }],
            "bucket": { "disabled": false },
            "database": {
                "disabled": false,
                "instances": 3,
                "storage": { "size": "20Gi" },
                "resources": { "cpu": "1", "memory": "2Gi" },
                "restoreFrom": {
                    "identity": IDENTITY, "serverName": "database-01234567", "time": "2026-11-23T10:15:00Z",
                },
            },
            "consumers": [{
                "namespace": "shop", "serviceAccount": "billing", "database": "readWrite", "bucket": "read",
                "authorization": "read",
            }],
            "paused": false,
        }),
        "AgentPool" => agent_pool(),
        "AgentSet" => agent_set(),
        other => panic!("{other} is no kind of ours"),
    };
    json!({ "apiVersion": "steading.dev/v1alpha1", "kind": kind, "metadata": { "name": "acme" }, "spec": spec })
}

fn agent_pool() -> Value {
    json!({
        "workspace": "finance",
        "replicas": 5,
        "desktop": {
            "image": IMAGE,
            "resources": { "cpu": "1", "memory": "2Gi" },
            "display": { "width": 1280, "height": 800 },
            "home": { "size": "5Gi" },
        },
        "rollout": { "maxUnavailable": 1, "maxSurge": 1 },
        "maxStarting": 10,
        "protectClaimed": "8h",
        "paused": false,
    })
}

fn agent_set() -> Value {
    json!({
        "replicas": 5,
        "maxUnavailable": 1,
        "maxSurge": 1,
        "maxStarting": 10,
        "mostOfWorkspace": 20,
        "protectSeconds": 28800,
        "held": "EnforcementUnproven",
        "template": {
            "image": IMAGE, "runtimeClass": "gvisor", "cpu": "1", "memory": "2Gi", "home": "5Gi", "width": 1280,
            "height": 800,
            "relay": {
                "name": "steading-relay.steading-system.svc", "address": "10.96.42.22", "authority": CERTIFICATE,
            },
        },
    })
}

/// Sets the field at `path`, such as `spec.owners[].name`, where `[]` is the first item. Null removes the field.
pub fn set(object: &mut Value, path: &str, value: Value) {
    let (parent, last) = path.rsplit_once('.').map_or((None, path), |(parent, last)| (Some(parent), last));
    let holder = match parent {
        None => object,
        Some(parent) => at(object, parent),
    };
    match last.strip_suffix("[]") {
        Some(items) => holder[items][0] = value,
        None if value.is_null() => {
            holder.as_object_mut().unwrap().remove(last);
        }
        None => holder[last] = value,
    }
}

/// The field at `path`; an empty path is the object itself.
pub fn at<'a>(object: &'a mut Value, path: &str) -> &'a mut Value {
    object.pointer_mut(&pointer(path)).unwrap_or_else(|| panic!("the full object lacks {path}"))
}

fn pointer(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("/{}", path.replace("[]", ".0").replace('.', "/")) }
}

/// The path as the API server writes it in its answers.
pub fn answered(path: &str) -> String {
    path.replace("[]", "[0]")
}
