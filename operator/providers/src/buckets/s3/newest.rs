//! Looks for the newest of many objects that are filed in folders whose names grow.
//!
//! In: a bucket and the folder of folders. Out: when the newest object in the last one was written. Nothing of an object is read.

use aws_sdk_s3::operation::list_objects_v2::{ListObjectsV2Output, builders::ListObjectsV2FluentBuilder};
use jiff::Timestamp;

use super::S3Buckets;
use crate::{aws, fault::Fault};

/// How many pages of 1,000 folders, and of as many objects of the last one, are read at most.
const PAGES: usize = 20;

impl S3Buckets {
    /// See [`crate::Buckets::newest`].
    pub(crate) async fn newest(&self, bucket: &str, folder: &str) -> Result<Option<Timestamp>, Fault> {
        let Some(last) = self.last_folder(bucket, folder).await? else { return Ok(None) };
        let mut newest = None;
        let mut token = None;
        for _ in 0..PAGES {
            let page = self.client.list_objects_v2().bucket(bucket).prefix(&last).set_continuation_token(token);
            let page = self.page(bucket, page).await?;
            let written = page.contents().iter().filter_map(|object| object.last_modified.as_ref());
            let written = written.filter_map(|moment| Timestamp::from_second(moment.secs()).ok());
            newest = written.chain(newest).max();
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        Ok(newest)
    }

    /// The one whose name comes last; stores list them in order.
    async fn last_folder(&self, bucket: &str, folder: &str) -> Result<Option<String>, Fault> {
        let (mut last, mut token) = (None, None);
        for _ in 0..PAGES {
            let page = self.client.list_objects_v2().bucket(bucket).prefix(folder).delimiter("/");
            let page = self.page(bucket, page.set_continuation_token(token)).await?;
            let folders = page.common_prefixes().iter().filter_map(|found| found.prefix.clone());
            last = folders.chain(last).max();
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        Ok(last)
    }

    async fn page(&self, bucket: &str, asked: ListObjectsV2FluentBuilder) -> Result<ListObjectsV2Output, Fault> {
        let page = asked.send().await;
        page.map_err(|error| aws::fault(&error, &self.what(bucket), "s3:ListBucket"))
    }
}
