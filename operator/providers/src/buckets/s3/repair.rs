//! Makes a bucket and puts right what differs.
//!
//! In: a [`BucketSpec`] and the attribute that differs. Out: one write, or a few, after which the store was told what we want.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, PublicAccessBlockConfiguration,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    Tag, Tagging, VersioningConfiguration,
};
use aws_smithy_types::error::operation::BuildError;

use super::{S3Buckets, lifecycle::Rule};
use crate::{
    aws,
    buckets::{Attribute, BucketObserved, BucketSpec, Feature, policy},
    fault::{Fault, reasons},
};

/// The region that must not be named when a bucket is made there.
const NAMELESS_REGION: &str = "us-east-1";

impl S3Buckets {
    /// Makes the bucket, with its marks where the store takes them in the same call.
    pub(super) async fn make(&self, want: &BucketSpec) -> Result<(), Fault> {
        let name = want.name();
        let marks = tag_set(&want.marks().onto(&BTreeMap::new(), false)).map_err(|error| built_wrong(&error))?;
        let mut configuration = CreateBucketConfiguration::builder().set_tags(Some(marks));
        if self.region != NAMELESS_REGION {
            configuration = configuration.location_constraint(BucketLocationConstraint::from(self.region.as_str()));
        }
        match self.client.create_bucket().bucket(&name).create_bucket_configuration(configuration.build()).send().await
        {
            Ok(_) => Ok(()),
            // Ours already, from a call whose answer was lost; the next look tells whether it bears our marks.
            Err(error) if aws::code(&error) == "BucketAlreadyOwnedByYou" => Ok(()),
            Err(error) if aws::code(&error) == "BucketAlreadyExists" => Err(self.foreign(&name)),
            Err(error) => Err(aws::fault(&error, &self.what(&name), "s3:CreateBucket")),
        }
    }

    pub(super) async fn put_tags(&self, name: &str, tags: &BTreeMap<String, String>) -> Result<(), Fault> {
        let tags = tag_set(tags).map_err(|error| built_wrong(&error))?;
        let tagging = Tagging::builder().set_tag_set(Some(tags)).build().map_err(|error| built_wrong(&error))?;
        let done = self.client.put_bucket_tagging().bucket(name).tagging(tagging).send().await;
        done.map(drop).map_err(|error| aws::fault(&error, &self.what(name), "s3:PutBucketTagging"))
    }

    /// Puts one attribute right. `tags` are those that the bucket has now.
    pub(super) async fn repair(
        &self,
        want: &BucketSpec,
        have: &BucketObserved,
        tags: &BTreeMap<String, String>,
        attribute: Attribute,
    ) -> Result<(), Fault> {
        match attribute {
            Attribute::Marks => self.put_tags(&have.name, &want.marks().onto(tags, false)).await,
            Attribute::Key => match want.key_name() {
                Some(key) => self.key_server(want)?.create(&key).await,
                None => Ok(()),
            },
            Attribute::Encryption => self.put_encryption(want).await,
            Attribute::Versioning => self.put_versioning(&have.name).await,
            Attribute::PublicAccess => self.put_public_access_block(&have.name).await,
            Attribute::Policy => self.put_policy(want).await,
            Attribute::UploadExpiry => self.put_or_do_without(want, Rule::Uploads, Feature::UploadExpiry).await,
            Attribute::VersionExpiry => self.put_or_do_without(want, Rule::Versions, Feature::VersionExpiry).await,
            Attribute::Archive => self.put_archive(want).await,
        }
    }

    async fn put_encryption(&self, want: &BucketSpec) -> Result<(), Fault> {
        let name = want.name();
        let default = match want.key_name() {
            Some(key) => ServerSideEncryptionByDefault::builder()
                .sse_algorithm(ServerSideEncryption::AwsKms)
                .kms_master_key_id(key),
            None => ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256),
        };
        let default = default.build().map_err(|error| built_wrong(&error))?;
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
        let configuration =
            ServerSideEncryptionConfiguration::builder().rules(rule).build().map_err(|error| built_wrong(&error))?;
        let done = self
            .client
            .put_bucket_encryption()
            .bucket(&name)
            .server_side_encryption_configuration(configuration)
            .send()
            .await;
        done.map(drop).map_err(|error| {
            if aws::is_unsupported(&error) {
                return Fault::stalled(
                    reasons::ENCRYPTION_UNSUPPORTED,
                    format!(
                        "{}: the store cannot encrypt a bucket by default; set up its key management, or use another",
                        self.what(&name)
                    ),
                );
            }
            aws::fault(
                &error,
                &self.what(&name),
                "s3:PutEncryptionConfiguration, and the store the use of the tenant's key",
            )
        })
    }

    async fn put_versioning(&self, name: &str) -> Result<(), Fault> {
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let done = self.client.put_bucket_versioning().bucket(name).versioning_configuration(enabled).send().await;
        done.map(drop).map_err(|error| aws::fault(&error, &self.what(name), "s3:PutBucketVersioning"))
    }

    async fn put_public_access_block(&self, name: &str) -> Result<(), Fault> {
        let all = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .block_public_policy(true)
            .ignore_public_acls(true)
            .restrict_public_buckets(true)
            .build();
        match self.client.put_public_access_block().bucket(name).public_access_block_configuration(all).send().await {
            Ok(_) => Ok(()),
            Err(error) if aws::is_unsupported(&error) || aws::code(&error) == "MalformedXML" => {
                self.learn_lack(Feature::PublicAccessBlock);
                Ok(())
            }
            Err(error) => Err(aws::fault(&error, &self.what(name), "s3:PutBucketPublicAccessBlock")),
        }
    }

    async fn put_policy(&self, want: &BucketSpec) -> Result<(), Fault> {
        let name = want.name();
        let done =
            self.client.put_bucket_policy().bucket(&name).policy(policy::for_bucket(want).to_string()).send().await;
        done.map(drop).map_err(|error| aws::fault(&error, &self.what(&name), "s3:PutBucketPolicy"))
    }
}

fn tag_set(tags: &BTreeMap<String, String>) -> Result<Vec<Tag>, BuildError> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// The SDK refuses a request that lacks a field; ours have all, so this would be a mistake in this file.
pub(super) fn built_wrong(error: &BuildError) -> Fault {
    Fault::refused(format!("a request to the store lacks a field: {error}; report this"))
}
