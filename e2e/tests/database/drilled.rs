//! Restore drills, with CloudNativePG's kinds but nobody who acts on them: what it and the cluster would say is said by hand. In: a plane. Out:
//! what a drill makes, what status tells of it, that it is removed, whatever comes in between.

mod scene;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::{Workspace, conditions as names};
use e2e::Tier;
use e2e::databases::{DRILL, ago, good};
use e2e::story::{condition, workspace};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
pub use scene::Drilled;
use scene::{RTO, drill_of};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_restores_the_backups_looks_at_them_tells_what_it_saw_and_leaves_nothing() -> Result<()> {
    let drilled = Drilled::set(Tier::One).await?;
    // Nothing is restored before a row of the canary must be in the backups, and Ready does not wait for it.
    let ready = drilled.stage.platform.until_ready(&drilled.finance).await?;
    let proven = condition(&ready, names::RESTORE_PROVEN).context("no condition tells of restores")?;
    ensure!((proven.status.as_str(), proven.reason.as_str()) == ("Unknown", names::RESTORE_PENDING), "{proven:?}");
    drilled.canary_stands().await?;
    drilled.keeper.canary_writes(true, ago(1)).await?;
    drilled.says("begins at").await?;
    ensure!(drilled.clusters().get_opt(DRILL).await?.is_none(), "a drill began before there was anything to see");

    drilled.keeper.canary_writes(true, ago(11)).await?;
    let cluster = drilled.until(drilled.clusters(), DRILL, "is restored", |_| true).await?;
    restores_the_backups(&cluster.data["spec"], &drilled.server)?;
    drilled.keeper.restored().await?;
    let role = drilled.until(drilled.keeper.roles(), DRILL, "stands", |_| true).await?;
    let (name, groups) = (&role.data["spec"]["name"], &role.data["spec"]["inRoles"]);
    ensure!((name, groups) == (&json!("steading_canary"), &json!(["pg_read_all_data"])), "{:#}", role.data);
    ensure!(role.data["spec"]["cluster"]["name"] == DRILL, "{:#}", role.data);
    ensure!(drilled.jobs().get_opt(DRILL).await?.is_none(), "it looks before it can sign in");
    drilled.reader_signs_in().await?;
    let job = drilled.until(drilled.jobs(), DRILL, "looks", |_| true).await?;
    has_no_right_but_its_certificate(&serde_json::to_value(&job)?["spec"]["template"]["spec"])?;

    let newest = ago(4);
    drilled.keeper.looked(true, &good(newest)).await?;
    let seen = drilled.until_proven("True", names::AVAILABLE).await?;
    let proof = drill_of(&seen).and_then(|drill| drill.last_success).context("no proof is told")?;
    ensure!((proof.rows, proof.tables, proof.unread, proof.size.as_str()) == (12, 7, 0, "30Mi"), "{proof:?}");
    ensure!(proof.server_name == drilled.server && proof.newest_row.0 == newest, "{proof:?}");
    let (point, time) =
        (proof.recovery_point.parse::<SignedDuration>()?, proof.recovery_time.parse::<SignedDuration>()?);
    // It was there a moment before that row's age was taken.
    ensure!(point >= SignedDuration::from_mins(3) && !time.is_negative(), "{proof:?}");
    drilled.nothing_is_left().await?;
    ensure!(
        condition(&seen, names::READY).is_some_and(|it| it.status == "True"),
        "{:?}",
        condition(&seen, names::READY)
    );
    drilled.canary_is_there().await
}

/// One instance that reads the backups and writes none.
fn restores_the_backups(spec: &Value, server: &str) -> Result<()> {
    ensure!(spec["instances"] == 1, "{spec:#}");
    let archives = spec["plugins"].as_array().is_some_and(|all| all.iter().any(|it| it["isWALArchiver"] == true));
    ensure!(!archives, "it archives: {spec:#}");
    let parameters = &spec["externalClusters"][0]["plugin"]["parameters"];
    let wanted = json!({ "barmanObjectName": "database-backup", "serverName": server });
    ensure!(*parameters == wanted, "{spec:#}");
    ensure!(spec["bootstrap"]["recovery"]["source"] == spec["externalClusters"][0]["name"], "{spec:#}");
    ensure!(spec["inheritedMetadata"]["labels"]["steading.dev/part"] == "drill", "{spec:#}");
    Ok(())
}

