//! The protocol over the world in memory: whatever fails, whenever, calling again ends with exactly one thing of ours, as wanted, and
//! nothing of anybody else's changed.

use std::{collections::BTreeMap, future::Future, time::Duration};

mod crashes;
mod identities;
mod lifecycles;
mod stores;

use super::*;
use crate::{
    buckets::{Attribute, BucketSpec, Buckets, DefaultEncryption, Purpose, WantedEncryption, drift},
    external::{External, ROUNDS, ensure, ensure_gone, ensure_released},
    fault::{Class, Fault, reasons},
    keys::{KeySpec, Keys, RotateOnce},
    owner::{Identity, Installation, tags},
};

const ACME: &str = "11111111-1111-4111-8111-111111111111";
const FINANCE: &str = "22222222-2222-4222-8222-222222222222";
const SALES: &str = "33333333-3333-4333-8333-333333333333";

fn key() -> KeySpec {
    KeySpec {
        installation: Installation::new("prod").unwrap(),
        tenant: Identity::new(ACME).unwrap(),
        rotation_period: Duration::from_hours(24),
        rotate: None,
    }
}

fn bucket_of(workspace: &str) -> BucketSpec {
    BucketSpec {
        installation: Installation::new("prod").unwrap(),
        tenant: Identity::new(ACME).unwrap(),
        workspace: Identity::new(workspace).unwrap(),
        purpose: Purpose::Data,
        encryption: WantedEncryption::TenantKey,
        lifecycle: None,
    }
}

fn keys(world: &World) -> Keys {
    Keys::Memory(MemoryKeys::new(world))
}

fn buckets(world: &World) -> Buckets {
    Buckets::Memory(MemoryBuckets::new(world))
}

/// Calls again until it succeeds, as the operator does; every fault on the way must be one that heals.
async fn persist<T, F: Future<Output = Result<T, Fault>>>(mut call: impl FnMut() -> F) -> T {
    for _ in 0..20 {
        match call().await {
            Ok(done) => return done,
            Err(fault) => assert_ne!(fault.class, Class::Stalled, "{fault}"),
        }
    }
    panic!("not done after 20 calls");
}

#[tokio::test]
async fn a_key_is_made_once_and_looked_at_afterwards() {
    let world = World::new();
    ensure(&keys(&world), &key()).await.unwrap();
    let writes = world.writes();
    ensure(&keys(&world), &key()).await.unwrap();
    assert_eq!((writes, world.writes()), (1, 1));
    assert_eq!(world.calls(Operation::ObserveKey), 3);
}

#[tokio::test]
async fn a_fresh_bucket_takes_two_writes_and_three_looks() {
    let world = World::new();
    let made = ensure(&buckets(&world), &bucket_of(FINANCE)).await.unwrap();
    assert_eq!(drift(&bucket_of(FINANCE), &made), []);
    assert_eq!((world.writes(), world.calls(Operation::ObserveBucket)), (2, 3));
}

#[tokio::test]
async fn what_lags_is_waited_for_and_not_made_twice() {
    let world = World::new();
    world.lag(4);
    for _ in 0..2 {
        let fault = ensure(&keys(&world), &key()).await.unwrap_err();
        assert_eq!(fault.reason, reasons::CREATING);
        assert!(matches!(fault.class, Class::Waiting { .. }));
        assert!(fault.message.contains(&key().name()), "{fault}");
    }
    assert_eq!(world.calls(Operation::CreateKey), 2, "one call makes a thing at most once");
    ensure(&keys(&world), &key()).await.unwrap();
    assert_eq!(world.keys().len(), 1);
}

#[tokio::test]
async fn what_a_stranger_changes_of_a_key_is_put_back_by_one_write() {
    let changes: [fn(&mut MemoryKey); 3] = [
        |key| key.deletion_allowed = true,
        |key| key.rotation_period = None,
        |key| key.rotation_period = Some(Duration::from_hours(25)),
    ];
    for change in changes {
        let world = World::new();
        ensure(&keys(&world), &key()).await.unwrap();
        let before = world.keys();
        world.tamper_key(&key().name(), change);
        ensure(&keys(&world), &key()).await.unwrap();
        assert_eq!((world.keys(), world.calls(Operation::UpdateKey)), (before, 1));
    }
}

