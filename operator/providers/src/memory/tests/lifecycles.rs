//! What the store does with what grows old in a bucket of backups, whatever strangers and the store make of it.

use super::*;
use crate::buckets::{Archive, Feature, Lifecycle, Told};

fn backups(keep_deleted: u16, archive: Option<(u16, &str)>) -> BucketSpec {
    let archive = archive.map(|(after, class)| Archive { after, storage_class: class.to_owned() });
    BucketSpec { purpose: Purpose::Backup, lifecycle: Some(Lifecycle { keep_deleted, archive }), ..bucket_of(FINANCE) }
}

#[tokio::test]
async fn each_wish_about_what_grows_old_is_seen_by_name_and_honoured_on_a_bucket_that_is_there() {
    let world = World::new();
    let buckets = buckets(&world);
    let data = BucketSpec { purpose: Purpose::Backup, ..bucket_of(FINANCE) };
    ensure(&buckets, &data).await.unwrap();
    for (want, differs) in [
        (backups(7, None), vec![Attribute::VersionExpiry]),
        (backups(7, None), vec![]),
        (backups(9, None), vec![Attribute::VersionExpiry]),
        (backups(9, Some((14, "WARM"))), vec![Attribute::Archive]),
        (backups(9, Some((15, "WARM"))), vec![Attribute::Archive]),
        (backups(9, Some((15, "COLD"))), vec![Attribute::Archive]),
        (backups(1, None), vec![Attribute::VersionExpiry, Attribute::Archive]),
    ] {
        assert_eq!(drift(&want, &buckets.observe(&want).await.unwrap().unwrap()), differs, "{:?}", want.lifecycle);
        let seen = ensure(&buckets, &want).await.unwrap();
        assert_eq!(drift(&want, &seen), [], "{:?}", want.lifecycle);
    }
}

#[tokio::test]
async fn a_rule_that_a_stranger_garbled_is_drift_also_where_none_is_wanted() {
    let world = World::new();
    let buckets = buckets(&world);
    let want = backups(7, None);
    ensure(&buckets, &want).await.unwrap();
    world.tamper_bucket(&want.name(), |bucket| {
        bucket.settings.lifecycle.keep_deleted = Told::Garbled;
        bucket.settings.lifecycle.archive = Told::Garbled;
    });
    let seen = buckets.observe(&want).await.unwrap().unwrap();
    assert_eq!(drift(&want, &seen), [Attribute::VersionExpiry, Attribute::Archive]);
    assert_eq!(drift(&want, &ensure(&buckets, &want).await.unwrap()), []);
}

#[tokio::test]
async fn a_class_of_storage_that_the_store_lacks_is_told_after_everything_else_was_done() {
    let world = World::new();
    world.refuse_storage_class("WARM");
    let want = backups(7, Some((14, "WARM")));
    let fault = ensure(&buckets(&world), &want).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::STORAGE_CLASS_REFUSED));
    assert!(fault.message.contains("WARM") && fault.message.contains(&want.name()), "{fault}");
    let seen = buckets(&world).observe(&want).await.unwrap().unwrap();
    assert_eq!(drift(&want, &seen), [Attribute::Archive], "everything else is as it must be");
    world.offer_storage_class("WARM");
    ensure(&buckets(&world), &want).await.unwrap();
}

#[tokio::test]
async fn a_store_that_drops_no_older_versions_is_used_without_that_and_says_so() {
    let world = World::new();
    let poor = MemoryBuckets::new(&world).lacking([Feature::VersionExpiry]);
    let made = ensure(&poor, &backups(7, None)).await.unwrap();
    assert_eq!(made.settings.lifecycle.keep_deleted, Told::Absent);
    assert!(made.lacking.contains(&Feature::VersionExpiry));
}

#[tokio::test]
async fn rules_of_others_that_harm_backups_are_told_by_name_and_left_alone() {
    let world = World::new();
    let buckets = buckets(&world);
    let want = backups(7, None);
    let seen = ensure(&buckets, &want).await.unwrap();
    assert_eq!(buckets.conflict(&want, &seen), None);
    world.tamper_bucket(&want.name(), |bucket| {
        bucket.settings.lifecycle.harmful = ["tidy", "b", "c", "d", "e"].map(str::to_owned).into();
    });
    let before = world.buckets();
    let seen = ensure(&buckets, &want).await.unwrap();
    let fault = buckets.conflict(&want, &seen).unwrap();
    assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::LIFECYCLE_CONFLICT));
    for told in [&want.name(), "`b`, `c`, `d`, 2 more"] {
        assert!(fault.message.contains(told), "{fault}");
    }
    assert_eq!(world.buckets(), before);
}
