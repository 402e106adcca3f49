//! The promise `outage` for databases: with no operator left, a database fails over, is backed up, is used by whom it was used before and by
//! nobody else, and what applications ask OpenFGA is answered; the operator that returns finds nothing to write. In: customers with
//! databases, an application of one, both being written to. Out: that all of it holds, and what the returned operator wrote.
//!
//! The operator runs in this process, so stopping it is scaling its Deployment to zero. What holds of packets and pods meanwhile is shown
//! in `network/outage.rs`, with the operator in pods.

use anyhow::{Context as _, Result, ensure};
use api::Workspace;
use e2e::databases::{DRILL, PLUGIN, objects};
use e2e::plane::{Entry, Object};
use e2e::servers::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use e2e::story::workspace;
use e2e::wait::until;
use kube::api::DynamicObject;
use serde_json::json;

use crate::consumers::Shop;
use crate::database::{PATIENCE, apply};
use crate::world::{Customer, Questions, World};

/// The table of a canary.
const CANARYS: &str =
    "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'steading_canary'";

/// Stops the operator, kills the instance of `acme` that writes, looks at all that must go on, and starts another operator. Says how many writes
/// that made in all.
pub async fn is_survived(world: &mut World, acme: &Customer, globex: &Customer, shop: &Shop) -> Result<usize> {
    let before = acme.database.primary().await?;
    world.stage.pause().await?;
    let mark = world.plane().mark().await?;
    let rows = rows_of_canary(acme).await?;
    tokio::try_join!(fails_over(acme, &before), is_backed_up(world, globex), is_answered(world, acme, globex))?;
    tokio::try_join!(
        archives(acme),
        archives(globex),
        canary_writes_more_than(acme, rows),
        acme.database.until_healthy(2),
        shop.reads_on(),
        async {
            // Whom the new primary answers, and then whom it does not.
            shop.goes_on().await?;
            shop.strangers_are_shut_out(globex).await
        }
    )?;
    is_answered(world, acme, globex).await?;
    world.operator_returns().await?;
    shows_what_came_meanwhile(world, acme, globex, &before).await?;
    writes_nothing_that_was_right(world, mark, &[acme, globex], shop).await
}

async fn fails_over(acme: &Customer, before: &str) -> Result<()> {
    acme.database.kill(before).await?;
    acme.database.until_another_than(before).await
}

/// A full backup begins as CloudNativePG begins those that are due, and is complete.
async fn is_backed_up(world: &World, customer: &Customer) -> Result<()> {
    const NAME: &str = "database-backup-in-an-outage";
    let client = world.client()?;
    let backup = json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup", "metadata": { "name": NAME },
        "spec": { "cluster": { "name": "database" }, "method": "plugin", "pluginConfiguration": { "name": PLUGIN } },
    });
    apply(&client, &customer.stack, backup).await?;
    let backups = objects(&client, &customer.stack, "postgresql.cnpg.io", "Backup");
    let is_complete = |it: &DynamicObject| it.data["status"]["phase"] == "completed";
    world.platform().until_object(backups, NAME, "is complete", is_complete).await.map(drop)
}

/// What was written up to now reaches the store. Fail-over begins a new timeline, so only a file of that will do.
pub async fn archives(customer: &Customer) -> Result<()> {
    let closed = std::sync::Mutex::new(None);
    until("the log is archived", PATIENCE, async || {
        let known = closed.lock().ok().and_then(|it| it.clone());
        let Some(file): Option<String> = known else {
            // An instance that was just promoted may be about to say that it takes writes.
            let file = customer.database.sql("SELECT pg_walfile_name(pg_switch_wal())").await.ok();
            closed.lock().map(|mut it| *it = file).ok();
            return Ok(false);
        };
        Ok(customer.store.names().await?.iter().any(|name| name.contains(&file)))
    })
    .await
}

async fn rows_of_canary(customer: &Customer) -> Result<u64> {
    let table = customer.database.sql(CANARYS).await?;
    Ok(customer.database.sql(&format!("SELECT count(*) FROM {table}")).await?.parse()?)
}

async fn canary_writes_more_than(customer: &Customer, rows: u64) -> Result<()> {
    until("the canary writes on", PATIENCE, async || {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        Ok(rows_of_canary(customer).await.is_ok_and(|now| now > rows))
    })
    .await
}

/// What the store of authorization of each tenant says of both owners, to somebody who may ask everywhere.
async fn is_answered(world: &World, acme: &Customer, globex: &Customer) -> Result<()> {
    for (asked, other) in [(acme, globex), (globex, acme)] {
        for (user, wanted) in [(&asked.owner, true), (&other.owner, false)] {
            let Questions { store, object } = &asked.questions;
            let body = json!({ "tuple_key": { "user": user, "relation": "editor", "object": object } });
            let anywhere = (OPERATOR_NAMESPACE, OPERATOR_ACCOUNT);
            let question = format!("/{store}/check");
            // It refuses also where it is too busy to look.
            until(&format!("OpenFGA says whether {user} may edit {object}: {wanted}"), PATIENCE, async || {
                Ok(world.asks_as(anywhere, &question, &body).await?.1["allowed"] == wanted)
            })
            .await?;
        }
    }
    Ok(())
}

/// The operator that is back tells of the other primary and of the backup.
async fn shows_what_came_meanwhile(world: &World, acme: &Customer, globex: &Customer, before: &str) -> Result<()> {
    let platform = world.platform();
    let of = |told: &Workspace| told.status.as_ref().and_then(|status| status.database.clone());
    let another = |told: &Workspace| of(told).and_then(|it| it.primary).is_some_and(|primary| primary != before);
    platform.until(&acme.workspace, "shows the other primary", another).await?;
    let full = |told: &Workspace| of(told).and_then(|it| it.backup).and_then(|backup| backup.last_full);
    let old = full(&globex.shown);
    platform.until(&globex.workspace, "shows the new backup", |told| full(told) > old).await?;
    platform.until_ready(&acme.workspace).await.map(drop)
}

/// All that the operator wrote to stacks and to consumers' namespaces since then is about drills, which come due when they do.
async fn writes_nothing_that_was_right(
    world: &World,
    mark: e2e::plane::Mark,
    customers: &[&Customer],
    shop: &Shop,
) -> Result<usize> {
    // Whoever makes a new stack Ready has seen the old ones before.
    let acme = customers.first().context("no customer")?;
    let another = workspace("another").of_tenant(&acme.tenant).with("database.disabled", true);
    world.platform().until_ready(&world.platform().applied(another).await?).await?;
    let writes = world.plane().calls_since(mark).await?;
    let writes = writes.by_service_account(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).writes();
    let places: Vec<&str> = customers.iter().map(|it| it.stack.as_str()).chain(shop.namespaces()).collect();
    let is_there = |it: &Object| places.contains(&it.namespace.as_str()) || places.contains(&it.name.as_str());
    let counts = |entry: &&Entry| {
        let names = |it: &Object| is_there(it) && !it.name.starts_with(DRILL);
        entry.code() < 300 && entry.object_ref.as_ref().is_some_and(names)
    };
    let written: Vec<_> = writes.entries().iter().filter(counts).collect();
    ensure!(written.is_empty(), "{written:?}");
    ensure!(writes.resource("networkpolicies").len() >= 2, "no new stack was made: {writes}");
    Ok(writes.len())
}
