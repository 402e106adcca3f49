//! Databases of two customers, on real nodes. In: a class, which gets a field. Out: a database for each customer, which its own application
//! uses and nobody else, which loses nothing with its primary, whose backups lie under the customer's key, which is restored to
//! see whether it can be, and which comes back as it was before a mistake.

#[path = "databases/applications.rs"]
mod applications;
#[path = "databases/backups.rs"]
mod backups;
#[path = "databases/bucket.rs"]
mod bucket;
#[path = "databases/consent.rs"]
mod consent;
#[path = "databases/drill.rs"]
mod drill;
#[path = "databases/fail_over.rs"]
mod fail_over;
#[path = "databases/mistake.rs"]
mod mistake;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::Workspace;
use api::database::{BackupStatus, DatabaseStatus};
use e2e::Tier;
use e2e::databases::{Bucket, Consumer, Database, POSTGRES, STORAGE_CLASS, Use};
use kube::{Api, Client};
use serde_json::Value;

use crate::apply::apply;
use crate::objects::{CUSTOMER, OTHER_CUSTOMER, Seen, Stack, Stacks};
use crate::scene::{BREAK_GLASS, Scene};
use crate::show::{Progress, Show};

/// Longest wait for a database with a full backup.
const PATIENCE: Duration = Duration::from_mins(10);

