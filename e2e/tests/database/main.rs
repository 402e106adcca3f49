//! A real database, archived into a real store: it survives its primary, and comes back as it was at a moment of the past.
//!
//! What is shown is that the harness has all of it: the operator of databases, its plugin, PostgreSQL, volumes, and a store whose buckets
//! have keys of their own. `STEADING_TIMES=1` prints how long each step takes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is surprised may panic, in its helpers too"
)]

mod database;
mod kinds;
mod store;

use anyhow::{Result, ensure};
use database::{Namespace, Steps};
use e2e::databases::CloudNativePg;
use e2e::{Plane, PlaneOptions, Tier, lacks_real_nodes};
use store::Store;

/// Rows that are there at the moment to which the database is taken back, and those that come after it.
const BEFORE: u32 = 100;
const AFTER: u32 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_survives_its_primary_and_comes_back_as_it_was_at_a_moment_of_the_past() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let mut steps = Steps::begin();
    let plane = Plane::start(Tier::Three, PlaneOptions::default()).await?;
    steps.end("plane with two nodes");
    let (operator, store) = tokio::try_join!(CloudNativePg::install(&plane), Store::open(&plane))?;
    steps.end("CloudNativePG, KES and MinIO");

    let namespace = Namespace::make(&plane, &store).await?;
    let database = namespace.database("shop", &operator.postgres).await?;
    database.until_healthy(2).await?;
    steps.end("a database of two instances");

    database.sql("CREATE TABLE sales (number int PRIMARY KEY)").await?;
    database.sql(&format!("INSERT INTO sales SELECT generate_series(1, {BEFORE})")).await?;
    database.back_up("first").await?;
    steps.end("rows and a backup of them");

    let moment = database.sql("SELECT now()").await?;
    let sell = format!("INSERT INTO sales SELECT generate_series({BEFORE} + 1, {BEFORE} + {AFTER})");
    database.sql(&sell).await?;
    let segment = database.sql("SELECT pg_walfile_name(pg_switch_wal())").await?;
    store.until_there(&format!("/{segment}")).await?;
    steps.end("rows after a moment, archived");
    archive_is_under_the_key_of_the_bucket(&store).await?;

    // Beside each other: both wait more than they compute.
    let comes_back = async {
        let restored = namespace.restored("shop-then", &operator.postgres, &database, &moment).await?;
        restored.until_healthy(1).await?;
        anyhow::Ok(restored)
    };
    let (restored, ()) = tokio::try_join!(comes_back, primary_is_lost(&database))?;
    steps.end("another primary, and the database of the moment");
    let rows = "SELECT count(*) FROM sales";
    ensure!(restored.sql(rows).await? == BEFORE.to_string(), "the database did not come back as it was");
    ensure!(database.sql(rows).await? == (BEFORE + AFTER + 1).to_string(), "rows were lost with the primary");
    namespace.delete(&[&database, &restored]).await?;
    steps.end("both databases and their volumes gone");
    ensure!(!store.objects().await?.is_empty(), "the archive went with the databases");
    plane.stop().await?;
    steps.end("nodes gone");
    Ok(())
}

/// Kills the primary as a dead machine does, and writes to the next one.
async fn primary_is_lost(database: &database::Database) -> Result<()> {
    let before = database.primary().await?;
    database.kill(&before).await?;
    let sell = format!("INSERT INTO sales VALUES ({BEFORE} + {AFTER} + 1)");
    database.until_written_without(&before, &sell).await?;
    database.until_healthy(2).await
}

async fn archive_is_under_the_key_of_the_bucket(store: &Store) -> Result<()> {
    let objects = store.objects().await?;
    for part in ["/base/", "/wals/"] {
        ensure!(objects.iter().any(|(name, _)| name.contains(part)), "nothing was archived in {part}: {objects:?}");
    }
    let others: Vec<_> = objects.iter().filter(|(_, key)| key.as_deref() != Some(&store.key)).collect();
    ensure!(others.is_empty(), "not under the key {}: {others:?}", store.key);
    Ok(())
}
