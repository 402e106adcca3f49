//! The log of a database as the store has it. In: a database that is healthy in CloudNativePG's words. Out: status tells when the newest piece of
//! its log was written, and that none comes any more.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::conditions as names;
use api::{Workspace, database::BackupStatus};
use e2e::Tier;
use e2e::story::condition;
use k8s_openapi::jiff::Timestamp;

use crate::drilled::Drilled;

/// How often the store is looked at.
const LOOK: Duration = Duration::from_secs(3);

/// Older than the rpo of the class allows while the canary writes.
const LONG: Duration = Duration::from_mins(40);

fn backup_of(workspace: &Workspace) -> Option<&BackupStatus> {
    workspace.status.as_ref()?.database.as_ref()?.backup.as_ref()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_no_longer_reaches_the_store_is_told_though_cloud_native_pg_finds_nothing_wrong() -> Result<()> {
    let world = Drilled::set_with(Tier::One, |config| config.timings.resync = LOOK).await?;
    let platform = &world.stage.platform;
    let ready = platform.until_ready(&world.finance).await?;
    let told = backup_of(&ready).context("no backups are shown")?;
    let newest = told.last_log.as_ref().context("status does not tell of the log")?.0;
    ensure!(Timestamp::now().duration_since(newest).abs() < Duration::from_mins(5).try_into()?, "{told:?}");

    let stopped = Timestamp::from_second(Timestamp::now().as_second())? - LONG;
    world.stage.world.tamper_bucket(&told.bucket, |bucket| bucket.newest = Some(stopped));
    let seen = |told: &Workspace| {
        backup_of(told).is_some_and(|backup| backup.last_log.as_ref().is_some_and(|newest| newest.0 == stopped))
    };
    let idle = platform.until(&world.finance, "shows the newest piece that there is", seen).await?;
    let fresh = condition(&idle, names::BACKUP_FRESH).context("no condition")?;
    ensure!(fresh.status == "True", "nothing need have been written: {fresh:?}");

    // Now something is written all the time, and has been for longer than the rpo.
    world.canary_stands().await?;
    world.keeper.canary_writes(true, Timestamp::now() - LONG).await?;
    let late = platform.until_condition(&world.finance, names::BACKUP_FRESH, "False", names::LOG_NOT_ARCHIVED).await?;
    let message = &condition(&late, names::BACKUP_FRESH).context("no condition")?.message;
    ensure!(message.contains(&stopped.to_string()) && message.contains("rpo of 15m"), "{message}");

    // A canary that begins anew, or is away, does not excuse what was missing before.
    for writes in [true, false] {
        world.keeper.canary_writes(writes, Timestamp::now()).await?;
        let begun = Timestamp::now();
        let looked = |told: &Workspace| {
            backup_of(told).is_some_and(|it| it.observed_at.as_ref().is_some_and(|at| at.0 > begun + LOOK))
        };
        let told = platform.until(&world.finance, "is looked at again", looked).await?;
        let fresh = condition(&told, names::BACKUP_FRESH).context("no condition")?;
        ensure!(fresh.reason == names::LOG_NOT_ARCHIVED, "the canary {writes}: {fresh:?}");
        ensure!(backup_of(&told).is_some_and(|backup| backup.log_missing_since.is_some()), "{:?}", backup_of(&told));
    }
    world.stage.world.tamper_bucket(&told.bucket, |bucket| bucket.newest = None);
    platform.until_condition(&world.finance, names::BACKUP_FRESH, "True", names::AVAILABLE).await.map(drop)
}
