//! What each verb does.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    Answer, Key, Request, Resource, Server, apply, refusal,
    request::{Call, Verb},
};

/// What keeps a namespace until its content is gone.
const NAMESPACE_FINALIZER: &str = "kubernetes";

impl Server {
    /// Carries a request out.
    pub fn answer(&mut self, request: &Request) -> Answer {
        let Some(call) = request.call() else { return refusal::no_such_path() };
        let answer = match call.verb {
            Verb::Get => self.read(&call),
            Verb::List => self.list(&call),
            Verb::Create => self.create(&call, &request.body),
            Verb::Replace => self.replace(&call, &request.body),
            Verb::Merge => self.merge(&call, &request.body),
            Verb::Apply => self.apply(&call, &request.body),
            Verb::Delete => self.delete(&call, &request.body),
        };
        if call.metadata_only && answer.code < 300 { metadata_only(&answer) } else { answer }
    }

    fn read(&self, call: &Call) -> Answer {
        match self.get(&call.key) {
            Some(object) => found(200, object),
            None => refusal::not_found(call.key.resource, &call.key.name),
        }
    }

    fn list(&self, call: &Call) -> Answer {
        let (resource, namespace) = (call.key.resource, &call.key.namespace);
        let all = self.all(resource).filter(|(key, _)| namespace.is_none() || key.namespace == *namespace);
        let items: Vec<Value> = all.take(call.limit).map(|(_, object)| object.as_ref().clone()).collect();
        let body = json!({
            "apiVersion": resource.api_version(), "kind": format!("{}List", resource.kind()),
            "metadata": { "resourceVersion": self.version().to_string() }, "items": items,
        });
        Answer { code: 200, body }
    }

    fn create(&mut self, call: &Call, body: &Value) -> Answer {
        let name = text(body, "/metadata/name").unwrap_or_default().to_owned();
        let key = Key { name, ..call.key.clone() };
        // Admission is asked before anybody looks whether it is there.
        if let Err(refused) = self.admit_into_namespace(&key) {
            return refused;
        }
        if self.get(&key).is_some() {
            return refusal::already_exists(key.resource, &key.name);
        }
        match self.make(&key, body, &call.manager, false) {
            Ok(made) => found(201, &made),
            Err(refused) => refused,
        }
    }

    fn make(&mut self, key: &Key, body: &Value, manager: &str, applied: bool) -> Result<Arc<Value>, Answer> {
        if key.name.is_empty() {
            return Err(refusal::bad_request("name is required"));
        }
        if applied && text(body, "/metadata/uid").is_some() {
            return Err(refusal::conflict(
                key.resource,
                &key.name,
                "Precondition failed: no object of this UID exists",
            ));
        }
        self.admit_into_namespace(key)?;
        let mut object = body.clone();
        let version = text(body, "/metadata/resourceVersion").unwrap_or_default();
        if !applied && !version.is_empty() && version != "0" {
            return Err(refusal::bad_request("resourceVersion should not be set on objects to be created"));
        }
        object["apiVersion"] = key.resource.api_version().into();
        object["kind"] = key.resource.kind().into();
        let uid = self.new_uid();
        let metadata = &mut object["metadata"];
        if let Some(namespace) = &key.namespace {
            metadata["namespace"] = namespace.as_str().into();
        }
        for given in ["managedFields", "deletionTimestamp", "resourceVersion"] {
            take(metadata, given);
        }
        metadata["uid"] = uid.into();
        metadata["creationTimestamp"] = self.now().into();
        if key.resource.has_generations() {
            metadata["generation"] = 1.into();
        }
        if key.resource.is_custom() {
            object["status"] = json!({ "observedGeneration": -1 });
        }
        if let Resource::Child(kind) = key.resource {
            if key.resource == Resource::NAMESPACE {
                object["metadata"]["labels"]["kubernetes.io/metadata.name"] = key.name.as_str().into();
            }
            let nothing = json!({ "metadata": {} });
            object = if applied {
                // Metadata that the server gave is nobody's, and an apply onto what is otherwise empty records what was sent.
                let mut bare = object.clone();
                bare["metadata"]["managedFields"] = json!([]);
                apply::apply(kind, &bare, body, manager)
            } else {
                apply::update(kind, &nothing, object, manager)
            };
            if key.resource == Resource::NAMESPACE {
                object["spec"] = json!({ "finalizers": [NAMESPACE_FINALIZER] });
                object["status"] = json!({ "phase": "Active" });
            }
        }
        Ok(self.put(key, object))
    }

