//! Empties and removes a bucket, a bounded step at a time.
//!
//! In: the name of a bucket that was checked to be ours. Out: fewer things in it, or no bucket. Whatever was removed stays removed,
//! so the next call goes on where this one, or a crash, ended.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::S3Buckets;
use crate::{
    aws,
    fault::{Fault, reasons},
};

/// How many pages of 1,000 things one call removes: what a store does in a few seconds.
const PAGES: usize = 5;

impl S3Buckets {
    pub(super) async fn empty_and_remove(&self, name: &str) -> Result<(), Fault> {
        for _ in 0..PAGES {
            if !self.remove_page(name).await? {
                return self.remove(name).await;
            }
        }
        Ok(())
    }

    /// Removes up to a page of versions, delete markers and unfinished uploads; `false` if there was none.
    async fn remove_page(&self, name: &str) -> Result<bool, Fault> {
        let uploads = self.abort_uploads(name).await?;
        let page = self.client.list_object_versions().bucket(name).send().await;
        let page = page.map_err(|error| aws::fault(&error, &self.what(name), "s3:ListBucketVersions"))?;
        let versions = page.versions().iter().map(|version| (version.key.clone(), version.version_id.clone()));
        let markers = page.delete_markers().iter().map(|marker| (marker.key.clone(), marker.version_id.clone()));
        let doomed: Result<Vec<ObjectIdentifier>, _> = versions
            .chain(markers)
            .map(|(key, version)| ObjectIdentifier::builder().set_key(key).set_version_id(version).build())
            .collect();
        let doomed = doomed.map_err(|error| {
            Fault::refused(format!("{}: the store listed a version without a name: {error}", self.what(name)))
        })?;
        if doomed.is_empty() {
            return Ok(uploads > 0);
        }
        self.remove_versions(name, doomed).await?;
        Ok(true)
    }

    /// Aborts up to a page of unfinished uploads and returns how many there were.
    async fn abort_uploads(&self, name: &str) -> Result<usize, Fault> {
        let uploads = self.client.list_multipart_uploads().bucket(name).send().await;
        let uploads = uploads.map_err(|error| aws::fault(&error, &self.what(name), "s3:ListBucketMultipartUploads"))?;
        for upload in uploads.uploads() {
            let abort = self.client.abort_multipart_upload().bucket(name);
            match abort.set_key(upload.key.clone()).set_upload_id(upload.upload_id.clone()).send().await {
                Ok(_) => {}
                Err(error) if aws::code(&error) == "NoSuchUpload" => {}
                Err(error) => return Err(aws::fault(&error, &self.what(name), "s3:AbortMultipartUpload")),
            }
        }
        Ok(uploads.uploads().len())
    }

    async fn remove_versions(&self, name: &str, doomed: Vec<ObjectIdentifier>) -> Result<(), Fault> {
        let count = doomed.len();
        let delete = Delete::builder().set_objects(Some(doomed)).quiet(true).build();
        let delete = delete
            .map_err(|error| Fault::refused(format!("a request to the store lacks a field: {error}; report this")))?;
        let done = self.client.delete_objects().bucket(name).delete(delete).send().await;
        let done = done.map_err(|error| aws::fault(&error, &self.what(name), "s3:DeleteObjectVersion"))?;
        // Names of objects may tell about people, so only their number and the store's code are told.
        match done.errors().first() {
            Some(first) if done.errors().len() == count => Err(Fault::stalled(
                reasons::BUCKET_NOT_EMPTY,
                format!(
                    "{}: the store keeps {count} objects ({}): release their locks or grant s3:DeleteObjectVersion, or keep the bucket",
                    self.what(name),
                    first.code().unwrap_or("no code given")
                ),
            )),
            _ => Ok(()),
        }
    }

    async fn remove(&self, name: &str) -> Result<(), Fault> {
        match self.client.delete_bucket().bucket(name).send().await {
            Ok(_) => Ok(()),
            // Something was written meanwhile (the next round removes it), or a twin of ours was faster.
            Err(error) if matches!(aws::code(&error), "BucketNotEmpty" | "NoSuchBucket") => Ok(()),
            Err(error) => Err(aws::fault(&error, &self.what(name), "s3:DeleteBucket")),
        }
    }
}
