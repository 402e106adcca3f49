//! The restore drill and the canary on real nodes. In: customers with databases, an application of one. Out: a proof that makes sense, nothing that
//! is left of it, and an identity that gets at nothing but its own rows.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::drill::RestoreProof;
use api::{conditions as names, labels};
use e2e::databases::{ANOTHER_AUTHORITY, ANOTHER_NAME, CANARY, DRILL, PLUGIN, objects};
use e2e::packets::{Crowd, Goal, Labels, Member, Protocol, Runtime, Spot, Verdict};
use e2e::wait::until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::jiff::SignedDuration;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::data::Holder;
use crate::database::{PATIENCE, apply};
use crate::world::{Customer, World};

/// Longest wait for a drill.
const DRILLED: Duration = Duration::from_mins(10);

/// As whom the canary signs in.
const ROLE: &str = "steading_canary";

/// A table of the customer's.
const LEDGER: &str = "CREATE TABLE ledger (number int PRIMARY KEY); INSERT INTO ledger SELECT generate_series(1, 1000)";

/// Tables that there are to read.
const TABLES: &str = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')";

/// Makes a table that has to come back with whatever drill begins next: its log is closed at once.
pub async fn has_something_to_lose(acme: &Customer) -> Result<()> {
    acme.database.sql(LEDGER).await?;
    acme.database.sql("SELECT pg_switch_wal()").await.map(drop)
}

/// Makes another full backup once the canary writes, as somebody of a break-glass group may. A row of it must be in that, so the first drill
/// begins and nobody waits for two thirds of the rpo.
pub async fn is_backed_up_again(world: &World, acme: &Customer) -> Result<()> {
    let client = world.client()?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &acme.stack);
    let writes = |it: &Deployment| it.status.as_ref().is_some_and(|status| status.available_replicas == Some(1));
    world.platform().until_object(deployments, CANARY, "writes", writes).await?;
    // Named like those of the schedule: the fence lets CloudNativePG begin no others.
    let backup = json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup", "metadata": { "name": "database-backup-by-hand" },
        "spec": { "cluster": { "name": "database" }, "method": "plugin", "pluginConfiguration": { "name": PLUGIN } },
    });
    apply(&client, &acme.stack, backup).await?;
    let backups = objects(&client, &acme.stack, "postgresql.cnpg.io", "Backup");
    let is_complete = |it: &DynamicObject| it.data["status"]["phase"] == "completed";
    world.platform().until_object(backups, "database-backup-by-hand", "is complete", is_complete).await.map(drop)
}

/// Waits for the first drill and looks at what it has shown.
pub async fn by_a_drill(world: &World, acme: &Customer) -> Result<RestoreProof> {
    let platform = world.platform().patient(DRILLED);
    let seen = platform.until_condition(&acme.workspace, names::RESTORE_PROVEN, "True", names::AVAILABLE).await?;
    let database = seen.status.and_then(|status| status.database).context("status says nothing of a database")?;
    let proof = database.restore_drill.and_then(|drill| drill.last_success).context("status tells of no proof")?;
    let of = |text: &str| text.parse::<SignedDuration>().with_context(|| format!("{text:?} is no time: {proof:?}"));
    for measured in [of(&proof.recovery_point)?, of(&proof.recovery_time)?] {
        ensure!(!measured.is_negative() && measured < SignedDuration::from_hours(1), "{proof:?}");
    }
    ensure!(proof.newest_row <= proof.completed_at && proof.server_name == acme.server, "{proof:?}");
    let tables: i64 = acme.database.sql(TABLES).await?.parse()?;
    ensure!(proof.rows >= 1 && proof.unread == 0, "{proof:?}");
    // That of the canary and that of the customer; others may have come since.
    ensure!((2..=tables).contains(&proof.tables), "{} of {tables} tables were read: {proof:?}", proof.tables);
    Ok(proof)
}

/// Waits until nothing of a drill is in the stack.
pub async fn nothing_is_left(world: &World, acme: &Customer) -> Result<()> {
    let (client, stack) = (world.client()?, acme.stack.as_str());
    let of_drill = ListParams::default().labels(&format!("cnpg.io/cluster={DRILL}"));
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={DRILL}"));
    let pods: Api<Pod> = Api::namespaced(client.clone(), stack);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), stack);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), stack);
    let jobs: Api<Job> = Api::namespaced(client.clone(), stack);
    let cnpg = |kind: &str| objects(&client, stack, "postgresql.cnpg.io", kind);
    until("nothing of a drill is left", PATIENCE, async || {
        let secrets = secrets.list(&ListParams::default()).await?.items;
        Ok(jobs.get_opt(DRILL).await?.is_none()
            && cnpg("DatabaseRole").get_opt(DRILL).await?.is_none()
            && cnpg("Cluster").get_opt(DRILL).await?.is_none()
            && pods.list(&of_drill).await?.items.is_empty()
            && pods.list(&of_job).await?.items.is_empty()
            && claims.list(&of_drill).await?.items.is_empty()
            && !secrets.iter().any(|secret| secret.name_any().starts_with(DRILL)))
    })
    .await
}