    fn admit_into_namespace(&self, key: &Key) -> Result<(), Answer> {
        let Some(namespace) = &key.namespace else { return Ok(()) };
        match self.get(&Key::cluster(Resource::NAMESPACE, namespace)) {
            None => Err(refusal::not_found(Resource::NAMESPACE, namespace)),
            Some(found) if is_deleting(found) => Err(refusal::terminating(key.resource, &key.name, namespace)),
            Some(_) => Ok(()),
        }
    }

    fn replace(&mut self, call: &Call, body: &Value) -> Answer {
        let Some(live) = self.get(&call.key).cloned() else {
            return self.replace_nothing(call, body);
        };
        if let Some(refused) = precondition(&call.key, &live, body) {
            return refused;
        }
        let mut object = body.clone();
        if let Some(namespace) = &call.key.namespace {
            object["metadata"]["namespace"] = namespace.as_str().into();
        }
        for kept in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            keep(&mut object["metadata"], &live["metadata"], kept);
        }
        for kept in ["resourceVersion", "managedFields"] {
            keep(&mut object["metadata"], &live["metadata"], kept);
        }
        if call.key.resource.is_custom() {
            keep(&mut object, &live, "status");
        }
        self.settle(call, &live, object)
    }

    /// A Lease that is not there is made by a replacement, whatever version the request names; nothing else is.
    fn replace_nothing(&mut self, call: &Call, body: &Value) -> Answer {
        if call.key.resource != Resource::Lease {
            return refusal::not_found(call.key.resource, &call.key.name);
        }
        let mut object = body.clone();
        object.pointer_mut("/metadata").into_iter().for_each(|metadata| take(metadata, "resourceVersion"));
        match self.make(&call.key, &object, &call.manager, false) {
            Ok(made) => found(201, &made),
            Err(refused) => refused,
        }
    }

    fn merge(&mut self, call: &Call, body: &Value) -> Answer {
        let Some(live) = self.get(&call.key).cloned() else {
            return refusal::not_found(call.key.resource, &call.key.name);
        };
        if let Some(refused) = precondition(&call.key, &live, body) {
            return refused;
        }
        let mut object = live.as_ref().clone();
        let mut patch = body.clone();
        patch.pointer_mut("/metadata").into_iter().for_each(|metadata| take(metadata, "resourceVersion"));
        if call.key.resource.is_custom() && !call.status {
            take(&mut patch, "status");
        }
        merge(&mut object, &patch);
        self.settle(call, &live, object)
    }

    /// Stores what a write made of an object that was there.
    fn settle(&mut self, call: &Call, live: &Value, object: Value) -> Answer {
        let mut object = match call.key.resource {
            Resource::Child(kind) => apply::update(kind, live, object, &call.manager),
            _ => object,
        };
        if object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            take(&mut object["metadata"], "finalizers");
        }
        Self::count_generation(&call.key, live, &mut object);
        self.keep_or_let_go(&call.key, object)
    }

    fn count_generation(key: &Key, live: &Value, object: &mut Value) {
        if key.resource.has_generations() && live.get("spec") != object.get("spec") {
            let generation = live.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            object["metadata"]["generation"] = (generation + 1).into();
        }
    }

    /// An object that is being deleted goes with its last finalizer.
    pub(crate) fn keep_or_let_go(&mut self, key: &Key, object: Value) -> Answer {
        if is_deleting(&object) && !is_held(&object) {
            self.take(key);
            return Answer { code: 200, body: object };
        }
        found(200, &self.put(key, object))
    }

    fn apply(&mut self, call: &Call, body: &Value) -> Answer {
        let Some(live) = self.get(&call.key).cloned() else {
            if call.status {
                return refusal::not_found(call.key.resource, &call.key.name);
            }
            return match self.make(&call.key, body, &call.manager, true) {
                Ok(made) => found(201, &made),
                Err(refused) => refused,
            };
        };
        // Whoever writes status is not asked which UID he means: only the version protects.
        let mut meant = body.clone();
        if call.status {
            meant.pointer_mut("/metadata").into_iter().for_each(|metadata| take(metadata, "uid"));
        }
        if let Some(refused) = precondition(&call.key, &live, &meant) {
            return refused;
        }
        let mut object = match call.key.resource {
            _ if call.status => {
                let mut object = live.as_ref().clone();
                object["status"] = body.get("status").cloned().unwrap_or_default();
                object
            }
            Resource::Child(kind) => apply::apply(kind, &live, body, &call.manager),
            _ => {
                let mut object = live.as_ref().clone();
                object["spec"] = body.get("spec").cloned().unwrap_or_default();
                object
            }
        };
        Self::count_generation(&call.key, &live, &mut object);
        self.keep_or_let_go(&call.key, object)
    }

    pub(crate) fn delete(&mut self, call: &Call, options: &Value) -> Answer {
        let key = &call.key;
        let Some(live) = self.get(key).cloned() else { return refusal::not_found(key.resource, &key.name) };
        let wanted = options.pointer("/preconditions/uid").and_then(Value::as_str);
        if wanted.is_some_and(|uid| text(&live, "/metadata/uid") != Some(uid)) {
            return refusal::conflict(key.resource, &key.name, "Precondition failed: UID in precondition");
        }
        if !is_held(&live) {
            self.take(key);
            return refusal::deleted(key.resource, &key.name, &live["metadata"]["uid"]);
        }
        let mut object = live.as_ref().clone();
        if !is_deleting(&live) {
            object["metadata"]["deletionTimestamp"] = self.now().into();
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            if key.resource.has_generations() {
                let generation = live.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
                object["metadata"]["generation"] = (generation + 1).into();
            }
            if key.resource == Resource::NAMESPACE {
                object["status"]["phase"] = "Terminating".into();
            }
        }
        found(200, &self.put(key, object))
    }
}

