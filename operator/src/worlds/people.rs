//! Everybody but the operator: who writes Tenants and Workspaces, who meddles, who runs the cluster and the stores.

use std::collections::BTreeMap;

use api::{StackNamespace, labels};
use desired::fields::Kind;
use model::{Key, Request, Resource};
use rand::RngExt;
use serde_json::{Value, json};

use super::{laws, world::World};

/// The class of all Tenants.
pub const CLASS: &str = "onprem";
/// A finalizer that somebody else puts on.
const THEIRS: &str = "example.com/theirs";

/// Where objects of a kind are.
fn path(resource: Resource, namespace: Option<&str>, name: &str) -> String {
    let group = if resource.group().is_empty() {
        format!("/api/{}", resource.version())
    } else {
        format!("/apis/{}/{}", resource.group(), resource.version())
    };
    let place = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    let name = if name.is_empty() { String::new() } else { format!("/{name}") };
    format!("{group}{place}/{}{name}?fieldManager=kubectl", resource.plural())
}

impl World {
    /// A request of somebody with all rights; whether it was carried out.
    pub fn person(&mut self, method: &str, key: &Key, body: Value) -> Result<bool, String> {
        let name = if method == "POST" { "" } else { key.name.as_str() };
        let request = Request {
            method: method.to_owned(),
            path: path(key.resource, key.namespace.as_deref(), name),
            content_type: "application/merge-patch+json".to_owned(),
            accept: String::new(),
            body,
        };
        let answer = self.carry_out(&request, None)?;
        self.note(|| format!("somebody: {method} {:?} {} -> {}", key.resource, key.name, answer.code));
        Ok(answer.code < 300)
    }

    fn create(&mut self, key: &Key, mut object: Value) -> Result<bool, String> {
        object["metadata"]["name"] = key.name.as_str().into();
        self.person("POST", key, object)
    }

    /// The platform as it is before anybody comes.
    pub fn found(&mut self) -> Result<(), String> {
        for namespace in ["steading-system", "default"] {
            self.create(&Key::cluster(Resource::NAMESPACE, namespace), json!({"metadata": {}}))?;
        }
        let spec = json!({
            "residency": {"regions": ["site-a"]},
            "keys": {"openbao": {
                "region": "site-a", "address": "https://keys.example", "mount": "transit",
                "auth": {"mount": "kubernetes", "role": "steading", "audience": "openbao"},
                "rotationPeriod": {"default": "90d", "min": "1h", "max": "365d"},
            }},
            "buckets": {"s3": {
                "region": "site-a", "endpoint": "https://store.example", "credentials": {"secret": "store"},
                "keyServer": {"kes": {"endpoint": "https://kes.example", "credentials": {"secret": "kes"}}},
            }},
            "authorization": {"openfga": {
                "region": "site-a", "endpoint": "https://openfga.example", "credentials": {"secret": "openfga"},
            }},
            "network": {"enforcement": "Assumed"},
        });
        self.create(&Key::cluster(Resource::TenantClass, CLASS), json!({"metadata": {}, "spec": spec}))?;
        Ok(())
    }

    /// Some wish of a user.
    pub fn wish(&mut self) -> Result<(), String> {
        let tenant = format!("t{}", self.random.random_range(0..2));
        let tenant_key = Key::within(Resource::Tenant, &tenant, &tenant);
        let workspace = format!("w{}", self.random.random_range(0..3));
        let workspace_key = Key::within(Resource::Workspace, &tenant, &workspace);
        if self.server.get(&tenant_key).is_none() {
            return self.new_tenant(&tenant_key);
        }
        if self.server.get(&workspace_key).is_none() {
            return self.new_workspace(&workspace_key);
        }
        let quota = json!({"spec": {"quota": self.amounts()}});
        let limit = json!({"spec": {"quota": self.limit()}});
        let paused = json!({"spec": {"paused": self.random.random_bool(0.5)}});
        let members = json!({"spec": {"members": [{"kind": "User", "name": "ada", "role": "viewer"}]}});
        let number = self.random.random_range(0..5);
        let rotate = json!({"metadata": {"annotations": {labels::ROTATE_REQUESTED_AT: format!("r{number}")}}});
        match self.random.random_range(0..20) {
            0..=5 => self.person("PATCH", &workspace_key, quota),
            6..=8 => self.person("PATCH", &tenant_key, limit),
            9..=10 => self.person("PATCH", &workspace_key, members),
            11 => self.person("PATCH", &workspace_key, paused),
            12 => self.person("PATCH", &tenant_key, paused),
            13..=14 => self.person("PATCH", &tenant_key, rotate),
            15..=18 => self.person("DELETE", &workspace_key, Value::Null),
            _ => self.person("DELETE", &tenant_key, Value::Null),
        }?;
        Ok(())
    }

    fn new_tenant(&mut self, key: &Key) -> Result<(), String> {
        self.create(&Key::cluster(Resource::NAMESPACE, &key.name), json!({"metadata": {}}))?;
        let policy = if self.random.random_bool(0.5) { "Retain" } else { "Delete" };
        let spec = json!({"class": CLASS, "quota": self.limit(), "deletionPolicy": policy});
        self.create(key, json!({"metadata": {}, "spec": spec}))?;
        Ok(())
    }

