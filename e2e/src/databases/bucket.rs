//! The bucket of a database's backups as the store's own administrator sees it. In: its name. Out: what lies in it, under which keys.

use anyhow::{Context as _, Result, bail, ensure};
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use k8s_openapi::api::core::v1::Secret;
use sha2::{Digest as _, Sha256};

use crate::plane::Plane;
use crate::servers::Minio;

/// What full backups and the log are called in it.
const FULL: &str = "/base/";
const LOG: &str = "/wals/";

/// A bucket for backups.
pub struct Bucket {
    /// Its name.
    pub bucket: String,
    client: Client,
}

impl Bucket {
    /// The bucket of this name at the store beside this plane.
    pub fn of(plane: &Plane, minio: &Minio, bucket: &str) -> Result<Self> {
        let client = Minio::client(plane.authority(), &minio.endpoint(), minio.root_account().credentials())?;
        Ok(Self { bucket: bucket.to_owned(), client })
    }

    /// Full backups and the log are there, and all of it is under this key.
    pub async fn lies_under(&self, key: &str) -> Result<()> {
        let objects = self.objects().await?;
        for part in [FULL, LOG] {
            ensure!(objects.iter().any(|(name, _)| name.contains(part)), "nothing lies in {part}: {objects:?}");
        }
        let others: Vec<_> = objects.iter().filter(|(_, found)| found.as_deref() != Some(key)).collect();
        ensure!(others.is_empty(), "not under the key {key}: {others:?}");
        Ok(())
    }

    /// The object of the newest full backup that holds its data, and that of the log that was archived last.
    pub async fn newest(&self) -> Result<[String; 2]> {
        let listed = self.client.list_objects_v2().bucket(&self.bucket).send().await;
        let listed = listed.context("the bucket cannot be listed")?;
        let newest = |part: &str, name: &str| {
            let objects = listed.contents().iter().filter_map(|it| it.key().zip(it.last_modified()));
            let objects = objects.filter(|(key, _)| key.contains(part) && key.contains(name));
            let last = objects.max_by_key(|(_, written)| (written.secs(), written.subsec_nanos()));
            last.map(|(key, _)| key.to_owned()).with_context(|| format!("nothing lies in {part}"))
        };
        Ok([newest(FULL, "/data.tar")?, newest(LOG, "")?])
    }

    /// What is read of an object by the store's own administrator.
    pub async fn read(&self, name: &str) -> Result<Read> {
        read(&self.client, &self.bucket, name).await
    }

    /// The names of all that lies in the bucket.
    pub async fn names(&self) -> Result<Vec<String>> {
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.context("the bucket cannot be listed")?;
            names.extend(page.contents().iter().filter_map(|it| it.key().map(str::to_owned)));
        }
        Ok(names)
    }

    /// The same, each with the key that it is under.
    pub async fn objects(&self) -> Result<Vec<(String, Option<String>)>> {
        let mut objects = Vec::new();
        for name in self.names().await? {
            let head = self.client.head_object().bucket(&self.bucket).key(&name).send().await?;
            let key = head.ssekms_key_id().map(str::to_owned);
            objects.push((name, key));
        }
        Ok(objects)
    }
}

/// What became of reading an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// All of it was read; its sum.
    Whole([u8; 32]),
    /// The store refused, with this code.
    Refused(String),
}

/// Reads an object to its end. No answer, or one that ends early, is an error.
pub async fn read(client: &Client, bucket: &str, name: &str) -> Result<Read> {
    match client.get_object().bucket(bucket).key(name).send().await {
        Ok(answer) => {
            let body = answer.body.collect().await.with_context(|| format!("{bucket}/{name} ended early"))?;
            Ok(Read::Whole(Sha256::digest(body.into_bytes()).into()))
        }
        Err(error) => match error.code() {
            Some(code) => Ok(Read::Refused(code.to_owned())),
            None => bail!("{bucket}/{name}: no answer: {:#}", anyhow::Error::new(error)),
        },
    }
}

/// The store as a database sees it that has this Secret.
pub fn with_credentials(plane: &Plane, minio: &Minio, secret: &Secret) -> Result<Client> {
    with_entries(plane, minio, secret, ["accessKeyID", "secretAccessKey", "sessionToken"])
}

/// The store as an application sees it that was given this Secret.
pub fn with_what_was_given(plane: &Plane, minio: &Minio, secret: &Secret) -> Result<Client> {
    with_entries(plane, minio, secret, ["bucket-access-key-id", "bucket-secret-access-key", "bucket-session-token"])
}

fn with_entries(plane: &Plane, minio: &Minio, secret: &Secret, names: [&str; 3]) -> Result<Client> {
    let entry = |name: &str| -> Result<String> {
        let bytes = secret.data.as_ref().and_then(|data| data.get(name));
        Ok(String::from_utf8(bytes.with_context(|| format!("the Secret has no {name}"))?.0.clone())?)
    };
    let [id, key, token] = names;
    let credentials = Credentials::new(entry(id)?, entry(key)?, Some(entry(token)?), None, "a Secret");
    Minio::client(plane.authority(), &minio.endpoint(), credentials)
}

/// Whether the store lists the bucket for whom the client is; an error if it does not answer.
pub async fn lists(client: &Client, bucket: &str) -> Result<bool> {
    match client.list_objects_v2().bucket(bucket).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.code().is_some() => Ok(false),
        Err(error) => Err(anyhow::Error::new(error).context("the store gives no answer")),
    }
}
