//! The chart is taken away while tenants live, and comes back.

use anyhow::{Result, ensure};
use e2e::Tier;
use e2e::install::{InProcess, Installation};
use e2e::story::{BREAK_GLASS, Stage};
use serde_json::json;

use super::{ready_pair, writes};

#[tokio::test]
async fn an_operator_that_is_installed_again_finds_everything_right_and_writes_nothing() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    let (acme, finance) = ready_pair(&stage.platform).await?;
    let name = stage.installation.name().to_owned();
    let Stage { operator, world, platform, installation, plane } = stage;
    operator.stop().await?;
    installation.helm(&plane, &["uninstall", "steading"].map(str::to_owned)).await?;
    drop(installation);
    let before = platform.get(&finance).await?;

    let values = json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } });
    let installation = Installation::install(&plane, &name, &values).await?;
    let mark = plane.mark().await?;
    let outside = world.log().len();
    let operator = InProcess::start_on(&plane, &installation, world.clone(), |config| {
        config.break_glass_groups = vec![BREAK_GLASS.to_owned()];
    })
    .await?;
    // A new Workspace shows that it is at work, and that it has looked at all that was there before.
    let sales = platform.applied(e2e::story::workspace("sales").of_tenant(&acme)).await?;
    platform.until_ready(&sales).await?;
    let stack = platform.stack_of(&sales).await?;
    let written = writes(&plane.calls_since(mark).await?);
    let of_sales = |object: &e2e::plane::Object| {
        object.namespace == stack || object.name == stack || object.name == sales.name() || object.resource == "events"
    };
    // The Tenant's ledger takes the new Workspace in.
    let others =
        written.filter(|call| call.target() != "tenants/status" && !call.object_ref.as_ref().is_some_and(of_sales));
    ensure!(others.is_empty(), "what was right was written again: {:?}", others.entries());
    let after = platform.get(&finance).await?;
    ensure!(before.metadata.resource_version == after.metadata.resource_version, "the Workspace was written to");
    let bucket = platform.bucket_of(&sales).await?;
    let others = world.log().into_iter().skip(outside).filter(|(operation, of)| operation.writes() && *of != bucket);
    let others: Vec<_> = others.collect();
    ensure!(others.is_empty(), "something else than the new bucket was written outside the cluster: {others:?}");
    operator.stop().await
}
