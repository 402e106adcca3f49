//! A store for archives. In: a plane. Out: a bucket with a key of its own, an account that may use it, and what lies in it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use e2e::Plane;
use e2e::servers::{Kes, Minio, StoreAccount};
use e2e::wait::until;
use serde_json::json;

/// Longest wait until something is archived.
const PATIENCE: Duration = Duration::from_mins(1);

pub const BUCKET: &str = "archive";

/// The key of the bucket, as KES calls it.
const KEY: &str = "of-the-archive";

pub struct Store {
    /// The key of the bucket, as the store tells it of an object.
    pub key: String,
    pub endpoint: String,
    pub account: StoreAccount,
    client: Client,
    _minio: Minio,
    _kes: Kes,
}

impl Store {
    pub async fn open(plane: &Plane) -> Result<Self> {
        let kes = Kes::start(plane.authority(), plane.host()).await?;
        kes.run_as_admin(&["key", "create", KEY]).await?;
        let minio = Minio::start(plane.authority(), plane.host(), &kes).await?;
        let account =
            StoreAccount { access_key: "archivist".to_owned().into(), secret_key: e2e::unique("secret").into() };
        let everything = [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")];
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": ["s3:*"], "Resource": everything }],
        });
        minio.add_account(&account, "archivist", &policy).await?;
        let client = Minio::client(plane.authority(), &minio.endpoint(), minio.root_account().credentials())?;
        client.create_bucket().bucket(BUCKET).send().await.context("no bucket can be made")?;
        let by_key = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::AwsKms)
            .kms_master_key_id(KEY)
            .build()?;
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(by_key).build();
        let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build()?;
        let encryption = client.put_bucket_encryption().bucket(BUCKET).server_side_encryption_configuration(rules);
        encryption.send().await.context("the bucket gets no key")?;
        let (key, endpoint) = (format!("arn:aws:kms:{KEY}"), minio.endpoint());
        Ok(Self { key, endpoint, account, client, _minio: minio, _kes: kes })
    }

    /// The names of all that lies in the bucket, each with the key that it is under.
    pub async fn objects(&self) -> Result<Vec<(String, Option<String>)>> {
        let mut objects = Vec::new();
        let listed =
            self.client.list_objects_v2().bucket(BUCKET).send().await.context("the bucket cannot be listed")?;
        for name in listed.contents().iter().filter_map(|it| it.key()) {
            let head = self.client.head_object().bucket(BUCKET).key(name).send().await?;
            objects.push((name.to_owned(), head.ssekms_key_id().map(str::to_owned)));
        }
        Ok(objects)
    }

    /// Waits until something is there whose name ends so.
    pub async fn until_there(&self, end: &str) -> Result<()> {
        until(&format!("…{end} is archived"), PATIENCE, async || {
            let listed = self.client.list_objects_v2().bucket(BUCKET).send().await?;
            Ok(listed.contents().iter().filter_map(|it| it.key()).any(|name| name.ends_with(end)))
        })
        .await
    }
}
