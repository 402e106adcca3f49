//! Tests of the session's policy, by what its statements say rather than by their text.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::*;
use crate::buckets::Purpose;

fn spec(access: Access) -> IdentitySpec {
    IdentitySpec {
        bucket: "steading-blue".to_owned(),
        purpose: Purpose::Data,
        key_name: Some("s-prod-green".to_owned()),
        access,
        session_name: "finance".to_owned(),
        life: Duration::from_mins(15),
        revocable_as: None,
    }
}

/// All that the policy grants: action and resource.
fn granted(policy: &Value) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|statement| statement["Effect"] == "Allow")
        .flat_map(|statement| {
            let resource = text(&statement["Resource"][0]);
            statement["Action"]
                .as_array()
                .unwrap()
                .iter()
                .map(move |action| (text(action), resource.clone()))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_reader_is_granted_looking_and_reading_in_one_bucket() {
    let (bucket, objects) = ("arn:aws:s3:::steading-blue", "arn:aws:s3:::steading-blue/*");
    let wanted = [
        ("s3:GetBucketLocation", bucket),
        ("s3:ListBucket", bucket),
        ("s3:ListBucketVersions", bucket),
        ("s3:GetObject", objects),
        ("s3:GetObjectVersion", objects),
    ];
    let wanted: BTreeSet<(String, String)> =
        wanted.iter().map(|(action, on)| ((*action).to_owned(), (*on).to_owned())).collect();
    assert_eq!(granted(&for_session(&spec(Access::Read))), wanted);
}

#[test]
fn a_writer_is_granted_five_rights_more_and_none_over_older_versions_or_the_bucket() {
    let policy = for_session(&spec(Access::ReadWrite));
    let more: BTreeSet<String> = granted(&policy)
        .difference(&granted(&for_session(&spec(Access::Read))))
        .map(|(action, _)| action.clone())
        .collect();
    let wanted = [
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
        "s3:ListBucketMultipartUploads",
    ];
    assert_eq!(more, wanted.map(str::to_owned).into());
    assert!(!policy.to_string().contains("DeleteObjectVersion"));
}

#[test]
fn every_session_is_held_to_tls_and_to_the_one_key() {
    for access in [Access::Read, Access::ReadWrite] {
        let policy = for_session(&spec(access));
        let denials: Vec<&Value> =
            policy["Statement"].as_array().unwrap().iter().filter(|each| each["Effect"] == "Deny").collect();
        assert_eq!(denials.len(), 4);
        assert!(denials.iter().all(|each| each.get("Principal").is_none()), "the policy of a session names nobody");
        assert_eq!(denials[0]["Condition"], json!({"Bool": {"aws:SecureTransport": "false"}}));
        let key = &denials[2]["Condition"]["StringNotEquals"]["s3:x-amz-server-side-encryption-aws-kms-key-id"];
        assert_eq!(key, "s-prod-green");
    }
}

#[test]
fn no_statement_reaches_beyond_the_bucket() {
    let policy = for_session(&spec(Access::ReadWrite));
    for statement in policy["Statement"].as_array().unwrap() {
        for resource in statement["Resource"].as_array().unwrap() {
            let resource = resource.as_str().unwrap();
            assert!(
                resource == "arn:aws:s3:::steading-blue" || resource == "arn:aws:s3:::steading-blue/*",
                "{resource}"
            );
        }
    }
}

#[test]
fn a_name_that_could_widen_the_policy_is_refused() {
    for hostile in ["*", "steading-*", "a/b", "A", "", "ab", "steading-blue/*", "${aws:username}", &"a".repeat(64)] {
        let spec = IdentitySpec { bucket: hostile.to_owned(), ..spec(Access::Read) };
        assert!(spec.check().is_err(), "{hostile}");
    }
    for hostile in ["", "a", "a b", "a\nb", &"a".repeat(65), "é€"] {
        let spec = IdentitySpec { session_name: hostile.to_owned(), ..spec(Access::Read) };
        assert!(spec.check().is_err(), "{hostile:?}");
    }
}

#[test]
fn an_identity_lives_fifteen_minutes_to_an_hour_and_one_for_backups_to_a_week() {
    for (seconds, data, backup) in [
        (0, false, false),
        (899, false, false),
        (900, true, true),
        (3600, true, true),
        (3601, false, true),
        (604_800, false, true),
        (604_801, false, false),
    ] {
        for (purpose, legal) in [(Purpose::Data, data), (Purpose::Backup, backup)] {
            let spec = IdentitySpec { life: Duration::from_secs(seconds), purpose, ..spec(Access::Read) };
            assert_eq!(spec.check().is_ok(), legal, "{purpose:?} {seconds} s");
        }
    }
}

#[test]
fn an_identity_that_can_be_ended_before_lives_up_to_a_day() {
    let of = |seconds, name: &str| {
        let life = Duration::from_secs(seconds);
        IdentitySpec { life, revocable_as: Some(name.to_owned()), ..spec(Access::Read) }.check().is_ok()
    };
    assert!(of(86_400, "billing-1") && !of(86_401, "billing-1"));
    for hostile in ["", "a b", "a&Policy=x", "A", "a\n", &"a".repeat(65)] {
        assert!(!of(900, hostile), "{hostile:?}");
    }
}