    fn new_workspace(&mut self, key: &Key) -> Result<(), String> {
        let spec = json!({"quota": self.amounts(), "bucket": {"disabled": self.random.random_bool(0.2)}});
        if self.create(key, json!({"metadata": {}, "spec": spec}))? && self.random.random_bool(0.1) {
            let workspace = self.server.get(key).cloned().unwrap();
            let identity = workspace["metadata"]["uid"].as_str().unwrap().to_owned();
            if self.random.random_bool(0.5) {
                return self.take_namespace(key, &identity);
            }
            self.note(|| format!("somebody takes the bucket name of {key:?}"));
            let bucket = laws::bucket_of(&identity, &laws::installation());
            self.site.outside.tamper_bucket(&bucket, |bucket| {
                bucket.tags.insert("theirs".to_owned(), "true".to_owned());
                bucket.objects = 1;
            });
        }
        Ok(())
    }

    /// A stranger has the name of the stack namespace before us.
    fn take_namespace(&mut self, key: &Key, identity: &str) -> Result<(), String> {
        let tenant = key.namespace.as_deref().unwrap_or_default().parse().unwrap();
        let name = StackNamespace::of(&tenant, &key.name.parse().unwrap(), &identity.parse().unwrap());
        let key = Key::cluster(Resource::NAMESPACE, name.as_str());
        if self.create(&key, json!({"metadata": {"labels": {"whose": "theirs"}}}))? {
            let object = self.server.get(&key).cloned().unwrap();
            self.laws.is_foreign(&object);
        }
        Ok(())
    }

    /// Few cores and mebibytes, so that Workspaces compete.
    fn amounts(&mut self) -> Value {
        let (cpu, memory) = (self.random.random_range(1..5), self.random.random_range(1..5));
        json!({"cpu": cpu.to_string(), "memory": format!("{memory}Mi")})
    }

    fn limit(&mut self) -> Value {
        match self.random.random_range(0..3) {
            0 => Value::Null,
            1 => json!({"cpu": self.random.random_range(2..9).to_string(), "memory": "8Mi"}),
            _ => json!({"cpu": "8", "workspaces": self.random.random_range(1..4)}),
        }
    }

    /// Somebody with all rights meddles with what Steading made.
    pub fn meddle(&mut self) -> Result<(), String> {
        let children: Vec<Key> = self.children(|_| true).into_keys().collect();
        if children.is_empty() {
            return Ok(());
        }
        self.meddled = true;
        let key = children[self.random.random_range(0..children.len())].clone();
        let quota = key.resource == Resource::Child(Kind::ResourceQuota);
        match self.random.random_range(0..8) {
            // A quota that is taken away by force is more in force than was ever granted; that is theirs to answer for.
            0..=2 if !quota && key.resource != Resource::NAMESPACE => self.person("DELETE", &key, Value::Null),
            3 => {
                let stomped = json!({"metadata": {"labels": {labels::MANAGED_BY: null}}});
                self.person("PATCH", &key, stomped)
            }
            4 => {
                let stomped = json!({"metadata": {"labels": {labels::WORKSPACE: "another"}}});
                self.person("PATCH", &key, stomped)
            }
            5 if key.resource == Resource::Child(Kind::NetworkPolicy) => {
                self.person("PATCH", &key, json!({"spec": {"ingress": [{}], "policyTypes": ["Ingress"]}}))
            }
            6 => self.person("PATCH", &key, json!({"metadata": {"finalizers": [THEIRS]}})),
            7 => {
                let stack = Key::cluster(Resource::NAMESPACE, key.namespace.as_deref().unwrap_or(&key.name));
                self.person("DELETE", &stack, Value::Null)
            }
            _ => self.person("PATCH", &key, json!({"metadata": {"labels": {"extra": "theirs"}}})),
        }?;
        Ok(())
    }

    /// What stands in stacks, the stack namespaces among it.
    pub fn children(&self, keep: impl Fn(&Value) -> bool) -> BTreeMap<Key, Value> {
        let all = Resource::ALL.into_iter().filter(|resource| matches!(resource, Resource::Child(_)));
        all.flat_map(|resource| self.server.all(resource))
            .filter(|(_, object)| object["metadata"]["labels"][labels::OWNER].is_string() && keep(object))
            .map(|(key, object)| (key.clone(), object.as_ref().clone()))
            .collect()
    }

    /// Strangers let go of what they held and put back what they took; who paused goes on.
    pub fn make_peace(&mut self) -> Result<(), String> {
        let holds = |object: &Value| object["metadata"]["finalizers"] == json!([THEIRS]);
        for key in self.children(holds).into_keys() {
            self.person("PATCH", &key, json!({"metadata": {"finalizers": null}}))?;
        }
        let theirs = |(_, object): &(&Key, &std::sync::Arc<Value>)| object["metadata"]["labels"]["whose"] == "theirs";
        let taken: Vec<Key> = self.server.all(Resource::NAMESPACE).filter(theirs).map(|(key, _)| key.clone()).collect();
        for key in taken {
            self.person("DELETE", &key, Value::Null)?;
        }
        for (name, bucket) in self.site.outside.buckets() {
            if bucket.tags.contains_key("theirs") {
                self.site.outside.lose(&name);
            }
        }
        for resource in [Resource::Tenant, Resource::Workspace] {
            let all: Vec<Key> = self.server.all(resource).map(|(key, _)| key.clone()).collect();
            for key in all {
                self.person("PATCH", &key, json!({"spec": {"paused": false}}))?;
            }
        }
        Ok(())
    }

    /// Everybody goes.
    pub fn remove_all(&mut self) -> Result<(), String> {
        for resource in [Resource::Workspace, Resource::Tenant, Resource::TenantClass] {
            let all: Vec<Key> = self.server.all(resource).map(|(key, _)| key.clone()).collect();
            for key in all {
                self.person("DELETE", &key, Value::Null)?;
            }
        }
        Ok(())
    }
}
