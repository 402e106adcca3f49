//! The end of a world: the weather calms, and then everything must come to be as it should, stay so, and go when it is told to.

use std::time::Duration;

use api::{Amounts, Tenant, Workspace, amounts::ResourceText, conditions as names};
use desired::workspace::{Facts, stack};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use model::{Key, Resource};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    laws::{self, typed},
    process::Process,
    world::{Lead, Weather, World},
};

/// How long nothing may change before all is at rest: longer than any pause after a failure.
const QUIET: Duration = Duration::from_mins(13);
/// How long what is under way at the last change may take to end.
const ENDING: Duration = Duration::from_mins(1);
/// How many requests may be made after that: a reading look at what only a person can mend, each five minutes.
const AT_REST: u64 = 12;
/// Decisions after which a world that is still not at rest never will be.
const PATIENCE: usize = 20_000;

impl World {
    /// The weather calms; everything must be as it should, and stay so through a restart.
    pub async fn come_to_rest(&mut self) -> Result<(), String> {
        self.note(|| "the weather calms".to_owned());
        self.weather = Weather::Calm;
        if self.lead == Lead::Lease {
            // Renewing a Lease for hours shows nothing. One that leads for good takes over, as after any other crash.
            self.processes.clear();
            self.lead = Lead::Alone;
        }
        self.site.outside.heal();
        self.make_peace()?;
        self.rest().await?;
        self.is_as_it_should_be()?;
        let before = self.standing();
        self.note(|| "everybody restarts".to_owned());
        self.processes.clear();
        self.lead = Lead::Alone;
        self.rest().await?;
        match self.standing().into_iter().zip(before).find(|(now, before)| now != before) {
            None => Ok(()),
            Some((now, before)) => Err(format!("a restart changed {before:?} to {now:?}")),
        }
    }

