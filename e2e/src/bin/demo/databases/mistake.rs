//! A row that is deleted by mistake. In: a customer's database with backups. Out: another Workspace, which begins with what the database held a
//! moment before, while the one that it comes from goes on.
//!
//! It is begun early and looked at late: until the log of that moment is archived, other things are shown.

use anyhow::{Context as _, Result, bail, ensure};
use api::Workspace;
use e2e::databases::Database;
use kube::{Api, Client};

use super::{Customer, PATIENCE};
use crate::apply::apply;
use crate::objects::{CUSTOMER, Seen};
use crate::scene::Scene;
use crate::show::{Progress, Show};

/// The Workspace that begins with what was there before.
const BEFORE: &str = "finance-before";

const PRICES: &str = "CREATE TABLE prices (item text PRIMARY KEY, cents int);
    INSERT INTO prices VALUES ('tea', 300), ('coffee', 420), ('cake', 550)";
const MISTAKE: &str = "DELETE FROM prices WHERE item = 'coffee'";
const MOMENT: &str = r#"SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#;
const FOUND: &str =
    "SELECT count(*) || '|' || coalesce(max(cents) FILTER (WHERE item = 'coffee')::text, '-') FROM prices";

/// Deletes a row and asks for the database as it was before; returns that moment.
pub(super) async fn made(show: &Show, scene: &Scene, acme: &Customer) -> Result<String> {
    show.step("mistake", "A row is deleted by mistake, and what was there is asked for");
    acme.database.sql(PRICES).await.context("no prices can be written")?;
    show.say("Three prices are written into the database of finance.");
    let moment = acme.database.sql(MOMENT).await?;
    show.say(&format!("Then, at {moment}:"));
    show.output(&format!("{MISTAKE};"));
    ensure!(acme.database.sql(MISTAKE).await? == "DELETE 1", "there was no such row");
    let wanted = format!(
        "\
apiVersion: steading.dev/v1alpha1
kind: Workspace
metadata: {{name: {BEFORE}, namespace: {CUSTOMER}}}
spec:
  quota: {{cpu: \"3\", memory: 4Gi, storage: 10Gi}}
  database:
    restoreFrom: {{workspace: finance, time: \"{moment}\"}}
"
    );
    show.say(
        "Nothing is written over: another workspace begins with what was there. Whoever creates it needs the verb restore \
         on finance.",
    );
    show.output(&wanted);
    let name = format!("{BEFORE}.yaml");
    apply(show, scene, &name, &scene.kubectl.write(&name, &wanted)?).await?;
    show.say("It comes up once the log of that moment is archived. Meanwhile:");
    Ok(moment)
}

/// Waits until it is there, and compares.
pub(super) async fn undone(show: &Show, scene: &Scene, client: &Client, acme: &Customer, moment: &str) -> Result<()> {
    show.step("restore", "The database as it was before the mistake");
    let before = until_ready(show, client).await?;
    scene.kubectl.shown(show, &["get", "workspaces", "-n", CUSTOMER]).await?;
    let status = before.status.context("the Workspace has no status")?;
    let stack = status.namespace.context("status shows no stack")?.name;
    let told = status.database.context("status shows no database")?;
    let (origin, backup) = told.restored_from.zip(told.backup).context("status does not say what it began with")?;
    let restored = Database::new("database", &stack, acme.database.client());
    let (now, then) = tokio::try_join!(acme.database.sql(FOUND), restored.sql(FOUND))?;
    let row = |name: &str, found: &str| {
        let (rows, coffee) = found.split_once('|').unwrap_or_default();
        [name, rows, coffee].map(str::to_owned).to_vec()
    };
    show.table(&[row("WORKSPACE", "PRICES|COFFEE"), row("finance", &now), row(BEFORE, &then)]);
    show.check(&format!("{BEFORE} has the row that was deleted"), then == "3|420");
    show.check("finance goes on without it: nothing was written over", now == "2|-");
    show.check(
        "status says with whose backups it began, as they were when",
        origin.bucket == acme.backup.bucket && origin.time.as_deref() == Some(moment) && origin.completed_at.is_some(),
    );
    show.check("it archives into a bucket of its own", backup.bucket != origin.bucket);
    Ok(())
}

async fn until_ready(show: &Show, client: &Client) -> Result<Workspace> {
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), CUSTOMER);
    let what = format!("{BEFORE} is Ready");
    let waited = show.until(&what, PATIENCE, async || {
        let workspace = workspaces.get(BEFORE).await?;
        let seen = Seen::of(&workspace);
        Ok(if seen.is_ready() { Progress::Done(workspace) } else { Progress::Still(seen.state()) })
    });
    match waited.await {
        Ok(workspace) => Ok(workspace),
        Err(error) => bail!("{error:#}\n{}", Seen::of(&workspaces.get(BEFORE).await?).explained()),
    }
}
