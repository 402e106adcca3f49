//! What databases begin with, with CloudNativePG's kinds but nobody who acts on them. In: a plane. Out: what a Cluster is told to begin with,
//! and what is refused.

use anyhow::{Context as _, Result, ensure};
use api::{Tenant, Workspace, conditions as names};
use e2e::databases::{Keeper, install_kinds, objects};
use e2e::story::{Manifest, Stage, condition, tenant, workspace};
use e2e::{Tier, unique};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use serde_json::{Value, json};

use crate::told::{keeper_of, with_databases};

struct Begun {
    stage: Stage,
    acme: Manifest<Tenant>,
    finance: Manifest<Workspace>,
    /// When the backups of `finance` begin.
    since: Timestamp,
    keeper: Keeper,
}

impl Begun {
    /// A Workspace with backups of the last hours.
    async fn set() -> Result<Self> {
        Self::set_on(Tier::One).await
    }

    async fn set_on(tier: Tier) -> Result<Self> {
        let stage = Stage::set(tier, |config| config.timings.stalled = std::time::Duration::from_secs(2)).await?;
        install_kinds(&stage.plane).await?;
        let onprem = stage.platform.applied(with_databases()).await?;
        let acme = stage.platform.applied(tenant(&unique("acme")).of_class(&onprem).deleting_data()).await?;
        let finance = stage.platform.applied(workspace("finance").of_tenant(&acme)).await?;
        let (since, keeper) = has_backups(&stage, &finance).await?;
        Ok(Self { stage, acme, finance, since, keeper })
    }

    fn copy(&self, name: &str, from: &Value) -> Manifest<Workspace> {
        workspace(name).of_tenant(&self.acme).with("database.restoreFrom", from.clone())
    }

    async fn refused(&self, name: &str, from: &Value, reason: &str, said: &str) -> Result<()> {
        let copy = self.stage.platform.applied(self.copy(name, from)).await?;
        let seen = self.stage.platform.until_condition(&copy, names::DATABASE_READY, "False", reason).await?;
        let message = condition(&seen, names::DATABASE_READY).context("no condition")?.message.clone();
        ensure!(message.contains(said), "{message}");
        let stack = self.stage.platform.stack_of(&copy).await?;
        let clusters = objects(&self.keeper.client, &stack, "postgresql.cnpg.io", "Cluster");
        ensure!(clusters.get_opt("database").await?.is_none(), "a database was made that begins with something else");
        Ok(())
    }
}

