//! Buckets in a real MinIO with a real KES.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_s3::{
    error::ProvideErrorMetadata as _,
    primitives::ByteStream,
    types::{
        BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration, LifecycleRule,
        LifecycleRuleFilter, ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
        ServerSideEncryptionRule, Tag, Tagging, VersioningConfiguration,
    },
};
use jiff::Timestamp;
use providers::{
    BucketSpec, Buckets, DefaultEncryption, External as _, Identity, Purpose, S3Buckets, WantedEncryption,
    buckets::{Archive, Attribute, Feature, Lifecycle, Told, drift},
    ensure, ensure_gone, ensure_released, reasons,
};

use crate::world::{Store, bucket_of, eventually, identity};

struct World {
    store: Store,
    buckets: S3Buckets,
    root: aws_sdk_s3::Client,
}

impl World {
    async fn start() -> Self {
        let store = Store::start().await;
        let buckets = S3Buckets::new(&store.config()).unwrap();
        let root = store.root();
        Self { store, buckets, root }
    }

    async fn put(&self, want: &BucketSpec, object: &str) -> Option<String> {
        let body = ByteStream::from_static(b"content");
        self.root.put_object().bucket(want.name()).key(object).body(body).send().await.unwrap().ssekms_key_id
    }

    async fn tags(&self, want: &BucketSpec) -> BTreeMap<String, String> {
        match self.root.get_bucket_tagging().bucket(want.name()).send().await {
            Ok(found) => found.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            Err(error) => {
                assert_eq!(error.into_service_error().code(), Some("NoSuchTagSet"));
                BTreeMap::new()
            }
        }
    }

    async fn tag(&self, want: &BucketSpec, pairs: &[(&str, &str)]) {
        let set = pairs.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build().unwrap()).collect();
        let tagging = Tagging::builder().set_tag_set(Some(set)).build().unwrap();
        self.root.put_bucket_tagging().bucket(want.name()).tagging(tagging).send().await.unwrap();
    }

    async fn is_there(&self, want: &BucketSpec) -> bool {
        self.root.head_bucket().bucket(want.name()).send().await.is_ok()
    }

    async fn drift(&self, want: &BucketSpec) -> Vec<Attribute> {
        drift(want, &self.buckets.observe(want).await.unwrap().unwrap())
    }
}

fn encryption(algorithm: ServerSideEncryption, key: Option<&str>) -> ServerSideEncryptionConfiguration {
    let default =
        ServerSideEncryptionByDefault::builder().sse_algorithm(algorithm).set_kms_master_key_id(key.map(str::to_owned));
    let rule =
        ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default.build().unwrap()).build();
    ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap()
}

#[tokio::test]
async fn buckets_in_minio_are_as_the_adapter_says() {
    let world = World::start().await;
    a_bucket_is_made_under_the_tenants_own_key(&world).await;
    two_tenants_have_two_keys_and_two_workspaces_of_one_tenant_share_one(&world).await;
    what_a_stranger_changes_is_put_back(&world).await;
    what_grows_old_among_backups_expires_as_wanted(&world).await;
    a_class_of_storage_that_minio_lacks_is_told_and_holds_up_nothing_else(&world).await;
    a_bucket_with_other_marks_is_never_touched(&world).await;
    an_unmarked_bucket_is_taken_over_only_while_empty(&world).await;
    a_key_that_was_lost_is_not_replaced(&world).await;
    a_released_bucket_keeps_its_data_and_can_be_taken_up_again(&world).await;
    a_deleted_bucket_goes_with_all_versions_and_uploads_and_nothing_else_goes(&world).await;
    the_newest_object_of_the_last_folder_is_found(&world).await;
    the_stores_own_key_needs_consent(&world).await;
    credentials_that_the_store_does_not_take_are_denied(&world).await;
}

async fn a_bucket_is_made_under_the_tenants_own_key(world: &World) {
    let want = bucket_of(&identity());
    assert!(world.buckets.observe(&want).await.unwrap().is_none());
    let made = ensure(&world.buckets, &want).await.unwrap();
    assert_eq!(made, ensure(&world.buckets, &want).await.unwrap(), "a second time changes nothing");
    let key = want.key_name().unwrap();
    assert_eq!(made.settings.encryption, DefaultEncryption::Key { name: key.clone() });
    assert_eq!(made.key.as_ref().unwrap().name, key);
    assert!(made.key.as_ref().unwrap().created.is_some());
    assert!(made.settings.versioning && !made.released);
    assert_eq!(
        made.lacking,
        BTreeSet::from([Feature::PublicAccessBlock, Feature::UploadExpiry]),
        "what MinIO lacks is told"
    );
    let used = world.put(&want, "report").await.unwrap();
    assert!(used.ends_with(&key), "{used}");
    let tags = world.tags(&want).await;
    assert_eq!(tags.get("steading.dev/owner"), Some(&want.workspace.to_string()), "{tags:?}");
    assert_eq!(tags.len(), 4, "{tags:?}");
}

