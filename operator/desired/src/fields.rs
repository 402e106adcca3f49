//! What the server records as ours: the field set of an object that we applied.
//!
//! In: an object as JSON, its kind. Out: the `fieldsV1` that the server's managedFields hold for an apply of exactly this object.
//! Compared with the entry that a metadata-only watch brings, it shows without a read whether somebody changed a field of ours.
//!
//! The server's own rules: a scalar is a field; an atomic list or map is one field, whatever is in it; every other map is the
//! fields of its entries, and each entry of a free map is one too; a list with keys names each item by them. Which is which
//! stands in [`shape_of`] and is compared with a real server by a test.

use serde_json::{Map, Value};

/// The kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Namespace.
    Namespace,
    /// NetworkPolicy.
    NetworkPolicy,
    /// ResourceQuota.
    ResourceQuota,
    /// LimitRange.
    LimitRange,
    /// RoleBinding.
    RoleBinding,
    /// Cluster of CloudNativePG: instances of PostgreSQL.
    Cluster,
    /// ScheduledBackup of CloudNativePG.
    ScheduledBackup,
    /// ObjectStore of CloudNativePG's Barman Cloud plugin.
    ObjectStore,
    /// `DatabaseRole` of CloudNativePG: who may sign in.
    DatabaseRole,
    /// Deployment: the canary of a database.
    Deployment,
    /// Job: what looks at a restored database.
    Job,
    /// ServiceAccount: who agents are.
    ServiceAccount,
    /// PodDisruptionBudget: keeps claimed agents from being evicted.
    PodDisruptionBudget,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Namespace,
        Self::NetworkPolicy,
        Self::ResourceQuota,
        Self::LimitRange,
        Self::RoleBinding,
        Self::Cluster,
        Self::ScheduledBackup,
        Self::ObjectStore,
        Self::DatabaseRole,
        Self::Deployment,
        Self::Job,
        Self::ServiceAccount,
        Self::PodDisruptionBudget,
    ];

    /// Those of databases, which are not followed in clusters without.
    pub const DATABASE: [Self; 6] =
        [Self::Cluster, Self::ScheduledBackup, Self::ObjectStore, Self::DatabaseRole, Self::Deployment, Self::Job];

    /// The API group; empty for the core group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Namespace | Self::ResourceQuota | Self::LimitRange | Self::ServiceAccount => "",
            Self::NetworkPolicy => "networking.k8s.io",
            Self::RoleBinding => "rbac.authorization.k8s.io",
            Self::Cluster | Self::ScheduledBackup | Self::DatabaseRole => "postgresql.cnpg.io",
            Self::ObjectStore => "barmancloud.cnpg.io",
            Self::Deployment => "apps",
            Self::Job => "batch",
            Self::PodDisruptionBudget => "policy",
        }
    }

    /// The version within the group.
    #[must_use]
    pub const fn version(self) -> &'static str {
        "v1"
    }

    /// The kind as objects name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ResourceQuota => "ResourceQuota",
            Self::LimitRange => "LimitRange",
            Self::RoleBinding => "RoleBinding",
            Self::Cluster => "Cluster",
            Self::ScheduledBackup => "ScheduledBackup",
            Self::ObjectStore => "ObjectStore",
            Self::DatabaseRole => "DatabaseRole",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
            Self::ServiceAccount => "ServiceAccount",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
        }
    }

    /// The kind as paths name it.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::NetworkPolicy => "networkpolicies",
            Self::ResourceQuota => "resourcequotas",
            Self::LimitRange => "limitranges",
            Self::RoleBinding => "rolebindings",
            Self::Cluster => "clusters",
            Self::ScheduledBackup => "scheduledbackups",
            Self::ObjectStore => "objectstores",
            Self::DatabaseRole => "databaseroles",
            Self::Deployment => "deployments",
            Self::Job => "jobs",
            Self::ServiceAccount => "serviceaccounts",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
        }
    }

    /// `group/version`, or the version alone in the core group.
    #[must_use]
    pub fn api_version(self) -> String {
        if self.group().is_empty() { self.version().to_owned() } else { format!("{}/{}", self.group(), self.version()) }
    }

    /// Whether its objects lie in a namespace.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace)
    }
}

