//! Ways into the store. In: an address and credentials. Out: an S3 client that trusts the plane's authority and nobody else.

use anyhow::{Context as _, Result};
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Region, RequestChecksumCalculation};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use super::{Minio, REGION};
use crate::certificates::Authority;

impl Minio {
    /// The store as the holder of `credentials` sees it. `endpoint` is [`Minio::endpoint`], or what a test makes of it.
    pub fn client(authority: &Authority, endpoint: &str, credentials: Credentials) -> Result<Client> {
        let builder = aws_smithy_http_client::Builder::new();
        let http = if endpoint.starts_with("https:") {
            let trust = TrustStore::empty().with_pem_certificate(authority.certificate());
            let context = TlsContext::builder().with_trust_store(trust).build();
            let context = context.context("the plane's authority cannot be trusted")?;
            builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https()
        } else {
            builder.build_http()
        };
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .endpoint_url(endpoint)
            .credentials_provider(credentials)
            .force_path_style(true)
            // As the operator does: many stores refuse the checksums that the client would add by itself.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .http_client(http)
            .build();
        Ok(Client::from_conf(config))
    }
}