#[tokio::test]
async fn what_a_stranger_changes_of_a_bucket_is_seen_by_name_and_put_back_by_one_write() {
    type Change = fn(&mut MemoryBucket);
    let changes: [(Attribute, Change); 7] = [
        (Attribute::Marks, |bucket| drop(bucket.tags.insert(tags::RELEASED.to_owned(), "true".to_owned()))),
        (Attribute::Encryption, |bucket| bucket.settings.encryption = DefaultEncryption::None),
        (Attribute::Encryption, |bucket| {
            bucket.settings.encryption = DefaultEncryption::Key { name: "another".to_owned() }
        }),
        (Attribute::Versioning, |bucket| bucket.settings.versioning = false),
        (Attribute::PublicAccess, |bucket| bucket.settings.public_access_blocked = false),
        (Attribute::Policy, |bucket| bucket.settings.policy = None),
        (Attribute::UploadExpiry, |bucket| bucket.settings.uploads_expire = false),
    ];
    let want = bucket_of(FINANCE);
    for (attribute, change) in changes {
        let world = World::new();
        let buckets = buckets(&world);
        ensure(&buckets, &want).await.unwrap();
        let (before, updates) = (world.buckets(), world.calls(Operation::UpdateBucket));
        world.tamper_bucket(&want.name(), change);
        assert_eq!(drift(&want, &buckets.observe(&want).await.unwrap().unwrap()), [attribute]);
        ensure(&buckets, &want).await.unwrap();
        assert_eq!((world.buckets(), world.calls(Operation::UpdateBucket)), (before, updates + 1), "{attribute:?}");
    }
}

#[tokio::test]
async fn one_call_writes_a_bounded_number_of_times() {
    let world = World::new();
    let want = bucket_of(FINANCE);
    ensure(&buckets(&world), &want).await.unwrap();
    world.tamper_bucket(&want.name(), |bucket| bucket.objects = 1_000_000);
    let fault = ensure_gone(&buckets(&world), &want).await.unwrap_err();
    assert_eq!(fault.reason, reasons::DELETING);
    assert_eq!(world.calls(Operation::DeleteBucket), ROUNDS as u64);
}

#[tokio::test]
async fn a_bucket_is_emptied_over_several_calls() {
    let world = World::new();
    let want = bucket_of(FINANCE);
    ensure(&buckets(&world), &want).await.unwrap();
    world.tamper_bucket(&want.name(), |bucket| bucket.objects = 7_500);
    persist(async || ensure_gone(&buckets(&world), &want).await).await;
    assert!(world.buckets().is_empty());
}

#[tokio::test]
async fn a_bucket_with_locked_objects_says_so() {
    let world = World::new();
    let want = bucket_of(FINANCE);
    ensure(&buckets(&world), &want).await.unwrap();
    world.tamper_bucket(&want.name(), |bucket| (bucket.objects, bucket.locked) = (10, 2));
    let fault = ensure_gone(&buckets(&world), &want).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::BUCKET_NOT_EMPTY));
    assert_eq!(world.buckets()[&want.name()].objects, 2);
}

#[tokio::test]
async fn a_request_rotates_exactly_once_however_often_the_answer_is_lost() {
    let world = World::new();
    let before = ensure(&keys(&world), &key()).await.unwrap().latest_version;
    let want = KeySpec { rotate: Some(RotateOnce { request: "now".to_owned(), version_before: before }), ..key() };
    world.inject(Injection::on(Operation::UpdateKey).first(3).after_commit());
    let after = persist(async || ensure(&keys(&world), &want).await).await;
    assert_eq!(after.latest_version, 2);
}

#[tokio::test]
async fn a_scheduled_rotation_serves_a_request_that_came_before_it() {
    let world = World::new();
    let before = ensure(&keys(&world), &key()).await.unwrap().latest_version;
    world.advance(Duration::from_hours(25));
    let want = KeySpec { rotate: Some(RotateOnce { request: "now".to_owned(), version_before: before }), ..key() };
    assert_eq!(ensure(&keys(&world), &want).await.unwrap().latest_version, 2);
    assert_eq!(world.calls(Operation::UpdateKey), 0);
}

#[tokio::test]
async fn a_key_that_somebody_else_disabled_stays_disabled_but_ours_comes_back() {
    let world = World::new();
    ensure(&keys(&world), &key()).await.unwrap();
    world.tamper_key(&key().name(), |key| key.enabled = false);
    assert_eq!(ensure(&keys(&world), &key()).await.unwrap_err().reason, reasons::KEY_DISABLED);
    assert!(!world.keys()[&key().name()].enabled);
    ensure_gone(&keys(&world), &key()).await.unwrap();
    assert!(ensure(&keys(&world), &key()).await.unwrap().enabled);
}

