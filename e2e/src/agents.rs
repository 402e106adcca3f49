//! What agents need on real nodes: desktops that can be run, and the relay to which they dial out. In: a plane with real nodes. Out: images
//! on the nodes, the relay's Secrets, and values by which the chart installs it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use image::{File, Image};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, ListParams, LogParams};
use kube::{Api, Client, ResourceExt as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::components::Component;
use crate::databases::STORAGE_CLASS;
use crate::desktops::{Made, program};
use crate::manifests;
use crate::nursery::Nursery;
use crate::plane::Plane;
use crate::servers::OPERATOR_NAMESPACE;
use crate::wait::until;

/// The desktop, before its digest.
const DESKTOP: &str = "steading.test/desktop:1";
/// The servers of the relay.
const NATS: &str = "steading.test/nats:1";
/// Where the desktop's program is.
const CONTAINER: &str = "desktop";
/// Longest wait for the relay. It starts when its images and its volume are there.
const PATIENCE: Duration = Duration::from_mins(3);

/// Builds and packs beforehand what takes long.
pub async fn build() -> Result<()> {
    Component::Nats.path().await?;
    Made::of_debian().await?;
    program().await.map(drop)
}

/// Gives the nodes the images of the relay's servers and of desktops, and makes the Secrets of the relay; returns the image of desktops,
/// pinned by its digest. To be done before the chart is installed with [`relay_values`]. The relay also needs volumes of
/// [`STORAGE_CLASS`], and the programs of the operator's image.
pub async fn provide(plane: &Plane) -> Result<String> {
    let (made, agent, nats) = (Made::of_debian().await?, program().await?, Component::Nats.path().await?);
    let nursery = Nursery::on_disk("agents")?;
    let archive = nursery.directory().join("agents.tar");
    let target = archive.clone();
    let packing = move || {
        let read = |path: &std::path::Path| std::fs::read(path).with_context(|| path.display().to_string());
        let desktop = agent_image::image(DESKTOP, &made.layer, read(&agent)?)?;
        let out = std::fs::File::create(&target).with_context(|| target.display().to_string())?;
        image::write_plain(&[desktop, of_nats(read(&nats)?)], std::io::BufWriter::new(out))
    };
    let digests = tokio::task::spawn_blocking(packing).await.context("packing ended early")??;
    let digest = digests.first().context("no image was packed")?;
    let (repository, _) = DESKTOP.rsplit_once(':').context("the desktop has no tag")?;
    plane.import_image(&archive).await?;
    secrets(plane).await?;
    Ok(format!("{repository}@{digest}"))
}

fn of_nats(content: Vec<u8>) -> Image {
    Image {
        name: NATS.to_owned(),
        architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
        files: BTreeMap::from([("nats-server".to_owned(), File { mode: 0o755, content })]),
        entrypoint: vec!["/nats-server".to_owned()],
        user: "65532:65532".to_owned(),
        ..Image::default()
    }
}

/// Values by which the chart installs one server and one doorkeeper.
pub fn relay_values() -> Value {
    json!({ "relay": {
        "enabled": true, "replicas": 1,
        "nats": { "image": NATS, "storage": "1Gi", "eventsBytes": 256 << 20, "storageClassName": STORAGE_CLASS },
    }})
}

/// The Secrets that docs/relay.md asks for. The authority is the plane's, which an operator in this process knows as well.
async fn secrets(plane: &Plane) -> Result<()> {
    let client = plane.admin()?;
    let names =
        [format!("steading-relay.{OPERATOR_NAMESPACE}.svc"), format!("*.steading-relay-nats.{OPERATOR_NAMESPACE}.svc")];
    let served = plane.authority().peer("steading-relay", &names.each_ref().map(String::as_str))?;
    let secret = uuid::Uuid::new_v4().simple().to_string().repeat(2);
    let certificate = json!({
        "tls.crt": served.certificate, "tls.key": served.key.expose_secret(), "ca.crt": plane.authority().certificate(),
    });
    let of = |name: &str, data: Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": OPERATOR_NAMESPACE },
            "stringData": data,
        })
    };
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": OPERATOR_NAMESPACE } });
    let secret = of("steading-relay", json!({ "secret": secret }));
    for object in [namespace, secret, of("steading-relay-tls", certificate)] {
        manifests::apply(&client, &serde_json::from_value(object)?).await?;
    }
    Ok(())
}

/// Waits until server and doorkeeper are ready.
pub async fn until_relay_is_up(client: &Client) -> Result<()> {
    let servers = Api::<StatefulSet>::namespaced(client.clone(), OPERATOR_NAMESPACE);
    let doorkeepers = Api::<Deployment>::namespaced(client.clone(), OPERATOR_NAMESPACE);
    until("the relay is up", PATIENCE, async || {
        let server = servers.get("steading-relay-nats").await?.status.and_then(|status| status.ready_replicas);
        let doorkeeper = doorkeepers.get("steading-relay").await?.status.and_then(|status| status.available_replicas);
        Ok((server, doorkeeper) == (Some(1), Some(1)))
    })
    .await
}

/// Which of these desktops have signed in at the relay, as its doorkeeper tells in its audit.
pub async fn signed_in(client: &Client, uids: &[String]) -> Result<Vec<String>> {
    let pods = Api::<Pod>::namespaced(client.clone(), OPERATOR_NAMESPACE);
    let keepers = pods.list(&ListParams::default().labels("app.kubernetes.io/component=doorkeeper")).await?;
    let mut found = Vec::new();
    for keeper in keepers.items {
        let log = pods.logs(&keeper.name_any(), &LogParams::default()).await?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let admitted = lines.filter(|line| line.get("decision").is_some_and(|decision| decision == "allowed"));
        let admitted: Vec<Value> = admitted.filter_map(|line| line.get("pod").cloned()).collect();
        found.extend(uids.iter().filter(|uid| admitted.contains(&json!(uid))).cloned());
    }
    Ok(found)
}

/// Runs a program in a desktop, as whom the desktop runs. Returns what it said and whether it succeeded.
pub async fn run(client: &Client, namespace: &str, pod: &str, command: &[&str]) -> Result<(String, bool)> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let parameters = AttachParams::default().container(CONTAINER);
    let mut process =
        pods.exec(pod, command.to_vec(), &parameters).await.context("cannot run anything in a desktop")?;
    let (out, error) = (process.stdout(), process.stderr());
    let status = process.take_status();
    let (mut said, mut complained) = (String::new(), String::new());
    let out = async {
        match out {
            Some(mut out) => out.read_to_string(&mut said).await.map(drop),
            None => Ok(()),
        }
    };
    let error = async {
        match error {
            Some(mut error) => error.read_to_string(&mut complained).await.map(drop),
            None => Ok(()),
        }
    };
    tokio::try_join!(out, error)?;
    let ended = match status {
        Some(status) => status.await,
        None => None,
    };
    Ok((said + &complained, ended.is_some_and(|ended| ended.status.as_deref() == Some("Success"))))
}
