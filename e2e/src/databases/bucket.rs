//! The bucket of a database's backups as the store's own administrator sees it. In: its name. Out: what lies in it, under which keys.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::Client;

use crate::plane::Plane;
use crate::servers::Minio;

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
        for part in ["/base/", "/wals/"] {
            ensure!(objects.iter().any(|(name, _)| name.contains(part)), "nothing lies in {part}: {objects:?}");
        }
        let others: Vec<_> = objects.iter().filter(|(_, found)| found.as_deref() != Some(key)).collect();
        ensure!(others.is_empty(), "not under the key {key}: {others:?}");
        Ok(())
    }

    /// The names of all that lies in the bucket, each with the key that it is under.
    pub async fn objects(&self) -> Result<Vec<(String, Option<String>)>> {
        let mut objects = Vec::new();
        let listed = self.client.list_objects_v2().bucket(&self.bucket).send().await;
        for name in listed.context("the bucket cannot be listed")?.contents().iter().filter_map(|it| it.key()) {
            let head = self.client.head_object().bucket(&self.bucket).key(name).send().await?;
            objects.push((name.to_owned(), head.ssekms_key_id().map(str::to_owned)));
        }
        Ok(objects)
    }
}
