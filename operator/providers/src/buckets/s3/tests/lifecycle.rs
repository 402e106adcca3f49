//! Our lifecycle rules beside those of others, as a store keeps them and as it gives them back.

use super::*;
use crate::buckets::{Archive, Lifecycle, Told};

fn backups(keep_deleted: u16, archive: Option<(u16, &str)>) -> BucketSpec {
    let archive = archive.map(|(after, class)| Archive { after, storage_class: class.to_owned() });
    BucketSpec { purpose: Purpose::Backup, lifecycle: Some(Lifecycle { keep_deleted, archive }), ..spec() }
}

fn configuration(rules: &str) -> String {
    format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")
}

fn rule(id: &str, status: &str, filter: &str, actions: &str) -> String {
    format!("<Rule><ID>{id}</ID><Status>{status}</Status>{filter}{actions}</Rule>")
}

async fn drift_of(store: &Store, want: &BucketSpec) -> Vec<Attribute> {
    drift(want, &store.buckets().observe(want).await.unwrap().unwrap())
}

async fn conflict_of(store: &Store, want: &BucketSpec) -> Option<crate::fault::Fault> {
    let buckets = crate::buckets::Buckets::S3(store.buckets());
    let seen = buckets.observe(want).await.unwrap().unwrap();
    buckets.conflict(want, &seen)
}

#[tokio::test]
async fn what_grows_old_in_a_bucket_of_backups_expires_and_moves_as_wanted_and_elsewhere_stays() {
    let store = Store::default();
    let want = backups(7, Some((30, "STANDARD_IA")));
    let made = ensure(&store.buckets(), &want).await.unwrap();
    assert_eq!(made.lacking, BTreeSet::new());
    assert_eq!(made.settings.lifecycle.keep_deleted, Told::Says(7));
    let kept = store.kept("lifecycle");
    for said in [
        "<NoncurrentDays>7</NoncurrentDays>",
        "<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>",
        "<Days>30</Days><StorageClass>STANDARD_IA</StorageClass>",
        "steading-abort-uploads",
    ] {
        assert!(kept.contains(said), "{said}: {kept}");
    }
    store.written();
    ensure(&store.buckets(), &want).await.unwrap();
    assert_eq!(store.written(), Vec::<String>::new(), "a second time nothing is written");

    let store = Store::default();
    ensure(&store.buckets(), &spec()).await.unwrap();
    let kept = store.kept("lifecycle");
    assert!(!kept.contains("Noncurrent") && !kept.contains("Transition"), "{kept}");
}

#[tokio::test]
async fn a_class_that_changed_changes_only_the_rule_that_it_is_about() {
    let store = Store::default();
    let before = backups(7, Some((30, "STANDARD_IA")));
    ensure(&store.buckets(), &before).await.unwrap();
    for (want, differs, gone) in [
        (backups(9, Some((30, "STANDARD_IA"))), vec![Attribute::VersionExpiry], "<NoncurrentDays>7"),
        (backups(9, Some((31, "STANDARD_IA"))), vec![Attribute::Archive], "<Days>30"),
        (backups(9, Some((31, "GLACIER_IR"))), vec![Attribute::Archive], "STANDARD_IA"),
        (backups(9, None), vec![Attribute::Archive], "steading-archive"),
    ] {
        assert_eq!(drift_of(&store, &want).await, differs);
        store.written();
        ensure(&store.buckets(), &want).await.unwrap();
        assert_eq!(store.written(), ["lifecycle"]);
        let kept = store.kept("lifecycle");
        assert!(!kept.contains(gone) && kept.contains("steading-abort-uploads"), "{kept}");
    }
}