#[tokio::test]
async fn an_exportable_key_is_refused_and_left_alone() {
    let world = World::new();
    world.tamper_key(&key().name(), |key| key.exportable = true);
    let before = world.keys();
    assert_eq!(ensure(&keys(&world), &key()).await.unwrap_err().reason, reasons::KEY_UNFIT);
    assert_eq!(ensure_gone(&keys(&world), &key()).await.unwrap_err().reason, reasons::KEY_UNFIT);
    assert_eq!((world.keys(), world.writes()), (before, 0));
}

#[tokio::test]
async fn a_deleted_key_is_disabled_and_never_destroyed() {
    let world = World::new();
    ensure(&keys(&world), &key()).await.unwrap();
    ensure_gone(&keys(&world), &key()).await.unwrap();
    let left = world.keys()[&key().name()].clone();
    assert_eq!((left.enabled, left.rotation_period, left.deletion_allowed), (false, None, false));
    let writes = world.writes();
    ensure_gone(&keys(&world), &key()).await.unwrap();
    assert_eq!(world.writes(), writes, "a key that is gone already is not written to");
}

#[tokio::test]
async fn nothing_is_made_in_order_to_be_released_or_deleted() {
    let world = World::new();
    assert!(ensure_released(&keys(&world), &key()).await.unwrap().is_none());
    assert!(ensure_released(&buckets(&world), &bucket_of(FINANCE)).await.unwrap().is_none());
    ensure_gone(&keys(&world), &key()).await.unwrap();
    ensure_gone(&buckets(&world), &bucket_of(FINANCE)).await.unwrap();
    assert_eq!(world.writes(), 0);
}

#[tokio::test]
async fn a_released_bucket_keeps_everything_but_gets_the_mark() {
    let world = World::new();
    let want = bucket_of(FINANCE);
    ensure(&buckets(&world), &want).await.unwrap();
    world.tamper_bucket(&want.name(), |bucket| bucket.objects = 5);
    let before = world.buckets()[&want.name()].clone();
    ensure_released(&buckets(&world), &want).await.unwrap().unwrap();
    let mut after = world.buckets()[&want.name()].clone();
    assert_eq!(after.tags.remove(tags::RELEASED).as_deref(), Some("true"));
    assert_eq!(after, before);
    assert!(!ensure(&buckets(&world), &want).await.unwrap().released);
}

#[tokio::test]
async fn a_foreign_bucket_is_never_touched() {
    let theirs = BTreeMap::from([(tags::INSTALLATION.to_owned(), "another".to_owned())]);
    let mut policy = MemoryBucket::default();
    policy.settings.policy = Some(serde_json::json!([]));
    for (what, occupant) in [
        ("other marks", MemoryBucket { tags: theirs, ..MemoryBucket::default() }),
        ("no marks, but content", MemoryBucket { objects: 1, ..MemoryBucket::default() }),
        ("no marks, but a policy", policy),
    ] {
        let world = World::new();
        let want = bucket_of(FINANCE);
        world.tamper_bucket(&want.name(), |bucket| *bucket = occupant);
        let before = world.buckets();
        for fault in [
            ensure(&buckets(&world), &want).await.unwrap_err(),
            ensure_released(&buckets(&world), &want).await.unwrap_err(),
            ensure_gone(&buckets(&world), &want).await.unwrap_err(),
        ] {
            assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::FOREIGN), "{what}");
            assert!(fault.message.contains(&want.name()), "{fault}");
        }
        assert_eq!((world.buckets(), world.writes()), (before, 0), "{what}");
    }
}

#[tokio::test]
async fn a_bucket_that_becomes_foreign_between_look_and_write_is_not_written_to() {
    let world = World::new();
    let want = bucket_of(FINANCE);
    let buckets = buckets(&world);
    ensure(&buckets, &want).await.unwrap();
    world.tamper_bucket(&want.name(), |bucket| bucket.settings.versioning = false);
    let seen = buckets.observe(&want).await.unwrap().unwrap();
    world.tamper_bucket(&want.name(), |bucket| drop(bucket.tags.insert(tags::OWNER.to_owned(), SALES.to_owned())));
    let before = world.buckets();
    for fault in [
        buckets.update(&want, &seen).await.unwrap_err(),
        buckets.release(&want, &seen).await.unwrap_err(),
        buckets.delete(&want, &seen).await.unwrap_err(),
    ] {
        assert_eq!(fault.reason, reasons::FOREIGN);
    }
    assert_eq!(world.buckets(), before);
}

