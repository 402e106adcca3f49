use api::{
    TenantSpec,
    tenant::{LedgerStatus, TenantQuota},
};
use serde_json::json;

use super::*;
use crate::{
    fixtures::{self, json_of},
    ledger::{
        Limit, settle,
        tests::{claim, cores, limit},
    },
};

#[test]
fn a_workspace_learns_its_standing_from_the_status() {
    let ledger = settle(&limit(cores(10)), &[], &[claim("alpha", cores(4)), claim("beta", cores(7))]);
    let status = ledger.status();
    assert_eq!(
        Standing::of(&status, "uid-alpha"),
        Ok(Standing::Granted { amounts: cores(4), revision: 1, refused: None })
    );
    let refusal = ledger.of(&"beta".parse().unwrap()).refused.clone().unwrap();
    assert_eq!(Standing::of(&status, "uid-beta"), Ok(Standing::Refused(refusal)));
    assert_eq!(Standing::of(&status, "uid-gamma"), Ok(Standing::Pending));
}

#[test]
fn the_status_shows_sums_and_leaves_out_what_was_not_granted() {
    let ledger = settle(&limit(cores(10)), &[], &[claim("alpha", cores(4)), claim("beta", cores(7))]);
    let json = json_of(&ledger.status());
    assert_eq!(
        json,
        json!({
            "used": {"workspaces": 1, "cpu": "4"},
            "reservations": [
                {"workspace": "alpha", "uid": "uid-alpha", "revision": 1, "granted": {"cpu": "4"}, "held": {"cpu": "4"}},
                {"workspace": "beta", "uid": "uid-beta", "revision": 0, "held": {}, "reason": "QuotaExceeded",
                 "refused": "cpu: 7 asked, up to 6 possible of the Tenant's 10"},
            ],
        })
    );
}

#[test]
fn a_ledger_that_somebody_else_wrote_is_refused_with_the_way_out() {
    let mut status: LedgerStatus = settle(&limit(cores(10)), &[], &[claim("alpha", cores(4))]).status();
    status.reservations[0].held.cpu = Some("-4".into());
    let message = read(&status).unwrap_err().to_string();
    assert!(
        message.contains("uid-alpha") && message.contains("\"-4\"") && message.contains("remove status.quota"),
        "{message}"
    );
}

#[test]
fn the_limit_is_read_off_the_spec() {
    let quota = TenantQuota {
        workspaces: Some(7),
        cpu: Some("16".into()),
        memory: None,
        storage: Some("2Ti".into()),
        agents: Some(50),
    };
    let tenant: TenantSpec = serde_json::from_value(json!({"class": "on-premises", "quota": quota})).unwrap();
    let amounts = Amounts { memory: None, agents: Some(50), ..fixtures::amounts("16", "1Gi", "2Ti") };
    assert_eq!(Limit::of(&tenant), Ok(Limit { workspaces: Some(7), amounts }));
}

#[test]
fn a_claim_is_read_off_the_workspace() {
    let workspace = serde_json::from_value(json!({
        "apiVersion": "steading.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "alpha", "uid": "uid-alpha", "creationTimestamp": "2025-01-01T00:00:00Z", "deletionTimestamp": "2025-01-02T00:00:00Z"},
        "spec": {"quota": {"cpu": "5"}},
        "status": {"quota": {"cpu": "4"}, "quotaRevision": 3},
    }))
    .unwrap();
    let expected = Claim { in_force: Some(cores(4)), revision: Some(3), deleting: true, ..claim("alpha", cores(5)) };
    assert_eq!(Claim::of(&workspace), Ok(expected));
}

#[test]
fn a_claim_that_cannot_be_read_names_the_workspace_and_field() {
    let workspace = serde_json::from_value(json!({
        "apiVersion": "steading.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "alpha", "uid": "uid-alpha", "creationTimestamp": "2025-01-01T00:00:00Z"},
        "spec": {"quota": {"cpu": "a lot"}},
    }))
    .unwrap();
    let message = Claim::of(&workspace).unwrap_err().to_string();
    assert!(message.starts_with("Workspace \"alpha\": spec.quota: cpu"), "{message}");
}
