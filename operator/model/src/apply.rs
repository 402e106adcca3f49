//! Who owns which fields of a child, and what an apply makes of that.
//!
//! In: an object, what somebody sends, who it is. Out: the object and its `managedFields` afterwards. The server's own rules: an
//! apply sets what it names and takes back what its manager no longer names, unless another owns it too; any other write makes
//! its manager the owner of what it changed, and takes that from everybody else.

use desired::fields::Kind;
use serde_json::{Value, json};

use crate::{Resource, fields, fields::Set};

/// One entry of managedFields.
struct Entry {
    manager: String,
    operation: &'static str,
    owns: Set,
}

fn entries(object: &Value) -> Vec<Entry> {
    let all = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let read = |entry: &Value| Entry {
        manager: entry.get("manager").and_then(Value::as_str).unwrap_or_default().to_owned(),
        operation: if entry.get("operation").and_then(Value::as_str) == Some("Apply") { "Apply" } else { "Update" },
        owns: fields::read(entry.get("fieldsV1").unwrap_or(&Value::Null)),
    };
    all.into_iter().flatten().map(read).collect()
}

fn record(object: &mut Value, kind: Kind, entries: &[Entry]) {
    let written = |entry: &Entry| {
        json!({
            "manager": entry.manager, "operation": entry.operation,
            "apiVersion": Resource::Child(kind).api_version(),
            "fieldsType": "FieldsV1", "fieldsV1": fields::written(&entry.owns),
        })
    };
    let list: Vec<Value> = entries.iter().filter(|entry| !entry.owns.is_empty()).map(written).collect();
    object["metadata"]["managedFields"] = list.into();
}

/// An apply by `manager`, forced.
pub(crate) fn apply(kind: Kind, live: &Value, sent: &Value, manager: &str) -> Value {
    let mut entries = entries(live);
    let names = fields::of(kind, sent);
    let is_its_own = |entry: &Entry| entry.manager == manager && entry.operation == "Apply";
    let before = entries.iter().find(|entry| is_its_own(entry)).map(|entry| entry.owns.clone()).unwrap_or_default();
    let mut object = live.clone();
    for path in before.difference(&names) {
        let owned_by_others = entries.iter().any(|entry| !is_its_own(entry) && entry.owns.contains(path));
        // A map that was owned as a whole, because it was named without entries, is still named: what is in it is others'.
        let filled = fields::get(live, path).and_then(Value::as_object).is_some_and(|map| !map.is_empty());
        let still_named = filled && fields::get(sent, path).is_some_and(Value::is_object);
        if !owned_by_others && !still_named {
            fields::remove(&mut object, path);
        }
    }
    for path in &names {
        let value = fields::get(sent, path).cloned().unwrap_or(Value::Null);
        if is_empty_map(&value) && fields::get(live, path).is_some_and(Value::is_object) {
            continue; // to name a map without entries is to have no opinion on those of others
        }
        if fields::get(live, path) != Some(&value) {
            // It is changed, by force if another owns it.
            for entry in entries.iter_mut().filter(|entry| !is_its_own(entry)) {
                entry.owns.remove(path);
            }
        }
        fields::set(&mut object, path, value);
    }
    match entries.iter_mut().find(|entry| is_its_own(entry)) {
        Some(entry) => entry.owns = names,
        None => entries.push(Entry { manager: manager.to_owned(), operation: "Apply", owns: names }),
    }
    record(&mut object, kind, &entries);
    object
}

fn is_empty_map(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Any other write by `manager`: `object` is what it made of `live`.
pub(crate) fn update(kind: Kind, live: &Value, mut object: Value, manager: &str) -> Value {
    let mut entries = entries(live);
    let (old, new) = (fields::of(kind, live), fields::of(kind, &object));
    let changed: Set =
        new.iter().filter(|path| fields::get(live, path) != fields::get(&object, path)).cloned().collect();
    for entry in &mut entries {
        entry.owns.retain(|path| !changed.contains(path) && (new.contains(path) || !old.contains(path)));
    }
    match entries.iter_mut().find(|entry| entry.manager == manager && entry.operation == "Update") {
        Some(entry) => entry.owns.extend(changed),
        None => entries.push(Entry { manager: manager.to_owned(), operation: "Update", owns: changed }),
    }
    record(&mut object, kind, &entries);
    object
}