#[tokio::test]
async fn our_rule_counts_only_as_we_would_write_it() {
    let store = Store::default();
    let want = backups(7, Some((30, "STANDARD_IA")));
    ensure(&store.buckets(), &want).await.unwrap();
    let ours = store.kept("lifecycle").replace("<Prefix/>", "<Prefix></Prefix>");
    let (versions, archive) = (Attribute::VersionExpiry, Attribute::Archive);
    for (from, to, differs) in [
        ("<NoncurrentDays>7<", "<NoncurrentDays>6<", vec![versions]),
        (
            "<NoncurrentDays>7<",
            "<NewerNoncurrentVersions>3</NewerNoncurrentVersions><NoncurrentDays>7<",
            vec![versions],
        ),
        ("DeleteMarker>true<", "DeleteMarker>false<", vec![versions]),
        ("<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>", "<Days>9</Days>", vec![versions]),
        ("<Days>30<", "<Days>29<", vec![archive]),
        ("STANDARD_IA", "GLACIER", vec![archive]),
        ("<Prefix></Prefix>", "<Prefix>logs/</Prefix>", vec![Attribute::UploadExpiry, versions, archive]),
        ("Enabled", "Disabled", vec![Attribute::UploadExpiry, versions, archive]),
        ("<Filter><Prefix></Prefix></Filter>", "<Filter></Filter>", vec![]),
        ("<Filter><Prefix></Prefix></Filter>", "<Prefix></Prefix>", vec![]),
        (
            "<Filter><Prefix></Prefix></Filter>",
            "<Prefix>logs/</Prefix>",
            vec![Attribute::UploadExpiry, versions, archive],
        ),
        (
            "<Filter><Prefix></Prefix></Filter>",
            "<Filter><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan></Filter>",
            vec![Attribute::UploadExpiry, versions, archive],
        ),
    ] {
        let changed = ours.replace(from, to);
        assert_ne!(changed, ours, "{from}");
        store.set("lifecycle", &changed);
        assert_eq!(drift_of(&store, &want).await, differs, "{to}");
        ensure(&store.buckets(), &want).await.unwrap();
        assert_eq!(drift_of(&store, &want).await, [], "{to}");
    }
}

#[tokio::test]
async fn a_rule_of_ours_that_is_wanted_no_more_goes_though_it_was_garbled() {
    let store = Store::default();
    let want = backups(7, None);
    ensure(&store.buckets(), &want).await.unwrap();
    let garbled = rule("steading-archive", "Disabled", "<Filter><Prefix>a/</Prefix></Filter>", "");
    let kept =
        store.kept("lifecycle").replace("</LifecycleConfiguration>", &format!("{garbled}</LifecycleConfiguration>"));
    store.set("lifecycle", &kept);
    assert_eq!(drift_of(&store, &want).await, [Attribute::Archive]);
    ensure(&store.buckets(), &want).await.unwrap();
    assert!(!store.kept("lifecycle").contains("steading-archive"));
}

#[tokio::test]
async fn rules_of_others_are_kept_and_told_if_backups_would_go_or_move_by_them() {
    let (on, all) = ("Enabled", "<Filter><Prefix/></Filter>");
    let part = "<Filter><Prefix>finance/</Prefix></Filter>";
    let moves = "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>";
    let drops = |days| {
        format!("<NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays></NoncurrentVersionExpiration>")
    };
    let uploads =
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>9</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    for (theirs, harmful) in [
        (rule("theirs", on, all, "<Expiration><Days>30</Days></Expiration>"), true),
        (rule("theirs", on, part, "<Expiration><Date>2027-01-01T00:00:00Z</Date></Expiration>"), true),
        (rule("theirs", on, part, moves), true),
        (rule("theirs", on, all, &drops(6)), true),
        (rule("theirs", on, all, &drops(7)), false),
        (rule("theirs", "Disabled", all, moves), false),
        (rule("theirs", on, all, uploads), false),
        (
            rule(
                "theirs",
                on,
                all,
                "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
            ),
            false,
        ),
    ] {
        let store = Store::default();
        let want = backups(7, None);
        ensure(&store.buckets(), &want).await.unwrap();
        store.set("lifecycle", &configuration(&theirs));
        ensure(&store.buckets(), &want).await.unwrap();
        let kept = store.kept("lifecycle");
        assert!(kept.contains("theirs") && kept.contains("steading-expire-versions"), "{kept}");
        let conflict = conflict_of(&store, &want).await;
        assert_eq!(conflict.is_some(), harmful, "{theirs}");
        if let Some(fault) = conflict {
            assert_eq!(fault.reason, reasons::LIFECYCLE_CONFLICT);
            for told in ["`theirs`", &want.name(), "https://s3.example"] {
                assert!(fault.message.contains(told), "{fault}");
            }
        }
        let data = spec();
        assert_eq!(drift_of(&store, &BucketSpec { purpose: Purpose::Backup, ..data.clone() }).await, []);
        assert_eq!(
            conflict_of(&store, &BucketSpec { purpose: Purpose::Backup, ..data }).await,
            None,
            "not ours to judge"
        );
    }
}

