//! What Secrets hold is in Secrets, and nowhere else. In: customers with databases, an application of one. Out: that no such entry stands in any
//! other object or event of the cluster, in the operator's log, in that of any pod, or in the arguments and environments of the pods'
//! processes. One that is planted in each of these places is found there by the same search.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};
use e2e::secrets::Needle;
use e2e::servers::OPERATOR_NAMESPACE;
use e2e::unique;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DynamicObject, ListParams, LogParams};
use kube::discovery::{Discovery, verbs};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::consumers::Shop;
use crate::database::apply;
use crate::world::{Customer, World};

/// All that operators in this process have said.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, said: &[u8]) -> std::io::Result<usize> {
        let mut log = LOG.lock().map_err(|_| std::io::Error::other("the log is broken"))?;
        log.write(said)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps the log of the operator from now on, with more in it than anybody will have in production.
pub fn listen() -> Result<()> {
    let filter = EnvFilter::try_new("info,operator=trace,providers=trace,nowhere=info")?;
    let said = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| Log).try_init();
    said.map_err(|error| anyhow::anyhow!("the log is set up already: {error}"))
}

/// A text and where it is from.
struct Place {
    kind: &'static str,
    name: String,
    text: String,
}

/// What the plugin of CloudNativePG runs with the credentials of backups in its environment: they read none from a file.
const OF_BACKUPS: &str = "barman-cloud-";

/// Where the planted secret is.
const PLANTED: [&str; 5] = ["arguments", "environment", "log", "object", "operator's log"];

/// Searches everywhere, and says how much there was to search.
pub async fn is_any_secret(world: &World, customers: &[&Customer], shop: &Shop) -> Result<String> {
    let planted = unique("planted-secret");
    plant(world, shop, &planted).await?;
    let mut namespaces = vec![OPERATOR_NAMESPACE];
    namespaces.extend(customers.iter().map(|it| it.stack.as_str()));
    namespaces.extend(shop.namespaces());
    let needles = needles(world, &namespaces).await?;
    let mut places = processes(world)?;
    places.extend(objects(world).await?);
    places.extend(logs(world).await?);
    let said = String::from_utf8_lossy(&LOG.lock().map_err(|_| anyhow::anyhow!("the log is broken"))?).into_owned();
    ensure!(said.contains("operator"), "the operator's log was not kept");
    places.push(Place { kind: "operator's log", name: String::new(), text: said });
    let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for (place, needle) in places.iter().flat_map(|place| needles.iter().map(move |needle| (place, needle))) {
        if !needle.is_in(&place.text) {
            continue;
        }
        if needle.entry.ends_with(": planted") {
            seen.insert(place.kind);
        } else {
            found.insert(format!("{} in {} {}", needle.entry, place.kind, place.name));
        }
    }
    ensure!(seen == BTreeSet::from(PLANTED), "the control fails: what was planted is found in {seen:?} alone");
    ensure!(found.is_empty(), "secrets stand where they must not: {found:#?}");
    let count = |kind: &str| places.iter().filter(|place| place.kind == kind).count();
    Ok(format!(
        "{} secrets, none of them in {} objects, the logs of {} containers, {} processes",
        needles.len(),
        count("object"),
        count("log"),
        count("arguments")
    ))
}

/// A Secret of an application, and what is in it everywhere else too.
async fn plant(world: &World, shop: &Shop, value: &str) -> Result<()> {
    let (admin, namespace) = (world.plane().admin()?, shop.namespace());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "planted" }, "stringData": { "planted": value },
    });
    apply(&admin, namespace, secret).await?;
    let other = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "planted", "annotations": { "told": value } },
    });
    apply(&admin, namespace, other).await?;
    tracing::info!(target: "nowhere", value, "planted");
    // Into the log of the pod's own program, and into a process that stays until the pod ends.
    let script = "echo \"$1\" >/proc/1/fd/1
        PLANTED=\"$1\" sh -c 'sleep 600; true' \"$1\" </dev/null >/dev/null 2>&1 &";
    shop.pod().run(&["sh", "-c", script, "sh", value]).await.map(drop).context("nothing can be planted")
}

