//! One file makes it all. In: `examples/quickstart.yaml`. Out: its objects, applied with the addresses of the demo's servers, and Ready.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use e2e::install::enforcement_of;
use serde_json::Value;

use crate::authorization;
use crate::objects::{self, CUSTOMER, Stacks};
use crate::scene::Scene;
use crate::show::Show;

/// The example, as anybody has it in the checkout.
const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart.yaml");

/// The second customer.
const OTHER_CUSTOMER: &str = include_str!("other-customer.yaml");

/// Objects of both files: a class, two Tenants, three Workspaces.
const OBJECTS: usize = 6;

/// Longest wait for all to be Ready.
const PATIENCE: Duration = Duration::from_mins(5);

/// Applies the quickstart and the second customer.
pub(crate) async fn quickstart(show: &Show, scene: &Scene) -> Result<()> {
    show.step("apply", "Apply examples/quickstart.yaml: a class, a customer, two workspaces");
    let text = std::fs::read_to_string(Path::new(QUICKSTART)).context("cannot read examples/quickstart.yaml")?;
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).context("examples/quickstart.yaml is no YAML")?;
    let class = documents.iter_mut().find(|document| document.get("kind").is_some_and(|kind| kind == "TenantClass"));
    let spec =
        class.and_then(|class| class.get_mut("spec")).context("examples/quickstart.yaml holds no TenantClass")?;
    let as_written = spec.clone();
    scene.servers.direct_here(&scene.plane, spec);
    if let Some(enforcement) = spec.pointer_mut("/network/enforcement") {
        *enforcement = enforcement_of(scene.plane.tier()).into();
    }
    show.say("Filled in for the servers of this demo; all else is applied as it stands:");
    let filled_in = changes(&as_written, spec, "spec").into_iter().map(|(field, value)| vec![field, brief(&value)]);
    show.table(&filled_in.collect::<Vec<_>>());
    let store = secret(spec, "/buckets/s3/credentials/secret")?;
    let key_server = secret(spec, "/buckets/s3/keyServer/kes/credentials/secret")?;
    scene.servers.write_secrets(&scene.plane, [&store, &key_server, authorization::SECRET]).await?;
    show.say(&format!("Secrets that the class names, made in steading-system: {store}, {key_server}"));
    let filled = documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
    let file = scene.kubectl.write("quickstart.yaml", &filled)?;
    apply(show, scene, "quickstart.yaml", &file).await?;
    show.say("And a second customer, globex, so that there is another key to keep out:");
    let file = scene.kubectl.write("other-customer.yaml", OTHER_CUSTOMER)?;
    apply(show, scene, "other-customer.yaml", &file).await
}

/// Applies a file, which is shown by this name.
pub(crate) async fn apply(show: &Show, scene: &Scene, name: &str, file: &Path) -> Result<()> {
    show.say(&format!("$ kubectl apply --server-side -f {name}"));
    match scene.kubectl.run(&["apply", "--server-side", "-f", &file.display().to_string()]).await? {
        Ok(printed) => show.output(&printed),
        Err(said) => bail!("applying {name} failed: {said}"),
    }
    Ok(())
}

/// Waits until everything is Ready, and reads where the stacks are.
pub(crate) async fn until_ready(show: &Show, scene: &Scene) -> Result<Stacks> {
    show.step("ready", "Wait until all are Ready");
    let client = scene.plane.admin()?;
    objects::until_ready(show, PATIENCE, OBJECTS, async || objects::all(&client).await).await?;
    Stacks::read(&client).await
}

/// Shows it with kubectl, as anybody would look.
pub(crate) async fn look(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<()> {
    show.step("kubectl", "Look at it with kubectl");
    scene.kubectl.shown(show, &["get", "tenantclasses"]).await?;
    scene.kubectl.shown(show, &["get", "tenants", "--all-namespaces"]).await?;
    scene.kubectl.shown(show, &["get", "workspaces", "-n", CUSTOMER]).await?;
    scene.kubectl.shown(show, &["describe", "workspace", &stacks.finance.workspace, "-n", CUSTOMER]).await
}

/// The fields that differ, with their new value.
fn changes(before: &Value, after: &Value, path: &str) -> Vec<(String, Value)> {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => new
            .iter()
            .flat_map(|(field, value)| {
                let path = format!("{path}.{field}");
                changes(old.get(field).unwrap_or(&Value::Null), value, &path)
            })
            .collect(),
        _ if before == after => Vec::new(),
        _ => vec![(path.to_owned(), after.clone())],
    }
}

/// A value in a line: certificates are long and tell nothing.
fn brief(value: &Value) -> String {
    match value.as_str() {
        Some(text) if text.starts_with("-----BEGIN CERTIFICATE") => "the demo's own authority".to_owned(),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

fn secret(spec: &Value, pointer: &str) -> Result<String> {
    let name = spec.pointer(pointer).and_then(Value::as_str);
    name.map(str::to_owned).with_context(|| format!("the class of examples/quickstart.yaml lacks {pointer}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_filled_in_is_told_and_nothing_else() {
        let before = json!({ "keys": { "address": "https://a.example", "mount": "transit" } });
        let after = json!({ "keys": { "address": "https://b.example", "mount": "transit", "caBundle": "x" } });
        let told = [
            ("spec.keys.address".to_owned(), json!("https://b.example")),
            ("spec.keys.caBundle".to_owned(), json!("x")),
        ];
        assert_eq!(changes(&before, &after, "spec"), told);
    }
}
