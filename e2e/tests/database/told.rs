//! What status tells of databases, with CloudNativePG's kinds but nobody who acts on them: what it would say is said by hand. In: a plane
//! with fake nodes. Out: each thing that can be wrong has its reason, and heals by itself.

use anyhow::{Context as _, Result, ensure};
use api::{TenantClass, Workspace, conditions as names};
use e2e::databases::{Keeper, install_kinds, objects};
use e2e::secrets::Needle;
use e2e::story::{Manifest, Stage, class, condition, tenant, workspace};
use e2e::{Tier, unique};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use providers::memory::{Injection, Operation};
use providers::owner::tags;
use serde_json::{Value, json};

fn offered() -> Value {
    json!({
        "image": "registry.example/postgresql:18.4",
        "instances": 3,
        "storage": { "size": "20Gi" },
        "resources": { "cpu": "1", "memory": "2Gi" },
        "rpo": "15m",
        "rto": "1h",
        "backup": { "fullEvery": "2h", "retention": "30d" },
    })
}

pub fn with_databases() -> Manifest<TenantClass> {
    class(&unique("onprem")).with("buckets.s3.cidrs", json!(["192.0.2.0/24"])).with("database", offered())
}

pub async fn finance_of(stage: &Stage, class: &Manifest<TenantClass>) -> Result<Manifest<Workspace>> {
    let acme = stage.platform.applied(tenant(&unique("acme")).of_class(class)).await?;
    stage.platform.applied(workspace("finance").of_tenant(&acme)).await
}

/// Speaks for CloudNativePG in the stack of this Workspace.
pub async fn keeper_of(stage: &Stage, finance: &Manifest<Workspace>) -> Result<Keeper> {
    Ok(Keeper::new(stage.break_glass()?, stage.platform.stack_of(finance).await?))
}

