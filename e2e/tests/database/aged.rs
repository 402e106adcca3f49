//! What becomes of backups that grow old: the class says it, the store does it. In: CloudNativePG's kinds, buckets in memory. Out: a class
//! that changes is acted on at once, and what the store refuses, or a stranger does, is told and holds up nothing.

use anyhow::{Context as _, Result, ensure};
use api::database::{BackupStatus, LifecycleStatus};
use api::{Workspace, conditions as names};
use e2e::Tier;
use e2e::databases::{install_kinds, objects};
use e2e::story::{Manifest, Platform, Stage, condition};
use providers::buckets::{Archive, Told};
use serde_json::json;

use crate::origins::has_backups;
use crate::told::{finance_of, with_databases};

fn backup(told: &Workspace) -> Option<&BackupStatus> {
    told.status.as_ref()?.database.as_ref()?.backup.as_ref()
}

/// Waits until status shows that the store does this.
async fn until_kept(
    platform: &Platform,
    finance: &Manifest<Workspace>,
    keep_deleted: &str,
    archive: Option<(&str, &str)>,
) -> Result<BackupStatus> {
    let wanted = LifecycleStatus {
        keep_deleted: keep_deleted.parse()?,
        kept_without_end: false,
        archive_after: archive.map(|(after, _)| after.parse()).transpose()?,
        archive_storage_class: archive.map(|(_, class)| class.to_owned()),
    };
    let shows = move |told: &Workspace| backup(told).is_some_and(|it| it.lifecycle.as_ref() == Some(&wanted));
    let seen = platform.until(finance, "shows what becomes of old backups", shows).await?;
    backup(&seen).cloned().context("no backups are shown")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_decides_what_becomes_of_old_backups_at_once_and_what_is_refused_holds_up_nothing() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.stalled = std::time::Duration::from_secs(2)).await?;
    install_kinds(&stage.plane).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(with_databases()).await?;
    let finance = finance_of(&stage, &onprem).await?;
    let keeper = has_backups(&stage, &finance).await?.1;
    let bucket = until_kept(platform, &finance, "7d", None).await?.bucket;
    let rules = || stage.world.buckets().get(&bucket).map(|it| it.settings.lifecycle.clone()).context("no bucket");
    ensure!(rules()?.keep_deleted == Told::Says(7), "without a word it is a week: {:?}", rules()?);

    let onprem = onprem.with("database.backup.keepDeleted", "9d");
    let archive = |class: &str| json!({ "after": "14d", "storageClass": class });
    platform.apply(&onprem.clone().with("database.backup.archive", archive("WARM"))).await?;
    until_kept(platform, &finance, "9d", Some(("14d", "WARM"))).await?;
    let warm = Archive { after: 14, storage_class: "WARM".to_owned() };
    ensure!(rules()?.keep_deleted == Told::Says(9) && rules()?.archive == Told::Says(warm), "{:?}", rules()?);

    // Refused: it is told, what runs goes on, and a database that is new is made all the same.
    stage.world.refuse_storage_class("COLD");
    platform.apply(&onprem.clone().with("database.backup.archive", archive("COLD"))).await?;
    let refused = names::STORAGE_CLASS_REFUSED;
    let seen = platform.until_condition(&finance, names::BACKUP_FRESH, "False", refused).await?;
    let message = condition(&seen, names::BACKUP_FRESH).map(|it| it.message.clone()).unwrap_or_default();
    ensure!(message.contains("COLD") && message.contains(&bucket), "{message}");
    ensure!(condition(&seen, names::DATABASE_READY).is_some_and(|it| it.status == "True"), "the database is held up");
    ensure!(backup(&seen).is_some_and(|it| it.lifecycle.is_none()), "status shows what is not so");
    let sales = finance_of(&stage, &onprem).await?;
    platform.until_condition(&sales, names::BACKUP_FRESH, "False", names::BACKUP_PENDING).await?;
    let stack = platform.stack_of(&sales).await?;
    let cluster = objects(&keeper.client, &stack, "postgresql.cnpg.io", "Cluster").get("database").await;
    cluster.context("a new database is held up")?;
    stage.world.offer_storage_class("COLD");
    until_kept(platform, &finance, "9d", Some(("14d", "COLD"))).await?;
    platform.until_ready(&finance).await?;

    // A rule of somebody else: told once it is seen, left alone, and forgotten when it is gone.
    let tidy = |on: bool| {
        stage.world.tamper_bucket(&bucket, |it| {
            let harmful = &mut it.settings.lifecycle.harmful;
            if on {
                harmful.insert("tidy".to_owned())
            } else {
                harmful.remove("tidy")
            };
        });
    };
    tidy(true);
    platform.apply(&onprem.clone().with("database.backup.keepDeleted", "10d")).await?;
    let seen = platform.until_condition(&finance, names::BACKUP_FRESH, "False", names::LIFECYCLE_CONFLICT).await?;
    let message = condition(&seen, names::BACKUP_FRESH).map(|it| it.message.clone()).unwrap_or_default();
    ensure!(message.contains("`tidy`"), "{message}");
    tidy(false);
    until_kept(platform, &finance, "10d", None).await?;
    ensure!(rules()?.archive == Told::Absent, "what is not asked for any more stays: {:?}", rules()?);
    platform.until_ready(&finance).await.map(drop)
}