pub async fn has_backups(stage: &Stage, finance: &Manifest<Workspace>) -> Result<(Timestamp, Keeper)> {
    stage.platform.until_condition(finance, names::DATABASE_READY, "False", names::PROGRESSING).await?;
    stage.platform.until_condition(finance, names::BACKUP_FRESH, "False", names::BACKUP_PENDING).await?;
    let keeper = keeper_of(stage, finance).await?;
    let since = Timestamp::now() - std::time::Duration::from_hours(1);
    keeper.runs(3, "True").await?;
    let status = stage.platform.get(finance).await?.status.context("no status")?;
    let backup = status.database.and_then(|database| database.backup).context("no backups are shown")?;
    keeper.backed_up(&backup.server_name, since).await?;
    stage.platform.until_ready(finance).await?;
    Ok((since, keeper))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_begins_with_what_another_held_and_says_so() -> Result<()> {
    let begun = Begun::set().await?;
    let platform = &begun.stage.platform;
    let moment = (begun.since + std::time::Duration::from_mins(20)).to_string();
    let from = json!({ "workspace": "finance", "time": format!("{}Z", &moment[..19]) });
    let copy = platform.applied(begun.copy("copy", &from)).await?;
    platform.until_condition(&copy, names::BACKUP_FRESH, "False", names::BACKUP_PENDING).await?;
    let keeper = keeper_of(&begun.stage, &copy).await?;

    let of = |kind: &str, group: &str| objects(&keeper.client, &keeper.stack, group, kind);
    let cluster = of("Cluster", "postgresql.cnpg.io").get("database").await?.data;
    let target = cluster.pointer("/spec/bootstrap/recovery/recoveryTarget/targetTime").and_then(Value::as_str);
    ensure!(target.is_some_and(|target| target.starts_with(&moment[..19])), "{cluster:#}");
    let source =
        platform.get(&begun.finance).await?.status.and_then(|status| status.database).context("no database")?;
    let source = source.backup.context("no backups")?;
    let store = of("ObjectStore", "barmancloud.cnpg.io").get("database-origin").await?.data;
    let path = store.pointer("/spec/configuration/destinationPath").and_then(Value::as_str);
    ensure!(path == Some(&format!("s3://{}/", source.bucket)), "{store:#}");
    let secrets = Api::<Secret>::namespaced(keeper.client.clone(), &keeper.stack);
    secrets.get("database-origin").await.context("nothing lets it read them")?;

    keeper.runs(3, "True").await?;
    let is_complete = |told: &Workspace| {
        let database = told.status.as_ref().and_then(|status| status.database.as_ref());
        database.and_then(|database| database.restored_from.as_ref()).is_some_and(|it| it.completed_at.is_some())
    };
    let seen = platform.until(&copy, "says that it was restored", is_complete).await?;
    let origin = seen.status.and_then(|status| status.database?.restored_from).context("no origin")?;
    ensure!((&origin.bucket, &origin.server_name) == (&source.bucket, &source.server_name), "{origin:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_from_what_is_not_there_or_not_ones_own() -> Result<()> {
    let begun = Begun::set().await?;
    let platform = &begun.stage.platform;
    let missing = names::ORIGIN_NOT_FOUND;
    begun.refused("one", &json!({ "workspace": "payroll" }), missing, "payroll does not exist").await?;
    begun.refused("two", &json!({ "workspace": "two" }), names::INVALID_SPEC, "names this Workspace itself").await?;
    let early = format!("{}Z", &(begun.since - std::time::Duration::from_mins(5)).to_string()[..19]);
    let from = json!({ "workspace": "finance", "time": early });
    begun.refused("three", &from, names::INVALID_SPEC, "reach back to").await?;

    // Another Tenant's backups are no backups of this one, whoever knows their names.
    let class = platform.get(&begun.acme).await?.spec.class;
    let globex = platform.applied(tenant(&unique("globex")).of_class(&e2e::story::class(&class))).await?;
    let theirs = platform.applied(workspace("sales").of_tenant(&globex)).await?;
    has_backups(&begun.stage, &theirs).await?;
    let status = platform.get(&theirs).await?.status.context("no status")?;
    let server = status.database.and_then(|it| it.backup).context("no backups")?.server_name;
    let from = json!({ "identity": status.identity, "serverName": server });
    begun.refused("four", &from, missing, "has no bucket").await?;

    // What does not exist yet is waited for.
    let payroll = platform.applied(workspace("payroll").of_tenant(&begun.acme)).await?;
    has_backups(&begun.stage, &payroll).await?;
    let one = begun.copy("one", &json!({ "workspace": "payroll" }));
    platform.until_condition(&one, names::DATABASE_READY, "False", names::PROGRESSING).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_that_would_be_deleted_wait_for_whoever_is_still_being_restored_from_them() -> Result<()> {
    let begun = Begun::set_on(Tier::Two).await?;
    let platform = &begun.stage.platform;
    let copy = platform.applied(begun.copy("copy", &json!({ "workspace": "finance" }))).await?;
    platform.until_condition(&copy, names::BACKUP_FRESH, "False", names::BACKUP_PENDING).await?;
    let going = platform.get(&begun.finance).await?;
    platform.delete(&begun.finance).await?;
    let waits = |told: &Workspace| {
        condition(told, names::READY).is_some_and(|it| it.message.contains("Workspace copy is still being restored"))
    };
    platform.until(&begun.finance, "waits for its reader", waits).await?;
    let backup = going.status.as_ref().and_then(|it| it.database.as_ref()?.backup.clone()).context("no backups")?;
    ensure!(begun.stage.world.buckets().contains_key(&backup.bucket), "the backups went under their reader");
    keeper_of(&begun.stage, &copy).await?.runs(3, "True").await?;
    platform.until_gone(&begun.finance, &going).await?;
    ensure!(!begun.stage.world.buckets().contains_key(&backup.bucket), "the backups were kept for nobody");
    Ok(())
}
