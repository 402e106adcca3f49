//! The CEL rules of Workspace.

use serde_json::{Value, json};

use crate::rules::Case;
use crate::tenants::{IDENTITY_FORM, amounts, identity, identity_is_fixed, name, subject};

pub fn cases() -> Vec<Case> {
    let disabled = || json!({ "disabled": true });
    let mut cases = vec![
        name("Workspace"),
        identity("Workspace"),
        identity_is_fixed("Workspace"),
        Case::of(
            "Workspace",
            "spec",
            "bucket.disabled cannot be turned on later, because data would be lost: delete the Workspace instead (its \
             Tenant's deletionPolicy decides what remains)",
        )
        .refuses_change(json!({ "disabled": false }), disabled())
        .at("spec.bucket")
        .refuses_change(json!({}), disabled())
        .at("spec.bucket")
        .refuses_change(Value::Null, disabled())
        .at("spec.bucket")
        .takes_change(disabled(), disabled())
        .at("spec.bucket")
        .takes_change(disabled(), json!({ "disabled": false }))
        .at("spec.bucket")
        .takes_change(disabled(), Value::Null)
        .at("spec.bucket"),
    ];
    cases.extend(subject("Workspace", "spec.members[].name"));
    cases.extend(amounts("Workspace"));
    cases.extend(consumers());
    cases.extend(restore());
    cases
}

fn restore() -> Vec<Case> {
    let from = |field: &str, value: &str| json!({ "restoreFrom": { field: value } });
    let (workspace, payroll) = (from("workspace", "finance"), from("workspace", "payroll"));
    let given_at_creation = "database.restoreFrom can only be given at creation, because it says what the database begins with: \
                             create another Workspace to restore into";
    let (one, pair) = (
        "restoreFrom needs either workspace, the name of a Workspace of this Tenant that is there, or identity, of one that is gone",
        "restoreFrom.identity needs serverName, and workspace does not: it is the folder in the backup bucket, as \
         status.database.backup said",
    );
    let server = "database-01234567";
    vec![
        Case::of("Workspace", "spec", given_at_creation)
            .refuses_change(workspace.clone(), payroll)
            .at("spec.database")
            .refuses_change(workspace.clone(), json!({}))
            .at("spec.database")
            .refuses_change(workspace.clone(), Value::Null)
            .at("spec.database")
            .refuses_change(Value::Null, workspace.clone())
            .at("spec.database")
            .takes_change(workspace.clone(), workspace)
            .at("spec.database"),
        Case::of("Workspace", "spec.database.restoreFrom", one)
            .refuses(json!({ "time": "2026-11-23T10:15:00Z" }))
            .refuses(json!({ "workspace": "finance", "identity": crate::objects::IDENTITY, "serverName": server }))
            .takes(json!({ "workspace": "finance" })),
        Case::of("Workspace", "spec.database.restoreFrom", pair)
            .refuses(json!({ "identity": crate::objects::IDENTITY }))
            .refuses(json!({ "workspace": "finance", "serverName": server }))
            .takes(json!({ "identity": crate::objects::IDENTITY, "serverName": server })),
        Case::of(
            "Workspace",
            "spec.database.restoreFrom.serverName",
            "serverName must be as status.database.backup.serverName said it, such as database-1f0c93aa",
        )
        .refuses_all(["database-0123456g", "database_01234567", "../database-1234", "databases01234567"])
        .takes(server),
        Case::of(
            "Workspace",
            "spec.database.restoreFrom.time",
            "must be a moment in UTC, such as 2026-11-23T10:15:00Z",
        )
        .refuses_all(["2026-11-23T10:15:00+01:00", "2026-11-23 10:15:00Z", "yesterday, or the day", "2026-11-23T10:15:00Z'"])
        .takes_all(["2026-11-23T10:15:00Z", "2026-11-23T10:15:00.123456Z"]),
        Case::of("Workspace", "spec.database.restoreFrom.identity", IDENTITY_FORM)
            .refuses_all(["3F0A4C8E-2B1D-4E5F-8A9B-0C1D2E3F4A5B", "3f0a4c8e-2b1d-4e5f-8a9b-$(id)d2e3f4a"])
            .takes(crate::objects::OTHER_IDENTITY),
        Case::of(
            "Workspace",
            "spec.database.restoreFrom.workspace",
            "must be the name of a Workspace of the same Tenant: lower-case letters, digits and dashes; see kubectl get workspaces",
        )
        .refuses_all(["Finance", "-f", "f-", "a/b", "a.b", "$(id)"]),
    ]
}

fn consumers() -> Vec<Case> {
    let hostile =
        ["Shop", "-shop", "shop-", "sh op", "shop\n", "shop/x", "shop_x", "*", "$(id)", "shop;x", "\u{441}hop"];
    let (who, nothing) = (
        json!({ "namespace": "shop", "serviceAccount": "billing" }),
        "a consumer must use something: set database, bucket or authorization",
    );
    let using = |field: &str| {
        let mut using = who.clone();
        using[field] = json!("read");
        using
    };
    vec![
        Case::of("Workspace", "spec.consumers[]", nothing)
            .refuses(who.clone())
            .takes(using("database"))
            .takes(using("bucket")),
        Case::of(
            "Workspace",
            "spec.consumers[].namespace",
            "must be the name of a namespace of an application, such as shop: lower-case letters, digits and dashes, not beginning \
             with kube-",
        )
        .refuses_all(hostile)
        .refuses_all(["kube-system", "kube-public", "a.b"])
        .takes_all(["shop", "s", "0", "kube", "kubernetes-dashboard"]),
        Case::of(
            "Workspace",
            "spec.consumers[].serviceAccount",
            "must be the name of a ServiceAccount: lower-case letters, digits, dashes and dots, such as billing",
        )
        .refuses_all(hostile)
        .refuses_all([".a", "a.", "a..b", "a.-b"])
        .takes_all(["billing", "b", "billing.v2", "0"]),
    ]
}
