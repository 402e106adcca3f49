//! Drift: whoever changes a field of ours in a child finds it put back; a field that is not ours is left alone.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::{Amounts, Identity};
use desired::{fields::Kind, workspace::Facts};
use e2e::{
    Tier,
    story::{Stage, class, tenant, workspace},
    unique,
    wait::until,
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn api_of(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(kind.group(), kind.version(), kind.name()),
        kind.plural(),
    );
    if kind.is_namespaced() {
        Api::namespaced_with(client.clone(), namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    }
}

/// Pointers to all leaves of an object that can be changed after creation.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                leaves(value, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        // Lists are changed as a whole: an entry of a list that the server takes as one value has no owner of its own.
        _ => found.push(path.to_owned()),
    }
}

fn is_identity_of_the_object(path: &str) -> bool {
    ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"].contains(&path)
}

/// Another value of the same shape.
fn otherwise(value: &Value) -> Value {
    match value {
        Value::String(text) if text == "0" => json!("7"),
        Value::String(text)
            if text.ends_with(|c: char| c.is_ascii_digit()) || text.ends_with("Gi") || text.ends_with("Mi") =>
        {
            json!("3")
        }
        Value::String(text) => json!(format!("{text}-x")),
        Value::Array(items) if items.is_empty() => json!([]),
        Value::Array(items) => json!(items.iter().skip(1).collect::<Vec<_>>()),
        Value::Object(_) => json!({ "matchLabels": { "drift": "yes" } }),
        other => other.clone(),
    }
}

#[derive(Default)]
struct Tally {
    put_back: usize,
    refused: Vec<String>,
}

#[test]
fn every_field_of_ours_in_every_child_is_put_back_and_no_other() {
    Stage::shared(Tier::One, async |stage| {
        let class = stage.platform.applied(class(&unique("onprem"))).await?;
        let owner = json!([{ "kind": "Group", "name": "acme-admins" }]);
        let tenant = tenant(&unique("acme")).of_class(&class).with("owners", owner);
        let tenant = stage.platform.applied(tenant).await?;
        let members = json!([{ "kind": "User", "name": "vera", "role": "viewer" }, { "kind": "User", "name": "edda", "role": "editor" }]);
        let quota = json!({ "cpu": "4", "memory": "8Gi", "storage": "20Gi" });
        let finance = workspace("finance").of_tenant(&tenant).with("members", members).with("quota", quota);
        let finance = stage.platform.applied(finance).await?;
        let ready = stage.platform.until_ready(&finance).await?;
        let tenant = stage.platform.until_ready(&tenant).await?;
        let identity: Identity = ready.status.as_ref().and_then(|status| status.identity.clone()).context("identity")?.parse()?;
        let granted = Amounts::parse(ready.spec.quota.as_ref().context("quota")?)?;
        let facts = Facts::of(&tenant, &ready, identity, granted)?;
        let namespace = facts.namespace().to_string();
        let stack = ready.status.and_then(|status| status.namespace).context("namespace")?.uid;

        let client = stage.break_glass()?;
        let mut tally = Tally::default();
        for (kind, object) in children(&facts, &stack) {
            let api = api_of(&client, kind, &namespace);
            let name = object.pointer("/metadata/name").and_then(Value::as_str).context("name")?.to_owned();
            leave_a_mark(&api, &name).await?;
            let mut paths = Vec::new();
            leaves(&object, "", &mut paths);
            for path in paths.iter().filter(|path| !is_identity_of_the_object(path)) {
                change_and_wait(&api, kind, &name, path, &mut tally).await?;
            }
            ensure!(has_mark(&api, &name).await?, "{} {name} lost a label that is not ours", kind.name());
        }
        println!("{} fields were changed and put back; {} changes were refused by the API server:", tally.put_back, tally.refused.len());
        tally.refused.iter().for_each(|refused| println!("  {refused}"));
        ensure!(tally.put_back >= 60, "only {} fields could be changed", tally.put_back);
        Ok(())
    })
    .unwrap();
}

