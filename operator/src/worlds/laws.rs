//! What must hold at every change, whoever crashed, lagged or meddled.
//!
//! In: each change of the server with who made it. Out: nothing, or what was broken.

use std::collections::{BTreeMap, BTreeSet};

use api::{Amounts, Tenant, Workspace, conditions as names, labels, tenant::DeletionPolicy};
use desired::{fields::Kind, ledger};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use model::{Change, Key, Resource, Server};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The order in which a stack comes to stand: nothing of a step before all of the steps before it.
const ORDER: [(Kind, &str, usize); 8] = [
    (Kind::NetworkPolicy, "deny-all", 0),
    (Kind::NetworkPolicy, "allow-parts-ingress", 1),
    (Kind::NetworkPolicy, "allow-parts-egress", 1),
    (Kind::NetworkPolicy, "allow-dns", 1),
    (Kind::ResourceQuota, "steading", 2),
    (Kind::LimitRange, "steading", 3),
    (Kind::RoleBinding, "steading-viewers", 4),
    (Kind::RoleBinding, "steading-editors", 4),
];

/// What has been seen so far, as far as the laws look back.
#[derive(Default)]
pub struct Laws {
    /// Whether no two processes write at the same time.
    one_writer: bool,
    /// Objects that are not Steading's, by UID.
    foreign: BTreeSet<String>,
    /// Which namespaces ever had a name, by UID.
    namesakes: BTreeMap<String, BTreeSet<String>>,
    /// What has ever stood in a stack namespace, by its UID.
    stood: BTreeMap<String, BTreeSet<(&'static str, String)>>,
    /// Identities that ever were, with the name of the kind.
    identities: BTreeSet<String>,
    /// Requests for rotation, by the Tenant's UID.
    rotations: BTreeMap<String, BTreeSet<String>>,
}

type Verdict = Result<(), String>;

/// Breaks a law unless `holds`.
fn law(holds: bool, broken: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(broken()) }
}

/// An object as its type.
pub fn typed<K: DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap()
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

impl Laws {
    /// `one_writer` says that no two processes write at the same time.
    pub fn with(one_writer: bool) -> Self {
        Self { one_writer, ..Self::default() }
    }

    /// This object is not Steading's.
    pub fn is_foreign(&mut self, object: &Value) {
        self.foreign.insert(uid(object).to_owned());
    }

    /// A change; `process` made it, or somebody else.
    pub fn see(
        &mut self,
        change: &Change,
        process: Option<usize>,
        server: &Server,
        outside: &providers::memory::World,
    ) -> Verdict {
        let (before, now) = (change.before.as_deref(), change.now.as_deref());
        if process.is_some() {
            self.touches_only_its_own(change, server)?;
        }
        if let (Resource::Child(kind), Some(now)) = (change.key.resource, now) {
            self.stands_in_order(kind, &change.key, now, server)?;
        }
        match (change.key.resource, now) {
            (Resource::Tenant | Resource::Workspace | Resource::TenantClass, Some(now)) => {
                self.remember(now);
                status_is_sound(&change.key, before, now)?;
            }
            (Resource::Workspace, None) => {
                if self.one_writer {
                    workspace_left_no_stack(before, server)?;
                }
                workspace_left_no_bucket(before, server, outside)?;
            }
            (Resource::Tenant, None) => tenant_left_nothing(before, outside)?,
            _ => {}
        }
        match (change.key.resource, now) {
            (Resource::Tenant, Some(now)) => {
                ledger_is_sound(before, now)?;
                if !self.one_writer {
                    return Ok(());
                }
                nothing_uses_more_than_is_held(server, &typed(now))
            }
            (Resource::Child(Kind::ResourceQuota), Some(now)) if self.one_writer => {
                let tenant = now["metadata"]["labels"][labels::TENANT].as_str().unwrap_or_default();
                let found = server.get(&Key::within(Resource::Tenant, tenant, tenant));
                found.map_or(Ok(()), |found| nothing_uses_more_than_is_held(server, &typed(found)))
            }
            _ => Ok(()),
        }
    }