#[tokio::test]
async fn a_lost_key_is_not_replaced_by_one_that_cannot_read_the_data() {
    let world = World::new();
    let want = bucket_of(FINANCE);
    ensure(&buckets(&world), &want).await.unwrap();
    world.lose(&want.key_name().unwrap());
    let fault = ensure(&buckets(&world), &want).await.unwrap_err();
    assert_eq!(fault.reason, reasons::KEY_DISABLED);
    assert_eq!(world.bucket_keys(), Vec::<String>::new());
}

#[tokio::test]
async fn without_consent_nothing_is_made_under_the_stores_own_key() {
    let world = World::new();
    let want = BucketSpec { encryption: WantedEncryption::ProviderManaged { consented: false }, ..bucket_of(FINANCE) };
    assert_eq!(ensure(&buckets(&world), &want).await.unwrap_err().reason, reasons::ENCRYPTION_CONSENT_REQUIRED);
    assert!(world.buckets().is_empty());
}

#[tokio::test]
async fn consent_that_was_withdrawn_does_not_keep_a_bucket_from_being_deleted() {
    let world = World::new();
    let agreed = BucketSpec { encryption: WantedEncryption::ProviderManaged { consented: true }, ..bucket_of(FINANCE) };
    ensure(&buckets(&world), &agreed).await.unwrap();
    let withdrawn = BucketSpec { encryption: WantedEncryption::ProviderManaged { consented: false }, ..agreed };
    ensure_gone(&buckets(&world), &withdrawn).await.unwrap();
    assert!(world.buckets().is_empty());
}

#[tokio::test]
async fn a_store_that_lacks_a_feature_is_used_without_it() {
    let world = World::new();
    let poor = MemoryBuckets::new(&world)
        .lacking([crate::buckets::Feature::PublicAccessBlock, crate::buckets::Feature::UploadExpiry]);
    let made = ensure(&poor, &bucket_of(FINANCE)).await.unwrap();
    assert!(!made.settings.public_access_blocked && made.lacking.len() == 2);
}

#[tokio::test]
async fn a_call_is_cut_off_where_it_was_asked_for() {
    let on = Injection::on(Operation::CreateBucket);
    for (cut, left) in [
        (on.clone(), "nothing"),
        (on.clone().after_steps(1), "a bucket without marks"),
        (on.after_commit(), "a bucket with marks"),
    ] {
        let world = World::new();
        world.inject(cut);
        buckets(&world).create(&bucket_of(FINANCE)).await.unwrap_err();
        let found = match world.buckets().values().next() {
            None => "nothing",
            Some(bucket) if bucket.tags.is_empty() => "a bucket without marks",
            Some(_) => "a bucket with marks",
        };
        assert_eq!(found, left);
    }
}

#[tokio::test]
async fn throttling_and_denial_keep_their_class() {
    let world = World::new();
    world.inject(Injection::on(Operation::CreateKey).first(1).throttled(Duration::from_secs(7)));
    world.inject(Injection::on(Operation::CreateKey).nth(2).denied());
    assert_eq!(
        ensure(&keys(&world), &key()).await.unwrap_err().class,
        Class::Waiting { after: Duration::from_secs(7) }
    );
    assert_eq!(ensure(&keys(&world), &key()).await.unwrap_err().reason, reasons::DENIED);
    ensure(&keys(&world), &key()).await.unwrap();
}

#[tokio::test]
async fn a_fault_for_one_identity_leaves_the_others_alone() {
    let world = World::new();
    world.inject(Injection::on(Operation::CreateBucket).identity(FINANCE));
    ensure(&buckets(&world), &bucket_of(SALES)).await.unwrap();
    ensure(&buckets(&world), &bucket_of(FINANCE)).await.unwrap_err();
    world.heal();
    ensure(&buckets(&world), &bucket_of(FINANCE)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_can_be_given_up() {
    let world = World::new();
    world.inject(Injection::on(Operation::ObserveKey).hangs().nth(1));
    assert!(tokio::time::timeout(Duration::from_secs(30), ensure(&keys(&world), &key())).await.is_err());
    ensure(&keys(&world), &key()).await.unwrap();
}
