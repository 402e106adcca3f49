//! The bucket of a database's backups as the store's own administrator sees it. In: its name. Out: what lies in it, under which keys.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::Client;
use e2e::servers::Minio;

use crate::world::World;

pub struct Store {
    pub bucket: String,
    client: Client,
}

impl Store {
    pub fn of(world: &World, bucket: &str) -> Result<Self> {
        let minio = &world.servers.minio;
        let root = minio.root_account().credentials();
        let client = Minio::client(world.plane().authority(), &minio.endpoint(), root)?;
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
    async fn objects(&self) -> Result<Vec<(String, Option<String>)>> {
        let mut objects = Vec::new();
        let listed = self.client.list_objects_v2().bucket(&self.bucket).send().await;
        for name in listed.context("the bucket cannot be listed")?.contents().iter().filter_map(|it| it.key()) {
            let head = self.client.head_object().bucket(&self.bucket).key(name).send().await?;
            objects.push((name.to_owned(), head.ssekms_key_id().map(str::to_owned)));
        }
        Ok(objects)
    }
}