/// All entries of the Secrets there.
async fn needles(world: &World, namespaces: &[&str]) -> Result<Vec<Needle>> {
    let client = world.client()?;
    let mut needles = Vec::new();
    for namespace in namespaces {
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
        let of_namespace: Vec<Needle> = secrets.iter().flat_map(Needle::all_of).collect();
        ensure!(!of_namespace.is_empty(), "there is no secret in {namespace} to search for");
        needles.extend(of_namespace);
    }
    for entry in ["ca.key", "tls.key", "secretAccessKey", "sessionToken", "presharedKey", "password"] {
        ensure!(needles.iter().any(|it| it.entry.ends_with(&format!(": {entry}"))), "no Secret has an entry {entry}");
    }
    Ok(needles)
}

/// All objects of all kinds but Secrets, with their status; events are among them.
async fn objects(world: &World) -> Result<Vec<Place>> {
    let client = world.plane().admin()?;
    let kinds = Discovery::new(client.clone()).run().await?;
    let mut places = Vec::new();
    for (kind, can) in kinds.groups().flat_map(kube::discovery::ApiGroup::recommended_resources) {
        if kind.kind == "Secret" || !can.supports_operation(verbs::LIST) {
            continue;
        }
        let listed = Api::<DynamicObject>::all_with(client.clone(), &kind).list(&ListParams::default()).await;
        for object in listed.with_context(|| format!("{} cannot be listed", kind.plural))? {
            let name = format!("{} {}/{}", kind.kind, object.namespace().unwrap_or_default(), object.name_any());
            places.push(Place { kind: "object", name, text: serde_json::to_string(&object)? });
        }
    }
    for kind in ["Event", "Workspace", "Cluster", "ObjectStore", "Pod"] {
        let prefix = format!("{kind} ");
        ensure!(places.iter().any(|it| it.name.starts_with(&prefix)), "there is no {kind} to search");
    }
    Ok(places)
}

/// The logs of all containers of all pods, as far as they have begun.
async fn logs(world: &World) -> Result<Vec<Place>> {
    let client = world.plane().admin()?;
    let mut places = Vec::new();
    for pod in Api::<Pod>::all(client.clone()).list(&ListParams::default()).await? {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let spec = pod.spec.as_ref().context("a pod has no spec")?;
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            let of = LogParams { container: Some(container.name.clone()), ..LogParams::default() };
            let name = format!("{namespace}/{name} {}", container.name);
            // One that has not begun has none, and a pod may go meanwhile.
            let log = Api::<Pod>::namespaced(client.clone(), &namespace).logs(&pod.name_any(), &of).await;
            places.extend(log.ok().map(|text| Place { kind: "log", name, text }));
        }
    }
    for container in ["postgres", "plugin-barman-cloud", "canary", "billing", "manager"] {
        let suffix = format!(" {container}");
        ensure!(places.iter().any(|it| it.name.ends_with(&suffix)), "there is no log of {container} to search");
    }
    Ok(places)
}

/// Arguments and environments of all processes in pods.
fn processes(world: &World) -> Result<Vec<Place>> {
    let ground = format!("/{}-", world.plane().ground().context("the nodes stand nowhere")?);
    let mut places = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let directory = entry?.path();
        // A process may end meanwhile.
        let read = |file: &str| std::fs::read(directory.join(file)).ok();
        let Some(cgroups) = read("cgroup").and_then(|it| String::from_utf8(it).ok()) else { continue };
        if !cgroups.lines().any(|line| line.contains(&ground) && line.contains("kubepods")) {
            continue;
        }
        let Some((arguments, environment)) = read("cmdline").zip(read("environ")) else { continue };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
        let arguments = text(arguments);
        let name = arguments.chars().take(80).collect::<String>();
        if !arguments.contains(OF_BACKUPS) {
            places.push(Place { kind: "environment", name: name.clone(), text: text(environment) });
        }
        places.push(Place { kind: "arguments", name, text: arguments });
    }
    for program in ["postgres", "manager", "canary", "sleep"] {
        ensure!(places.iter().any(|it| it.name.contains(program)), "no process runs {program}");
    }
    Ok(places)
}