/// What a pod of ours may have in a stack.
fn has_no_right_but_its_certificate(pod: &Value) -> Result<()> {
    ensure!(pod["automountServiceAccountToken"] == false, "{pod:#}");
    ensure!(pod["containers"].as_array().map(Vec::len) == Some(1), "{pod:#}");
    let container = &pod["containers"][0];
    let settings = container["env"].as_array().context("it is told nothing")?;
    ensure!(settings.iter().all(|it| it["valueFrom"].is_null()) && container["envFrom"].is_null(), "{pod:#}");
    let written = pod["volumes"].to_string();
    for secret in ["database-drill-client-cert", "database-drill-ca"] {
        ensure!(written.contains(&format!("\"{secret}\"")), "{pod:#}");
    }
    ensure!(!written.contains("ca.key") && !written.contains("serviceAccountToken"), "{pod:#}");
    ensure!(written.matches("\"secret\":").count() == 2, "{pod:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_is_told_and_tried_again_until_one_succeeds() -> Result<()> {
    let drilled = Drilled::begun().await?;
    let first = drilled.until(drilled.clusters(), DRILL, "is restored", |_| true).await?.uid();
    drilled.keeper.restores("Cluster is unrecoverable and needs manual intervention").await?;
    let seen = drilled.until_proven("False", names::RESTORE_FAILED).await?;
    let message = condition(&seen, names::RESTORE_PROVEN).context("no condition")?.message.clone();
    ensure!(message.contains("unrecoverable"), "{message}");
    let told = drill_of(&seen).and_then(|drill| drill.last_failure).context("status tells of no failure")?;
    ensure!(told.message.contains("unrecoverable"), "{told:?}");

    // Its Job fails as well.
    drilled.until(drilled.clusters(), DRILL, "is restored again", move |it| it.uid() != first).await?;
    drilled.until_looking().await?;
    drilled.keeper.looked(false, r#"{"failure":"the rows of the canary break off after number 12"}"#).await?;
    drilled.says("break off after number 12").await?;
    ensure!(!drilled.is_ready().await?, "Ready, though nobody knows whether the backups are any good");
    drilled.nothing_is_left().await?;

    drilled.until_looking().await?;
    drilled.keeper.looked(true, &good(ago(4))).await?;
    let seen = drilled.until_proven("True", names::AVAILABLE).await?;
    ensure!(drill_of(&seen).is_some_and(|drill| drill.last_failure.is_none()), "an old failure is told");
    drilled.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_lost_too_much_misses_its_objective_and_another_follows_soon() -> Result<()> {
    let drilled = Drilled::begun().await?;
    drilled.until_looking().await?;
    drilled.keeper.looked(true, &good(ago(20))).await?;
    let seen = drilled.until_proven("False", names::OBJECTIVE_MISSED).await?;
    let told = drill_of(&seen).context("status tells of no drill")?;
    ensure!(told.last_success.is_some() && told.missed_since.is_some(), "what was measured is not told: {told:?}");
    drilled.nothing_is_left().await?;

    drilled.until_looking().await?;
    drilled.keeper.looked(true, &good(ago(4))).await?;
    let seen = drilled.until_proven("True", names::AVAILABLE).await?;
    ensure!(drill_of(&seen).is_some_and(|drill| drill.missed_since.is_none()), "it is still said to be missed");
    drilled.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_took_too_long_misses_its_objective_and_one_that_never_ends_is_given_up() -> Result<()> {
    let drilled = Drilled::begun().await?;
    drilled.until(drilled.clusters(), DRILL, "is restored", |_| true).await?;
    let drilled = drilled.began(Timestamp::now() - 4 * RTO).await?;
    let seen = drilled.until_proven("False", names::RESTORE_FAILED).await?;
    ensure!(drill_of(&seen).is_some_and(|drill| drill.started_at.is_none()), "it is still under way");
    drilled.nothing_is_left().await?;

    // What failed after long is tried again after long, so another Workspace has to be slow.
    let slow = Drilled::begun().await?;
    slow.until(slow.clusters(), DRILL, "is restored", |_| true).await?;
    let slow = slow.began(Timestamp::now() - RTO - RTO / 2).await?;
    slow.until_looking().await?;
    slow.keeper.looked(true, &good(ago(1))).await?;
    slow.until_proven("False", names::OBJECTIVE_MISSED).await?;
    slow.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_a_pod_tells_that_is_no_result_nothing_is_passed_on() -> Result<()> {
    const MARK: &str = "a-row-of-the-customer";
    let drilled = Drilled::begun().await?;
    let figures = |key: &str, value: Value| {
        let mut told: Value = serde_json::from_str(&good(ago(4))).unwrap();
        told[key] = value;
        told.to_string()
    };
    for (well, told) in [
        (true, MARK.to_owned()),
        (true, json!({ "failure": MARK.repeat(400) }).to_string()),
        (true, json!([MARK]).to_string()),
        (true, figures("rows", json!(MARK))),
        (true, figures("rows", json!(-1))),
        (true, figures("newestRow", json!(MARK))),
        (true, figures("tables", json!([MARK]))),
        (true, figures("size", json!(1e300))),
        (false, json!({ "failure": [MARK] }).to_string()),
        (true, String::new()),
    ] {
        drilled.until_looking().await?;
        drilled.keeper.looked(well, &told).await?;
        let seen = drilled.until_failed_again().await?;
        let shown = serde_json::to_string(&seen)? + &drilled.events().await?;
        ensure!(!shown.contains(MARK), "{told} is passed on: {:?}", drill_of(&seen));
    }
    // What is plainly a failure is told, without what a terminal would obey.
    drilled.until_looking().await?;
    drilled.keeper.looked(false, &json!({ "failure": "\u{1b}[31mbroken\r\n\u{0}" }).to_string()).await?;
    let told = drill_of(&drilled.until_failed_again().await?).and_then(|drill| drill.last_failure);
    ensure!(told.as_ref().is_some_and(|told| !told.message.chars().any(char::is_control)), "{told:?}");

    drilled.until_looking().await?;
    drilled.keeper.looked(true, &good(ago(4))).await?;
    drilled.until_proven("True", names::AVAILABLE).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_is_away_matters_once_it_is_so_for_longer_than_the_rpo() -> Result<()> {
    let drilled = Drilled::begun().await?;
    drilled.until_looking().await?;
    drilled.keeper.looked(true, &good(ago(4))).await?;
    drilled.until_proven("True", names::AVAILABLE).await?;

    drilled.keeper.canary_writes(false, ago(5)).await?;
    // Whoever has seen that has seen what was said before.
    drilled.keeper.runs(2, "True").await?;
    let two = |told: &Workspace| condition(told, names::DATABASE_READY).is_some_and(|it| it.status == "False");
    let seen = drilled.stage.platform.until(&drilled.finance, "shows two instances", two).await?;
    ensure!(condition(&seen, names::RESTORE_PROVEN).is_some_and(|it| it.status == "True"), "{:?}", seen.status);
    drilled.keeper.runs(3, "True").await?;
    drilled.keeper.canary_writes(false, ago(16)).await?;
    drilled.until_proven("False", names::CANARY_NOT_WRITING).await?;
    drilled.keeper.canary_writes(true, ago(0)).await?;
    drilled.until_proven("True", names::AVAILABLE).await?;
    drilled.stage.platform.until_ready(&drilled.finance).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_under_way_is_not_disturbed_by_other_wishes_nor_by_another_operator() -> Result<()> {
    let drilled = Drilled::begun().await?;
    let first = drilled.until(drilled.clusters(), DRILL, "is restored", |_| true).await?;
    let other = workspace("finance").of_tenant(&drilled.acme).with("database.storage.size", "40Gi");
    drilled.stage.platform.apply(&other).await?;
    let is_larger = |it: &kube::api::DynamicObject| it.data["spec"]["storage"]["size"] == "40Gi";
    drilled.until(drilled.clusters(), "database", "has the other size", is_larger).await?;
    let drilled = drilled.restarted().await?;
    drilled.until_looking().await?;
    let now = drilled.clusters().get(DRILL).await?;
    ensure!((now.uid(), now.metadata.generation) == (first.uid(), first.metadata.generation), "{:#}", now.data);
    drilled.keeper.looked(true, &good(ago(4))).await?;
    drilled.until_proven("True", names::AVAILABLE).await?;
    drilled.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_goes_also_in_the_middle_of_a_drill() -> Result<()> {
    let drilled = Drilled::set(Tier::Two).await?;
    drilled.canary_stands().await?;
    // Its pod is ready soon on nodes that are fake, and a full backup after that has its row.
    let since = drilled.canary_writes_since().await?;
    drilled.keeper.backed_up(&drilled.server, since + Duration::from_secs(1)).await?;
    drilled.until(drilled.clusters(), DRILL, "is restored", |_| true).await.context("no drill begins")?;
    let going = drilled.stage.platform.get(&drilled.finance).await?;
    drilled.stage.platform.delete(&drilled.finance).await?;
    drilled.stage.platform.until_gone(&drilled.finance, &going).await?;
    drilled.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_under_way_ends_when_its_workspace_is_suspended() -> Result<()> {
    let drilled = Drilled::begun().await?;
    drilled.until(drilled.clusters(), DRILL, "is restored", |_| true).await?;
    let suspended = workspace("finance").of_tenant(&drilled.acme).with("suspended", true);
    drilled.stage.platform.apply(&suspended).await?;
    drilled.keeper.hibernates().await?;
    drilled.says("once spec.suspended is false").await?;
    drilled.stage.platform.until_condition(&drilled.finance, names::DATABASE_READY, "True", names::SUSPENDED).await?;
    drilled.nothing_is_left().await
}