    /// What is outside belongs to somebody who was there, and a key has no version that nobody asked for.
    pub fn outside(&self, outside: &providers::memory::World, installation: &providers::Installation) -> Verdict {
        let names: BTreeMap<String, &String> = self
            .identities
            .iter()
            .filter_map(|identity| {
                Some((providers::owner::transit_key(installation, &providers::Identity::new(identity).ok()?), identity))
            })
            .collect();
        for (name, key) in outside.keys() {
            let Some(identity) = names.get(&name) else { return Err(format!("key {name} is nobody's")) };
            let asked = self.rotations.get(*identity).map_or(0, BTreeSet::len) as u64;
            law(key.latest_version <= 1 + asked, || {
                format!("key {name} has version {}, but {asked} rotations were asked for", key.latest_version)
            })?;
        }
        Ok(())
    }

    fn remember(&mut self, object: &Value) {
        self.identities.insert(uid(object).to_owned());
        if let Some(asked) = object["metadata"]["annotations"][labels::ROTATE_REQUESTED_AT].as_str() {
            self.rotations.entry(uid(object).to_owned()).or_default().insert(asked.to_owned());
        }
    }

    fn touches_only_its_own(&self, change: &Change, server: &Server) -> Verdict {
        let Some(before) = change.before.as_deref() else { return Ok(()) };
        law(!self.foreign.contains(uid(before)), || format!("an operator wrote to the foreign {:?}", change.key))?;
        let goes = change.now.as_deref().is_none_or(|now| is_deleting(now) && !is_deleting(before));
        if matches!(change.key.resource, Resource::Child(_)) && goes {
            let ours = before["metadata"]["labels"][labels::OWNER].is_string();
            law(ours, || format!("an operator deleted {:?}, which does not bear our mark", change.key))?;
            if change.key.resource == Resource::NAMESPACE {
                return workspace_wants_no_stack(before, server);
            }
        }
        Ok(())
    }

    fn stands_in_order(&mut self, kind: Kind, key: &Key, now: &Value, server: &Server) -> Verdict {
        let Some(namespace) = &key.namespace else { return Ok(()) };
        let Some(stack) = server.get(&Key::cluster(Resource::NAMESPACE, namespace)) else { return Ok(()) };
        let stood = self.stood.entry(uid(stack).to_owned()).or_default();
        let namesakes = self.namesakes.entry(namespace.clone()).or_default();
        namesakes.insert(uid(stack).to_owned());
        // No write to a namespace's content can name the UID of the namespace. Of two processes that write at the same time, one may
        // still mean the one that went while the other has made the next.
        let may_mistake = !self.one_writer && namesakes.len() > 1;
        let mine = ORDER.iter().find(|(of, name, _)| *of == kind && *name == key.name);
        if let Some((_, _, step)) = mine.filter(|_| !may_mistake) {
            let missing = ORDER
                .iter()
                .find(|(of, name, before)| before < step && !stood.contains(&(of.name(), (*name).to_owned())));
            law(missing.is_none(), || format!("{key:?} stands, but {:?} never did", missing.map(|(_, name, _)| name)))?;
        }
        if !is_deleting(now) {
            stood.insert((kind.name(), key.name.clone()));
        }
        Ok(())
    }
}

/// A stack is deleted only when its Workspace is.
fn workspace_wants_no_stack(namespace: &Value, server: &Server) -> Verdict {
    let owner = namespace["metadata"]["labels"][labels::STACK].as_str().unwrap_or_default();
    let alive = server.all(Resource::Workspace).find(|(_, object)| uid(object) == owner && !is_deleting(object));
    law(alive.is_none(), || {
        format!("the stack of {:?} was deleted, though it is not being deleted", alive.map(|a| a.0))
    })
}

fn conditions(object: &Value) -> Vec<Condition> {
    object.pointer("/status/conditions").map(typed::<Vec<Condition>>).unwrap_or_default()
}