/// How the server takes a field apart.
#[derive(Clone, Copy)]
enum Shape {
    /// One field as a whole, whatever is in it: an atomic list, map or struct.
    Atomic,
    /// A struct: each of its fields by itself.
    Struct(&'static [(&'static str, Shape)]),
    /// A map with free keys: each entry by itself.
    Map,
    /// A list of distinct scalars: each by its value.
    Set,
    /// Whatever is below, as a CRD says it that marks nothing: structs and maps field by field, each list as a whole.
    Plain,
    /// A list of structs that are told apart by these keys (sorted); each item is one field as a whole.
    Keyed(&'static [&'static str]),
    /// A list of structs that are told apart by this key: each item, and each of its fields by itself.
    Each(&'static str, &'static [(&'static str, Shape)]),
}

/// What we can own in any object's metadata. The rest (name, namespace, uid, …) is never anybody's.
const METADATA: (&str, Shape) = (
    "metadata",
    Shape::Struct(&[
        ("annotations", Shape::Map),
        ("finalizers", Shape::Set),
        ("labels", Shape::Map),
        ("ownerReferences", Shape::Keyed(&["uid"])),
    ]),
);

const NAMESPACE: &[(&str, Shape)] = &[METADATA, ("spec", Shape::Struct(&[("finalizers", Shape::Atomic)]))];
const NETWORK_POLICY: &[(&str, Shape)] = &[
    METADATA,
    (
        "spec",
        Shape::Struct(&[
            ("egress", Shape::Atomic),
            ("ingress", Shape::Atomic),
            ("podSelector", Shape::Atomic),
            ("policyTypes", Shape::Atomic),
        ]),
    ),
];
const RESOURCE_QUOTA: &[(&str, Shape)] = &[
    METADATA,
    ("spec", Shape::Struct(&[("hard", Shape::Map), ("scopeSelector", Shape::Atomic), ("scopes", Shape::Atomic)])),
];
const LIMIT_RANGE: &[(&str, Shape)] = &[METADATA, ("spec", Shape::Struct(&[("limits", Shape::Atomic)]))];
/// The kinds of CloudNativePG that are applied, but for one.
const CUSTOM: &[(&str, Shape)] = &[METADATA, ("spec", Shape::Plain)];
const DATABASE_ROLE: &[(&str, Shape)] = &[
    METADATA,
    (
        "spec",
        Shape::Struct(&[
            ("clientCertificate", Shape::Plain),
            ("cluster", Shape::Atomic),
            ("databaseRoleReclaimPolicy", Shape::Atomic),
            ("disablePassword", Shape::Atomic),
            ("inRoles", Shape::Atomic),
            ("login", Shape::Atomic),
            ("name", Shape::Atomic),
        ]),
    ),
];
/// What is applied of a pod.
const POD: &[(&str, Shape)] = &[
    ("automountServiceAccountToken", Shape::Atomic),
    ("containers", Shape::Each("name", CONTAINER)),
    ("enableServiceLinks", Shape::Atomic),
    ("restartPolicy", Shape::Atomic),
    ("securityContext", Shape::Plain),
    ("terminationGracePeriodSeconds", Shape::Atomic),
    (
        "volumes",
        Shape::Each("name", &[("emptyDir", Shape::Plain), ("name", Shape::Atomic), ("projected", Shape::Plain)]),
    ),
];
const CONTAINER: &[(&str, Shape)] = &[
    ("command", Shape::Atomic),
    ("env", Shape::Each("name", &[("name", Shape::Atomic), ("value", Shape::Atomic)])),
    ("image", Shape::Atomic),
    ("name", Shape::Atomic),
    ("readinessProbe", Shape::Plain),
    ("resources", Shape::Plain),
    ("securityContext", Shape::Plain),
    (
        "volumeMounts",
        Shape::Each("mountPath", &[("mountPath", Shape::Atomic), ("name", Shape::Atomic), ("readOnly", Shape::Atomic)]),
    ),
];
const POD_TEMPLATE: Shape = Shape::Struct(&[METADATA, ("spec", Shape::Struct(POD))]);
const DEPLOYMENT: &[(&str, Shape)] = &[
    METADATA,
    (
        "spec",
        Shape::Struct(&[
            ("replicas", Shape::Atomic),
            ("selector", Shape::Atomic),
            ("strategy", Shape::Plain),
            ("template", POD_TEMPLATE),
        ]),
    ),
];
const JOB: &[(&str, Shape)] = &[
    METADATA,
    (
        "spec",
        Shape::Struct(&[
            ("activeDeadlineSeconds", Shape::Atomic),
            ("backoffLimit", Shape::Atomic),
            ("template", POD_TEMPLATE),
        ]),
    ),
];
const SERVICE_ACCOUNT: &[(&str, Shape)] = &[METADATA, ("automountServiceAccountToken", Shape::Atomic)];
const DISRUPTION_BUDGET: &[(&str, Shape)] = &[
    METADATA,
    (
        "spec",
        Shape::Struct(&[
            ("minAvailable", Shape::Atomic),
            ("selector", Shape::Atomic),
            ("unhealthyPodEvictionPolicy", Shape::Atomic),
        ]),
    ),
];
const ROLE_BINDING: &[(&str, Shape)] = &[METADATA, ("roleRef", Shape::Atomic), ("subjects", Shape::Atomic)];

/// The table of a kind.
const fn shape_of(kind: Kind) -> &'static [(&'static str, Shape)] {
    match kind {
        Kind::Namespace => NAMESPACE,
        Kind::NetworkPolicy => NETWORK_POLICY,
        Kind::ResourceQuota => RESOURCE_QUOTA,
        Kind::LimitRange => LIMIT_RANGE,
        Kind::RoleBinding => ROLE_BINDING,
        Kind::Cluster | Kind::ScheduledBackup | Kind::ObjectStore => CUSTOM,
        Kind::DatabaseRole => DATABASE_ROLE,
        Kind::Deployment => DEPLOYMENT,
        Kind::Job => JOB,
        Kind::ServiceAccount => SERVICE_ACCOUNT,
        Kind::PodDisruptionBudget => DISRUPTION_BUDGET,
    }
}

