//! A Workspace that is suspended. In: one whose database is Ready. Out: nothing of the database runs, what it holds is kept, and it comes back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::conditions as names;
use e2e::Tier;
use e2e::databases::CANARY;
use e2e::story::{condition, workspace};
use e2e::wait::until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};

use crate::drilled::Drilled;
use crate::world::{Customer, RPO, World};

/// Rows that are there before, and must be after.
const ROWS: u32 = 40;

fn hibernation(cluster: &DynamicObject) -> Option<&str> {
    cluster.annotations().get("cnpg.io/hibernation").map(String::as_str)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_workspace_is_ready_once_nothing_of_its_database_runs_and_comes_back_as_it_was() -> Result<()> {
    let world = Drilled::set(Tier::One).await?;
    world.canary_stands().await?;
    let platform = &world.stage.platform;
    platform.until_ready(&world.finance).await?;

    platform.apply(&workspace("finance").of_tenant(&world.acme).with("suspended", true)).await?;
    let told = platform.until_condition(&world.finance, names::DATABASE_READY, "False", names::PROGRESSING).await?;
    let message = condition(&told, names::DATABASE_READY).context("no condition")?.message.clone();
    ensure!(message.contains("is being hibernated"), "{message}");
    world.until(world.clusters(), "database", "is told to stop", |it| hibernation(it) == Some("on")).await?;
    world.until(world.deployments(), CANARY, "has no pod", |it| replicas(it) == Some(0)).await?;
    let is_suspended = |it: &DynamicObject| it.data["spec"]["suspend"] == true;
    world.until(world.schedules(), "database-backup", "begins no full backups", is_suspended).await?;

    world.keeper.hibernates().await?;
    let told = platform.until_condition(&world.finance, names::DATABASE_READY, "True", names::SUSPENDED).await?;
    let fresh = condition(&told, names::BACKUP_FRESH).context("no condition")?;
    ensure!((fresh.status.as_str(), fresh.reason.as_str()) == ("True", names::SUSPENDED), "{fresh:?}");
    world.says("once spec.suspended is false").await?;
    platform.until_ready(&world.finance).await?;

    platform.apply(&workspace("finance").of_tenant(&world.acme).with("suspended", false)).await?;
    world.until(world.clusters(), "database", "may run", |it| hibernation(it).is_none()).await?;
    world.until(world.schedules(), "database-backup", "begins full backups", |it| !is_suspended(it)).await?;
    world.until(world.deployments(), CANARY, "has a pod", |it| replicas(it) == Some(1)).await?;
    world.keeper.runs(3, "True").await?;
    platform.until_condition(&world.finance, names::DATABASE_READY, "True", names::AVAILABLE).await.map(drop)
}

fn replicas(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.replicas
}

/// Suspends a Workspace on real nodes and lets it go on. Returns how long it took to come back.
pub async fn and_comes_back(world: &World, customer: &Customer) -> Result<Duration> {
    let (platform, database) = (world.platform(), &customer.database);
    database.sql("CREATE TABLE kept (number int PRIMARY KEY)").await?;
    database.sql(&format!("INSERT INTO kept SELECT generate_series(1, {ROWS})")).await?;
    let pods = Api::<Pod>::namespaced(world.client()?, &customer.stack);
    let claims = Api::<PersistentVolumeClaim>::namespaced(world.client()?, &customer.stack);
    let uids = async || {
        let all = claims.list(&ListParams::default()).await?.items;
        anyhow::Ok(all.iter().filter_map(|claim| claim.metadata.uid.clone()).collect::<Vec<_>>())
    };
    let before = uids().await?;

    platform.apply(&customer.workspace.clone().with("suspended", true)).await?;
    platform.until_condition(&customer.workspace, names::DATABASE_READY, "True", names::SUSPENDED).await?;
    platform.until_ready(&customer.workspace).await?;
    let runs = pods.list(&ListParams::default().labels("cnpg.io/cluster=database")).await?.items;
    ensure!(runs.is_empty(), "an instance still runs: {:?}", runs.iter().map(Pod::name_any).collect::<Vec<_>>());
    ensure!(!before.is_empty() && uids().await? == before, "volumes did not stay");

    let begun = Timestamp::now();
    platform.apply(&customer.workspace.clone().with("suspended", false)).await?;
    platform.until_condition(&customer.workspace, names::DATABASE_READY, "True", names::AVAILABLE).await?;
    let took = Duration::try_from(Timestamp::now().duration_since(begun))?;
    let rows = database.sql("SELECT count(*) FROM kept").await?;
    ensure!(rows == ROWS.to_string(), "{rows} rows are left of {ROWS}");
    Ok(took)
}

/// After a start without recovery PostgreSQL looks only after a while whether it is time to close a piece of the log. Once the rpo is over, it
/// must have.
pub async fn and_its_log_goes_on(customer: &Customer) -> Result<()> {
    const CLOSED: &str = "SELECT count(*) FROM pg_stat_archiver WHERE last_archived_time > pg_postmaster_start_time()";
    until("the log since it came back is archived", RPO, async || Ok(customer.database.sql(CLOSED).await? == "1")).await
}
