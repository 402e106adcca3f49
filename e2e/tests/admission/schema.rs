//! Everything that a CRD demands. In: the CRDs that crate `api` generates. Out: one [`Constraint`] for each CEL rule and
//! each bound, with the path of the field that it stands on.

use std::fmt;

use serde_json::Value;

/// One demand of one kind's schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    /// Such as `Tenant`.
    pub kind: String,
    /// The field, such as `spec.owners[].name`; empty for the object itself.
    pub path: String,
    /// What is demanded of it.
    pub demand: Demand,
}

/// What can be demanded of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Demand {
    Required(String),
    MinLength(usize),
    MaxLength(usize),
    MinItems(usize),
    MaxItems(usize),
    Minimum(i64),
    Maximum(i64),
    Enum(Vec<String>),
    /// No two items may agree in these keys; none for plain items.
    Unique(Vec<String>),
    /// A CEL rule, known by its message.
    Rule(String),
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "(object)" } else { &self.path };
        write!(f, "{} {path} ", self.kind)?;
        match &self.demand {
            Demand::Required(field) => write!(f, "required {field}"),
            Demand::MinLength(bound) => write!(f, "minLength {bound}"),
            Demand::MaxLength(bound) => write!(f, "maxLength {bound}"),
            Demand::MinItems(bound) => write!(f, "minItems {bound}"),
            Demand::MaxItems(bound) => write!(f, "maxItems {bound}"),
            Demand::Minimum(bound) => write!(f, "minimum {bound}"),
            Demand::Maximum(bound) => write!(f, "maximum {bound}"),
            Demand::Enum(values) => write!(f, "enum {}", values.join("|")),
            Demand::Unique(keys) if keys.is_empty() => write!(f, "unique"),
            Demand::Unique(keys) => write!(f, "unique {}", keys.join("+")),
            Demand::Rule(message) => write!(f, "rule {message}"),
        }
    }
}

/// Every demand of every kind, without those on status.
pub fn constraints() -> Vec<Constraint> {
    let mut found = Vec::new();
    for crd in api::crds::crds().unwrap() {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            walk(&kind, "", &version["schema"]["openAPIV3Schema"], &mut |path, demand| {
                found.push(Constraint { kind: kind.clone(), path: path.to_owned(), demand });
            });
        }
    }
    found
}

/// The paths of all objects with fixed fields, which are the places where an unknown field can stand.
pub fn object_paths(kind: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for crd in api::crds::crds().unwrap() {
        let crd = serde_json::to_value(crd).unwrap();
        if crd["spec"]["names"]["kind"] == kind {
            collect_objects("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut paths);
        }
    }
    paths
}

fn collect_objects(path: &str, schema: &Value, paths: &mut Vec<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        paths.push(path.to_owned());
        for (name, property) in properties.iter().filter(|(name, _)| !is_left_out(path, name)) {
            collect_objects(&join(path, name), property, paths);
        }
    }
    if schema["items"].is_object() {
        collect_objects(&format!("{path}[]"), &schema["items"], paths);
    }
}

fn is_left_out(path: &str, name: &str) -> bool {
    path.is_empty() && name != "spec"
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Visits every demand. A keyword that it does not know ends the test: a demand that nobody tests must not slip in.
fn walk(kind: &str, path: &str, schema: &Value, found: &mut impl FnMut(&str, Demand)) {
    let size = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let texts = |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
    #[allow(clippy::cast_possible_truncation)] // the API server prints them as 500.0; all are small whole numbers
    let whole = |value: &Value| value.as_f64().unwrap() as i64;
    for (keyword, value) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "required" => {
                for field in value.as_array().unwrap() {
                    found(path, Demand::Required(field.as_str().unwrap().to_owned()));
                }
            }
            "minLength" => found(path, Demand::MinLength(size(value))),
            "maxLength" => found(path, Demand::MaxLength(size(value))),
            "minItems" => found(path, Demand::MinItems(size(value))),
            "maxItems" => found(path, Demand::MaxItems(size(value))),
            "minimum" => found(path, Demand::Minimum(whole(value))),
            "maximum" => found(path, Demand::Maximum(whole(value))),
            "enum" => found(path, Demand::Enum(texts(value))),
            "x-kubernetes-list-type" if value == "map" => {
                found(path, Demand::Unique(texts(&schema["x-kubernetes-list-map-keys"])));
            }
            "x-kubernetes-list-type" if value == "set" => found(path, Demand::Unique(Vec::new())),
            "x-kubernetes-validations" => {
                for rule in value.as_array().unwrap() {
                    found(path, Demand::Rule(rule["message"].as_str().expect("a rule has a message").to_owned()));
                }
            }
            "properties" => {
                for (name, property) in value.as_object().unwrap().iter().filter(|(name, _)| !is_left_out(path, name)) {
                    walk(kind, &join(path, name), property, found);
                }
            }
            "items" => walk(kind, &format!("{path}[]"), value, found),
            "type" | "description" | "title" | "default" | "x-kubernetes-list-map-keys" => {}
            "format" if schema["type"] == "integer" => {}
            other => panic!("{kind} {path}: the keyword {other} demands something that these tests do not know yet"),
        }
    }
}
