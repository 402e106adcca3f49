//! Buckets in any S3-compatible store.
//!
//! In: a [`BucketSpec`], an account that may make buckets, and the key server of the store if it has one. Out: the workspace's
//! bucket under the tenant's key, closed to the public, versioned, and marked as ours.
//!
//! Stores differ in what they offer. What is not a protection that we promise ([`Feature`]) may be lacking: the store refuses it,
//! or takes it and forgets it, and either is remembered for as long as this adapter lives and shown in
//! [`BucketObserved::lacking`]. Keep one adapter for as long as its configuration stands.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_s3::{
    Client, Config,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    },
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    BucketObserved, BucketSpec, Feature, WantedEncryption, check_key_not_lost, drift,
    kes::{Kes, KesConfig},
};
use crate::{aws, external::External, fault::Fault, wire};

mod empty;
mod lifecycle;
mod newest;
mod observe;
mod repair;
#[cfg(test)]
mod tests;

/// Where the store is, and who we are there.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// Address, such as `https://s3.example:9000`.
    pub endpoint: String,
    /// Region of the store.
    pub region: String,
    /// PEM certificates that are trusted for it; the system's if `None`.
    pub ca_bundle: Option<String>,
    /// Names our account.
    pub access_key_id: String,
    /// Signs our requests.
    pub secret_access_key: SecretString,
    /// The server that holds the store's keys, if it takes named ones.
    pub key_server: Option<KesConfig>,
}

impl S3Config {
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::new(&self.access_key_id, self.secret_access_key.expose_secret(), None, None, "class")
    }
}

/// Buckets in one store.
#[derive(Clone)]
pub struct S3Buckets {
    endpoint: String,
    region: String,
    client: Client,
    key_server: Option<Kes>,
    lacking: Arc<Mutex<BTreeSet<Feature>>>,
}

impl std::fmt::Debug for S3Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Buckets").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl S3Buckets {
    /// Checks the configuration; nothing is called yet.
    pub fn new(config: &S3Config) -> Result<Self, Fault> {
        wire::endpoint(&config.endpoint)?;
        Self::over(config, aws::https(config.ca_bundle.as_deref())?)
    }

    /// Buckets in the store at the other end of this client.
    fn over(config: &S3Config, http: SharedHttpClient) -> Result<Self, Fault> {
        let settings = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .endpoint_url(&config.endpoint)
            // Bucket names in the host part would need a certificate and a DNS entry for each bucket.
            .force_path_style(true)
            .credentials_provider(config.credentials())
            .http_client(http)
            .timeout_config(aws::timeouts())
            // The caller waits and retries; retries in here would hide what the server asks for.
            .retry_config(aws::no_retries())
            // Many stores refuse the newer checksums that the SDK adds by itself.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Ok(Self {
            endpoint: config.endpoint.clone(),
            region: config.region.clone(),
            client: Client::from_conf(settings),
            key_server: config.key_server.as_ref().map(Kes::new).transpose()?,
            lacking: Arc::default(),
        })
    }

    fn what(&self, bucket: &str) -> String {
        format!("bucket `{bucket}` at {}", self.endpoint)
    }

    /// The key server, which a tenant's own key needs.
    fn key_server(&self, want: &BucketSpec) -> Result<&Kes, Fault> {
        self.key_server.as_ref().ok_or_else(|| {
            Fault::invalid(format!(
                "{} shall be under the tenant's own key, but no key server is configured",
                self.what(&want.name())
            ))
        })
    }

    fn lacking(&self) -> BTreeSet<Feature> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn_lack(&self, feature: Feature) {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner).insert(feature);
    }

    /// A bucket of our name that is not ours.
    fn foreign(&self, bucket: &str) -> Fault {
        Fault::foreign(format!(
            "{} does not bear our marks (or was emptied of them) and is left alone: remove it, or restore its `steading.dev/` tags \
             if it is ours",
            self.what(bucket)
        ))
    }
}

// The SDK's futures are some 20 KiB each. Boxed, they cost that only while a call is under way, and not in every reconcile.
impl External for S3Buckets {
    type Desired = BucketSpec;
    type Observed = BucketObserved;

    fn name(&self, want: &BucketSpec) -> String {
        self.what(&want.name())
    }

    async fn observe(&self, want: &BucketSpec) -> Result<Option<BucketObserved>, Fault> {
        Box::pin(self.look(want)).await
    }

    async fn create(&self, want: &BucketSpec) -> Result<(), Fault> {
        want.check_consent()?;
        if want.encryption == WantedEncryption::TenantKey {
            self.key_server(want)?;
        }
        Box::pin(self.make(want)).await
    }

    async fn update(&self, want: &BucketSpec, have: &BucketObserved) -> Result<(), Fault> {
        want.check_consent()?;
        check_key_not_lost(want, have)?;
        let tags = Box::pin(self.require_owned(want)).await?;
        for attribute in drift(want, have) {
            Box::pin(self.repair(want, have, &tags, attribute)).await?;
        }
        Ok(())
    }

    async fn release(&self, want: &BucketSpec, _have: &BucketObserved) -> Result<(), Fault> {
        let tags = Box::pin(self.require_owned(want)).await?;
        self.put_tags(&want.name(), &want.marks().onto(&tags, true)).await
    }

    async fn delete(&self, want: &BucketSpec, _have: &BucketObserved) -> Result<(), Fault> {
        // An unmarked bucket is empty (or it would have been foreign) and ours by name: it was cut off while being made.
        Box::pin(self.require_owned(want)).await?;
        Box::pin(self.empty_and_remove(&want.name())).await
    }

    fn matches(want: &BucketSpec, have: &BucketObserved) -> bool {
        drift(want, have).is_empty()
    }

    fn is_released(have: &BucketObserved) -> bool {
        have.released
    }
}
