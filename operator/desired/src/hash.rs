//! The desired-hash of an object, and digests of field sets.
//!
//! In: JSON as it is sent to or comes from the server. Out: SHA-256 over its canonical form (keys sorted, no spaces), so that
//! neither the order of keys nor a feature of the JSON library changes it.

use std::fmt::Write as _;

use api::labels::DESIRED_HASH;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Digest of a field set: what is kept in memory of a managedFields entry.
pub type Digest = [u8; 32];

/// The object with its hash in the annotation `steading.dev/desired-hash`. A stamp that was there before is replaced.
#[must_use]
pub fn stamp(mut object: Value, namespace: Option<&str>) -> Value {
    let hash = of(&object, namespace);
    if let Some(object) = object.as_object_mut() {
        let metadata = child(object, "metadata");
        if let Some(annotations) = metadata.and_then(|metadata| child(metadata, "annotations")) {
            annotations.insert(DESIRED_HASH.to_owned(), Value::String(hash));
        }
    }
    object
}

/// Hash of the object in lower-case hexadecimal, 64 characters. The annotation that carries it is not counted, so that a stamped
/// object has the hash that its stamp says.
///
/// `namespace` is the UID of the namespace that it lies in. It counts too, so that what lay in a namespace of the same name that was
/// deleted is not taken for what should lie in the new one: watches of other kinds may still tell of the old.
#[must_use]
pub fn of(object: &Value, namespace: Option<&str>) -> String {
    let mut unstamped = object.clone();
    if let Some(metadata) = unstamped.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        let bare =
            annotations.is_some_and(|annotations| annotations.remove(DESIRED_HASH).is_some() && annotations.is_empty());
        if bare {
            metadata.remove("annotations");
        }
    }
    let mut text = canonical(&unstamped);
    text.extend(namespace.into_iter().flat_map(|uid| ["\n", uid]));
    hexadecimal(&Sha256::digest(text.as_bytes()).into())
}

/// Digest of a field set (fieldsV1), whether the server sent it or [`crate::fields::owned`] computed it.
#[must_use]
pub fn of_fields(fields: &Value) -> Digest {
    Sha256::digest(canonical(fields).as_bytes()).into()
}

/// The map of this name, made if it is absent. `None` if something else stands there.
fn child<'a>(parent: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    parent.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

pub(crate) fn hexadecimal(bytes: &Digest) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                separate(index, text);
                write_scalar(&Value::String(key.clone()), text);
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, text);
                write_canonical(item, text);
            }
            text.push(']');
        }
        scalar => write_scalar(scalar, text),
    }
}

fn separate(index: usize, text: &mut String) {
    if index > 0 {
        text.push(',');
    }
}

/// JSON text of a scalar, escaped so that no text can look like structure.
fn write_scalar(value: &Value, text: &mut String) {
    let _ = write!(text, "{value}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Value, of_fields};

    fn of(object: &Value) -> String {
        super::of(object, None)
    }

    fn stamp(object: Value) -> Value {
        super::stamp(object, None)
    }

    fn object() -> Value {
        json!({"kind": "RoleBinding", "metadata": {"name": "viewers", "labels": {"a": "1", "b": "2"}}, "subjects": []})
    }

    fn stamp_of(object: &Value) -> &str {
        object.pointer("/metadata/annotations/steading.dev~1desired-hash").unwrap().as_str().unwrap()
    }

    #[test]
    fn the_hash_is_the_sha256_of_the_canonical_text() {
        // printf '{"a":[1,"\\"x\\""],"b":null}' | sha256sum
        assert_eq!(
            of(&json!({"b": null, "a": [1, "\"x\""]})),
            "0de1044c55172034d97f33e64538ea3d7c86201b1d7d693742f16495633d1c22"
        );
    }

    #[test]
    fn a_stamped_object_has_the_hash_that_its_stamp_says() {
        let stamped = stamp(object());
        assert_eq!(stamp_of(&stamped), of(&stamped));
        assert_eq!(of(&stamped), of(&object()));
    }

    #[test]
    fn stamping_twice_changes_nothing() {
        assert_eq!(stamp(stamp(object())), stamp(object()));
    }

    #[test]
    fn a_forged_stamp_is_replaced() {
        let mut forged = object();
        forged["metadata"]["annotations"] = json!({"steading.dev/desired-hash": "forged"});
        assert_eq!(stamp(forged), stamp(object()));
    }

    #[test]
    fn other_annotations_count() {
        let mut annotated = object();
        annotated["metadata"]["annotations"] = json!({"note": "x"});
        assert_ne!(of(&annotated), of(&object()));
        let stamped = stamp(annotated.clone());
        assert_eq!(of(&stamped), of(&annotated));
        assert_eq!(stamped.pointer("/metadata/annotations/note"), Some(&json!("x")));
    }

    #[test]
    fn every_change_changes_the_hash() {
        let mut seen = std::collections::BTreeSet::from([of(&object())]);
        for (pointer, value) in [
            ("/metadata/name", json!("editors")),
            ("/metadata/labels/a", json!("2")),
            ("/metadata/labels", json!({"a": "1"})),
            ("/subjects", json!([{}])),
            ("/subjects", json!(null)),
            ("/subjects", json!("[]")),
        ] {
            let mut changed = object();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert!(seen.insert(of(&changed)), "{pointer}");
        }
    }

    #[test]
    fn what_lay_in_a_namespace_that_was_deleted_is_not_taken_for_what_lies_in_the_next() {
        let hashes = [None, Some("first"), Some("second")].map(|uid| super::of(&object(), uid));
        assert_eq!(hashes.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        assert_eq!(stamp_of(&super::stamp(object(), Some("first"))), hashes[1]);
    }

    #[test]
    fn text_that_looks_like_structure_is_not_mistaken_for_it() {
        assert_ne!(of(&json!({"a": "1\",\"b\":\"2"})), of(&json!({"a": "1", "b": "2"})));
        assert_ne!(of(&json!(["a,b"])), of(&json!(["a", "b"])));
    }

    #[test]
    fn field_sets_are_told_apart() {
        let digest = of_fields(&json!({"f:spec": {"f:hard": {"f:pods": {}}}}));
        assert_eq!(digest, of_fields(&json!({"f:spec": {"f:hard": {"f:pods": {}}}})));
        assert_ne!(digest, of_fields(&json!({"f:spec": {"f:hard": {}}})));
    }
}
