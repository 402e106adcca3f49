//! The CEL rules of Tenant.

use serde_json::{Value, json};

use crate::objects::{IDENTITY, OTHER_IDENTITY};
use crate::rules::{Case, HOSTILE};

pub const OBJECT_NAME: &str = "metadata.name must be a DNS label of at most 27 characters: lower-case letters, digits and \
    dashes, such as acme-finance (no dots)";
pub const IDENTITY_FORM: &str = "identity must be a lower-case UUID, such as 3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b; leave \
    it out to get a new one";
pub const IDENTITY_FIXED: &str = "identity can only be given at creation: delete the object (deletionPolicy Retain keeps \
    its data) and create it anew with the identity";
pub const SYSTEM_SUBJECT: &str = "subjects that begin with system: belong to the cluster and cannot be owners or members; \
    name a user or group of your identity provider";
pub const SUBJECT_CHARACTERS: &str = "subject names must have no control or invisible characters, no line breaks and no \
    space at either end";
pub const CPU: &str = "cpu must be whole cores or millicores above zero, such as 16 or 500m";
pub const BYTES: &str = "must be a whole number above zero with the unit Mi, Gi or Ti, such as 64Gi";
pub const DURATION: &str = "must be a whole number of minutes, hours or days with its unit, such as 90m, 12h or 90d";

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        name("Tenant"),
        identity("Tenant"),
        identity_is_fixed("Tenant"),
        Case::of(
            "Tenant",
            "spec.class",
            "must be the name of a TenantClass: lower-case letters, digits and dashes; see kubectl get tenantclasses",
        )
        .refuses_all(HOSTILE)
        .refuses_all(["On-Premises", "on.premises", "-a", "a-", "on_premises"])
        .takes_all(["a", "on-premises", "0"]),
        Case::of("Tenant", "spec.class", "class is immutable: create a new object to use another")
            .refuses_change("on-premises", "elsewhere")
            .refuses_change("on-premises", "on-premise"),
        Case::of("Tenant", "spec.encryption.rotationPeriod", DURATION)
            .refuses_all(["0d", "01d", "-1d", "1w", "1.5h", "d1", "1 d", "1D", "90", "1d\n", "1h1m", "\u{661}d"])
            .takes_all(["1m", "90m", "12h", "90d", "99999d"])
            .takes_change("90d", "30d"),
    ];
    cases.extend(subject("Tenant", "spec.owners[].name"));
    cases.extend(amounts("Tenant"));
    cases
}

/// `metadata.name`. What is no DNS subdomain the API server refuses before it; the rest is the rule's.
pub fn name(kind: &'static str) -> Case {
    ["acme.finance", "a.b", &"a".repeat(28), &"a".repeat(253)]
        .into_iter()
        .fold(Case::of(kind, "", OBJECT_NAME), |case, text| case.refuses(text).at("metadata.name"))
        .takes("a")
        .at("metadata.name")
        .takes("a".repeat(27))
        .at("metadata.name")
}

pub fn identity(kind: &'static str) -> Case {
    Case::of(kind, "spec.identity", IDENTITY_FORM)
        .refuses_all([
            "3F0A4C8E-2B1D-4E5F-8A9B-0C1D2E3F4A5B",
            "3f0a4c8e_2b1d_4e5f_8a9b_0c1d2e3f4a5b",
            "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5g",
            "3f0a4c8e2b1d-4e5f-8a9b-0c1d2e3f4a5b-",
            "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5\n",
            "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5'",
            "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a\u{661}b",
            "3f0a4c8e-2b1d-4e5f-8a9b-$(id)d2e3f4a",
            "{{3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f}}",
        ])
        .takes_all([IDENTITY, OTHER_IDENTITY])
        .takes(Value::Null)
}

pub fn identity_is_fixed(kind: &'static str) -> Case {
    Case::of(kind, "spec", IDENTITY_FIXED)
        .refuses_change(IDENTITY, OTHER_IDENTITY)
        .at("spec.identity")
        .refuses_change(Value::Null, IDENTITY)
        .at("spec.identity")
        .refuses_change(IDENTITY, Value::Null)
        .at("spec.identity")
        .takes_change(IDENTITY, IDENTITY)
        .at("spec.identity")
}

pub fn subject(kind: &'static str, path: &'static str) -> Vec<Case> {
    vec![
        Case::of(kind, path, SYSTEM_SUBJECT)
            .refuses_all([
                "system:masters",
                "system:authenticated",
                "system:unauthenticated",
                "system:serviceaccount:steading-system:steading",
                "system:serviceaccounts",
                "system:",
            ])
            .takes_all(["systems-team", "oidc:system:masters"]),
        Case::of(kind, path, SUBJECT_CHARACTERS)
            .refuses_all([
                " ada",
                "ada ",
                "ada\n",
                "a\nda",
                "a\u{0}da",
                "a\tda",
                "a\u{202e}da",
                "a\u{200b}da",
                "a\u{2028}da",
                "a\u{2029}da",
                "\u{feff}ada",
                "\u{a0}ada",
            ])
            .takes_all(["a", "ada@acme.example", "Ada Lovelace", "O'Brien", "oidc:ada", "\u{430}da", "$(id);{{a}}"]),
    ]
}

pub fn amounts(kind: &'static str) -> Vec<Case> {
    let hostile = ["0", "00", "-1", "1.5", "1e9", "+1", "1 ", "0x10", "\u{661}", "m", "99999999", "1;2", "1\n", "1k"];
    let bytes = |path| {
        Case::of(kind, path, BYTES)
            .refuses_all(["0Gi", "-1Gi", "1.5Gi", "1Gb", "1GiB", "01Gi", "1 Gi", "1gi", "1Ki", "1Pi", "1Gi\n", "1e9"])
            .refuses_all(["1000", "\u{661}Gi", "$(1)Gi", "1234567M"])
            .takes_all(["1Mi", "64Gi", "999999Ti"])
    };
    vec![
        Case::of(kind, "spec.quota.cpu", CPU).refuses_all(hostile).takes_all(["1", "500m", "9999999m"]),
        bytes("spec.quota.memory"),
        bytes("spec.quota.storage"),
    ]
}

#[tokio::test]
async fn names_that_are_no_dns_names_are_refused_by_the_api_server_before_any_rule() {
    let server = crate::server::Server::start().await;
    for kind in crate::objects::KINDS {
        for text in HOSTILE.into_iter().chain(["", "Acme", "-a", "a-", &"a".repeat(254)]) {
            let mut object = crate::objects::full(kind);
            object["metadata"]["name"] = json!(text);
            let answer = server.try_create(&object).await;
            let message = if text.is_empty() { "name or generateName is required" } else { "RFC 1123 subdomain" };
            let message = if text.len() == 254 { "must be no more than 253" } else { message };
            crate::server::refuses(&answer, "metadata.name", message)
                .unwrap_or_else(|e| panic!("{kind} {text:?}: {e}"));
        }
    }
}