fn children(facts: &Facts, uid: &str) -> Vec<(Kind, Value)> {
    let children = desired::workspace::stack(facts).children();
    let within = |kind: Kind| kind.is_namespaced().then_some(uid);
    children.into_iter().map(|(kind, object)| (kind, desired::hash::stamp(object, within(kind)))).collect()
}

async fn leave_a_mark(api: &Api<DynamicObject>, name: &str) -> Result<()> {
    let mark = json!({ "metadata": { "annotations": { "example.org/foreign": "stays" } } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(mark)).await?;
    Ok(())
}

async fn has_mark(api: &Api<DynamicObject>, name: &str) -> Result<bool> {
    let annotations = api.get(name).await?.metadata.annotations.unwrap_or_default();
    Ok(annotations.get("example.org/foreign").map(String::as_str) == Some("stays"))
}

/// Changes one field as break-glass, once to another value and once by taking it away, and waits each time until it is back.
async fn change_and_wait(
    api: &Api<DynamicObject>,
    kind: Kind,
    name: &str,
    path: &str,
    tally: &mut Tally,
) -> Result<()> {
    let before = serde_json::to_value(api.get(name).await?)?;
    let ours = before.pointer(path).cloned();
    let Some(ours) = ours else { return Ok(()) }; // an empty list of ours that the server does not store
    let changes = [
        json!([{ "op": "replace", "path": path, "value": otherwise(&ours) }]),
        json!([{ "op": "remove", "path": path }]),
    ];
    for change in changes {
        let operation = change.pointer("/0/op").cloned().unwrap_or_default();
        let edit = Patch::<()>::Json(serde_json::from_value(change)?);
        match api.patch(name, &PatchParams::default(), &edit).await {
            Ok(answer) if serde_json::to_value(&answer)?.pointer(path) == Some(&ours) => {} // a change that changes nothing
            Ok(_) => {
                let what = format!("{path} of {} {name} is put back after {}", kind.name(), operation);
                until(&what, SOON, async || {
                    Ok(serde_json::to_value(api.get(name).await?)?.pointer(path) == Some(&ours))
                })
                .await?;
                tally.put_back += 1;
            }
            Err(kube::Error::Api(status)) => tally.refused.push(format!(
                "{} {name} {path}: {}",
                kind.name(),
                status.message.chars().take(140).collect::<String>()
            )),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[test]
fn a_child_that_is_deleted_is_made_anew() {
    Stage::shared(Tier::One, async |stage| {
        let class = stage
            .platform
            .applied(class(&unique("onprem")).with("agents", json!({ "runtimeClass": "gvisor" })))
            .await?;
        let tenant = stage.platform.applied(tenant(&unique("acme")).of_class(&class)).await?;
        let finance = stage.platform.applied(workspace("finance").of_tenant(&tenant)).await?;
        let ready = stage.platform.until_ready(&finance).await?;
        let namespace = ready.status.and_then(|status| status.namespace).context("namespace")?.name;
        let client = stage.break_glass()?;
        let mut deleted = 0;
        // Of a Workspace without a database.
        let is_here = |kind: &Kind| kind.is_namespaced() && !Kind::DATABASE.contains(kind);
        for kind in Kind::ALL.into_iter().filter(is_here) {
            let api = api_of(&client, kind, &namespace);
            for child in api.list(&ListParams::default()).await? {
                let (name, uid) = (child.metadata.name.context("name")?, child.metadata.uid);
                api.delete(&name, &DeleteParams::default()).await?;
                until(&format!("{} {name} is made anew", kind.name()), SOON, async || {
                    Ok(api.get_opt(&name).await?.is_some_and(|found| found.metadata.uid != uid))
                })
                .await?;
                deleted += 1;
            }
        }
        // Eight of any Workspace, and five for its agents.
        ensure!(deleted == 13, "{deleted} children were deleted");
        Ok(())
    })
    .unwrap();
}
