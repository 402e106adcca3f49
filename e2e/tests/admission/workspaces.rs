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
    cases
}
