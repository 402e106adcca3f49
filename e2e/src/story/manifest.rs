//! Objects as a platform team writes them. In: a name and what it belongs to, which cannot be mixed up. Out: something to apply that
//! is complete without further ado, and can be changed field by field.

use std::fmt::Debug;
use std::marker::PhantomData;

use anyhow::Result;
use api::{AgentPool, Identity, StackNamespace, Tenant, TenantClass, Workspace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, Resource};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// A kind that reports in conditions.
pub trait Told:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Its conditions.
    fn conditions(&self) -> &[Condition];
    /// The generation that its status speaks of.
    fn observed_generation(&self) -> i64;
    /// Where it is; classes have no namespace.
    fn api(client: &Client, namespace: &str) -> Api<Self>;
}

macro_rules! told {
    ($kind:ty, $client:ident, $namespace:ident => $api:expr) => {
        impl Told for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }
            fn observed_generation(&self) -> i64 {
                self.status.as_ref().map_or(-1, |status| status.observed_generation)
            }
            fn api($client: &Client, $namespace: &str) -> Api<Self> {
                $api
            }
        }
    };
}

told!(TenantClass, client, _namespace => Api::all(client.clone()));
told!(Tenant, client, namespace => Api::namespaced(client.clone(), namespace));
told!(Workspace, client, namespace => Api::namespaced(client.clone(), namespace));
told!(AgentPool, client, namespace => Api::namespaced(client.clone(), namespace));

/// The condition of this type, if it is there.
pub fn condition<'a, K: Told>(object: &'a K, kind: &str) -> Option<&'a Condition> {
    object.conditions().iter().find(|condition| condition.type_ == kind)
}

/// An object to apply.
#[derive(Debug)]
pub struct Manifest<K> {
    name: String,
    namespace: String,
    spec: Value,
    annotations: Map<String, Value>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Manifest<K> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            spec: self.spec.clone(),
            annotations: self.annotations.clone(),
            kind: PhantomData,
        }
    }
}

/// A class that works: OpenBao keys, buckets under keys of the tenant's own, a network that is vouched for.
pub fn class(name: &str) -> Manifest<TenantClass> {
    let spec = json!({
        "residency": { "regions": ["site-a"] },
        "keys": { "openbao": {
            "region": "site-a", "address": "https://bao.example:8200", "mount": "transit",
            "auth": { "mount": "kubernetes", "role": "steading", "audience": "openbao" },
            "rotationPeriod": { "default": "90d", "min": "30d", "max": "365d" },
        }},
        "buckets": { "s3": {
            "region": "site-a", "endpoint": "https://s3.example:9000", "credentials": { "secret": "store" },
            "keyServer": { "kes": { "endpoint": "https://kes.example:7373", "credentials": { "secret": "kes" } } },
        }},
        "network": { "enforcement": "Assumed" },
    });
    Manifest::new(name, "", spec)
}

/// A place for stores of authorization, for a class.
pub fn openfga() -> Value {
    json!({ "openfga": {
        "region": "site-a", "endpoint": "https://openfga.example:8080", "credentials": { "secret": "openfga" },
    }})
}

/// The same at a server that knows its callers, by this access control store.
pub fn openfga_with_access_control(store: &str) -> Value {
    let mut place = openfga();
    if let Some(Value::Object(server)) = place.get_mut("openfga") {
        server.insert("credentials".to_owned(), json!({ "identityToken": { "role": "openfga" } }));
        server.insert("accessControl".to_owned(), json!({ "storeID": store }));
    }
    place
}

/// A Tenant that still needs a class. Its control namespace has its name.
pub fn tenant(name: &str) -> TenantWithoutClass {
    TenantWithoutClass { name: name.to_owned() }
}

/// See [`tenant`].
#[must_use]
pub struct TenantWithoutClass {
    name: String,
}

impl TenantWithoutClass {
    /// A Tenant without any limit; its data is kept when it goes.
    pub fn of_class(self, class: &Manifest<TenantClass>) -> Manifest<Tenant> {
        Manifest::new(&self.name, &self.name, json!({ "class": class.name }))
    }
}

/// A Workspace that still needs a Tenant.
pub fn workspace(name: &str) -> WorkspaceWithoutTenant {
    WorkspaceWithoutTenant { name: name.to_owned() }
}

/// See [`workspace`].
#[must_use]
pub struct WorkspaceWithoutTenant {
    name: String,
}

impl WorkspaceWithoutTenant {
    /// A Workspace with a bucket and without any limit or member, in the Tenant's control namespace.
    pub fn of_tenant(self, tenant: &Manifest<Tenant>) -> Manifest<Workspace> {
        Manifest::new(&self.name, &tenant.name, json!({}))
    }
}

/// An AgentPool that still needs a Workspace.
pub fn agent_pool(name: &str) -> AgentPoolWithoutWorkspace {
    AgentPoolWithoutWorkspace { name: name.to_owned() }
}

/// See [`agent_pool`].
#[must_use]
pub struct AgentPoolWithoutWorkspace {
    name: String,
}

/// An image that nothing runs.
const DESKTOP: &str =
    "registry.example/desktop@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

impl AgentPoolWithoutWorkspace {
    /// A pool of three small desktops.
    pub fn of_workspace(self, workspace: &Manifest<Workspace>) -> Manifest<AgentPool> {
        let desktop = json!({ "image": DESKTOP, "resources": { "cpu": "100m", "memory": "256Mi" } });
        let spec = json!({ "workspace": workspace.name, "replicas": 3, "desktop": desktop });
        Manifest::new(&self.name, &workspace.namespace, spec)
    }
}

impl<K> Manifest<K> {
    fn new(name: &str, namespace: &str, spec: Value) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            spec,
            annotations: Map::new(),
            kind: PhantomData,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace; empty for a class.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same with a field of its spec set, written as a path such as `quota.cpu`; `null` leaves the field out.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        set(&mut self.spec, field, value.into());
        self
    }

    /// The same with an annotation.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }
}

impl Manifest<Tenant> {
    /// Data is removed when it goes.
    #[must_use]
    pub fn deleting_data(self) -> Self {
        self.with("deletionPolicy", "Delete")
    }
}

impl<K: Told> Manifest<K> {
    /// Where it is.
    pub fn api(&self, client: &Client) -> Api<K> {
        K::api(client, &self.namespace)
    }

    /// As it is sent.
    pub fn object(&self) -> Value {
        let mut metadata = json!({ "name": self.name, "annotations": self.annotations });
        if !self.namespace.is_empty() {
            set(&mut metadata, "namespace", self.namespace.clone().into());
        }
        json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "spec": self.spec })
    }
}

/// Sets what lies at a path of names with dots between them; `null` removes it.
fn set(within: &mut Value, path: &str, value: Value) {
    if !within.is_object() {
        *within = json!({});
    }
    let Some(fields) = within.as_object_mut() else { return };
    match path.split_once('.') {
        Some((first, rest)) => set(fields.entry(first).or_insert_with(|| json!({})), rest, value),
        None if value.is_null() => drop(fields.remove(path)),
        None => drop(fields.insert(path.to_owned(), value)),
    }
}

/// The name that the stack namespace of a Workspace has once this is its identity.
pub fn stack_namespace(workspace: &Manifest<Workspace>, identity: &Identity) -> Result<String> {
    Ok(StackNamespace::of(&workspace.namespace.parse()?, &workspace.name.parse()?, identity).to_string())
}
