//! Drills that something comes in between of: other wishes, another operator, the end of the Workspace.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::conditions as names;
use e2e::Tier;
use e2e::databases::DRILL;
use e2e::story::workspace;
use kube::ResourceExt as _;

use super::scene::{Drilled, ago, good};

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_under_way_is_not_disturbed_by_other_wishes_nor_by_another_operator() -> Result<()> {
    let drilled = Drilled::begun().await?;
    let first = drilled.until(drilled.clusters(), DRILL, "is restored", |_| true).await?;
    let other = workspace("finance").of_tenant(&drilled.acme).with("database.storage.size", "40Gi");
    drilled.stage.platform.apply(&other).await?;
    let is_larger = |it: &kube::api::DynamicObject| it.data["spec"]["storage"]["size"] == "40Gi";
    drilled.until(drilled.clusters(), "database", "has the other size", is_larger).await?;
    let drilled = drilled.restarted().await?;
    drilled.until_looking().await?;
    let now = drilled.clusters().get(DRILL).await?;
    ensure!((now.uid(), now.metadata.generation) == (first.uid(), first.metadata.generation), "{:#}", now.data);
    drilled.keeper.looked(true, &good(ago(4))).await?;
    drilled.until_proven("True", names::AVAILABLE).await?;
    drilled.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_goes_also_in_the_middle_of_a_drill() -> Result<()> {
    let drilled = Drilled::set(Tier::Two).await?;
    drilled.canary_stands().await?;
    // Its pod is ready soon on nodes that are fake, and a full backup after that has its row.
    let since = drilled.canary_writes_since().await?;
    drilled.keeper.backed_up(&drilled.server, since + Duration::from_secs(1)).await?;
    drilled.until(drilled.clusters(), DRILL, "is restored", |_| true).await.context("no drill begins")?;
    let going = drilled.stage.platform.get(&drilled.finance).await?;
    drilled.stage.platform.delete(&drilled.finance).await?;
    drilled.stage.platform.until_gone(&drilled.finance, &going).await?;
    drilled.nothing_is_left().await
}
