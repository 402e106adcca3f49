//! What must hold after a story, whatever befell the operator on the way. In: the scene and the cast. Out: [`Findings`].
//!
//! - It came to its end: asked while waiting. Nothing is written after that: the watchman complains if there is.
//! - What it left behind is what a run without faults leaves.
//! - Nothing is there twice, nothing of it is left after deletion.
//! - Status told the truth at every write: see [`crate::history`].
//! - No write went astray, no deletion was at random, isolation came first, no secret was written down: the watchman again.
//! - The operator did not panic.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use api::labels;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use providers::memory::{MemoryBucket, MemoryIdentity, MemoryKey};
use providers::owner::tags;
use serde_json::Value;

use super::cast::Cast;
use super::end_state;
use super::point::Story;
use super::scene::Scene;
use crate::databases::objects;
use crate::history::{Write, judge};

/// What was found; all empty if all is well.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What is there and should be gone.
    pub leftovers: Vec<String>,
    /// What is there twice.
    pub duplicates: Vec<String>,
    /// Where status and truth, or two readers of status, disagree.
    pub disagreements: Vec<String>,
    /// Where the end is not that of a run without faults.
    pub differences: Vec<String>,
    /// Anything else.
    pub complaints: Vec<String>,
}

impl Findings {
    /// All of them, each with its sort.
    pub fn all(&self) -> Vec<String> {
        let sorts = [
            ("left over", &self.leftovers),
            ("twice", &self.duplicates),
            ("disagreement", &self.disagreements),
            ("other end", &self.differences),
            ("complaint", &self.complaints),
        ];
        sorts.into_iter().flat_map(|(sort, found)| found.iter().map(move |one| format!("{sort}: {one}"))).collect()
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: Self) {
        self.leftovers.extend(other.leftovers);
        self.duplicates.extend(other.duplicates);
        self.disagreements.extend(other.disagreements);
        self.differences.extend(other.differences);
        self.complaints.extend(other.complaints);
    }
}

/// Asks all oracles; also returns what was left behind.
pub(super) async fn ask(
    scene: &Scene,
    cast: &Cast,
    story: Story,
    expected: Option<&Value>,
) -> Result<(Value, Findings)> {
    let end = end_state::of(cast, scene.client(), &scene.world).await?;
    let belongs = |write: &Write| cast.namespaces().any(|own| own == write.namespace());
    let history = scene.recorder.history_of(belongs)?;
    scene.recorder.forget(belongs);
    let mut findings = Findings {
        duplicates: duplicates(scene, cast).await?,
        disagreements: judge(&history).disagreements,
        differences: expected.map(|expected| end_state::differences(&end, expected)).unwrap_or_default(),
        complaints: scene.watchman.complaints(cast),
        leftovers: match story {
            Story::Delete => leftovers(scene, cast).await?,
            Story::Leave => left_by_workspace(scene, cast).await?,
            Story::Withdraw => left_by_application(scene, cast).await?,
            Story::Create | Story::Change | Story::Equip => Vec::new(),
        },
    };
    findings.duplicates.extend(twice_over_time(&history));
    if history.is_empty() {
        findings.complaints.push("nothing was recorded, so nothing was judged".to_owned());
    }
    if !scene.is_running().await {
        findings.complaints.push("the operator ended by itself".to_owned());
    }
    Ok((end, findings))
}

/// What of the cast is still there although all of it should be gone, but for data that is to stay.
pub(super) async fn leftovers(scene: &Scene, cast: &Cast) -> Result<Vec<String>> {
    let mut found = left_by_workspace(scene, cast).await?;
    // Keys are never destroyed: disabled, and no longer rotated, is as gone as they get. One that is needed to read what stays rotates no more.
    let is_in_use = |key: &MemoryKey| key.rotation_period.is_some() || (key.enabled && !cast.keeps_data());
    if scene.world.keys().get(&cast.key).is_some_and(is_in_use) {
        found.push(format!("key {} in use", cast.key));
    }
    if !cast.keeps_data() {
        found.extend(cast.stores(&scene.world).into_keys().map(|id| format!("store {id}")));
    }
    Ok(found)
}

