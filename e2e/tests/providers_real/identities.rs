//! Identities of a real MinIO: what each may do is tried, and so is everything next to it.

use std::time::Duration;

use aws_sdk_s3::{
    Client, error::ProvideErrorMetadata, error::SdkError, operation::put_object::builders::PutObjectFluentBuilder,
    primitives::ByteStream, types::ServerSideEncryption,
};
use providers::{
    Access, BucketSpec, IdentitySpec, IssuedCredentials, Purpose, Revocation, S3Buckets, StsIdentities, ensure,
    identities::LONGEST_REVOCABLE_LIFE,
};
use secrecy::ExposeSecret as _;

use crate::world::{Store, bucket_of, identity};

struct World {
    store: Store,
    sts: StsIdentities,
    /// Two tenants with a bucket each.
    blue: BucketSpec,
    green: BucketSpec,
}

impl World {
    async fn start() -> Self {
        let store = Store::start().await;
        let buckets = S3Buckets::new(&store.config()).unwrap();
        let (blue, green) = (bucket_of(&identity()), bucket_of(&identity()));
        for want in [&blue, &green] {
            ensure(&buckets, want).await.unwrap();
            let body = ByteStream::from_static(b"before");
            store.root().put_object().bucket(want.name()).key("before").body(body).send().await.unwrap();
        }
        let sts = StsIdentities::new(&store.config()).unwrap();
        Self { store, sts, blue, green }
    }

    async fn issue(&self, access: Access) -> IssuedCredentials {
        self.sts.issue(&spec(&self.blue, access)).await.unwrap()
    }

    fn client(&self, endpoint: &str, credentials: &IssuedCredentials) -> Client {
        let (secret, session) =
            (credentials.secret_access_key.expose_secret(), credentials.session_token.expose_secret());
        self.store.client(endpoint, &credentials.access_key_id, secret, Some(session))
    }
}

fn spec(bucket: &BucketSpec, access: Access) -> IdentitySpec {
    IdentitySpec {
        bucket: bucket.name(),
        purpose: bucket.purpose,
        key_name: bucket.key_name(),
        access,
        session_name: "finance@acme".to_owned(),
        life: Duration::from_mins(15),
        revocable_as: None,
    }
}

fn put(client: &Client, bucket: &BucketSpec) -> PutObjectFluentBuilder {
    client.put_object().bucket(bucket.name()).key("written").body(ByteStream::from_static(b"content"))
}

/// The store's code for a refusal.
fn code<T, E: ProvideErrorMetadata, R>(answer: Result<T, SdkError<E, R>>) -> String {
    match answer {
        Ok(_) => "allowed".to_owned(),
        Err(error) => error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or("no code").to_owned(),
    }
}

#[tokio::test]
async fn an_identity_reaches_one_bucket_under_one_key_and_nothing_else() {
    let world = World::start().await;
    what_it_writes_gets_the_tenants_key(&world).await;
    it_cannot_choose_another_encryption(&world).await;
    it_cannot_reach_the_other_bucket(&world).await;
    it_cannot_loosen_its_own_bucket(&world).await;
    it_cannot_do_without_tls(&world).await;
    a_reader_cannot_write(&world).await;
    it_ends_by_itself(&world).await;
}

async fn what_it_writes_gets_the_tenants_key(world: &World) {
    let client = world.client(&world.store.minio.endpoint(), &world.issue(Access::ReadWrite).await);
    let key = world.blue.key_name().unwrap();
    let plain = put(&client, &world.blue).send().await.unwrap();
    assert!(plain.ssekms_key_id().unwrap().ends_with(&key), "{plain:?}");
    let named = put(&client, &world.blue)
        .server_side_encryption(ServerSideEncryption::AwsKms)
        .ssekms_key_id(&key)
        .send()
        .await
        .unwrap();
    assert!(named.ssekms_key_id().unwrap().ends_with(&key), "{named:?}");
    client.get_object().bucket(world.blue.name()).key("written").send().await.unwrap();
    client.list_objects_v2().bucket(world.blue.name()).send().await.unwrap();
    client.delete_object().bucket(world.blue.name()).key("written").send().await.unwrap();
}