async fn two_tenants_have_two_keys_and_two_workspaces_of_one_tenant_share_one(world: &World) {
    let (acme, other) = (identity(), identity());
    let wanted = [bucket_of(&acme), bucket_of(&acme), bucket_of(&other)];
    let mut used = Vec::new();
    for want in &wanted {
        ensure(&world.buckets, want).await.unwrap();
        used.push(world.put(want, "it").await.unwrap());
    }
    assert_eq!(used[0], used[1]);
    assert_ne!(used[0], used[2]);
}

async fn what_a_stranger_changes_is_put_back(world: &World) {
    let want = bucket_of(&identity());
    let name = want.name();
    ensure(&world.buckets, &want).await.unwrap();
    let root = &world.root;

    let aes = encryption(ServerSideEncryption::Aes256, None);
    root.put_bucket_encryption().bucket(&name).server_side_encryption_configuration(aes).send().await.unwrap();
    repaired(world, &want, Attribute::Encryption).await;

    let default = encryption(ServerSideEncryption::AwsKms, Some("store-default"));
    root.put_bucket_encryption().bucket(&name).server_side_encryption_configuration(default).send().await.unwrap();
    repaired(world, &want, Attribute::Encryption).await;

    let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    root.put_bucket_versioning().bucket(&name).versioning_configuration(suspended).send().await.unwrap();
    repaired(world, &want, Attribute::Versioning).await;

    let public = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{name}/*")}
    ]});
    root.put_bucket_policy().bucket(&name).policy(public.to_string()).send().await.unwrap();
    repaired(world, &want, Attribute::Policy).await;

    root.delete_bucket_policy().bucket(&name).send().await.unwrap();
    repaired(world, &want, Attribute::Policy).await;

    world.tag(&want, &[("cost-centre", "7")]).await;
    let fault = ensure(&world.buckets, &want).await.unwrap_err();
    assert_eq!(
        fault.reason,
        reasons::FOREIGN,
        "marks that were taken away are not written back: nobody could tell whose it is"
    );
}

/// A bucket for backups of a new workspace.
fn backups_of(tenant: &Identity, keep_deleted: u16, archive: Option<Archive>) -> BucketSpec {
    let lifecycle = Some(Lifecycle { keep_deleted, archive });
    BucketSpec { purpose: Purpose::Backup, lifecycle, ..bucket_of(tenant) }
}

async fn what_grows_old_among_backups_expires_as_wanted(world: &World) {
    let want = backups_of(&identity(), 7, None);
    let name = want.name();
    let made = ensure(&world.buckets, &want).await.unwrap();
    assert_eq!(made, ensure(&world.buckets, &want).await.unwrap(), "a second time changes nothing");
    assert_eq!(made.settings.lifecycle.keep_deleted, Told::Says(7));
    assert!(!made.lacking.contains(&Feature::VersionExpiry), "MinIO has such rules");
    let rules = world.root.get_bucket_lifecycle_configuration().bucket(&name).send().await.unwrap().rules.unwrap();
    let rule = rules.first().unwrap();
    assert_eq!(rules.len(), 1, "{rules:?}");
    assert_eq!(rule.noncurrent_version_expiration.as_ref().and_then(|it| it.noncurrent_days), Some(7));
    assert_eq!(rule.expiration.as_ref().and_then(|it| it.expired_object_delete_marker), Some(true));

    world.root.delete_bucket_lifecycle().bucket(&name).send().await.unwrap();
    repaired(world, &want, Attribute::VersionExpiry).await;

    let longer = BucketSpec { lifecycle: Some(Lifecycle { keep_deleted: 8, archive: None }), ..want.clone() };
    repaired(world, &longer, Attribute::VersionExpiry).await;

    let theirs = LifecycleRule::builder()
        .id("tidy")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("finance/").build())
        .expiration(LifecycleExpiration::builder().days(30).build())
        .build();
    let theirs = BucketLifecycleConfiguration::builder().rules(theirs.unwrap()).build().unwrap();
    let put = world.root.put_bucket_lifecycle_configuration().bucket(&name).lifecycle_configuration(theirs);
    put.send().await.unwrap();
    repaired(world, &want, Attribute::VersionExpiry).await;
    let buckets = Buckets::S3(world.buckets.clone());
    let fault = buckets.conflict(&want, &buckets.observe(&want).await.unwrap().unwrap()).unwrap();
    assert_eq!(fault.reason, reasons::LIFECYCLE_CONFLICT);
    assert!(fault.message.contains("`tidy`"), "{fault}");
}

async fn a_class_of_storage_that_minio_lacks_is_told_and_holds_up_nothing_else(world: &World) {
    let archive = Archive { after: 14, storage_class: "STANDARD_IA".to_owned() };
    let want = backups_of(&identity(), 7, Some(archive));
    let fault = ensure(&world.buckets, &want).await.unwrap_err();
    assert_eq!(fault.reason, reasons::STORAGE_CLASS_REFUSED);
    for told in [&want.name(), &world.store.minio.endpoint(), "`STANDARD_IA`", "InvalidStorageClass"] {
        assert!(fault.message.contains(told), "{fault}");
    }
    assert_eq!(world.drift(&want).await, [Attribute::Archive], "everything else is as it must be");
    let without = BucketSpec { lifecycle: Some(Lifecycle { keep_deleted: 7, archive: None }), ..want };
    assert_eq!(world.drift(&without).await, [], "the way out");
}

async fn repaired(world: &World, want: &BucketSpec, attribute: Attribute) {
    assert_eq!(world.drift(want).await, [attribute]);
    ensure(&world.buckets, want).await.unwrap();
    assert_eq!(world.drift(want).await, []);
}

async fn a_bucket_with_other_marks_is_never_touched(world: &World) {
    let want = bucket_of(&identity());
    world.root.create_bucket().bucket(want.name()).send().await.unwrap();
    let theirs = [
        ("steading.dev/installation", "another"),
        ("steading.dev/tenant", want.tenant.as_str()),
        ("steading.dev/owner", want.workspace.as_str()),
        ("steading.dev/kind", "Workspace"),
    ];
    world.tag(&want, &theirs).await;
    let before = world.tags(&want).await;
    for fault in [
        ensure(&world.buckets, &want).await.unwrap_err(),
        ensure_released(&world.buckets, &want).await.unwrap_err(),
        ensure_gone(&world.buckets, &want).await.unwrap_err(),
    ] {
        assert_eq!(fault.reason, reasons::FOREIGN);
        assert!(fault.message.contains(&want.name()), "{fault}");
    }
    assert_eq!(world.tags(&want).await, before);
    let policy = world.root.get_bucket_policy().bucket(want.name()).send().await;
    assert_eq!(policy.unwrap_err().into_service_error().code(), Some("NoSuchBucketPolicy"));
    assert!(
        world.store.kes.run_as_admin(&["key", "info", &want.key_name().unwrap()]).await.is_err(),
        "a key was made for it"
    );
}

async fn an_unmarked_bucket_is_taken_over_only_while_empty(world: &World) {
    let interrupted = bucket_of(&identity());
    world.root.create_bucket().bucket(interrupted.name()).send().await.unwrap();
    ensure(&world.buckets, &interrupted).await.unwrap();
    assert_eq!(world.drift(&interrupted).await, []);

    let occupied = bucket_of(&identity());
    world.root.create_bucket().bucket(occupied.name()).send().await.unwrap();
    world.put(&occupied, "somebody-elses").await;
    assert_eq!(ensure(&world.buckets, &occupied).await.unwrap_err().reason, reasons::FOREIGN);
    assert_eq!(ensure_gone(&world.buckets, &occupied).await.unwrap_err().reason, reasons::FOREIGN);
    assert_eq!(world.tags(&occupied).await, BTreeMap::new());

    let cut_off = bucket_of(&identity());
    world.root.create_bucket().bucket(cut_off.name()).send().await.unwrap();
    ensure_gone(&world.buckets, &cut_off).await.unwrap();
    assert!(!world.is_there(&cut_off).await, "an empty one that was cut off while being made is cleaned up");
}

async fn a_key_that_was_lost_is_not_replaced(world: &World) {
    let want = bucket_of(&identity());
    ensure(&world.buckets, &want).await.unwrap();
    let key = want.key_name().unwrap();
    world.store.kes.run_as_admin(&["key", "rm", &key]).await.unwrap();
    // KES remembers a key for a second after it is gone.
    let fault = eventually(async || ensure(&world.buckets, &want).await.err()).await;
    assert_eq!(fault.reason, reasons::KEY_DISABLED);
    assert!(fault.message.contains(&key), "{fault}");
    assert!(world.store.kes.run_as_admin(&["key", "info", &key]).await.is_err(), "a key of that name was made anew");
}

async fn a_released_bucket_keeps_its_data_and_can_be_taken_up_again(world: &World) {
    let want = bucket_of(&identity());
    ensure(&world.buckets, &want).await.unwrap();
    world.put(&want, "report").await;
    assert!(ensure_released(&world.buckets, &want).await.unwrap().unwrap().released);
    assert!(world.tags(&want).await.get("steading.dev/released").is_some_and(|mark| mark == "true"));
    world.root.get_object().bucket(want.name()).key("report").send().await.unwrap();
    assert!(!ensure(&world.buckets, &want).await.unwrap().released);
    world.root.get_object().bucket(want.name()).key("report").send().await.unwrap();
}

async fn a_deleted_bucket_goes_with_all_versions_and_uploads_and_nothing_else_goes(world: &World) {
    let (want, neighbour) = (bucket_of(&identity()), bucket_of(&identity()));
    ensure(&world.buckets, &want).await.unwrap();
    ensure(&world.buckets, &neighbour).await.unwrap();
    world.put(&neighbour, "report").await;
    for _ in 0..2 {
        world.put(&want, "twice").await;
    }
    // More than one page of versions.
    let names: Vec<String> = (0..1010).map(|number| format!("n{number}")).collect();
    for some in names.chunks(50) {
        futures::future::join_all(some.iter().map(|name| world.put(&want, name))).await;
    }
    world.root.delete_object().bucket(want.name()).key("twice").send().await.unwrap();
    world.root.create_multipart_upload().bucket(want.name()).key("unfinished").send().await.unwrap();
    ensure_gone(&world.buckets, &want).await.unwrap();
    assert!(!world.is_there(&want).await);
    ensure_gone(&world.buckets, &want).await.unwrap();
    world.root.get_object().bucket(neighbour.name()).key("report").send().await.unwrap();
    let key = want.key_name().unwrap();
    world.store.kes.run_as_admin(&["key", "info", &key]).await.unwrap();
}

/// As a database files its log: the folder that comes last is looked into, whatever lies beside it.
async fn the_newest_object_of_the_last_folder_is_found(world: &World) {
    let want = bucket_of(&identity());
    ensure(&world.buckets, &want).await.unwrap();
    let buckets = Buckets::S3(world.buckets.clone());
    let newest = async || buckets.newest(&want, "database-01234567/wals/").await.unwrap();
    assert_eq!(newest().await, None);
    let written = async |object: &str| {
        world.put(&want, object).await;
        let head = world.root.head_object().bucket(want.name()).key(object).send().await.unwrap();
        Timestamp::from_second(head.last_modified.unwrap().secs()).unwrap()
    };
    written("database-01234567/wals/00000002.history").await;
    assert_eq!(newest().await, None, "a history is no log");
    written("database-01234567/wals/0000000100000000/000000010000000000000001.gz").await;
    let last = written("database-01234567/wals/0000000200000000/000000020000000000000007.gz").await;
    // Stores tell whole seconds.
    while written("database-01234567/wals/0000000100000000/000000010000000000000002.gz").await <= last {}
    written("database-89abcdef/wals/0000000900000000/000000090000000000000001.gz").await;
    assert_eq!(newest().await, Some(last), "what a timeline that was left still writes is not its log");
}

async fn the_stores_own_key_needs_consent(world: &World) {
    let with = |consented| BucketSpec {
        encryption: WantedEncryption::ProviderManaged { consented },
        ..bucket_of(&identity())
    };
    let refused = with(false);
    assert_eq!(ensure(&world.buckets, &refused).await.unwrap_err().reason, reasons::ENCRYPTION_CONSENT_REQUIRED);
    assert!(!world.is_there(&refused).await);
    let agreed = with(true);
    let made = ensure(&world.buckets, &agreed).await.unwrap();
    assert_eq!(
        (made.settings.encryption, made.key),
        (DefaultEncryption::ProviderManaged, None),
        "it is told whose key that is"
    );
}

async fn credentials_that_the_store_does_not_take_are_denied(world: &World) {
    let mut config = world.store.config();
    config.secret_access_key = "canary-of-a-secret".to_owned().into();
    let buckets = S3Buckets::new(&config).unwrap();
    let want: BucketSpec = bucket_of(&Identity::new("11111111-1111-4111-8111-111111111111").unwrap());
    let fault = ensure(&buckets, &want).await.unwrap_err();
    assert_eq!(fault.reason, reasons::DENIED, "{fault}");
    for told in [fault.message.clone(), format!("{config:?}"), format!("{buckets:?}")] {
        assert!(!told.contains("canary"), "{told}");
    }
}
