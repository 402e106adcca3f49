//! Tests of the bucket's policy, by what its statements say rather than by their text.

use super::*;
use crate::{
    buckets::{Purpose, WantedEncryption},
    owner::{Identity, Installation},
};

fn spec(encryption: WantedEncryption) -> BucketSpec {
    BucketSpec {
        installation: Installation::new("prod").unwrap(),
        tenant: Identity::new("11111111-1111-4111-8111-111111111111").unwrap(),
        workspace: Identity::new("22222222-2222-4222-8222-222222222222").unwrap(),
        purpose: Purpose::Data,
        encryption,
        lifecycle: None,
    }
}

fn statement<'a>(policy: &'a Value, sid: &str) -> &'a Value {
    policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .find(|statement| statement["Sid"] == sid)
        .unwrap_or_else(|| panic!("no {sid} in {policy}"))
}

#[test]
fn with_a_tenant_key_there_are_four_denials_and_no_grant() {
    let want = spec(WantedEncryption::TenantKey);
    let policy = for_bucket(&want);
    let bucket = format!("arn:aws:s3:::{}", want.name());
    let objects = format!("{bucket}/*");
    assert_eq!(policy["Version"], "2012-10-17");
    assert_eq!(policy["Statement"].as_array().unwrap().len(), 4);
    for each in policy["Statement"].as_array().unwrap() {
        assert_eq!((&each["Effect"], &each["Principal"]), (&json!("Deny"), &json!("*")));
    }
    let tls = statement(&policy, "TlsOnly");
    assert_eq!((&tls["Action"], &tls["Resource"]), (&json!(["s3:*"]), &json!([bucket, objects])));
    assert_eq!(tls["Condition"], json!({"Bool": {"aws:SecureTransport": "false"}}));

    let key = want.key_name().unwrap();
    assert_eq!(key, "s-prod-11111111-1111-4111-8111-111111111111", "the tenant's key, not the workspace's");
    assert_eq!(
        statement(&policy, "NoOtherKey")["Condition"],
        json!({
            "StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": key},
            "Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "false"}
        })
    );
    assert_eq!(
        statement(&policy, "NoOtherEncryption")["Condition"],
        json!({
            "StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"},
            "Null": {"s3:x-amz-server-side-encryption": "false"}
        })
    );
    assert_eq!(
        statement(&policy, "NoKeyOfTheWriter")["Condition"],
        json!({"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}})
    );
    for sid in ["NoOtherKey", "NoOtherEncryption", "NoKeyOfTheWriter"] {
        let each = statement(&policy, sid);
        assert_eq!((&each["Action"], &each["Resource"]), (&json!(["s3:PutObject"]), &json!([objects])), "{sid}");
    }
}

#[test]
fn without_a_tenant_key_no_key_is_named() {
    let policy = for_bucket(&spec(WantedEncryption::ProviderManaged { consented: true }));
    let sids: Vec<&Value> = policy["Statement"].as_array().unwrap().iter().map(|statement| &statement["Sid"]).collect();
    assert_eq!(sids, ["TlsOnly", "NoKeyOfTheWriter"]);
}

#[test]
fn hostile_names_stay_inside_their_strings() {
    let hostile = r#"x"],"Effect":"Allow","Principal":"*"},{"Action":["s3:*"#;
    let policy = Document::of(denials(hostile, Some(hostile), Some("*"))).to_json();
    let again: Value = serde_json::from_str(&policy.to_string()).unwrap();
    assert_eq!(again, policy);
    assert_eq!(again["Statement"].as_array().unwrap().len(), 4);
    assert!(again["Statement"].as_array().unwrap().iter().all(|statement| statement["Effect"] == "Deny"));
}

#[test]
fn policies_that_mean_the_same_are_equal() {
    let ours = for_bucket(&spec(WantedEncryption::TenantKey));
    let mut theirs = ours.clone();
    theirs["Version"] = json!("2008-10-17");
    theirs["Id"] = json!("stored");
    let statements = theirs["Statement"].as_array_mut().unwrap();
    statements.reverse();
    for statement in statements {
        statement.as_object_mut().unwrap().remove("Sid");
        statement["Principal"] = json!({"AWS": ["*"]});
        statement["Resource"].as_array_mut().unwrap().reverse();
        if statement["Action"] == json!(["s3:*"]) {
            statement["Action"] = json!("s3:*");
            statement["Condition"] = json!({"Bool": {"aws:SecureTransport": [false]}});
        }
    }
    assert_eq!(comparable(&ours), comparable(&theirs));
}

#[test]
fn any_change_of_meaning_is_seen() {
    let ours = for_bucket(&spec(WantedEncryption::TenantKey));
    let changes: [fn(&mut Value); 7] = [
        |policy| policy["Statement"][0]["Effect"] = json!("Allow"),
        |policy| policy["Statement"][0]["Principal"] = json!({"AWS": ["arn:aws:iam::1:root"]}),
        |policy| policy["Statement"][0]["Action"] = json!("s3:GetObject"),
        |policy| policy["Statement"][2]["Resource"] = json!("arn:aws:s3:::another/*"),
        |policy| policy["Statement"][2]["Condition"]["StringNotEquals"] = json!({}),
        |policy| drop(policy["Statement"].as_array_mut().unwrap().pop()),
        |policy| {
            policy["Statement"]
                .as_array_mut()
                .unwrap()
                .push(json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}));
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut theirs = ours.clone();
        change(&mut theirs);
        assert_ne!(comparable(&ours), comparable(&theirs), "change {number}");
    }
}

#[test]
fn a_document_without_statements_is_no_policy() {
    for empty in [json!({}), json!({"Statement": []}), json!("text"), json!(null)] {
        assert_eq!(comparable(&empty), None, "{empty}");
    }
}
