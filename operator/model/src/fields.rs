//! Sets of fields, as `fieldsV1` writes them, as paths: `f:metadata`, `f:labels`, `f:x`.

use std::collections::BTreeSet;

use desired::fields::{Kind, owned};
use serde_json::{Map, Value};

/// A path to one field that is owned as a whole.
pub(crate) type Path = Vec<String>;
/// The fields that somebody owns.
pub(crate) type Set = BTreeSet<Path>;

/// The fields of an object, as the server takes it apart.
pub(crate) fn of(kind: Kind, object: &Value) -> Set {
    read(&owned(kind, object))
}

/// A `fieldsV1`.
pub(crate) fn read(fields: &Value) -> Set {
    fn walk(prefix: &Path, value: &Value, set: &mut Set) {
        let below = value.as_object().filter(|map| !map.is_empty());
        match below {
            None => drop(set.insert(prefix.clone())),
            Some(map) => {
                for (key, value) in map {
                    let path = prefix.iter().chain([key]).cloned().collect();
                    walk(&path, value, set);
                }
            }
        }
    }
    let mut set = Set::new();
    if fields.as_object().is_some_and(|map| !map.is_empty()) {
        walk(&Vec::new(), fields, &mut set);
    }
    set
}

/// The `fieldsV1` of a set.
pub(crate) fn written(set: &Set) -> Value {
    let mut root = Map::new();
    for path in set {
        let mut at = &mut root;
        for part in path {
            let below = at.entry(part.clone()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(map) = below else { break };
            at = map;
        }
    }
    Value::Object(root)
}

/// What stands at a path. Items of lists are not looked up one by one: the list as a whole stands for each.
pub(crate) fn get<'a>(object: &'a Value, path: &Path) -> Option<&'a Value> {
    let mut at = object;
    for part in path {
        let Some(field) = part.strip_prefix("f:") else { return Some(at) };
        at = at.get(field)?;
    }
    Some(at)
}

/// Puts a value at a path.
pub(crate) fn set(object: &mut Value, path: &Path, value: Value) {
    let mut at = object;
    for part in path {
        let Some(field) = part.strip_prefix("f:") else { break };
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry(field.to_owned()).or_insert(Value::Null);
    }
    *at = value;
}

/// Takes away what stands at a path.
pub(crate) fn remove(object: &mut Value, path: &Path) {
    let Some((last, parents)) = path.split_last() else { return };
    let Some(field) = last.strip_prefix("f:") else { return };
    let mut at = object;
    for part in parents {
        let Some(below) = part.strip_prefix("f:").and_then(|field| at.get_mut(field)) else { return };
        at = below;
    }
    if let Some(map) = at.as_object_mut() {
        map.remove(field);
    }
}
