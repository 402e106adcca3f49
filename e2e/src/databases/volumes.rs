//! Volumes on real nodes. In: claims whose pod has a node. Out: a volume for each, a disk of that node, which goes with its claim.

use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::json;
use tokio::sync::oneshot;

use crate::manifests;
use crate::plane::{Disks, Plane};

/// A class of volumes that go with their claims. Classes with other rules may name its provisioner too.
pub const STORAGE_CLASS: &str = "disks";

/// What makes the volumes, as a StorageClass names it.
const PROVISIONER: &str = "steading.test/disks";

/// By these the claim says who is to make its volume, and on which node. Controller and scheduler write them.
const WANTED_OF: &str = "volume.kubernetes.io/storage-provisioner";
const WANTED_ON: &str = "volume.kubernetes.io/selected-node";
/// By this the controller knows that a volume is removed by somebody else.
const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Makes and removes volumes as long as it lives: in a thread of its own, because a plane may outlive the test that gave it volumes.
pub struct Volumes {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Volumes {
    /// Makes the class, and volumes of it from now on.
    pub async fn provide(plane: &Plane) -> Result<Self> {
        let class = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": { "name": STORAGE_CLASS },
            "provisioner": PROVISIONER,
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
            "allowVolumeExpansion": true,
        });
        manifests::apply(&plane.admin()?, &serde_json::from_value(class)?).await?;
        let (config, disks) = (plane.config(plane.admin_identity())?, plane.disks()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("volumes".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    outcome = follow(config, &disks) => {
                        if let Err(error) = outcome {
                            crate::show(&format!("e2e: no more volumes are made: {error:#}"));
                        }
                    }
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}

/// Looks at every claim and volume when it changes.
async fn follow(config: Config, disks: &Disks) -> Result<()> {
    let client = Client::try_from(config)?;
    let claims = watcher(Api::<PersistentVolumeClaim>::all(client.clone()), watcher::Config::default());
    let volumes = watcher(Api::<PersistentVolume>::all(client.clone()), watcher::Config::default());
    let mut claims = claims.default_backoff().applied_objects().boxed();
    let mut volumes = volumes.default_backoff().applied_objects().boxed();
    loop {
        let outcome = tokio::select! {
            // The watch is opened again after an error.
            Some(claim) = claims.next() => match claim {
                Ok(claim) => serve(&client, disks, &claim).await.with_context(|| format!("no volume for {}", claim.name_any())),
                Err(_) => Ok(()),
            },
            Some(volume) = volumes.next() => match volume {
                Ok(volume) => clear(&client, disks, &volume).await.with_context(|| format!("{} stays", volume.name_any())),
                Err(_) => Ok(()),
            },
            else => return Ok(()),
        };
        if let Err(error) = outcome {
            crate::show(&format!("e2e: {error:#}"));
        }
    }
}

/// Makes the volume of a claim that waits for one of ours.
async fn serve(client: &Client, disks: &Disks, claim: &PersistentVolumeClaim) -> Result<()> {
    let spec = claim.spec.clone().unwrap_or_default();
    let Some(node) = claim.annotations().get(WANTED_ON) else { return Ok(()) };
    if let Some(volume) = &spec.volume_name {
        return grow(client, disks, node, claim, volume).await;
    }
    if claim.annotations().get(WANTED_OF).is_none_or(|of| of != PROVISIONER) {
        return Ok(());
    }
    let class = spec.storage_class_name.context("its claim names no class")?;
    let policy = Api::<StorageClass>::all(client.clone()).get(&class).await?.reclaim_policy;
    let name = format!("pvc-{}", claim.uid().context("its claim has no UID")?);
    let requests = spec.resources.and_then(|resources| resources.requests).unwrap_or_default();
    disks.add(node, &name, &requests.get("storage").context("its claim names no size")?.0)?;
    let volume = json!({
        "metadata": { "name": name, "annotations": { MADE_BY: PROVISIONER } },
        "spec": {
            "storageClassName": class,
            "persistentVolumeReclaimPolicy": policy,
            "accessModes": spec.access_modes,
            "volumeMode": spec.volume_mode,
            "capacity": requests,
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "uid": claim.uid(),
                "namespace": claim.namespace(), "name": claim.name_any(),
            },
            "local": { "path": Disks::within(&name) },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": "kubernetes.io/hostname", "operator": "In", "values": [node] },
            ]}]}},
        },
    });
    match Api::all(client.clone()).create(&PostParams::default(), &serde_json::from_value(volume)?).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        outcome => outcome.map(|_: PersistentVolume| ()).context("the volume is refused"),
    }
}

/// Gives a claim the size that it asks for by now, as what resizes volumes does.
async fn grow(client: &Client, disks: &Disks, node: &str, claim: &PersistentVolumeClaim, volume: &str) -> Result<()> {
    let asked = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.clone()).unwrap_or_default();
    let has = claim.status.as_ref().and_then(|status| status.capacity.clone()).unwrap_or_default();
    let is_ours = claim.annotations().get(WANTED_OF).is_some_and(|of| of == PROVISIONER);
    if !is_ours || has.is_empty() || asked.get("storage") == has.get("storage") {
        return Ok(());
    }
    disks.resize(node, volume, &asked.get("storage").context("its claim names no size")?.0)?;
    let params = PatchParams::default();
    let larger = Patch::Merge(json!({ "spec": { "capacity": asked } }));
    Api::<PersistentVolume>::all(client.clone()).patch(volume, &params, &larger).await?;
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(client.clone(), claim.namespace().as_deref().unwrap_or_default());
    let larger = Patch::Merge(json!({ "status": { "capacity": asked } }));
    claims.patch_status(&claim.name_any(), &params, &larger).await?;
    Ok(())
}

/// Removes a volume of ours whose claim is gone, unless its class keeps it.
async fn clear(client: &Client, disks: &Disks, volume: &PersistentVolume) -> Result<()> {
    let is_ours = volume.annotations().get(MADE_BY).is_some_and(|by| by == PROVISIONER);
    let spec = volume.spec.as_ref().context("it has no spec")?;
    let is_released = volume.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Released"));
    let is_to_go = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
    if !(is_ours && is_released && is_to_go && volume.metadata.deletion_timestamp.is_none()) {
        return Ok(());
    }
    let terms = spec.node_affinity.as_ref().and_then(|it| it.required.as_ref());
    let mut nodes_of = terms
        .iter()
        .flat_map(|it| &it.node_selector_terms)
        .flat_map(|term| term.match_expressions.iter().flatten())
        .flat_map(|expression| expression.values.iter().flatten());
    let name = volume.name_any();
    disks.remove(nodes_of.next().context("it is on no node")?, &name)?;
    match Api::<PersistentVolume>::all(client.clone()).delete(&name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        outcome => outcome.map(drop).context("it cannot be deleted"),
    }
}