/// What the Workspaces get, each as whoever owns it would write it.
///
/// The quota of finance has room for a database of two instances, for a third while it is restored beside them, and for the pods of packets.
const FINANCE: &str = "\
spec:
  quota: {cpu: \"6\"}
  database: {instances: 2}
  consumers:
    - {namespace: shop, serviceAccount: billing, database: readWrite}
    - {namespace: shop, serviceAccount: archive, bucket: readWrite}
";
const SALES: &str = "\
spec:
  consumers:
    - {namespace: market, serviceAccount: billing, database: readWrite}
";

/// The application that each customer's Workspace lists: the example as it stands, and one with other names.
fn applications() -> [Consumer; 2] {
    let billing = |namespace: &str, workspace: &str| Consumer {
        namespace: namespace.to_owned(),
        account: "billing",
        what: Use::Database,
        right: "readWrite",
        workspace: workspace.to_owned(),
    };
    [billing("shop", "acme/finance"), billing("market", "globex/sales")]
}

/// The other example, beside the application of acme.
fn archive() -> Consumer {
    let (namespace, workspace) = ("shop".to_owned(), "acme/finance".to_owned());
    Consumer { namespace, account: "archive", what: Use::Bucket, right: "readWrite", workspace }
}

/// Lets both customers have databases and applications that use them, if there are nodes on which they run. Returns before they do.
pub(crate) async fn offer(show: &Show, scene: &Scene) -> Result<()> {
    if scene.plane.tier() != Tier::Three {
        return Ok(());
    }
    show.step("offer", "Offer databases: the class gets a field, and each workspace a database");
    let what = "CloudNativePG and its plugin for backups, installed meanwhile";
    show.during(what, scene.databases()).await?;
    let offered = format!(
        "\
spec:
  database:
    image: {POSTGRES}
    instances: 1
    storage: {{size: 1Gi, storageClass: {STORAGE_CLASS}}}
    resources: {{cpu: 400m, memory: 512Mi}}
    rpo: 3m
    rto: 30m
    backup: {{fullEvery: 1h, retention: 7d}}
"
    );
    // Before the class, or finance would have one instance first.
    patch(show, scene, ["workspace", "finance", CUSTOMER], FINANCE).await?;
    patch(show, scene, ["workspace", "sales", OTHER_CUSTOMER], SALES).await?;
    patch(show, scene, ["tenantclass", "quickstart", ""], &offered).await?;
    show.say(
        "An application of each, in a namespace that consents: the examples with an image that is here, and one again with",
    );
    show.say("other names:");
    let [billing, market] = applications();
    for (application, name) in [(billing, "billing.yaml"), (archive(), "archive.yaml"), (market, "market.yaml")] {
        let documents = application.example(POSTGRES)?;
        let text = documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        apply(show, scene, name, &scene.kubectl.write(name, &text)?).await?;
    }
    show.say("All of it comes up while packets are shown.");
    Ok(())
}

/// Merges this into an object, and shows what.
pub(crate) async fn patch(show: &Show, scene: &Scene, [kind, name, namespace]: [&str; 3], text: &str) -> Result<()> {
    let file = format!("{name}.yaml");
    let path = scene.kubectl.write(&file, text)?.display().to_string();
    let place: &[&str] = if namespace.is_empty() { &[] } else { &["-n", namespace] };
    let command = |file| [&["patch", kind, name], place, &["--type=merge", "--patch-file", file]].concat();
    show.say(&format!("$ kubectl {}", command(&file).join(" ")));
    show.output(text);
    match scene.kubectl.run(&command(&path)).await? {
        Ok(printed) => show.output(&printed),
        Err(said) => bail!("patching {kind} {name} failed: {said}"),
    }
    Ok(())
}

/// A customer whose database runs.
struct Customer {
    name: &'static str,
    application: Consumer,
    stack: String,
    database: Database,
    told: DatabaseStatus,
    backup: BackupStatus,
    /// The key of its backups, as the store names it.
    key: String,
    /// What holds them.
    bucket: Bucket,
}

/// Shows the databases, if there are nodes on which they run.
pub(crate) async fn shown(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<()> {
    show.step("databases", "A database for each customer");
    if scene.plane.tier() != Tier::Three {
        show.say(
            "Not shown: this is T2, whose nodes are fake, and databases need real ones. As root on Linux, `make demo` has \
             them.",
        );
        return Ok(());
    }
    let client = scene.plane.admin()?;
    let [finance, sales] = until_ready(show, &client).await?;
    let [billing, market] = applications();
    let acme = customer(scene, CUSTOMER, billing, &finance)?;
    let globex = customer(scene, OTHER_CUSTOMER, market, &sales)?;
    stand(show, &[&acme, &globex], [&stacks.finance, &stacks.sales]);
    let moment = mistake::made(show, scene, &acme).await?;
    let visitors = applications::at_work(show, scene, &client, [&acme, &globex]).await?;
    let archived = bucket::at_work(show, scene, &client, &acme, stacks).await?;
    fail_over::nothing_is_lost(show, &client, &acme, &visitors.shop).await?;
    backups::under_the_key(show, [&acme, &globex]).await?;
    Box::pin(consent::taken_back(show, scene, &acme, &globex, &visitors, &archived)).await?;
    drill::proven(show, &client, &acme).await?;
    mistake::undone(show, scene, &client, &acme, &moment).await?;
    show.say("This was T3: real nodes, real databases, real backups.");
    Ok(())
}

/// Waits until both have a full backup, which status tells once it speaks of the newest spec.
async fn until_ready(show: &Show, client: &Client) -> Result<[Workspace; 2]> {
    let finance: Api<Workspace> = Api::namespaced(client.clone(), CUSTOMER);
    let sales: Api<Workspace> = Api::namespaced(client.clone(), OTHER_CUSTOMER);
    let both = async || Ok::<_, anyhow::Error>([finance.get("finance").await?, sales.get("sales").await?]);
    let is_there = |workspace: &Workspace| Seen::of(workspace).is_ready() && backup_of(workspace).is_ok();
    let waited = show.until("both run, each with a full backup", PATIENCE, async || {
        let workspaces = both().await?;
        if workspaces.iter().all(is_there) {
            return Ok(Progress::Done(workspaces));
        }
        let states: Vec<String> = workspaces.iter().map(|it| Seen::of(it).state()).collect();
        Ok(Progress::Still(states.join(", ")))
    });
    match waited.await {
        Ok(workspaces) => Ok(workspaces),
        Err(error) => bail!("{error:#}\n{}", both().await?.each_ref().map(|it| Seen::of(it).explained()).join("\n")),
    }
}

/// What status tells of the database and of its backups, of which there is a full one.
fn backup_of(workspace: &Workspace) -> Result<(DatabaseStatus, BackupStatus)> {
    let told =
        workspace.status.as_ref().and_then(|status| status.database.clone()).context("status shows no database")?;
    let backup = told.backup.clone().context("status shows no backups")?;
    backup.last_full.as_ref().context("status shows no full backup")?;
    Ok((told, backup))
}

fn customer(scene: &Scene, name: &'static str, application: Consumer, workspace: &Workspace) -> Result<Customer> {
    let (told, backup) = backup_of(workspace)?;
    let stack =
        workspace.status.as_ref().and_then(|status| status.namespace.clone()).context("status shows no stack")?;
    // Nobody else may run anything in stacks.
    let client = scene.plane.client_for("demo", &["system:masters", BREAK_GLASS])?;
    Ok(Customer {
        name,
        application,
        database: Database::new("database", &stack.name, client),
        stack: stack.name,
        key: backup.key.clone().context("the backups are under no key")?,
        bucket: Bucket::of(&scene.plane, &scene.servers.minio, &backup.bucket)?,
        told,
        backup,
    })
}

/// Shows where they stand, and that no backups lie with others.
fn stand(show: &Show, customers: &[&Customer; 2], stacks: [&Stack; 2]) {
    let mut rows = vec![["CUSTOMER", "INSTANCES", "PRIMARY", "LAST BACKUP"].map(str::to_owned).to_vec()];
    let mut places = vec![["CUSTOMER", "BUCKET OF ITS BACKUPS, AND THEIR KEY"].map(str::to_owned).to_vec()];
    for customer in customers {
        let (told, backup) = (&customer.told, &customer.backup);
        rows.push(vec![
            customer.name.to_owned(),
            format!("{} of {} ready", told.ready_instances, told.instances),
            told.primary.clone().unwrap_or_default(),
            backup.last_full.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
        ]);
        places.push(vec![customer.name.to_owned(), backup.bucket.clone()]);
        places.push(vec![String::new(), customer.key.clone()]);
    }
    show.table(&rows);
    show.table(&places);
    for (customer, instances) in customers.iter().zip([2, 1]) {
        let Customer { name, told, backup, .. } = customer;
        show.check(
            &format!("{name}: {} of {instances} instances run, and a full backup is complete", told.ready_instances),
            told.ready_instances == instances && told.instances == instances && backup.last_full.is_some(),
        );
    }
    let [acme, globex] = customers;
    let is_with_data =
        [(acme, stacks[0]), (globex, stacks[1])].iter().any(|(it, stack)| it.backup.bucket == stack.bucket);
    show.check(
        "each has a bucket for backups alone, and a key of its own",
        acme.backup.bucket != globex.backup.bucket && acme.key != globex.key && !is_with_data,
    );
}
