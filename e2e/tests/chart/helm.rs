//! Helm without a cluster. In: a chart and values. Out: the objects it renders, or what it says against the values.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::components::Component;
use serde_json::{Value, json};

/// The folder of a chart in this checkout.
pub fn chart(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts").join(name)
}

/// The values that the chart demands.
pub fn required() -> Value {
    json!({ "installation": "acme-production", "image": { "repository": "registry.example/steading/operator" } })
}

/// [`required`], and others over them.
pub fn with(values: Value) -> Value {
    let mut all = required();
    merge(&mut all, values);
    all
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// What Helm prints: the rendered chart, or its complaint.
pub async fn template(chart_name: &str, values: &Value, more: &[&str]) -> Result<String, String> {
    let helm = Component::Helm.path().await.unwrap();
    let home = std::env::temp_dir().join(e2e::unique("steading-chart"));
    std::fs::create_dir_all(&home).unwrap();
    let file = home.join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let mut command = Command::new(helm);
    command
        .args(["template", "steading"])
        .arg(chart(chart_name))
        .arg("--values")
        .arg(&file)
        .args(["--namespace", "steading-system"])
        .args(more)
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    std::fs::remove_dir_all(&home).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The objects of a chart.
pub async fn render(chart_name: &str, values: &Value) -> Vec<Value> {
    let rendered = template(chart_name, values, &[]).await.unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The one object of a kind and name.
pub fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> = of_kind(objects, kind).into_iter().filter(|it| it["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}