    /// Everything is deleted, and nothing must remain.
    pub async fn leave_nothing(&mut self) -> Result<(), String> {
        self.note(|| "everybody goes".to_owned());
        self.remove_all()?;
        self.rest().await?;
        for resource in [Resource::Workspace, Resource::Tenant, Resource::TenantClass] {
            if let Some((key, object)) = self.server.all(resource).next() {
                return Err(format!("{key:?} remains: {}", object["status"]));
            }
        }
        let left: Vec<Key> = self.children(|_| true).into_keys().collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} remain")) }
    }

    /// All that stands but Leases, and but for the moment of the last look outside: that is renewed for ever.
    fn standing(&self) -> Vec<(Key, Value)> {
        let kinds = Resource::ALL.into_iter().filter(|resource| *resource != Resource::Lease);
        let all = kinds.flat_map(|resource| self.server.all(resource));
        all.map(|(key, object)| {
            let mut object = object.as_ref().clone();
            for part in ["/key", "/bucket", "/authorization", ""] {
                if let Some(looked) = object.pointer_mut(&format!("/status{part}/observedAt")) {
                    *looked = Value::Null;
                    object["metadata"]["resourceVersion"] = Value::Null;
                }
            }
            (key.clone(), object)
        })
        .collect()
    }

    /// Until nothing but the Lease has changed for a while.
    async fn rest(&mut self) -> Result<(), String> {
        self.changed = Instant::now();
        let mut requests = self.requests;
        for _ in 0..PATIENCE {
            self.step().await?;
            if self.changed.elapsed() < ENDING {
                requests = self.requests;
            }
            let idle = !self.processes.iter().any(Process::is_working) && !self.processes.is_empty();
            if idle && self.changed.elapsed() > QUIET {
                let asked = self.requests - requests;
                return if asked <= AT_REST { Ok(()) } else { Err(format!("{asked} requests at rest")) };
            }
        }
        Err("it never comes to rest".to_owned())
    }

    fn is_as_it_should_be(&self) -> Result<(), String> {
        laws::every_stack_has_a_workspace(&self.server)?;
        for (key, object) in self.server.all(Resource::Tenant) {
            if object["metadata"]["deletionTimestamp"].is_null() {
                is_ready(key, object, true)?;
                self.key_is_there(object)?;
                self.one_store_is_there(object)?;
            }
        }
        for (key, object) in self.server.all(Resource::Workspace) {
            let tenant = key.namespace.as_deref().unwrap_or_default();
            let tenant = self.server.get(&Key::within(Resource::Tenant, tenant, tenant));
            let lives = |object: &Value| object["metadata"]["deletionTimestamp"].is_null();
            if let Some(tenant) = tenant.filter(|tenant| lives(tenant) && lives(object)) {
                self.workspace_is_as_it_should_be(key, &typed(tenant), object)?;
            }
        }
        Ok(())
    }

    fn key_is_there(&self, tenant: &Value) -> Result<(), String> {
        let identity = tenant["metadata"]["uid"].as_str().unwrap_or_default();
        let name = providers::owner::transit_key(&laws::installation(), &providers::Identity::new(identity).unwrap());
        let keys = self.site.outside.keys();
        let key = keys.get(&name).filter(|key| key.enabled && key.rotation_period.is_some());
        let version = key.map(|key| key.latest_version.to_string());
        let told = tenant.pointer("/status/key/version").map(ToString::to_string);
        if version.is_some() && version == told {
            Ok(())
        } else {
            Err(format!("key {name} has version {version:?}, status says {told:?}"))
        }
    }

    /// One store, the one that status names, with one model: whoever looked found what was written before.
    fn one_store_is_there(&self, tenant: &Value) -> Result<(), String> {
        let stores = laws::stores_of(tenant["metadata"]["uid"].as_str().unwrap_or_default(), &self.site.outside);
        let told = tenant.pointer("/status/authorization/storeID").and_then(Value::as_str);
        match stores.iter().next() {
            Some((id, store)) if stores.len() == 1 && told == Some(id) && !store.models.is_empty() => Ok(()),
            _ => Err(format!("there are stores {:?}, status says {told:?}", stores.keys())),
        }
    }

    /// Whose members the store knows, and no others.
    fn members_stand(&self, tenant: &Tenant, workspace: &Workspace, identity: &api::Identity) -> Result<(), String> {
        let stores = laws::stores_of(tenant.metadata.uid.as_deref().unwrap_or_default(), &self.site.outside);
        let object = format!("workspace:{identity}");
        let stands = stores.values().flat_map(|store| store.tuples.keys()).filter(|tuple| tuple.object == object);
        let mut stands: Vec<String> = stands.map(|tuple| format!("{} {}", tuple.user, tuple.relation)).collect();
        let wanted = workspace
            .spec
            .members
            .iter()
            .map(|member| format!("user:{} {:?}", member.name, member.role).to_lowercase());
        let mut wanted: Vec<String> = wanted.collect();
        wanted.push(format!("tenant:{} tenant", tenant.metadata.uid.as_deref().unwrap_or_default()));
        stands.sort();
        wanted.sort();
        if stands == wanted { Ok(()) } else { Err(format!("{object} has {stands:?} instead of {wanted:?}")) }
    }

    fn workspace_is_as_it_should_be(&self, key: &Key, tenant: &Tenant, object: &Value) -> Result<(), String> {
        let workspace: Workspace = typed(object);
        let reserved = condition(object, names::QUOTA_RESERVED);
        let fits = reserved.as_ref().is_none_or(|reserved| reserved.status == "True");
        is_ready(key, object, fits)?;
        let status = workspace.status.clone().unwrap_or_default();
        let Some(granted) = status.quota else {
            return if fits { Err(format!("{key:?} is Ready without a stack")) } else { Ok(()) };
        };
        let (cpu, memory, storage) = (granted.cpu, granted.memory, granted.storage);
        let text = ResourceText { cpu, memory, storage, agents: granted.agents };
        let identity: api::Identity = status.identity.unwrap_or_default().parse().unwrap();
        let facts = Facts::of(tenant, &workspace, identity, Amounts::parse(&text).unwrap()).unwrap();
        for (kind, wanted) in stack(&facts).children() {
            let namespace = kind.is_namespaced().then(|| facts.namespace().to_string());
            let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let child = Key { resource: Resource::Child(kind), namespace, name };
            let found = self.server.get(&child).ok_or_else(|| format!("{child:?} is missing"))?;
            if let Some(path) = differs(&wanted, found, "") {
                return Err(format!("{child:?} differs at {path}"));
            }
        }
        self.members_stand(tenant, &workspace, &identity)?;
        let bucket = self.site.outside.buckets().remove(&laws::bucket_of(&identity.to_string(), &laws::installation()));
        let sound = bucket.is_some_and(|bucket| {
            bucket.settings.versioning && !bucket.tags.contains_key(providers::owner::tags::RELEASED)
        });
        if sound || !workspace.spec.wants_bucket() {
            Ok(())
        } else {
            Err(format!("the bucket of {key:?} is not as it must be"))
        }
    }
}

fn condition(object: &Value, name: &str) -> Option<Condition> {
    let all = object.pointer("/status/conditions").map(typed::<Vec<Condition>>).unwrap_or_default();
    all.into_iter().find(|condition| condition.type_ == name)
}

/// Ready at its generation, or if it cannot be: stalled, with the reason.
fn is_ready(key: &Key, object: &Value, ready: bool) -> Result<(), String> {
    let generation = &object["metadata"]["generation"];
    let told = condition(object, names::READY).map(|condition| condition.status);
    let stalled = condition(object, names::STALLED).is_some();
    let expected = if ready { told.as_deref() == Some("True") } else { told.as_deref() == Some("False") && stalled };
    if expected && object["status"]["observedGeneration"] == *generation {
        Ok(())
    } else {
        Err(format!("at rest {key:?} of generation {generation} says {}", object["status"]))
    }
}

/// The first field that is ours and is not as it should be.
fn differs(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match wanted {
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            let below = found.get(key).unwrap_or(&Value::Null);
            differs(value, below, &format!("{path}/{key}"))
        }),
        _ if wanted == found => None,
        _ => Some(path.to_owned()),
    }
}

#[test]
fn a_difference_is_found_wherever_it_is() {
    let wanted = serde_json::json!({"a": {"b": [1]}});
    assert_eq!(differs(&wanted, &serde_json::json!({"a": {"b": [1], "c": 2}}), ""), None);
    assert_eq!(differs(&wanted, &serde_json::json!({"a": {"b": []}}), "").as_deref(), Some("/a/b"));
}
