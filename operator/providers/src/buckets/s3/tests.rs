//! Tests of the adapter against a store that keeps whatever it is told, in the form in which S3 gives it back: the store that
//! offers everything. What real stores do is tried by the end-to-end tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;

use super::*;
use crate::{
    buckets::{Attribute, DefaultEncryption, Purpose},
    external::{ensure, ensure_gone, ensure_released},
    fault::{Class, reasons},
    owner::{Identity, Installation, tags},
};

mod lifecycle;

/// The answer to a write of this subresource whose body has this word.
#[derive(Clone, Copy)]
struct TakesNot {
    subresource: &'static str,
    word: &'static str,
    status: u16,
    code: &'static str,
}

/// What the store was told, by subresource (`""` is the bucket itself), and every write in order.
#[derive(Clone, Default)]
struct Store {
    kept: Arc<Mutex<BTreeMap<String, String>>>,
    writes: Arc<Mutex<Vec<String>>>,
    refuses: Arc<Mutex<Option<(u16, &'static str)>>>,
    /// What it does not take in the body of a write.
    takes_not: Arc<Mutex<Option<TakesNot>>>,
    /// What it takes and does not keep.
    forgets: Arc<Mutex<Option<&'static str>>>,
    asked: Arc<Mutex<u32>>,
}

/// Code of a subresource that is not set.
fn absent(subresource: &str) -> &'static str {
    match subresource {
        "tagging" => "NoSuchTagSet",
        "encryption" => "ServerSideEncryptionConfigurationNotFoundError",
        "policy" => "NoSuchBucketPolicy",
        "publicAccessBlock" => "NoSuchPublicAccessBlockConfiguration",
        "lifecycle" => "NoSuchLifecycleConfiguration",
        _ => "NoSuchBucket",
    }
}

impl Store {
    fn buckets(&self) -> S3Buckets {
        let store = self.clone();
        let config = S3Config {
            endpoint: "https://s3.example".to_owned(),
            region: "site-a".to_owned(),
            ca_bundle: None,
            access_key_id: "us".to_owned(),
            secret_access_key: "canary".to_owned().into(),
            key_server: None,
        };
        S3Buckets::over(&config, infallible_client_fn(move |request| store.answer(&request))).unwrap()
    }

    fn answer(&self, request: &http::Request<SdkBody>) -> http::Response<SdkBody> {
        let reply =
            |status: u16, body: String| http::Response::builder().status(status).body(SdkBody::from(body)).unwrap();
        let error = |status: u16, code: &str| {
            reply(status, format!("<Error><Code>{code}</Code><Message>said</Message></Error>"))
        };
        *self.asked.lock().unwrap() += 1;
        if let Some((status, code)) = *self.refuses.lock().unwrap() {
            return error(status, code);
        }
        let query = request.uri().query().unwrap_or_default();
        let subresource = query.split('&').next().unwrap_or_default().trim_end_matches('=').to_owned();
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let mut kept = self.kept.lock().unwrap();
        let subresource = if subresource.starts_with("x-id") { String::new() } else { subresource };
        match request.method().as_str() {
            "PUT" => {
                let takes_not = *self.takes_not.lock().unwrap();
                let applies = |it: &TakesNot| it.subresource == subresource && body.contains(it.word);
                if let Some(TakesNot { status, code, .. }) = takes_not.filter(applies) {
                    return error(status, code);
                }
                self.writes.lock().unwrap().push(subresource.clone());
                if self.forgets.lock().unwrap().is_none_or(|it| it != subresource) {
                    kept.insert(subresource, body);
                }
                reply(200, String::new())
            }
            "DELETE" if !subresource.is_empty() => {
                self.writes.lock().unwrap().push(format!("removed {subresource}"));
                kept.remove(&subresource);
                reply(204, String::new())
            }
            "DELETE" => {
                self.writes.lock().unwrap().push("removed".to_owned());
                kept.clear();
                reply(204, String::new())
            }
            _ => match (subresource.as_str(), kept.get(&subresource)) {
                (_, Some(body)) => reply(200, body.clone()),
                ("versioning", None) => reply(200, "<VersioningConfiguration/>".to_owned()),
                ("versions", None) => reply(200, "<ListVersionsResult/>".to_owned()),
                ("uploads", None) => reply(200, "<ListMultipartUploadsResult/>".to_owned()),
                (other, None) => error(404, absent(other)),
            },
        }
    }

    fn kept(&self, subresource: &str) -> String {
        self.kept.lock().unwrap().get(subresource).cloned().unwrap_or_default()
    }

    fn set(&self, subresource: &str, body: &str) {
        self.kept.lock().unwrap().insert(subresource.to_owned(), body.to_owned());
    }

    fn refuse_in(&self, subresource: &'static str, word: &'static str, status: u16, code: &'static str) {
        *self.takes_not.lock().unwrap() = Some(TakesNot { subresource, word, status, code });
    }

    fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.writes.lock().unwrap())
    }
}

fn spec() -> BucketSpec {
    BucketSpec {
        installation: Installation::new("prod").unwrap(),
        tenant: Identity::new("11111111-1111-4111-8111-111111111111").unwrap(),
        workspace: Identity::new("22222222-2222-4222-8222-222222222222").unwrap(),
        purpose: Purpose::Data,
        encryption: WantedEncryption::ProviderManaged { consented: true },
        lifecycle: None,
    }
}