fn status_is_sound(key: &Key, before: Option<&Value>, now: &Value) -> Verdict {
    let told = |what: &str| format!("{key:?}: {what}: {}", now["status"]);
    let all = conditions(now);
    let of = |name: &str| all.iter().find(|condition| condition.type_ == name);
    let types: BTreeSet<&str> = all.iter().map(|condition| condition.type_.as_str()).collect();
    law(types.len() == all.len(), || told("two conditions of one type"))?;
    let (reconciling, stalled) = (of(names::RECONCILING), of(names::STALLED));
    law(reconciling.is_none() || stalled.is_none(), || told("Reconciling and Stalled"))?;
    if let Some(ready) = of(names::READY) {
        let abnormal = reconciling.is_some() || stalled.is_some();
        law(ready.status != "True" || !abnormal, || told("Ready, and yet Reconciling or Stalled"))?;
        law(ready.status != "True" || all.iter().all(|part| part.status == "True"), || {
            told("Ready, and yet a part is not")
        })?;
    } else {
        law(all.is_empty(), || told("no Ready"))?;
    }
    let seen = |object: &Value| object.pointer("/status/observedGeneration").and_then(Value::as_i64).unwrap_or(-1);
    let generation = now["metadata"]["generation"].as_i64().unwrap_or(0);
    law(seen(now) <= generation, || told("a generation was observed that never was"))?;
    let Some(before) = before.filter(|before| uid(before) == uid(now)) else { return Ok(()) };
    let identity = |object: &Value| object.pointer("/status/identity").cloned().filter(|value| !value.is_null());
    law(identity(before).is_none() || identity(before) == identity(now), || told("the identity changed"))?;
    for old in conditions(before) {
        if let Some(new) = of(&old.type_) {
            let flipped = old.status != new.status;
            law(flipped || old.last_transition_time == new.last_transition_time, || told("time moved without a flip"))?;
        }
    }
    Ok(())
}

fn limit(tenant: &Tenant) -> ledger::Limit {
    ledger::Limit::of(&tenant.spec).unwrap()
}

fn entries(tenant: &Tenant) -> Vec<ledger::Entry> {
    let status = tenant.status.as_ref().and_then(|status| status.quota.as_ref());
    status.map(|ledger| ledger::read(ledger).unwrap()).unwrap_or_default()
}

fn held(tenant: &Tenant) -> Amounts {
    entries(tenant).iter().fold(Amounts::default(), |sum, entry| sum.plus(entry.held))
}

/// What all entries hold together exceeds a limit only by what was held already.
fn ledger_is_sound(before: Option<&Value>, now: &Value) -> Verdict {
    let tenant: Tenant = typed(now);
    let former = before.map(|before| held(&typed(before))).unwrap_or_default();
    let (limit, now) = (limit(&tenant).amounts, held(&tenant));
    for (((name, limit), (_, now)), (_, former)) in limit.named().into_iter().zip(now.named()).zip(former.named()) {
        if let Some(limit) = limit {
            law(now <= Some(limit).max(former), || format!("{name}: {now:?} held of {limit}, {former:?} before"))?;
        }
    }
    Ok(())
}

/// What a ResourceQuota lets a stack use.
fn in_force(quota: &Value) -> Amounts {
    let hard = |resource: &str| quota["spec"]["hard"][resource].as_str().map(str::to_owned);
    let text = api::amounts::ResourceText {
        cpu: hard("requests.cpu"),
        memory: hard("requests.memory"),
        storage: hard("requests.storage"),
        agents: None,
    };
    Amounts::parse(&text).unwrap()
}

/// What is in force in a stack is never more than what its entry holds.
fn nothing_uses_more_than_is_held(server: &Server, tenant: &Tenant) -> Verdict {
    let (name, entries) = (tenant.metadata.name.as_deref().unwrap_or_default(), entries(tenant));
    for (key, quota) in server.all(Resource::Child(Kind::ResourceQuota)) {
        if quota["metadata"]["labels"][labels::TENANT] != name {
            continue;
        }
        let owner = quota["metadata"]["labels"][labels::OWNER].as_str().unwrap_or_default();
        let held = entries.iter().find(|entry| entry.uid == owner).map(|entry| entry.held).unwrap_or_default();
        for ((name, used), (_, held)) in in_force(quota).named().into_iter().zip(held.named()) {
            law(used <= held, || format!("{name} in {key:?}: {used:?} in force, {held:?} held"))?;
        }
    }
    Ok(())
}