/// The canary, as somebody who could try its certificate elsewhere.
pub async fn holder(world: &World, acme: &Customer) -> Result<Holder> {
    let secrets: Api<Secret> = Api::namespaced(world.client()?, &acme.stack);
    let certificate = secrets.get(&format!("{CANARY}-client-cert")).await?;
    Ok(Holder { what: "canary's certificate", certificate, role: ROLE.to_owned() })
}

/// What the canary could have a hand in: its rows, and nothing else. Says how many ways were tried.
pub async fn canary_gets_at_its_rows_alone(world: &World, acme: &Customer, globex: &Customer) -> Result<usize> {
    let Holder { certificate, .. } = holder(world, acme).await?;
    let ask = async |user: &str, statement: &str| acme.database.ask_as(&certificate, user, statement).await;
    let own = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'steading_canary'";
    let own = acme.database.sql(own).await?;
    let rows = ask(ROLE, &format!("SELECT count(*) FROM {own}")).await.context("the control fails")?;
    ensure!(rows.parse::<u64>()? > 0, "the canary has written nothing into {own}");
    let [another_name] = ANOTHER_NAME;
    let ways = [
        (ROLE, "SELECT * FROM ledger", "permission denied for table ledger"),
        (ROLE, "DELETE FROM ledger", "permission denied for table ledger"),
        (ROLE, "CREATE TABLE public.more ()", "permission denied for schema public"),
        (ROLE, "CREATE SCHEMA more", "permission denied for database app"),
        (ROLE, "SET ROLE app", "permission denied to set role"),
        (ROLE, "SET ROLE pg_read_all_data", "permission denied to set role"),
        (ROLE, "SELECT pg_read_file('PG_VERSION')", "permission denied for function pg_read_file"),
        (ROLE, "COPY (SELECT 1) TO PROGRAM 'sh'", "permission denied to COPY"),
        (ROLE, "CREATE ROLE another LOGIN", "permission denied to create role"),
        ("app", "SELECT 1", another_name),
        ("postgres", "SELECT 1", another_name),
        ("streaming_replica", "SELECT 1", another_name),
    ];
    for (user, statement, reason) in ways {
        let tried = ask(user, statement).await;
        let refused = tried.err().with_context(|| format!("the canary may, as {user}: {statement}"))?;
        ensure!(format!("{refused:#}").contains(reason), "{statement}: refused for another reason: {refused:#}");
    }
    let elsewhere = globex.database.ask_as(&certificate, ROLE, "SELECT 1").await;
    let refused = format!("{:#}", elsewhere.err().context("one customer's canary gets into the other's database")?);
    ensure!(ANOTHER_AUTHORITY.iter().any(|reason| refused.contains(reason)), "refused for another reason: {refused}");
    has_no_token(world, acme).await?;
    Ok(ways.len() + 2)
}

/// Nothing in its pod opens the API server.
async fn has_no_token(world: &World, acme: &Customer) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(world.client()?, &acme.stack);
    ensure!(
        deployments.get(CANARY).await?.status.is_some_and(|it| it.available_replicas == Some(1)),
        "it does not run"
    );
    let pods: Api<Pod> = Api::namespaced(world.client()?, &acme.stack);
    let of_canary = ListParams::default().labels("app.kubernetes.io/name=steading-canary");
    let found = pods.list(&of_canary).await?.items;
    ensure!(!found.is_empty(), "the canary has no pod");
    for pod in found {
        // As the kubelet got it, with all that admission put there.
        let spec = serde_json::to_value(pod.spec.context("the pod has no spec")?)?.to_string();
        for way in ["serviceAccountToken", "/var/run/secrets/kubernetes.io"] {
            ensure!(!spec.contains(way), "{} has a token: {spec}", pod.metadata.name.unwrap_or_default());
        }
    }
    Ok(())
}

/// An application that uses the database reaches what a drill restores by no packet. A drill is over too soon to be tried, so pods stand in: the
/// policies go by the part that a pod is.
pub async fn drill_is_out_of_reach(world: &World, acme: &Customer, shop: &str) -> Result<()> {
    let part = |part: &str| Labels::from([(labels::PART.to_owned(), part.to_owned())]);
    let spot = |who: &str, namespace: &str, labels: &Labels| Spot::new(who, namespace, labels, Runtime::Runc, 1);
    let spots = vec![
        spot("drill", &acme.stack, &part("drill")),
        spot("database", &acme.stack, &part("database")),
        spot("canary", &acme.stack, &part("canary")),
        spot("shop", shop, &Labels::new()),
    ];
    let crowd = Crowd::place(&world.client()?, spots).await?;
    let [drill, database, canary, shop] = crowd.members() else { anyhow::bail!("some pods are missing") };
    let goal = |member: &Member| Goal::new(&member.spot.who, Protocol::Tcp, member.address, 5432);
    let goals = [goal(drill), goal(database)];
    until("what looks reaches the drill, and the application the database", PATIENCE, async || {
        let (looks, uses) = (crowd.try_from(canary, &goals).await?, crowd.try_from(shop, &goals).await?);
        ensure!(uses[0] == Verdict::Blocked, "the application reaches what a drill restores");
        Ok(looks[0] == Verdict::Open && uses[1] == Verdict::Open)
    })
    .await
}