/// The same of what the Workspace stood for.
async fn left_by_workspace(scene: &Scene, cast: &Cast) -> Result<Vec<String>> {
    let mut found: Vec<String> =
        stacks(scene, cast).await?.into_iter().map(|name| format!("namespace {name}")).collect();
    let buckets = scene.world.buckets();
    for name in [&cast.bucket, &cast.backups] {
        let stays = |bucket: &MemoryBucket| cast.keeps_data() && bucket.tags.contains_key(tags::RELEASED);
        if buckets.get(name).is_some_and(|bucket| !stays(bucket)) {
            found.push(format!("bucket {name}"));
        }
    }
    found.extend(left_by_application(scene, cast).await?);
    Ok(found)
}

/// What an application still has of what it used.
async fn left_by_application(scene: &Scene, cast: &Cast) -> Result<Vec<String>> {
    let Some(shop) = &cast.shop else { return Ok(Vec::new()) };
    let (client, mine) = (scene.client(), ListParams::default());
    let secrets = Api::<Secret>::namespaced(client.clone(), shop).list_metadata(&mine).await?;
    let bindings = Api::<RoleBinding>::namespaced(client.clone(), shop).list_metadata(&mine).await?;
    let mut found: Vec<String> = secrets.items.iter().map(|it| format!("Secret {shop}/{}", it.name_any())).collect();
    found.extend(bindings.items.iter().map(|it| format!("RoleBinding {shop}/{}", it.name_any())));
    let lives = |it: &&MemoryIdentity| it.revocable_as.is_some() && !it.is_revoked;
    let living = cast.identities(&scene.world);
    found.extend(living.iter().filter(lives).map(|it| format!("credentials for bucket {}", it.bucket)));
    Ok(found)
}

async fn duplicates(scene: &Scene, cast: &Cast) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let (stacks, buckets, keys) = (stacks(scene, cast).await?, scene.world.buckets(), scene.world.keys());
    let owned = |tags: &BTreeMap<String, String>| tags.get(tags::OWNER) == Some(&cast.workspace_identity);
    let mut buckets: Vec<&String> = buckets.iter().filter(|(_, it)| owned(&it.tags)).map(|(name, _)| name).collect();
    buckets.retain(|name| **name != cast.backups);
    let keys: Vec<&String> = keys.keys().filter(|name| name.ends_with(&cast.tenant_identity)).collect();
    if stacks.len() > 1 {
        found.push(format!("stacks {stacks:?}"));
    }
    if buckets.len() > 1 {
        found.push(format!("buckets {buckets:?}"));
    }
    // What was issued and whose answer was lost ends with the session of which it is.
    let identities = cast.identities(&scene.world).into_iter().filter(|it| !it.is_revoked);
    let sessions: BTreeSet<String> = identities.filter_map(|it| it.revocable_as).collect();
    if sessions.len() > 1 {
        found.push(format!("sessions {sessions:?}"));
    }
    let backups = objects(scene.client(), &cast.stack, "postgresql.cnpg.io", "Backup");
    let backups = backups.list_metadata(&ListParams::default()).await?.items.len();
    if backups > 1 {
        found.push(format!("{backups} full backups out of turn"));
    }
    let stores: Vec<String> = cast.stores(&scene.world).into_keys().collect();
    if stores.len() > 1 {
        found.push(format!("stores {stores:?}"));
    }
    if keys.len() > 1 {
        found.push(format!("keys {keys:?}"));
    }
    Ok(found)
}

async fn stacks(scene: &Scene, cast: &Cast) -> Result<Vec<String>> {
    let namespaces: Api<Namespace> = Api::all(scene.client().clone());
    let mine = ListParams::default().labels(&format!("{}={}", labels::TENANT, cast.name));
    Ok(namespaces.list_metadata(&mine).await?.items.iter().map(kube::ResourceExt::name_any).collect())
}

/// Whether two of what must be one were there at the same time, be it for a moment, or one was made twice: stacks, databases, and what a
/// restore drill makes.
fn twice_over_time(history: &[Write]) -> Vec<String> {
    let mut uids = BTreeMap::<String, BTreeSet<&str>>::new();
    for write in history {
        let metadata = &write.object["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let what = match write.kind.as_str() {
            "Namespace" if metadata["labels"][labels::STACK].is_string() => "stack".to_owned(),
            kind @ ("Cluster" | "DatabaseRole" | "Deployment" | "Job") => format!("{kind} {name}"),
            _ => continue,
        };
        uids.entry(what).or_default().extend(metadata["uid"].as_str());
    }
    let twice = uids.into_iter().filter(|(_, uids)| uids.len() > 1);
    twice.map(|(what, uids)| format!("{what} over time: {uids:?}")).collect()
}
