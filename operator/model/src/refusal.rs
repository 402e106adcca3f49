//! Answers that are no objects: the server's `Status`, in its own words as far as anybody reads them.

use serde_json::{Value, json};

use crate::{Answer, Resource};

fn refusal(code: u16, reason: &str, message: &str, details: &Value) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code,
    });
    Answer { code, body }
}

fn details(resource: Resource, name: &str) -> Value {
    let mut details = json!({ "name": name, "kind": resource.plural() });
    if !resource.group().is_empty() {
        details["group"] = resource.group().into();
    }
    details
}

pub(crate) fn not_found(resource: Resource, name: &str) -> Answer {
    refusal(404, "NotFound", &format!("{} {name:?} not found", resource.told()), &details(resource, name))
}

pub(crate) fn no_such_path() -> Answer {
    refusal(404, "NotFound", "the server could not find the requested resource", &json!({}))
}

pub(crate) fn bad_request(why: &str) -> Answer {
    refusal(400, "BadRequest", why, &json!({}))
}

pub(crate) fn already_exists(resource: Resource, name: &str) -> Answer {
    refusal(409, "AlreadyExists", &format!("{} {name:?} already exists", resource.told()), &details(resource, name))
}

pub(crate) fn conflict(resource: Resource, name: &str, why: &str) -> Answer {
    let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.told());
    refusal(409, "Conflict", &message, &details(resource, name))
}

/// The object of that name is another: a UID cannot be changed.
pub(crate) fn another_uid(resource: Resource, name: &str, uid: &str) -> Answer {
    let mut details = details(resource, name);
    let why = format!("Invalid value: {uid:?}: field is immutable");
    details["causes"] = json!([{ "reason": "FieldValueInvalid", "message": why, "field": "metadata.uid" }]);
    let message = format!("{} {name:?} is invalid: metadata.uid: {why}", resource.told());
    refusal(422, "Invalid", &message, &details)
}

/// Something new is asked for in a namespace that is on its way out.
pub(crate) fn terminating(resource: Resource, name: &str, namespace: &str) -> Answer {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut details = details(resource, name);
    details["causes"] = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    refusal(403, "Forbidden", &format!("{} {name:?} is forbidden: {why}", resource.told()), &details)
}

/// The object is gone, and all that is said of it.
pub(crate) fn deleted(resource: Resource, name: &str, uid: &Value) -> Answer {
    let mut details = details(resource, name);
    details["uid"] = uid.clone();
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
    Answer { code: 200, body }
}
