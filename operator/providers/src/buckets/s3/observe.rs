//! Looks at a bucket.
//!
//! In: a [`BucketSpec`]. Out: everything that the store tells of its bucket, or that there is none, or that it is not ours.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{BucketVersioningStatus, ServerSideEncryption};
use futures::try_join;

use super::{S3Buckets, lifecycle};
use crate::{
    aws,
    buckets::{BucketObserved, BucketSettings, BucketSpec, DefaultEncryption, Feature, policy},
    fault::Fault,
    owner::{Claim, tags},
};

/// How some stores write a key's name.
const KEY_PREFIX: &str = "arn:aws:kms:";

impl S3Buckets {
    pub(super) async fn look(&self, want: &BucketSpec) -> Result<Option<BucketObserved>, Fault> {
        let name = want.name();
        let key = async {
            match want.key_name() {
                Some(key) => self.key_server(want)?.describe(&key).await,
                None => Ok(None),
            }
        };
        let (exists, key) = try_join!(self.exists(&name), key)?;
        if !exists {
            return Ok(None);
        }
        let Some((claim, tags)) = self.claim(want).await? else { return Ok(None) };
        let (encryption, versioning, public_access_blocked, policy, rules) = try_join!(
            self.encryption(&name),
            self.versioning(&name),
            self.public_access_blocked(&name),
            self.policy(&name),
            self.rules(&name),
        )?;
        let (uploads_expire, lifecycle) = (lifecycle::drops_uploads(&rules), lifecycle::observed(want, &rules));
        Ok(Some(BucketObserved {
            evidence: format!("read from the store {}", self.endpoint),
            claim,
            released: tags.contains_key(tags::RELEASED),
            tags,
            settings: BucketSettings {
                encryption,
                versioning,
                public_access_blocked,
                policy,
                uploads_expire,
                lifecycle,
            },
            key,
            lacking: self.lacking(),
            name,
        }))
    }

    async fn exists(&self, name: &str) -> Result<bool, Fault> {
        match self.client.head_bucket().bucket(name).send().await {
            Ok(_) => Ok(true),
            Err(error) if aws::status(&error) == 404 => Ok(false),
            Err(error) => {
                Err(aws::fault(&error, &self.what(name), "s3:ListBucket, unless the bucket is another account's"))
            }
        }
    }

    /// The tags and whose the bucket is, from a fresh look; a foreign bucket is a fault, and `None` means that it is gone.
    async fn claim(&self, want: &BucketSpec) -> Result<Option<(Claim, BTreeMap<String, String>)>, Fault> {
        let name = want.name();
        let tags = match self.client.get_bucket_tagging().bucket(&name).send().await {
            Ok(found) => found.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            Err(error) if aws::code(&error) == "NoSuchTagSet" => BTreeMap::new(),
            Err(error) if aws::code(&error) == "NoSuchBucket" => return Ok(None),
            Err(error) => return Err(aws::fault(&error, &self.what(&name), "s3:GetBucketTagging")),
        };
        match want.marks().claim(&tags) {
            Claim::Ours => Ok(Some((Claim::Ours, tags))),
            Claim::Unclaimed if self.policy(&name).await?.is_none() && self.is_empty(&name).await? => {
                Ok(Some((Claim::Unclaimed, tags)))
            }
            Claim::Unclaimed | Claim::Foreign => Err(self.foreign(&name)),
        }
    }

    /// The tags of the bucket right before a write, if it is ours or may be taken over.
    pub(super) async fn require_owned(&self, want: &BucketSpec) -> Result<BTreeMap<String, String>, Fault> {
        match self.claim(want).await? {
            Some((_, tags)) => Ok(tags),
            None => Err(Fault::transient(format!("{} vanished; it is looked at again", self.what(&want.name())))),
        }
    }

    /// Whether nothing at all is in it: no version, no delete marker, no unfinished upload.
    async fn is_empty(&self, name: &str) -> Result<bool, Fault> {
        let versions = self.client.list_object_versions().bucket(name).max_keys(1).send().await;
        let versions = versions.map_err(|error| aws::fault(&error, &self.what(name), "s3:ListBucketVersions"))?;
        let uploads = self.client.list_multipart_uploads().bucket(name).max_uploads(1).send().await;
        let uploads = uploads.map_err(|error| aws::fault(&error, &self.what(name), "s3:ListBucketMultipartUploads"))?;
        Ok(versions.versions().is_empty() && versions.delete_markers().is_empty() && uploads.uploads().is_empty())
    }

    async fn encryption(&self, name: &str) -> Result<DefaultEncryption, Fault> {
        let found = match self.client.get_bucket_encryption().bucket(name).send().await {
            Ok(found) => found,
            Err(error) if aws::code(&error) == "ServerSideEncryptionConfigurationNotFoundError" => {
                return Ok(DefaultEncryption::None);
            }
            Err(error) => return Err(aws::fault(&error, &self.what(name), "s3:GetEncryptionConfiguration")),
        };
        let rules =
            found.server_side_encryption_configuration.map(|configuration| configuration.rules).unwrap_or_default();
        let default = rules.into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default);
        Ok(default.map_or(DefaultEncryption::None, |default| {
            match (default.sse_algorithm, default.kms_master_key_id) {
                (ServerSideEncryption::AwsKms, Some(key)) => {
                    DefaultEncryption::Key { name: key.strip_prefix(KEY_PREFIX).unwrap_or(&key).to_owned() }
                }
                _ => DefaultEncryption::ProviderManaged,
            }
        }))
    }

    async fn versioning(&self, name: &str) -> Result<bool, Fault> {
        let found = self.client.get_bucket_versioning().bucket(name).send().await;
        let found = found.map_err(|error| aws::fault(&error, &self.what(name), "s3:GetBucketVersioning"))?;
        Ok(found.status == Some(BucketVersioningStatus::Enabled))
    }

    async fn public_access_blocked(&self, name: &str) -> Result<bool, Fault> {
        match self.client.get_public_access_block().bucket(name).send().await {
            Ok(found) => Ok(found.public_access_block_configuration.is_some_and(|block| {
                [
                    block.block_public_acls,
                    block.block_public_policy,
                    block.ignore_public_acls,
                    block.restrict_public_buckets,
                ]
                .iter()
                .all(|on| *on == Some(true))
            })),
            Err(error) if aws::code(&error) == "NoSuchPublicAccessBlockConfiguration" => Ok(false),
            Err(error) if aws::is_unsupported(&error) => {
                self.learn_lack(Feature::PublicAccessBlock);
                Ok(false)
            }
            Err(error) => Err(aws::fault(&error, &self.what(name), "s3:GetBucketPublicAccessBlock")),
        }
    }

    /// The bucket's policy in comparable form.
    async fn policy(&self, name: &str) -> Result<Option<serde_json::Value>, Fault> {
        match self.client.get_bucket_policy().bucket(name).send().await {
            // A text that is no JSON differs from every policy, so it is put right like any other drift.
            Ok(found) => Ok(found.policy.map(|text| {
                serde_json::from_str(&text)
                    .ok()
                    .as_ref()
                    .and_then(policy::comparable)
                    .unwrap_or(serde_json::Value::String(text))
            })),
            Err(error) if aws::code(&error) == "NoSuchBucketPolicy" => Ok(None),
            Err(error) => Err(aws::fault(&error, &self.what(name), "s3:GetBucketPolicy")),
        }
    }
}
