//! Databases of Workspaces, on real nodes: CloudNativePG, its plugin, PostgreSQL, volumes, and a store whose buckets have keys of their
//! own. What is promised of them is tried: who gets in, what survives a lost primary, what can be restored, also once the Workspace is
//! gone.
//!
//! `STEADING_TIMES=1` prints how long each step takes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is surprised may panic, in its helpers too"
)]

mod accounts;
mod aged;
mod apart;
mod bucketed;
mod changed;
mod consented;
mod consumers;
mod data;
mod database;
mod drilled;
mod full;
mod key;
mod kinds;
mod log;
mod lost;
mod node;
mod nowhere;
mod origins;
mod outage;
mod proven;
mod restored;
mod suspended;
mod told;
mod world;
mod writer;

use anyhow::{Context as _, Result, ensure};
use consumers::Shop;
use database::Steps;
use e2e::lacks_real_nodes;
use e2e::plane::Entry;
use world::{Customer, World};
use writer::{Through, Writer};

/// Rows that are there at the moment to which the database is taken back, and those that come after it.
const BEFORE: u32 = 100;
const AFTER: u32 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_apart_survive_their_primary_and_come_back_from_their_backups_when_the_workspace_is_gone()
-> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let mut steps = Steps::begin();
    let mut world = World::begin().await?;
    steps.end("nodes, CloudNativePG, servers, operator");
    let (acme, globex) = tokio::try_join!(world.customer("acme", 2), world.customer("globex", 1))?;
    steps.end("two databases, Ready, with a full backup each");
    status_says_what_there_is(&acme)?;
    acme.store.lies_under(&acme.key).await?;
    globex.store.lies_under(&globex.key).await?;
    ensure!(acme.key != globex.key, "both are under {}", acme.key);
    proven::has_something_to_lose(&acme).await?;
    let (tried, (), shop) = tokio::try_join!(
        apart::nobody_gets_in(&world, &acme, &globex),
        proven::is_backed_up_again(&world, &acme),
        Box::pin(Shop::open(&world, &acme))
    )?;
    steps.end(&format!(
        "{tried} ways in, refused; an application that writes from a namespace of its own, and one that reads"
    ));
    let (counter, other) = (shop.writer().await?, Writer::begin(Through::Instance(globex.database.clone())).await?);
    let tried = shop.nobody_else_gets_in(&globex).await?;
    steps.end(&format!("{tried} ways in with what applications have, refused"));
    let holders = [shop.holder().await?, proven::holder(&world, &acme).await?];
    let tried = data::of_one_is_closed_to_another(&world, &acme, &globex, &shop, &holders).await?;
    steps.end(&format!("{tried} ways from one customer's data to another's, refused"));
    let tried = proven::canary_gets_at_its_rows_alone(&world, &acme, &globex).await?;
    proven::drill_is_out_of_reach(&world, &acme, shop.namespace()).await?;
    steps.end(&format!(
        "{tried} ways of a canary to anything but its rows, refused; a drill that no application reaches"
    ));
    let drilled = async {
        let proof = proven::by_a_drill(&world, &acme).await?;
        proven::nothing_is_left(&world, &acme).await?;
        anyhow::Ok(proof)
    };
    let (proof, ()) = tokio::try_join!(drilled, key::decides_who_reads_and_writes(&world, &globex, &acme))?;
    steps.end(&format!(
        "a restore drill: {} in {} tables were there again after {}, the newest row {} old; nothing of it is left. \
         Meanwhile, backups that nobody reads while the other tenant's key is away, a log that is stuck until it is back",
        proof.size, proof.tables, proof.recovery_time, proof.recovery_point
    ));

    let database = &acme.database;
    database.sql("CREATE TABLE sales (number int PRIMARY KEY)").await?;
    database.sql(&format!("INSERT INTO sales SELECT generate_series(1, {BEFORE})")).await?;
    let moment = database.sql(r#"SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#).await?;
    database.sql(&format!("INSERT INTO sales SELECT generate_series({BEFORE} + 1, {BEFORE} + {AFTER})")).await?;
    let written = Box::pin(outage::is_survived(&mut world, &acme, &globex, &shop)).await?;
    database.sql(&format!("INSERT INTO sales VALUES ({BEFORE} + {AFTER} + 1)")).await?;
    steps.end(&format!(
        "no operator, and another primary, a full backup, all that applications do; {written} writes of the one that returned, \
         none to what was right"
    ));
    let (of_other, connections) = other.end(&globex.database).await?;
    ensure!(connections == 1, "the other customer's database broke a connection: {of_other}");
    let searched = nowhere::is_any_secret(&world, &[&acme, &globex], &shop).await?;
    steps.end(&searched);
    writes_are_few(&world).await?;
    changed::to_another_image(&world, [&acme, &globex]).await?;
    shop.goes_on().await?;
    steps.end("another image for every instance");
    let took = node::is_made_up_for(&mut world, &acme, &shop).await?;
    tokio::try_join!(shop.goes_on(), globex.database.until_healthy(1))?;
    let (told, _) = counter.end(database).await?;
    steps.end(&format!(
        "a node lost, with the instance that writes: {took:.0} s until another wrote; and back. acme, through all this: {told}; globex, \
         whom nothing befell before: {of_other}"
    ));
    let suspended = async {
        let took = suspended::and_comes_back(&world, &globex).await?;
        suspended::and_its_log_goes_on(&globex).await?;
        anyhow::Ok((took, full::is_told_and_the_way_out_is_one(&world, &globex).await?))
    };
    let ((took, told), ()) = tokio::try_join!(suspended, shop.is_taken_back(&world))?;
    steps.end(&format!(
        "consent taken back, nothing left of it; another customer's database, suspended, back after {:.0} s; its volume full, and larger \
         then: {told}",
        took.as_secs_f32()
    ));

    // Whoever deletes loses nothing that was written a moment before: nobody waits for the log to be full.
    database.sql(&format!("INSERT INTO sales VALUES ({BEFORE} + {AFTER} + 2)")).await?;
    world.delete(&acme).await?;
    shop.is_forgotten().await?;
    steps.end("the Workspace gone, its backups kept");
    let [then, last] = Box::pin(key::decides_what_is_restored(&world, &acme, &moment)).await?;
    steps.end("two Workspaces that began with it as it was at a moment, and as it was last, once the key was back");
    let rows = "SELECT count(*) FROM sales";
    ensure!(then.sql(rows).await? == BEFORE.to_string(), "the database did not come back as it was");
    ensure!(last.sql(rows).await? == (BEFORE + AFTER + 2).to_string(), "what was written last is not in the backups");
    world.end().await?;
    steps.end("all gone");
    Ok(())
}

