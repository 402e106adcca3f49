//! What must hold after a story, whatever befell the operator on the way. In: the scene and the cast. Out: [`Findings`].
//!
//! - It came to its end: asked while waiting. Nothing is written after that: the watchman complains if there is.
//! - What it left behind is what a run without faults leaves.
//! - Nothing is there twice, nothing of it is left after deletion.
//! - Status told the truth at every write: see [`crate::history`].
//! - No write went astray, no deletion was at random, isolation came first, no secret was written down: the watchman again.
//! - The operator did not panic.

use anyhow::Result;
use api::labels;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::ListParams;
use providers::owner::tags;
use serde_json::Value;

use super::cast::Cast;
use super::end_state;
use super::point::Story;
use super::scene::Scene;
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
    let belongs = |write: &Write| write.namespace() == cast.name || write.namespace() == cast.stack;
    let history = scene.recorder.history_of(belongs)?;
    scene.recorder.forget(belongs);
    let mut findings = Findings {
        duplicates: duplicates(scene, cast).await?,
        disagreements: judge(&history).disagreements,
        differences: expected.map(|expected| end_state::differences(&end, expected)).unwrap_or_default(),
        complaints: scene.watchman.complaints(cast),
        leftovers: if story == Story::Delete { leftovers(scene, cast).await? } else { Vec::new() },
    };
    findings.duplicates.extend(two_at_once(&history));
    if history.is_empty() {
        findings.complaints.push("nothing was recorded, so nothing was judged".to_owned());
    }
    if !scene.is_running().await {
        findings.complaints.push("the operator ended by itself".to_owned());
    }
    Ok((end, findings))
}

/// What of the cast is still there although all of it should be gone.
pub(super) async fn leftovers(scene: &Scene, cast: &Cast) -> Result<Vec<String>> {
    let mut found: Vec<String> =
        stacks(scene, cast).await?.into_iter().map(|name| format!("namespace {name}")).collect();
    if scene.world.buckets().contains_key(&cast.bucket) {
        found.push(format!("bucket {}", cast.bucket));
    }
    // Keys are never destroyed: disabled, and no longer rotated, is as gone as they get.
    if scene.world.keys().get(&cast.key).is_some_and(|key| key.enabled || key.rotation_period.is_some()) {
        found.push(format!("key {} in use", cast.key));
    }
    found.extend(cast.stores(&scene.world).into_keys().map(|id| format!("store {id}")));
    Ok(found)
}

async fn duplicates(scene: &Scene, cast: &Cast) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let (stacks, buckets, keys) = (stacks(scene, cast).await?, scene.world.buckets(), scene.world.keys());
    let owned =
        |tags: &std::collections::BTreeMap<String, String>| tags.get(tags::OWNER) == Some(&cast.workspace_identity);
    let buckets: Vec<&String> = buckets.iter().filter(|(_, it)| owned(&it.tags)).map(|(name, _)| name).collect();
    let keys: Vec<&String> = keys.keys().filter(|name| name.ends_with(&cast.tenant_identity)).collect();
    if stacks.len() > 1 {
        found.push(format!("stacks {stacks:?}"));
    }
    if buckets.len() > 1 {
        found.push(format!("buckets {buckets:?}"));
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

/// Whether two stacks were there at the same time, be it for a moment, or one was made twice.
fn two_at_once(history: &[Write]) -> Vec<String> {
    let stacks = history
        .iter()
        .filter(|write| write.kind == "Namespace" && write.object["metadata"]["labels"][labels::STACK].is_string());
    let mut uids: Vec<&str> = stacks.filter_map(|write| write.object["metadata"]["uid"].as_str()).collect();
    uids.sort_unstable();
    uids.dedup();
    if uids.len() > 1 { vec![format!("stacks over time: {uids:?}")] } else { Vec::new() }
}
