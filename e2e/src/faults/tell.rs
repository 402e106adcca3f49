//! Tells one story. In: a scene and a point. Out: what was left behind, which blows found no write to fall on, and what the oracles say.

use anyhow::Result;
use serde_json::Value;

use super::cast::Cast;
use super::oracles::{self, Findings};
use super::point::{OPERATIONS, Point, WriteName};
use super::scene::{Ended, Scene, Strike};

/// A story that was told.
pub(super) struct Told {
    pub(super) cast: Cast,
    /// The writes of the story, in order; those at the API server first.
    pub(super) writes: Vec<WriteName>,
    /// Writes that did not come this time.
    pub(super) missed: Vec<WriteName>,
    pub(super) end: Value,
    pub(super) findings: Findings,
}

/// Tells it with a cast of this name, and asks the oracles; `expected` is what a run without blows leaves behind.
pub(super) async fn tell(scene: &Scene, point: &Point, name: &str, expected: Option<&Value>) -> Result<Told> {
    let is_of_database = point.story.is_of_database();
    let cast = Cast::new(&scene.class, scene.installation.name(), name.to_owned(), is_of_database)?;
    scene.watchman.enter(&cast);
    if let Some(before) = point.story.follows() {
        cast.act(before, &scene.platform, &scene.world).await?;
        scene.settle(&cast, before, None).await?;
    }
    scene.watchman.begin(&cast, false);
    let before = outside(scene, &cast);
    let missed = befall(scene, point, &cast).await?;
    let mut writes = scene.watchman.writes(&cast);
    for ((what, now), (_, before)) in outside(scene, &cast).into_iter().zip(before) {
        writes.extend((1..).take(usize::try_from(now - before)?).map(|nth| WriteName { what: what.to_owned(), nth }));
    }
    let (end, findings) = oracles::ask(scene, &cast, point.story, expected).await?;
    scene.watchman.begin(&cast, true);
    Ok(Told { cast, writes, missed, end, findings })
}

/// The calls outside the cluster so far, by operation.
fn outside(scene: &Scene, cast: &Cast) -> Vec<(&'static str, u64)> {
    let calls = |(operation, name)| {
        let identity = cast.identity_of(operation, name, &scene.world);
        (name, scene.world.calls_for(operation, &identity))
    };
    OPERATIONS.into_iter().map(calls).collect()
}

/// Lets the story begin, and one blow fall after the other; the writes on which none could fall are returned.
async fn befall(scene: &Scene, point: &Point, cast: &Cast) -> Result<Vec<WriteName>> {
    let mut missed = Vec::new();
    let mut begun = false;
    for blow in &point.blows {
        let strike = scene.arm(cast, blow);
        if !std::mem::replace(&mut begun, true) {
            cast.act(point.story, &scene.platform, &scene.world).await?;
        }
        match scene.settle(cast, point.story, Some(&strike)).await? {
            Ended::Told => missed.push(blow.write.clone()),
            Ended::Struck if blow.fault.is_crash() => {
                if matches!(strike, Strike::Outside { .. }) {
                    scene.watchman.die();
                }
                scene.crash().await?;
            }
            Ended::Struck => {}
        }
    }
    if !begun {
        cast.act(point.story, &scene.platform, &scene.world).await?;
    }
    scene.settle(cast, point.story, None).await?;
    scene.disarm(cast);
    Ok(missed)
}
