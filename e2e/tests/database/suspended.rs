//! A Workspace that is suspended. In: one whose database is Ready. Out: nothing of the database runs, what it holds is kept, and it comes back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::consumer::BucketUse;
use api::{Workspace, conditions as names};
use desired::workspace::ALLOW_CONSUMERS;
use e2e::Tier;
use e2e::databases::{CANARY, install_kinds};
use e2e::story::{PATIENCE, Stage, condition, workspace};
use e2e::wait::until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::bucketed::{Shop, listed};
use crate::drilled::Drilled;
use crate::told::{keeper_of, with_databases};
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

#[tokio::test(flavor = "multi_thread")]
async fn while_suspended_consumers_lose_at_once_all_but_what_is_inside_and_others_get_it() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    install_kinds(&stage.plane).await?;
    let onprem = stage.platform.applied(with_databases()).await?;
    let uses = json!({ "database": "readWrite", "bucket": "read" });
    let shop = Shop::open_on(stage, &onprem, &uses).await?;
    let platform = &shop.stage.platform;
    platform.until_condition(&shop.finance, names::DATABASE_READY, "False", names::PROGRESSING).await?;
    let keeper = keeper_of(&shop.stage, &shop.finance).await?;
    let role = format!("database-consumer-{}.billing", shop.namespace);
    platform.until_object(keeper.roles(), &role, "may sign in", |it| it.data["spec"]["login"] == true).await?;
    keeper.has_role(&role, "first", "2027-01-01T00:00:00Z").await?;
    let (first, _) = shop.served(BucketUse::Read).await?;
    let stack = platform.stack_of(&shop.finance).await?;
    let policies = Api::<NetworkPolicy>::namespaced(shop.stage.plane.admin()?, &stack);
    let lets_in = async || Ok(policies.get_opt(ALLOW_CONSUMERS).await?.is_some());
    until("packets of consumers come in", PATIENCE, lets_in).await?;

    let listed = listed(&shop.namespace, &uses);
    platform
        .apply(&workspace("finance").of_tenant(&shop.acme).with("consumers", listed).with("suspended", true))
        .await?;
    platform
        .until(&shop.finance, "is being suspended", |told| says(told, names::RESTORE_PROVEN, "spec.suspended"))
        .await?;
    shop.consents(false).await?;
    shop.is_revoked(&first.session).await?;
    shop.secret_is_gone().await?;
    until("no packets of consumers come in", PATIENCE, async || Ok(!lets_in().await?)).await?;
    let waits = |told: &Workspace| {
        says(told, names::CONSUMERS_READY, "is being shut out") && says(told, names::CONSUMERS_READY, "spec.suspended")
    };
    platform.until(&shop.finance, "says what waits for the database", waits).await?;

    shop.consents(true).await?;
    let (second, _) = shop.served(BucketUse::Read).await?;
    ensure!(second.session != first.session, "what was revoked came back");
    platform
        .until(&shop.finance, "says that its role waits", |told| {
            says(told, names::CONSUMERS_READY, "does not have it yet")
                && says(told, names::CONSUMERS_READY, "spec.suspended")
        })
        .await
        .map(drop)
}

fn says(told: &Workspace, of: &str, text: &str) -> bool {
    condition(told, of).is_some_and(|it| it.message.contains(text))
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
