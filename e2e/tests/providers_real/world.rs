//! What the tests share: servers, adapters with the operator's rights, and clients that look past the adapters.

use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use e2e::ports::LOOPBACK;
use e2e::{
    Plane,
    certificates::Authority,
    servers::{Kes, Minio, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, REGION, StoreAccount},
};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, api::PostParams};
use providers::{
    BucketSpec, Fault, Identity, Installation, KesConfig, Purpose, S3Config, TokenSource, WantedEncryption,
};
use secrecy::{ExposeSecret as _, SecretString};

/// The installation in all these tests.
pub fn installation() -> Installation {
    Installation::new("e2e").unwrap()
}

/// An identity that no other test has.
pub fn identity() -> Identity {
    Identity::new(&uuid::Uuid::new_v4().to_string()).unwrap()
}

/// Tokens of the operator's ServiceAccount.
pub struct PlaneTokens(pub &'static Plane);

impl PlaneTokens {
    pub async fn of(plane: &'static Plane) -> Arc<dyn TokenSource> {
        let client = plane.admin().unwrap();
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(OPERATOR_NAMESPACE.to_owned());
        // Another test of this plane may have made them already.
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.ok();
        let mut account = ServiceAccount::default();
        account.metadata.name = Some(OPERATOR_ACCOUNT.to_owned());
        Api::namespaced(client, OPERATOR_NAMESPACE).create(&PostParams::default(), &account).await.ok();
        Arc::new(Self(plane))
    }
}

#[async_trait::async_trait]
impl TokenSource for PlaneTokens {
    async fn token(&self, audience: &str) -> Result<SecretString, Fault> {
        let token = self.0.token_for(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[audience], 600).await;
        token.map_err(|error| Fault::transient(error.to_string()))
    }
}

/// A store with its key server.
pub struct Store {
    pub authority: Authority,
    pub kes: Kes,
    pub minio: Minio,
}

impl Store {
    pub async fn start() -> Self {
        let authority = Authority::new("steading-e2e").unwrap();
        let kes = Kes::start(&authority, LOOPBACK).await.unwrap();
        let minio = Minio::start(&authority, LOOPBACK, &kes).await.unwrap();
        Self { authority, kes, minio }
    }

    /// How the operator would be configured.
    pub fn config(&self) -> S3Config {
        let account = self.minio.operator_account();
        let ca_bundle = Some(self.authority.certificate().to_owned());
        S3Config {
            endpoint: self.minio.endpoint(),
            region: REGION.to_owned(),
            ca_bundle: ca_bundle.clone(),
            access_key_id: account.access_key.expose_secret().to_owned(),
            secret_access_key: account.secret_key.clone(),
            key_server: Some(KesConfig {
                endpoint: self.kes.endpoint(),
                ca_bundle,
                api_key: self.kes.operator_key().clone(),
            }),
        }
    }

    /// The store as root sees it.
    pub fn root(&self) -> aws_sdk_s3::Client {
        let StoreAccount { access_key, secret_key } = self.minio.root_account();
        self.client(&self.minio.endpoint(), access_key.expose_secret(), secret_key.expose_secret(), None)
    }

    /// The store as the holder of these credentials sees it, at this address.
    pub fn client(
        &self,
        endpoint: &str,
        access_key: &str,
        secret_key: &str,
        session: Option<&str>,
    ) -> aws_sdk_s3::Client {
        use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
        let trust = TrustStore::empty().with_pem_certificate(self.authority.certificate());
        let builder = aws_smithy_http_client::Builder::new();
        let http = if endpoint.starts_with("https:") {
            let context = TlsContext::builder().with_trust_store(trust).build().unwrap();
            builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https()
        } else {
            builder.build_http()
        };
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new(access_key, secret_key, session.map(str::to_owned), None, "e2e"))
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .http_client(http)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }
}

/// A bucket for a new workspace of this tenant, under the tenant's key.
pub fn bucket_of(tenant: &Identity) -> BucketSpec {
    BucketSpec {
        installation: installation(),
        tenant: tenant.clone(),
        workspace: identity(),
        purpose: Purpose::Data,
        encryption: WantedEncryption::TenantKey,
        lifecycle: None,
    }
}

/// Asks again until there is an answer; at most 20 s.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "no answer within 20 s");
        tokio::task::yield_now().await;
    }
}