async fn it_cannot_choose_another_encryption(world: &World) {
    let client = world.client(&world.store.minio.endpoint(), &world.issue(Access::ReadWrite).await);
    let other = world.green.key_name().unwrap();
    let with_other_key =
        put(&client, &world.blue).server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(other);
    assert_eq!(code(with_other_key.send().await), "AccessDenied", "another tenant's key");
    let with_store_key = put(&client, &world.blue).server_side_encryption(ServerSideEncryption::Aes256);
    assert_eq!(code(with_store_key.send().await), "AccessDenied", "the store's own key");
    let key = [7; 32];
    let with_own_key = put(&client, &world.blue)
        .sse_customer_algorithm("AES256")
        .sse_customer_key(data_encoding::BASE64.encode(&key))
        // The MD5 of those 32 bytes, which S3 asks for.
        .sse_customer_key_md5("y4HAEFCYWuvAXWFTtA1Qpg==");
    assert_eq!(code(with_own_key.send().await), "AccessDenied", "a key of the writer's own");
    let upload = client
        .create_multipart_upload()
        .bucket(world.blue.name())
        .key("big")
        .server_side_encryption(ServerSideEncryption::Aes256);
    assert_eq!(code(upload.send().await), "AccessDenied", "an upload in parts");
    let copy = client
        .copy_object()
        .bucket(world.blue.name())
        .key("copy")
        .copy_source(format!("{}/before", world.blue.name()))
        .server_side_encryption(ServerSideEncryption::Aes256);
    assert_eq!(code(copy.send().await), "AccessDenied", "a copy");
}

async fn it_cannot_reach_the_other_bucket(world: &World) {
    let client = world.client(&world.store.minio.endpoint(), &world.issue(Access::ReadWrite).await);
    let other = world.green.name();
    assert_eq!(code(put(&client, &world.green).send().await), "AccessDenied");
    assert_eq!(code(client.get_object().bucket(&other).key("before").send().await), "AccessDenied");
    assert_eq!(code(client.list_objects_v2().bucket(&other).send().await), "AccessDenied");
    assert_eq!(code(client.delete_object().bucket(&other).key("before").send().await), "AccessDenied");
    let copy = client.copy_object().bucket(world.blue.name()).key("stolen").copy_source(format!("{other}/before"));
    assert_eq!(code(copy.send().await), "AccessDenied");
}

async fn it_cannot_loosen_its_own_bucket(world: &World) {
    let client = world.client(&world.store.minio.endpoint(), &world.issue(Access::ReadWrite).await);
    let own = world.blue.name();
    assert_eq!(code(client.delete_bucket_policy().bucket(&own).send().await), "AccessDenied");
    assert_eq!(code(client.delete_bucket_encryption().bucket(&own).send().await), "AccessDenied");
    assert_eq!(code(client.delete_bucket_tagging().bucket(&own).send().await), "AccessDenied");
    assert_eq!(code(client.delete_bucket().bucket(&own).send().await), "AccessDenied");
    assert_eq!(code(client.create_bucket().bucket("steading-another").send().await), "AccessDenied");
    let version =
        client.list_object_versions().bucket(&own).send().await.unwrap().versions()[0].version_id().unwrap().to_owned();
    let destroy = client.delete_object().bucket(&own).key("before").version_id(version);
    assert_eq!(code(destroy.send().await), "AccessDenied", "an older version is history and stays");
}

async fn it_cannot_do_without_tls(world: &World) {
    let endpoint = world.store.minio.endpoint().replace("https://", "http://");
    let client = world.client(&endpoint, &world.issue(Access::ReadWrite).await);
    assert_ne!(code(put(&client, &world.blue).send().await), "allowed");
}

async fn a_reader_cannot_write(world: &World) {
    let client = world.client(&world.store.minio.endpoint(), &world.issue(Access::Read).await);
    client.get_object().bucket(world.blue.name()).key("before").send().await.unwrap();
    client.list_objects_v2().bucket(world.blue.name()).send().await.unwrap();
    assert_eq!(code(put(&client, &world.blue).send().await), "AccessDenied");
    assert_eq!(code(client.delete_object().bucket(world.blue.name()).key("before").send().await), "AccessDenied");
}

async fn it_ends_by_itself(world: &World) {
    let issued = world.issue(Access::Read).await;
    let left = issued.expires_at.duration_since(jiff::Timestamp::now());
    assert!((14 * 60..=15 * 60 + 5).contains(&left.as_secs()), "{left:?}");
    let told = format!("{issued:?}");
    assert!(
        !told.contains(issued.secret_access_key.expose_secret())
            && !told.contains(issued.session_token.expose_secret()),
        "{told}"
    );
}

/// Somebody who uses the blue bucket, and what was issued for that lately.
struct User {
    session: &'static str,
    client: Client,
}

