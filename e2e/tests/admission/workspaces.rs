//! The CEL rules of Workspace.

use serde_json::{Value, json};

use crate::rules::Case;
use crate::tenants::{amounts, identity, identity_is_fixed, name, subject};

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
    cases
}

fn consumers() -> Vec<Case> {
    let hostile =
        ["Shop", "-shop", "shop-", "sh op", "shop\n", "shop/x", "shop_x", "*", "$(id)", "shop;x", "\u{441}hop"];
    vec![
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