/// What a person reads.
fn status_says_what_there_is(acme: &Customer) -> Result<()> {
    let status = acme.shown.status.as_ref().context("no status")?;
    let told = status.database.as_ref().context("status says nothing of a database")?;
    ensure!((told.instances, told.ready_instances) == (2, 2), "{told:?}");
    ensure!(told.service == format!("database-rw.{}.svc", acme.stack), "{told:?}");
    let backup = told.backup.as_ref().context("nor of backups")?;
    ensure!(backup.last_full.is_some() && backup.recoverable_since.is_some(), "{backup:?}");
    ensure!(Some(&backup.bucket) != status.bucket.as_ref().map(|bucket| &bucket.name), "backups lie with the data");
    let places: Vec<&str> = status.encryption.iter().map(|place| place.place.as_str()).collect();
    ensure!(places == ["backup", "bucket", "database"], "{places:?}");
    Ok(())
}

/// CloudNativePG fills in what was left out, and the operator does not fight it: each object was written once for each customer.
async fn writes_are_few(world: &World) -> Result<()> {
    let calls = world.plane().calls().await?.by_service_account("steading-system", "steading").writes();
    let once = [
        ("clusters", "database"),
        ("scheduledbackups", "database-backup"),
        ("objectstores", "database-backup"),
        ("deployments", "database-canary"),
    ];
    for (target, name) in once {
        let is_it = |entry: &Entry| entry.object_ref.as_ref().is_some_and(|object| object.name == name);
        let written = calls.filter(|entry| entry.target() == target && is_it(entry) && entry.code() < 300);
        ensure!(written.len() == 2, "{target} were written {} times for two customers:\n{written}", written.len());
    }
    Ok(())
}