/// The stores of authorization that bear the name of a Tenant's, by id.
pub fn stores_of(
    identity: &str,
    outside: &providers::memory::World,
) -> BTreeMap<String, providers::memory::MemoryStore> {
    let name = providers::owner::store(&installation(), &providers::Identity::new(identity).unwrap());
    outside.stores().into_iter().filter(|(_, store)| store.name == name).collect()
}

/// Name of a Workspace's bucket.
pub fn bucket_of(identity: &str, installation: &providers::Installation) -> String {
    providers::owner::bucket(installation, &providers::Identity::new(identity).unwrap())
}

/// The installation of all worlds.
pub fn installation() -> providers::Installation {
    providers::Installation::new("world").unwrap()
}

/// Where two write at the same time, one may make a stack anew that the other has just seen go: see [`every_stack_has_a_workspace`].
fn workspace_left_no_stack(before: Option<&Value>, server: &Server) -> Verdict {
    let identity = before.map(uid).unwrap_or_default();
    let stack =
        server.all(Resource::NAMESPACE).find(|(_, object)| object["metadata"]["labels"][labels::STACK] == identity);
    law(stack.is_none(), || format!("Workspace {identity} is gone, its stack is not"))
}

/// At rest nothing is left over.
pub fn every_stack_has_a_workspace(server: &Server) -> Verdict {
    let workspaces: BTreeSet<&str> = server.all(Resource::Workspace).map(|(_, object)| uid(object)).collect();
    let owner = |namespace: &Value| namespace["metadata"]["labels"][labels::STACK].as_str().map(str::to_owned);
    let mut stacks = server.all(Resource::NAMESPACE).filter_map(|(key, namespace)| Some((key, owner(namespace)?)));
    let orphan = stacks.find(|(_, owner)| !workspaces.contains(owner.as_str()));
    law(orphan.is_none(), || format!("{orphan:?} is the stack of no Workspace"))
}

fn workspace_left_no_bucket(before: Option<&Value>, server: &Server, outside: &providers::memory::World) -> Verdict {
    let Some(workspace) = before.map(typed::<Workspace>) else { return Ok(()) };
    let identity = workspace.metadata.uid.as_deref().unwrap_or_default();
    let namespace = workspace.metadata.namespace.as_deref().unwrap_or_default();
    let Some(tenant) = server.get(&Key::within(Resource::Tenant, namespace, namespace)) else { return Ok(()) };
    let Some(bucket) = outside.buckets().remove(&bucket_of(identity, &installation())) else { return Ok(()) };
    if bucket.tags.contains_key("theirs") {
        return Ok(());
    }
    let released = bucket.tags.contains_key(providers::owner::tags::RELEASED);
    let retain = typed::<Tenant>(tenant).spec.deletion_policy == DeletionPolicy::Retain;
    law(released && retain, || format!("Workspace {identity} is gone, its bucket is neither gone nor released"))
}

fn tenant_left_nothing(before: Option<&Value>, outside: &providers::memory::World) -> Verdict {
    let Some(tenant) = before.map(typed::<Tenant>) else { return Ok(()) };
    let identity = tenant.metadata.uid.as_deref().unwrap_or_default();
    let stores = stores_of(identity, outside);
    law(stores.is_empty() || tenant.spec.deletion_policy == DeletionPolicy::Retain, || {
        format!("Tenant {identity} is gone, its stores are there: {:?}", stores.keys())
    })?;
    let owned = format!("tenant:{identity}");
    let mut rights = outside.all_stores().into_values().flat_map(|store| store.tuples.into_keys());
    law(!rights.any(|tuple| tuple.object == owned), || format!("Tenant {identity} is gone, its owners still own it"))?;
    let name = providers::owner::transit_key(&installation(), &providers::Identity::new(identity).unwrap());
    let Some(key) = outside.keys().remove(&name) else { return Ok(()) };
    let let_go = match tenant.spec.deletion_policy {
        DeletionPolicy::Retain => key.rotation_period.is_none(),
        DeletionPolicy::Delete => !key.enabled,
    };
    law(let_go, || format!("Tenant {identity} is gone, its key {name} is as it was"))
}
