//! The CRDs, made of the types.
//!
//! In: the kinds of this crate. Out: [`crds`], what `crdgen` writes to `crds/` and what the chart installs.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::{AgentPool, AgentSet, Tenant, TenantClass, Workspace};

/// A CRD could not be made of its type.
#[derive(Debug, thiserror::Error)]
#[error("the CRD of {kind} cannot be generated: {source}")]
pub struct InvalidSchema {
    kind: &'static str,
    source: serde_json::Error,
}

/// All CRDs, in the order in which they are installed.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, InvalidSchema> {
    let all = [
        ("TenantClass", TenantClass::crd()),
        ("Tenant", Tenant::crd()),
        ("Workspace", Workspace::crd()),
        ("AgentPool", AgentPool::crd()),
        ("AgentSet", AgentSet::crd()),
    ];
    all.into_iter().map(|(kind, crd)| finish(crd).map_err(|source| InvalidSchema { kind, source })).collect()
}

/// What the derive cannot say: the default status, and nothing that an API server would warn about.
fn finish(crd: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(crd)?;
    if let Some(metadata) = crd.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        // Argo CD: client-side apply would copy the schema into an annotation; server-side apply does not.
        metadata.insert("annotations".into(), json!({ "argocd.argoproj.io/sync-options": "ServerSideApply=true" }));
    }
    if let Some(schema) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        tidy(schema);
        if let Some(status) = schema.pointer_mut("/properties/status").and_then(Value::as_object_mut) {
            status.get_mut("properties").into_iter().for_each(written_as_a_whole);
            // A fresh object must never look done to kstatus, which takes "no status" for "current".
            status.insert("default".into(), json!({ "observedGeneration": -1 }));
        }
        without_spec(schema);
    }
    serde_json::from_value(crd)
}

/// Where every field of the spec may be left out, so may the spec. Server-side apply removes it together with the last item of a list, and
/// would then be refused: whoever takes the last member or consumer out could not.
fn without_spec(schema: &mut Value) {
    let needs_nothing = schema.pointer("/properties/spec/required").is_none();
    let Some(schema) = schema.as_object_mut().filter(|_| needs_nothing) else { return };
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| field != "spec");
    }
    if schema.get("required").is_some_and(|required| required == &json!([])) {
        schema.remove("required");
    }
    let spec = schema.get_mut("properties").and_then(|properties| properties.get_mut("spec"));
    if let Some(spec) = spec.and_then(Value::as_object_mut) {
        spec.insert("default".into(), json!({}));
    }
}

/// Objects that need no field are replaced, not merged. Server-side apply leaves null of an object that is merged and loses its last field,
/// although it is applied as `{}`, and the API server would then refuse the whole status:
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>.
fn written_as_a_whole(schema: &mut Value) {
    if schema.get("properties").is_some_and(Value::is_object) && schema.get("required").is_none() {
        schema["x-kubernetes-map-type"] = json!("atomic");
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(written_as_a_whole),
        Value::Array(items) => items.iter_mut().for_each(written_as_a_whole),
        _ => {}
    }
}

/// Drops integer formats, about which the API server warns, and `nullable`, which makes `has()` true of a null.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("type").and_then(Value::as_str).is_some_and(|kind| kind == "integer" || kind == "number") {
                let unsigned =
                    map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint"));
                if unsigned {
                    map.remove("format");
                }
                for bound in ["minimum", "maximum"] {
                    if let Some(whole) = map.get(bound).and_then(Value::as_f64).filter(|n| n.fract() == 0.0) {
                        #[allow(clippy::cast_possible_truncation)]
                        // bounds are small whole numbers written in this crate
                        map.insert(bound.into(), json!(whole as i64));
                    }
                }
            }
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// The text of a CRD's file, marked as generated.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    Ok(format!(
        "# Generated by crdgen from operator/api; change the types there and run `make generate`.\n{}",
        serde_saphyr::to_string(crd)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_in_crds_are_what_the_types_say() {
        for crd in crds().unwrap() {
            let file = format!("{}/../../crds/{}.yaml", env!("CARGO_MANIFEST_DIR"), crd.spec.names.plural);
            let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(checked_in, to_yaml(&crd).unwrap(), "{file} has drifted: run `make generate`");
        }
    }

    #[test]
    fn every_crd_fits_the_annotation_of_client_side_apply() {
        for crd in crds().unwrap() {
            let size = serde_json::to_string(&crd).unwrap().len();
            assert!(size < 262_144, "{} has {size} bytes", crd.spec.names.kind);
        }
    }

    #[test]
    fn what_of_status_may_lose_its_last_field_is_replaced_as_a_whole() {
        let crds = crds().unwrap();
        let of = |kind: &str, path: &str| {
            let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).map(|crd| serde_json::to_value(crd).unwrap());
            let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/status{path}/x-kubernetes-map-type");
            crd.unwrap().pointer(&path).cloned()
        };
        let atomic = Some(json!("atomic"));
        assert_eq!(of("Workspace", "/properties/quota"), atomic);
        assert_eq!(of("Workspace", "/properties/database/properties/restoreDrill"), atomic);
        assert_eq!(of("Tenant", "/properties/quota/properties/reservations/items/properties/held"), atomic);
        // It has fields without which it is nothing.
        assert_eq!(of("Workspace", "/properties/database"), None);
        assert_eq!(of("Workspace", ""), None);
    }

    #[test]
    fn a_fresh_object_is_never_mistaken_for_done() {
        for crd in crds().unwrap() {
            let crd = serde_json::to_value(crd).unwrap();
            let default = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/default");
            assert_eq!(default, Some(&json!({ "observedGeneration": -1 })));
        }
    }
}