#[tokio::test]
async fn a_store_that_offers_everything_is_told_everything_once() {
    let store = Store::default();
    let buckets = store.buckets();
    let made = ensure(&buckets, &spec()).await.unwrap();
    assert_eq!(made.lacking, BTreeSet::new());
    assert!(made.settings.public_access_blocked && made.settings.uploads_expire && made.settings.versioning);
    assert_eq!(made.settings.encryption, DefaultEncryption::ProviderManaged);
    assert_eq!(
        store.written(),
        ["", "tagging", "encryption", "versioning", "publicAccessBlock", "policy", "lifecycle"]
    );
    ensure(&buckets, &spec()).await.unwrap();
    assert_eq!(store.written(), Vec::<String>::new(), "a second time nothing is written");
}

#[tokio::test]
async fn a_bucket_is_made_in_its_region_and_with_its_marks() {
    let store = Store::default();
    store.buckets().create(&spec()).await.unwrap();
    let body = store.kept("");
    assert!(body.contains("<LocationConstraint>site-a</LocationConstraint>"), "{body}");
    assert!(
        body.contains("<Key>steading.dev/owner</Key><Value>22222222-2222-4222-8222-222222222222</Value>"),
        "{body}"
    );
}

#[tokio::test]
async fn a_switch_that_is_only_half_on_is_drift() {
    let store = Store::default();
    let buckets = store.buckets();
    ensure(&buckets, &spec()).await.unwrap();
    store.written();
    let half = store.kept("publicAccessBlock").replace("<IgnorePublicAcls>true", "<IgnorePublicAcls>false");
    store.set("publicAccessBlock", &half);
    let seen = buckets.observe(&spec()).await.unwrap().unwrap();
    assert_eq!(drift(&spec(), &seen), [Attribute::PublicAccess]);
    ensure(&buckets, &spec()).await.unwrap();
    assert_eq!(store.written(), ["publicAccessBlock"]);
}

#[tokio::test]
async fn other_peoples_lifecycle_rules_and_tags_stay() {
    let store = Store::default();
    let buckets = store.buckets();
    ensure(&buckets, &spec()).await.unwrap();
    let theirs = "<Rule><ID>archive</ID><Status>Enabled</Status><Filter><Prefix>pg/</Prefix></Filter>\
                  <Expiration><Days>30</Days></Expiration></Rule>";
    store.set("lifecycle", &format!("<LifecycleConfiguration>{theirs}</LifecycleConfiguration>"));
    let tagging =
        store.kept("tagging").replace("<TagSet>", "<TagSet><Tag><Key>cost-centre</Key><Value>7</Value></Tag>");
    store.set("tagging", &tagging);
    ensure(&buckets, &spec()).await.unwrap();
    ensure_released(&buckets, &spec()).await.unwrap();
    let lifecycle = store.kept("lifecycle");
    assert!(lifecycle.contains("archive") && lifecycle.contains("steading-abort-uploads"), "{lifecycle}");
    let tagging = store.kept("tagging");
    assert!(tagging.contains("cost-centre") && tagging.contains(tags::RELEASED), "{tagging}");
    ensure(&buckets, &spec()).await.unwrap();
    let tagging = store.kept("tagging");
    assert!(tagging.contains("cost-centre") && !tagging.contains(tags::RELEASED), "{tagging}");
}

#[tokio::test]
async fn a_rule_for_a_part_of_the_bucket_or_turned_off_does_not_count() {
    let store = Store::default();
    let buckets = store.buckets();
    ensure(&buckets, &spec()).await.unwrap();
    let ours = store.kept("lifecycle");
    for (from, to) in
        [("<Prefix></Prefix>", "<Prefix>logs/</Prefix>"), ("Enabled", "Disabled"), ("7</DaysAfter", "8</DaysAfter")]
    {
        let changed = ours.replace("<Prefix/>", "<Prefix></Prefix>").replace(from, to);
        assert!(changed.contains(to), "{changed}");
        store.set("lifecycle", &changed);
        let seen = buckets.observe(&spec()).await.unwrap().unwrap();
        assert_eq!(drift(&spec(), &seen), [Attribute::UploadExpiry], "{to}");
    }
}

#[tokio::test]
async fn a_policy_that_is_no_json_is_drift_and_not_a_failure() {
    let store = Store::default();
    let buckets = store.buckets();
    ensure(&buckets, &spec()).await.unwrap();
    store.set("policy", "{");
    assert_eq!(drift(&spec(), &buckets.observe(&spec()).await.unwrap().unwrap()), [Attribute::Policy]);
}

#[tokio::test]
async fn an_empty_bucket_of_ours_is_removed_in_one_call() {
    let store = Store::default();
    let buckets = store.buckets();
    ensure(&buckets, &spec()).await.unwrap();
    store.written();
    ensure_gone(&buckets, &spec()).await.unwrap();
    assert_eq!(store.written(), ["removed"]);
}

#[tokio::test]
async fn a_tenants_own_key_needs_a_key_server() {
    let store = Store::default();
    let want = BucketSpec { encryption: WantedEncryption::TenantKey, ..spec() };
    assert_eq!(ensure(&store.buckets(), &want).await.unwrap_err().reason, reasons::INVALID_SPEC);
    assert_eq!(store.written(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_store_answers_to_anything_is_classed_and_never_tried_again_in_here() {
    for (status, code, reason) in [
        (503, "SlowDown", reasons::THROTTLED),
        (403, "AccessDenied", reasons::DENIED),
        (500, "InternalError", reasons::PROVIDER_UNAVAILABLE),
    ] {
        let store = Store::default();
        *store.refuses.lock().unwrap() = Some((status, code));
        let fault = store.buckets().create(&spec()).await.unwrap_err();
        assert_eq!(fault.reason, reason, "{fault}");
        assert_eq!(fault.class == Class::Transient, status == 500);
        assert_eq!(*store.asked.lock().unwrap(), 1, "the caller waits and tries again, not the adapter");
        assert!(fault.message.contains(&spec().name()) && !fault.message.contains("canary"), "{fault}");
    }
}