/// The field set that the server records when this object is applied, as it stands in `fieldsV1`.
///
/// Fields that no table knows are left out: identity (`metadata.name`, `uid`, …), `apiVersion`, `kind` and `status`, which the
/// server leaves out as well. That the tables know all the rest of what is stamped out is tested.
#[must_use]
pub fn owned(kind: Kind, object: &Value) -> Value {
    Value::Object(of_struct(shape_of(kind), object))
}

fn of_struct(fields: &[(&str, Shape)], value: &Value) -> Map<String, Value> {
    let present = fields.iter().filter_map(|(name, shape)| Some((*name, *shape, value.get(name)?)));
    present.filter_map(|(name, shape, value)| Some((format!("f:{name}"), of_field(shape, value)?))).collect()
}

/// The set below a field; `None` if neither the field nor anything in it is recorded.
fn of_field(shape: Shape, value: &Value) -> Option<Value> {
    // A null, and a map without entries, are recorded as themselves.
    if value.is_null() || value.as_object().is_some_and(Map::is_empty) {
        return Some(leaf());
    }
    let below = match shape {
        Shape::Atomic => return Some(leaf()),
        Shape::Struct(fields) => of_struct(fields, value),
        Shape::Plain => match value {
            Value::Object(map) => {
                map.iter().filter_map(|(key, value)| Some((format!("f:{key}"), of_field(shape, value)?))).collect()
            }
            _ => return Some(leaf()),
        },
        Shape::Map => value.as_object()?.keys().map(|key| (format!("f:{key}"), leaf())).collect(),
        Shape::Set => value.as_array()?.iter().map(|item| (format!("v:{item}"), leaf())).collect(),
        Shape::Keyed(keys) => value.as_array()?.iter().map(|item| (key_of(keys, item), leaf())).collect(),
        Shape::Each(key, fields) => {
            value.as_array()?.iter().map(|item| (key_of(&[key], item), of_item(fields, item))).collect()
        }
    };
    if below.is_empty() { None } else { Some(Value::Object(below)) }
}

/// An item is recorded as itself, and its fields beside that.
fn of_item(fields: &[(&str, Shape)], item: &Value) -> Value {
    let mut below = of_struct(fields, item);
    below.insert(".".to_owned(), leaf());
    Value::Object(below)
}

/// `k:{"uid":"…"}`: the keys in their order, without spaces.
fn key_of(keys: &[&str], item: &Value) -> String {
    let pairs: Vec<_> =
        keys.iter().filter_map(|key| Some(format!("{}:{}", Value::from(*key), item.get(key)?))).collect();
    format!("k:{{{}}}", pairs.join(","))
}

fn leaf() -> Value {
    Value::Object(Map::new())
}

#[cfg(test)]
mod tests;