fn found(code: u16, object: &Value) -> Answer {
    Answer { code, body: object.clone() }
}

fn metadata_only(answer: &Answer) -> Answer {
    let bare = |object: &Value| json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"] });
    let body = match answer.body.get("items").and_then(Value::as_array) {
        None => bare(&answer.body),
        Some(items) => json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": answer.body["metadata"], "items": items.iter().map(bare).collect::<Vec<_>>(),
        }),
    };
    Answer { code: answer.code, body }
}

/// UID and version, where the request names them, must be those of the object.
fn precondition(key: &Key, live: &Value, body: &Value) -> Option<Answer> {
    let differs = |path: &str| text(body, path).is_some_and(|asked| text(live, path) != Some(asked));
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    if differs("/metadata/resourceVersion") {
        return Some(refusal::conflict(key.resource, &key.name, why));
    }
    let asked = text(body, "/metadata/uid").unwrap_or_default();
    differs("/metadata/uid").then(|| refusal::another_uid(key.resource, &key.name, asked))
}

fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    object.pointer(path).and_then(Value::as_str)
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// Whether something keeps it from going at once.
fn is_held(object: &Value) -> bool {
    let holds = |path: &str| object.pointer(path).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let is_namespace = object.get("kind").and_then(Value::as_str) == Some("Namespace");
    holds("/metadata/finalizers") || (is_namespace && holds("/spec/finalizers"))
}

fn take(object: &mut Value, field: &str) {
    if let Some(map) = object.as_object_mut() {
        map.remove(field);
    }
}

fn keep(object: &mut Value, live: &Value, field: &str) {
    match live.get(field) {
        Some(value) => object[field] = value.clone(),
        None => take(object, field),
    }
}

/// A JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            take(target, key);
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}
