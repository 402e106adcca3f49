//! One page per kind. In: its CRD. Out: every field with its type, meaning, bounds and rules.

use std::fmt::Write as _;

use serde_json::Value;

/// File name and content of each page.
pub fn pages() -> Vec<(String, String)> {
    let crds = api::crds::crds().unwrap().into_iter().map(|crd| serde_json::to_value(crd).unwrap());
    crds.map(|crd| {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_lowercase();
        (format!("reference/{kind}.md"), page(&crd))
    })
    .collect()
}

fn page(crd: &Value) -> String {
    let (spec, names) = (&crd["spec"], &crd["spec"]["names"]);
    let version = &spec["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut page = format!("# {}\n\n{}\n\n", text(&names["kind"]), text(&schema["description"]));
    // Of no category is what only Steading writes.
    let is_internal = names["categories"].as_array().is_none_or(Vec::is_empty);
    let scope = match spec["scope"].as_str() {
        Some("Namespaced") if is_internal => "in stack namespaces",
        Some("Namespaced") => "in a control namespace",
        _ => "cluster-wide",
    };
    let list = |value: &Value| {
        let items: Vec<_> = value.as_array().into_iter().flatten().map(|item| format!("`{}`", text(item))).collect();
        if items.is_empty() { "none".to_owned() } else { items.join(", ") }
    };
    writeln!(page, "- API version: `{}/{}`, {scope}", text(&spec["group"]), text(&version["name"])).unwrap();
    writeln!(page, "- Resource: `{}`; short names: {}", text(&names["plural"]), list(&names["shortNames"])).unwrap();
    writeln!(page, "- Categories: {}", list(&names["categories"])).unwrap();
    let columns = |wide: bool| {
        let all = version["additionalPrinterColumns"].as_array().into_iter().flatten();
        let chosen = all.filter(|column| (column["priority"].as_i64().unwrap_or(0) > 0) == wide);
        chosen.map(|column| text(&column["name"])).collect::<Vec<_>>().join(", ")
    };
    writeln!(page, "- `kubectl get` shows: Name, {}; with `-o wide` also: {}", columns(false), columns(true)).unwrap();
    page.push_str(&rules(schema, "Rules of the whole object"));
    let written = if is_internal { "What Steading writes." } else { "What you write." };
    for (section, note) in [("spec", written), ("status", "What Steading observed. Only Steading writes it.")] {
        writeln!(page, "\n## {section}\n\n{note}").unwrap();
        let part = &schema["properties"][section];
        page.push_str(&rules(part, "Rules over several fields"));
        fields(&mut page, section, part);
    }
    page
}

/// Writes every field below `path`, parents before children.
fn fields(page: &mut String, path: &str, schema: &Value) {
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|field| field == name));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let below = format!("{path}.{name}");
        let need = match (required(name), &field["default"]) {
            (_, default) if !default.is_null() => format!("default `{default}`"),
            (true, _) => "required".to_owned(),
            (false, _) => "optional".to_owned(),
        };
        let need = if path.starts_with("status") { String::new() } else { format!(", {need}") };
        writeln!(page, "\n### {below}\n\n{}{need}\n", type_of(field)).unwrap();
        if let Some(description) = field["description"].as_str() {
            writeln!(page, "{}", description.trim()).unwrap();
        }
        page.push_str(&bounds(field));
        page.push_str(&rules(field, "Rules"));
        // The API machinery's own type is told in its own documentation.
        if below == "status.conditions" {
            continue;
        }
        fields(page, &below, field);
        fields(page, &format!("{below}[]"), &field["items"]);
    }
}

fn type_of(schema: &Value) -> String {
    match schema["type"].as_str().unwrap_or("object") {
        "array" => format!("list of {}", type_of(&schema["items"])),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        other => other.to_owned(),
    }
}

fn bounds(schema: &Value) -> String {
    let mut told = Vec::new();
    let range = |least: &str, most: &str, unit: &str| match (&schema[least], &schema[most]) {
        (Value::Null, Value::Null) => None,
        (least, Value::Null) => Some(format!("at least {least}{unit}")),
        (Value::Null, most) => Some(format!("at most {most}{unit}")),
        (least, most) if least == most => Some(format!("exactly {least}{unit}")),
        (least, most) => Some(format!("{least} to {most}{unit}")),
    };
    told.extend(range("minLength", "maxLength", " characters"));
    told.extend(range("minItems", "maxItems", " items"));
    told.extend(range("minimum", "maximum", "").map(|text| text.replace(".0", "")));
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().map(|value| format!("`{}`", value.as_str().unwrap())).collect();
        told.push(format!("one of {}", values.join(", ")));
    }
    match schema["x-kubernetes-list-type"].as_str() {
        Some("map") => {
            let keys: Vec<_> = schema["x-kubernetes-list-map-keys"].as_array().unwrap().iter().collect();
            let keys: Vec<_> = keys.iter().map(|key| format!("`{}`", key.as_str().unwrap())).collect();
            told.push(format!("no two items with the same {}", keys.join(" and ")));
        }
        Some("set") => told.push("no item twice".to_owned()),
        _ => {}
    }
    if told.is_empty() { String::new() } else { format!("\n- {}\n", told.join("\n- ")) }
}

fn rules(schema: &Value, title: &str) -> String {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let messages: Vec<_> = rules.map(|rule| rule["message"].as_str().unwrap()).collect();
    if messages.is_empty() {
        return String::new();
    }
    format!("\n{title}, as you are told when one is broken:\n\n- {}\n", messages.join("\n- "))
}