async fn server_name(stage: &Stage, finance: &Manifest<Workspace>) -> Result<String> {
    let status = stage.platform.get(finance).await?.status.context("no status")?;
    Ok(status.database.and_then(|database| database.backup).context("no backups are shown")?.server_name)
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_of_a_database_what_is_missing_what_runs_and_what_could_be_restored() -> Result<()> {
    let stage = Stage::set(Tier::Two, |config| config.timings.stalled = std::time::Duration::from_secs(5)).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(with_databases()).await?;
    let finance = finance_of(&stage, &onprem).await?;

    // Without CloudNativePG everything else is made all the same.
    platform.until_condition(&onprem, names::DATABASES_REACHABLE, "False", names::DATABASE_OPERATOR_MISSING).await?;
    let seen = platform.until_reason(&finance, names::DATABASE_OPERATOR_MISSING).await?;
    for part in [names::ISOLATED, names::BUCKET_READY] {
        ensure!(condition(&seen, part).is_some_and(|it| it.status == "True"), "{part} waits for databases");
    }

    // As soon as it is there, it goes on without anybody's doing.
    install_kinds(&stage.plane).await?;
    platform.until_condition(&onprem, names::DATABASES_REACHABLE, "True", names::AVAILABLE).await?;
    platform.until_condition(&finance, names::DATABASE_READY, "False", names::PROGRESSING).await?;
    platform.until_condition(&finance, names::BACKUP_FRESH, "False", names::BACKUP_PENDING).await?;
    let keeper = keeper_of(&stage, &finance).await?;
    keeper.runs(2, "True").await?;
    let two = |told: &Workspace| {
        told.status.as_ref().and_then(|it| it.database.as_ref()).is_some_and(|it| it.ready_instances == 2)
    };
    let seen = platform.until(&finance, "shows two instances", two).await?;
    let message = condition(&seen, names::DATABASE_READY).context("no condition")?.message.clone();
    ensure!(message.contains("2 of 3 instances"), "{message}");

    keeper.runs(3, "True").await?;
    platform.until_condition(&finance, names::DATABASE_READY, "True", names::AVAILABLE).await?;
    let server = server_name(&stage, &finance).await?;
    let hours_ago =
        |hours: i64| Timestamp::now() - std::time::Duration::from_secs(u64::try_from(hours * 3600).unwrap());
    keeper.backed_up(&server, hours_ago(5)).await?;
    platform.until_condition(&finance, names::BACKUP_FRESH, "False", names::BACKUP_OVERDUE).await?;
    keeper.backed_up(&server, hours_ago(1)).await?;
    platform.until_ready(&finance).await?;
    keeper.runs(3, "False").await?;
    let seen = platform.until_condition(&finance, names::BACKUP_FRESH, "False", names::LOG_NOT_ARCHIVED).await?;
    ensure!(condition(&seen, names::DATABASE_READY).is_some_and(|it| it.status == "True"), "it runs all the same");
    keeper.is_full().await?;
    let full = platform.until_condition(&finance, names::DATABASE_READY, "False", names::DATABASE_VOLUME_FULL).await?;
    let message = condition(&full, names::DATABASE_READY).context("no condition")?.message.clone();
    ensure!(message.contains(&keeper.stack) && message.contains("Insufficient disk space"), "{message}");
    keeper.runs(3, "True").await?;
    let ready = platform.until_ready(&finance).await?;
    no_secret_is_told(&stage, &keeper, &ready).await?;

    // It goes once it has stopped, and its backups stay.
    let backup = ready.status.as_ref().and_then(|it| it.database.as_ref()?.backup.clone()).context("no backups")?;
    platform.delete(&finance).await?;
    let cluster = objects(&keeper.client, &keeper.stack, "postgresql.cnpg.io", "Cluster");
    let is_stopping =
        |cluster: &DynamicObject| cluster.annotations().get("cnpg.io/hibernation").is_some_and(|it| it == "on");
    let stopping = async {
        let waiting = kube::runtime::wait::await_condition(cluster, "database", |it: Option<&DynamicObject>| {
            it.is_some_and(is_stopping)
        });
        tokio::time::timeout(e2e::story::PATIENCE, waiting).await
    };
    stopping.await.context("nobody tells the database to stop")??;
    keeper.hibernates().await?;
    platform.until_gone(&finance, &ready).await?;
    let kept = stage.world.buckets().get(&backup.bucket).cloned().context("the backups went too")?;
    ensure!(kept.tags.get(tags::RELEASED).map(String::as_str) == Some("true"), "they are not marked as released");
    Ok(())
}

/// The credentials stand in the Secret, and nowhere else.
async fn no_secret_is_told(stage: &Stage, keeper: &Keeper, finance: &Workspace) -> Result<()> {
    let secret = Api::<Secret>::namespaced(keeper.client.clone(), &keeper.stack).get("database-backup").await?;
    let secrets = Needle::all_of(&secret);
    ensure!(secrets.len() == 2, "the Secret has not just the two entries that are secret");
    let mut told = serde_json::to_string(finance)?;
    for event in Api::<Event>::all(stage.plane.admin()?).list(&ListParams::default()).await?.items {
        told.push_str(&serde_json::to_string(&event)?);
    }
    for (group, kind, name) in
        [("postgresql.cnpg.io", "Cluster", "database"), ("barmancloud.cnpg.io", "ObjectStore", "database-backup")]
    {
        told.push_str(&serde_json::to_string(&objects(&keeper.client, &keeper.stack, group, kind).get(name).await?)?);
    }
    ensure!(secrets.iter().all(|secret| !secret.is_in(&told)), "a secret is told");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_waits_for_its_store_and_for_a_quota_that_holds_it_and_goes_on_by_itself() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.stalled = std::time::Duration::from_secs(5)).await?;
    install_kinds(&stage.plane).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(with_databases()).await?;

    let small = tenant(&unique("acme")).of_class(&onprem).with("quota.memory", "64Gi");
    let small = platform.applied(small).await?;
    let finance = platform.applied(workspace("finance").of_tenant(&small).with("quota.memory", "4Gi")).await?;
    let seen = platform.until_reason(&finance, names::DATABASE_TOO_LARGE).await?;
    let message = condition(&seen, names::DATABASE_READY).context("no condition")?.message.clone();
    ensure!(message.contains("10368Mi") && message.contains("4Gi"), "{message}");
    platform.apply(&workspace("finance").of_tenant(&small).with("quota.memory", "11Gi")).await?;
    platform.until_condition(&finance, names::DATABASE_READY, "False", names::PROGRESSING).await?;

    stage.world.inject(Injection::on(Operation::IssueIdentity));
    let sales = finance_of(&stage, &onprem).await?;
    platform.until_condition(&sales, names::DATABASE_READY, "False", names::PROVIDER_UNAVAILABLE).await?;
    stage.world.heal();
    platform.until_condition(&sales, names::DATABASE_READY, "False", names::PROGRESSING).await?;
    let stack = platform.stack_of(&sales).await?;
    let client = stage.break_glass()?;
    Api::<Secret>::namespaced(client.clone(), &stack)
        .get("database-backup")
        .await
        .context("no credentials were written")?;
    objects(&client, &stack, "postgresql.cnpg.io", "Cluster").get("database").await.context("no Cluster was made")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backup_that_failed_is_begun_again_and_one_counts_though_the_plugin_forgot_to_tell() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.stalled = std::time::Duration::from_secs(2)).await?;
    install_kinds(&stage.plane).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(with_databases()).await?;
    let finance = finance_of(&stage, &onprem).await?;
    platform.until_condition(&finance, names::BACKUP_FRESH, "False", names::BACKUP_PENDING).await?;
    let keeper = keeper_of(&stage, &finance).await?;
    let backups = objects(&keeper.client, &keeper.stack, "postgresql.cnpg.io", "Backup");
    let asked = async || anyhow::Ok(backups.list(&ListParams::default()).await?.items);

    // Nothing is asked for beside one that is being made.
    keeper.runs_and(3, "True", Some("BackupStarted")).await?;
    let tells = |what: &'static str| {
        move |told: &Workspace| condition(told, names::BACKUP_FRESH).is_some_and(|it| it.message.contains(what))
    };
    platform.until(&finance, "tells of the backup under way", tells("one is being made since")).await?;
    ensure!(asked().await?.is_empty(), "another was asked for");

    keeper.runs_and(3, "True", Some("LastBackupFailed")).await?;
    platform.until(&finance, "tells why it failed", tells("exit status 1")).await?;
    // Again and again, and ever more seldom.
    let thrice = async || Ok(asked().await?.len() >= 3);
    e2e::wait::until("another full backup is asked for, three times", e2e::story::PATIENCE, thrice).await?;
    let backup = asked().await?.remove(0);
    ensure!(backup.name_any().starts_with("database-backup-again-"), "{}", backup.name_any());
    ensure!(backup.data["spec"]["cluster"]["name"] == "database" && backup.data["spec"]["method"] == "plugin");
    let before = asked().await?.len();

    keeper.runs_and(3, "True", Some("LastBackupSucceeded")).await?;
    let seen = platform.until_ready(&finance).await?;
    let backup = seen.status.and_then(|status| status.database?.backup).context("no backups are shown")?;
    ensure!(backup.last_full.is_some() && backup.last_full == backup.recoverable_since, "{backup:?}");
    // One round may have been under way.
    ensure!(asked().await?.len() <= before + 1, "another was asked for though one succeeded");
    Ok(())
}