impl World {
    /// Issues what ends with the session of this name.
    async fn user(&self, session: &'static str, access: Access) -> User {
        let life = LONGEST_REVOCABLE_LIFE;
        let asked = IdentitySpec { life, revocable_as: Some(session.to_owned()), ..spec(&self.blue, access) };
        let issued = self.sts.issue(&asked).await.unwrap();
        let left = issued.expires_at.duration_since(jiff::Timestamp::now());
        assert!((life.as_secs() - 60..=life.as_secs() + 5).contains(&left.as_secs().unsigned_abs()), "{left:?}");
        User { session, client: self.client(&self.store.minio.endpoint(), &issued) }
    }
}

/// What the store says to somebody who reads and lists the blue bucket, and writes there.
async fn can(world: &World, user: &User) -> [String; 3] {
    let bucket = world.blue.name();
    [
        code(user.client.get_object().bucket(&bucket).key("before").send().await),
        code(user.client.list_objects_v2().bucket(&bucket).send().await),
        code(put(&user.client, &world.blue).send().await),
    ]
}

async fn lives(world: &World, user: &User) {
    assert_eq!(can(world, user).await, ["allowed"; 3], "{}", user.session);
}

async fn is_dead(world: &World, user: &User) {
    assert_eq!(can(world, user).await, ["InvalidAccessKeyId"; 3], "{}", user.session);
}

#[tokio::test]
async fn identities_end_as_soon_as_their_session_is_revoked_and_no_other_does() {
    let mut world = World::start().await;
    let backup = BucketSpec { purpose: Purpose::Backup, ..world.blue.clone() };
    ensure(&S3Buckets::new(&world.store.config()).unwrap(), &backup).await.unwrap();
    assert_eq!(world.sts.revocation().await.unwrap(), Revocation::Immediate);
    let (first, renewed) =
        (world.user("billing-1", Access::ReadWrite).await, world.user("billing-1", Access::ReadWrite).await);
    let other = world.user("billing-10", Access::ReadWrite).await;
    let database = world.sts.issue(&spec(&backup, Access::ReadWrite)).await.unwrap();
    let database = world.client(&world.store.minio.endpoint(), &database);

    // What is renewed is good beside what was there before.
    for user in [&first, &renewed, &other] {
        lives(&world, user).await;
    }
    it_reaches_its_own_bucket_only(&world, &first, &backup).await;

    // Who revokes twice does no more harm than once; nor does whoever asks whether it can be done.
    for _ in 0..2 {
        assert_eq!(world.sts.revoke("billing-1").await.unwrap(), Revocation::Immediate);
        assert_eq!(world.sts.revocation().await.unwrap(), Revocation::Immediate);
    }
    is_dead(&world, &first).await;
    is_dead(&world, &renewed).await;
    lives(&world, &other).await;
    put(&database, &backup).send().await.unwrap();

    // What was revoked stays so when the store begins anew, and what the store knew before it can still be revoked, from its first moment on.
    world.store.minio.interrupt().unwrap();
    assert_eq!(world.sts.revoke("billing-10").await.unwrap_err().class, providers::Class::Transient);
    world.store.minio.resume().await.unwrap();
    is_dead(&world, &first).await;
    lives(&world, &other).await;
    assert_eq!(world.sts.revoke("billing-10").await.unwrap(), Revocation::Immediate);
    is_dead(&world, &other).await;
    put(&database, &backup).send().await.unwrap();
}

async fn it_reaches_its_own_bucket_only(world: &World, user: &User, backup: &BucketSpec) {
    let written = put(&user.client, &world.blue).send().await.unwrap();
    assert!(written.ssekms_key_id().unwrap().ends_with(&world.blue.key_name().unwrap()), "{written:?}");
    let others_backup = BucketSpec { purpose: Purpose::Backup, ..world.green.clone() };
    ensure(&S3Buckets::new(&world.store.config()).unwrap(), &others_backup).await.unwrap();
    for bucket in [&world.green, &others_backup, backup] {
        let name = bucket.name();
        assert_eq!(code(user.client.get_object().bucket(&name).key("before").send().await), "AccessDenied", "{name}");
        assert_eq!(code(user.client.list_objects_v2().bucket(&name).send().await), "AccessDenied", "{name}");
        assert_eq!(code(put(&user.client, bucket).send().await), "AccessDenied", "{name}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_know_us_has_not_said_that_it_cannot_revoke() {
    let store = Store::start().await;
    let config = providers::S3Config { secret_access_key: "another".to_owned().into(), ..store.config() };
    let fault = StsIdentities::new(&config).unwrap().revoke("billing-1").await.unwrap_err();
    assert!(fault.reason == providers::reasons::DENIED && fault.message.contains(&store.minio.endpoint()), "{fault}");
    let names_nobody = StsIdentities::new(&store.config()).unwrap().revoke("").await.unwrap_err();
    assert_eq!(names_nobody.class, providers::Class::Stalled, "no name would be all names");
}
