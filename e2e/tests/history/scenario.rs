//! The scenario: create, change, fail, meet a stranger, pause, delete. In: nothing. Out: `disagreements=0`.

use std::io::Write as _;

use providers::memory::{Injection, Operation};
use serde_json::{Value, json};

use crate::stage::{self, Stage};
use e2e::history::judge;
use e2e::history::kstatus::Status;

const IDENTITY: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";

#[tokio::test]
async fn at_every_write_status_agrees_with_what_is_there_and_all_tools_agree_with_status() {
    let stage = Stage::set().await;
    create_in_the_wrong_order(&stage).await;
    change(&stage).await;
    fail_and_heal(&stage).await;
    meet_a_stranger(&stage).await;
    pause(&stage).await;
    delete(&stage).await;

    let history = stage.recorder.history().unwrap();
    let judgement = judge(&history);
    let (writes, judged, verdicts) = (history.len(), judgement.judged, &judgement.verdicts);
    let disagreements = judgement.disagreements.len();
    // Past the capture of the test runner: these figures are what the test is for.
    let told = writeln!(
        std::io::stderr(),
        "history: writes={writes} judged={judged} verdicts={verdicts:?}
history: disagreements={disagreements}"
    );
    told.unwrap();
    assert!(judgement.disagreements.is_empty(), "{}", judgement.disagreements.join("\n"));
    for verdict in [
        "Current/Healthy",
        "Failed/Degraded",
        "InProgress/Progressing",
        "InProgress/Suspended",
        "Terminating/Progressing",
    ] {
        assert!(
            judgement.verdicts.contains_key(verdict),
            "the history never came to {verdict}: {:?}",
            judgement.verdicts
        );
    }
    assert!(judgement.judged > 40, "only {} statuses were judged", judgement.judged);
}

/// The Workspace first, then its Tenant, then the class: each waits for the next.
async fn create_in_the_wrong_order(stage: &Stage) {
    stage.apply_workspace("finance", json!({ "quota": { "cpu": "2", "memory": "4Gi" } })).await;
    stage.reaches("Workspace", "finance", Status::InProgress, "TenantNotFound").await;
    stage.apply_tenant(json!({})).await;
    stage.reaches("Tenant", stage::TENANT, Status::InProgress, "ClassNotFound").await;
    stage.apply_class().await;
    stage.reaches("Tenant", stage::TENANT, Status::Current, "Available").await;
    stage.reaches("Workspace", "finance", Status::Current, "Assumed").await;
}

/// More, too much, too little, and members.
async fn change(stage: &Stage) {
    let quota =
        |quota: Value| json!({ "quota": quota, "members": [{ "kind": "User", "name": "ada", "role": "viewer" }] });
    stage.apply_workspace("finance", quota(json!({ "cpu": "3", "memory": "4Gi" }))).await;
    stage.reaches("Workspace", "finance", Status::Current, "Assumed").await;
    stage.apply_workspace("finance", quota(json!({ "cpu": "99", "memory": "4Gi" }))).await;
    stage.reaches("Workspace", "finance", Status::Failed, "QuotaExceeded").await;
    stage.apply_workspace("finance", quota(json!({ "cpu": "3" }))).await;
    stage.reaches("Workspace", "finance", Status::Failed, "QuotaRequired").await;
    stage.apply_workspace("finance", quota(json!({ "cpu": "1", "memory": "1Gi" }))).await;
    stage.reaches("Workspace", "finance", Status::Current, "Assumed").await;
}

/// The world outside refuses, throttles, breaks off after the deed, and shows late what was made.
async fn fail_and_heal(stage: &Stage) {
    stage.world().inject(Injection::on(Operation::CreateBucket).denied());
    stage.apply_workspace("second", json!({ "quota": { "cpu": "1", "memory": "1Gi" } })).await;
    stage.reaches("Workspace", "second", Status::Failed, "Denied").await;
    stage.world().heal();
    stage.touch("second").await;
    stage.reaches("Workspace", "second", Status::Current, "Assumed").await;

    stage.world().lag(2);
    stage.world().inject(Injection::on(Operation::CreateBucket).after_commit().first(1));
    stage.apply_workspace("third", json!({ "quota": { "cpu": "1", "memory": "1Gi" } })).await;
    stage.reaches("Workspace", "third", Status::Current, "Assumed").await;
    stage.world().heal();

    stage.world().inject(Injection::on(Operation::UpdateKey).first(1));
    stage.rotate().await;
    stage.reaches_version(2).await;
    stage.world().heal();
}

/// A namespace of the very name that a Workspace will want is there already.
async fn meet_a_stranger(stage: &Stage) {
    let name =
        api::StackNamespace::of(&stage::TENANT.parse().unwrap(), &"taken".parse().unwrap(), &IDENTITY.parse().unwrap());
    stage.apply_namespace(name.as_str()).await;
    stage.apply_workspace("taken", json!({ "identity": IDENTITY, "quota": { "cpu": "1", "memory": "1Gi" } })).await;
    stage.reaches("Workspace", "taken", Status::Failed, "NamespaceTaken").await;
    stage.delete_namespace(name.as_str()).await;
    stage.touch("taken").await;
    stage.reaches("Workspace", "taken", Status::Current, "Assumed").await;
}

/// The Tenant's pause is that of its Workspaces; what is asked for meanwhile is done afterwards.
async fn pause(stage: &Stage) {
    stage.apply_tenant(json!({ "paused": true })).await;
    stage.reaches("Tenant", stage::TENANT, Status::InProgress, "Paused").await;
    stage.reaches("Workspace", "second", Status::InProgress, "Paused").await;
    stage.apply_workspace("second", json!({ "quota": { "cpu": "2", "memory": "1Gi" } })).await;
    stage.reaches("Workspace", "second", Status::InProgress, "Paused").await;
    stage.apply_tenant(json!({})).await;
    stage.reaches("Tenant", stage::TENANT, Status::Current, "Available").await;
    stage.reaches("Workspace", "second", Status::Current, "Assumed").await;
}

/// A Workspace whose namespace is held, a Tenant that still has Workspaces, a store that refuses, and then everything.
async fn delete(stage: &Stage) {
    let hold = stage.hold_stack_of("finance").await;
    stage.delete("Workspace", "finance").await;
    stage.reaches("Workspace", "finance", Status::Terminating, "NamespaceTerminating").await;
    hold.release().await;
    stage.is_gone("Workspace", "finance").await;

    stage.delete("Tenant", stage::TENANT).await;
    stage.reaches("Tenant", stage::TENANT, Status::Terminating, "WorkspacesRemain").await;
    stage.world().inject(Injection::on(Operation::DeleteBucket).denied());
    stage.delete("Workspace", "second").await;
    stage.reaches("Workspace", "second", Status::Terminating, "Denied").await;
    stage.world().heal();
    stage.touch("second").await;
    for name in ["second", "third", "taken"] {
        stage.delete("Workspace", name).await;
        stage.is_gone("Workspace", name).await;
    }
    stage.is_gone("Tenant", stage::TENANT).await;
}