#[tokio::test]
async fn a_class_of_storage_that_the_store_does_not_take_is_told_and_holds_up_nothing_else() {
    // MinIO's answer, and that of S3 to fewer days than it wants of that class.
    for (status, code) in [(400, "InvalidStorageClass"), (400, "InvalidArgument"), (501, "NotImplemented")] {
        let store = Store::default();
        store.refuse_in("lifecycle", "WARM", status, code);
        let want = backups(7, Some((14, "WARM")));
        let fault = ensure(&store.buckets(), &want).await.unwrap_err();
        assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::STORAGE_CLASS_REFUSED), "{fault}");
        for told in ["`WARM`", "14 days", &want.name(), "https://s3.example", code, "archive in the TenantClass"] {
            assert!(fault.message.contains(told), "{fault}");
        }
        assert_eq!(drift_of(&store, &want).await, [Attribute::Archive], "the other rules stand");
        // The way out.
        ensure(&store.buckets(), &backups(7, None)).await.unwrap();
    }
}

#[tokio::test]
async fn a_class_of_storage_that_went_away_does_not_hold_up_the_change_that_leaves_it() {
    let store = Store::default();
    ensure(&store.buckets(), &backups(7, Some((14, "WARM")))).await.unwrap();
    store.refuse_in("lifecycle", "WARM", 400, "InvalidStorageClass");
    ensure(&store.buckets(), &backups(9, None)).await.unwrap();
    assert_eq!(drift_of(&store, &backups(9, None)).await, []);
}

#[tokio::test]
async fn a_store_that_is_merely_down_has_refused_no_class_of_storage() {
    let store = Store::default();
    ensure(&store.buckets(), &backups(7, None)).await.unwrap();
    store.refuse_in("lifecycle", "WARM", 503, "ServiceUnavailable");
    let fault = ensure(&store.buckets(), &backups(7, Some((14, "WARM")))).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Transient, reasons::PROVIDER_UNAVAILABLE));
}

#[tokio::test]
async fn a_store_without_rules_for_older_versions_is_used_without_them_and_asked_once() {
    let store = Store::default();
    store.refuse_in("lifecycle", "Noncurrent", 400, "MalformedXML");
    let buckets = store.buckets();
    let made = ensure(&buckets, &backups(7, None)).await.unwrap();
    assert_eq!(made.lacking, BTreeSet::from([Feature::VersionExpiry]));
    store.written();
    let asked = *store.asked.lock().unwrap();
    ensure(&buckets, &backups(7, None)).await.unwrap();
    assert_eq!(store.written(), Vec::<String>::new());
    assert_eq!(*store.asked.lock().unwrap(), asked + 7, "one look, and no try");
}

#[tokio::test]
async fn a_store_that_takes_rules_and_forgets_them_lacks_them() {
    let store = Store::default();
    *store.forgets.lock().unwrap() = Some("lifecycle");
    let made = ensure(&store.buckets(), &backups(7, None)).await.unwrap();
    assert_eq!(made.lacking, BTreeSet::from([Feature::UploadExpiry, Feature::VersionExpiry]));
    let fault = ensure(&store.buckets(), &backups(7, Some((14, "WARM")))).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::STORAGE_CLASS_REFUSED));
    assert!(fault.message.contains("does not show it"), "{fault}");
}

#[tokio::test]
async fn the_last_rule_is_taken_away_with_the_configuration() {
    let store = Store::default();
    let buckets = store.buckets();
    buckets.learn_lack(Feature::UploadExpiry);
    buckets.learn_lack(Feature::VersionExpiry);
    ensure(&buckets, &backups(7, Some((14, "WARM")))).await.unwrap();
    store.written();
    ensure(&buckets, &backups(7, None)).await.unwrap();
    assert_eq!(store.written(), ["removed lifecycle"]);
    assert_eq!(store.kept("lifecycle"), "");
}
