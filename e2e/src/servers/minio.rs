//! MinIO, the object store. In: an authority and a key server. Out: a store with an account for the operator that is
//! not root.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use reqwest::{Client, Method, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::{Kes, REGION, https_client, kes, zip};
use crate::certificates::Authority;
use crate::components::Component;
use crate::nursery::Nursery;
use crate::ports::Port;

/// Name of the operator's policy at MinIO.
const OPERATOR_POLICY: &str = "steading";

/// An account at the store.
#[derive(Clone)]
pub struct StoreAccount {
    /// Names the account.
    pub access_key: SecretString,
    /// Signs its requests.
    pub secret_key: SecretString,
}

impl StoreAccount {
    fn random() -> Self {
        let id = || uuid::Uuid::new_v4().simple().to_string();
        Self { access_key: id().chars().take(20).collect::<String>().into(), secret_key: id().into() }
    }

    /// As a client of the store wants it.
    pub fn credentials(&self) -> Credentials {
        let (access, secret) = (self.access_key.expose_secret(), self.secret_key.expose_secret());
        Credentials::new(access, secret, None, None, "e2e")
    }
}

/// A running MinIO.
pub struct Minio {
    root: Root,
    operator: StoreAccount,
    environment: Vec<(&'static str, SecretString)>,
    nursery: Nursery,
    port: Port,
}

impl Minio {
    /// Starts, at this address of the host, an empty store whose keys are in `kes`, and makes the operator's account.
    pub async fn start(authority: &Authority, host: &str, kes: &Kes) -> Result<Self> {
        let nursery = Nursery::new("minio")?;
        let port = Port::reserve_at(host)?;
        let serving = authority.server("minio", &[host, "localhost"])?;
        nursery.subdirectory("certs/CAs")?;
        nursery.subdirectory("data")?;
        nursery.write("certs/public.crt", &serving.certificate)?;
        nursery.write("certs/private.key", serving.key.expose_secret())?;
        let authority_file = nursery.write("certs/CAs/ca.crt", authority.certificate())?;
        let root = StoreAccount::random();
        let environment = vec![
            ("MINIO_ROOT_USER", root.access_key.clone()),
            ("MINIO_ROOT_PASSWORD", root.secret_key.clone()),
            ("MINIO_SITE_REGION", REGION.to_owned().into()),
            ("MINIO_BROWSER", "off".to_owned().into()),
            ("MINIO_UPDATE", "off".to_owned().into()),
            ("MINIO_KMS_KES_ENDPOINT", kes.endpoint().into()),
            ("MINIO_KMS_KES_API_KEY", kes.minio_key().clone()),
            ("MINIO_KMS_KES_KEY_NAME", kes::DEFAULT_KEY.to_owned().into()),
            ("MINIO_KMS_KES_CAPATH", authority_file.display().to_string().into()),
        ];
        let root = Root { client: https_client(authority.certificate())?, account: root, endpoint: port.https() };
        let mut minio = Self { root, operator: StoreAccount::random(), environment, nursery, port };
        minio.run().await?;
        let operator = minio.operator.clone();
        minio.add_account(&operator, OPERATOR_POLICY, &operator_policy()).await?;
        Ok(minio)
    }

    /// Its address, such as `https://127.0.0.1:20567`. Buckets are addressed by path.
    pub fn endpoint(&self) -> String {
        self.port.https()
    }

    /// The account of the operator: buckets of its own naming, all that is in them, and identities by STS.
    pub fn operator_account(&self) -> &StoreAccount {
        &self.operator
    }

    /// The account that may do everything, for looking at what really is there.
    pub fn root_account(&self) -> &StoreAccount {
        &self.root.account
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        self.nursery.directory()
    }

    /// The ids of its processes.
    pub fn process_ids(&self) -> Vec<u32> {
        self.nursery.process_ids()
    }

    /// Kills the server; its data stays. For tests of an outage.
    pub fn interrupt(&mut self) -> Result<()> {
        self.nursery.kill("minio")
    }

    /// Starts it again on the same address with the same data.
    pub async fn resume(&mut self) -> Result<()> {
        self.run().await
    }

    /// Makes an account with a policy of its own.
    pub async fn add_account(&self, account: &StoreAccount, policy_name: &str, policy: &Value) -> Result<()> {
        let access_key = account.access_key.expose_secret();
        let policies = json!({ policy_name: policy }).to_string();
        let users = json!({ access_key: { "secretKey": account.secret_key.expose_secret(), "status": "enabled" } });
        let mappings = json!({ access_key: { "version": 1, "policy": policy_name } }).to_string();
        let archive = zip::archive(&[
            ("iam-assets/policies.json", policies.as_bytes()),
            ("iam-assets/users.json", users.to_string().as_bytes()),
            ("iam-assets/user_mappings.json", mappings.as_bytes()),
        ]);
        let answer = self.root.administrate(Method::PUT, "import-iam", archive).await?;
        let status = answer.status();
        ensure!(status.is_success(), "no account at MinIO: {status}: {}", answer.text().await.unwrap_or_default());
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let directory = self.nursery.directory();
        let mut command = Command::new(Component::Minio.path().await?);
        command
            .args(["server", "--quiet", "--address", &self.port.address(), "--certs-dir"])
            .arg(directory.join("certs"))
            .arg(directory.join("data"))
            .env("HOME", directory)
            .envs(self.environment.iter().map(|(name, value)| (*name, value.expose_secret())));
        let root = self.root.clone();
        self.nursery
            .spawn("minio", &mut command)?
            .until_ready(Duration::from_mins(1), async || root.is_ready().await)
            .await
    }
}

/// The account that may do everything, and how it calls the store.
#[derive(Clone)]
struct Root {
    client: Client,
    account: StoreAccount,
    endpoint: String,
}

impl Root {
    /// Calls MinIO's administration as root.
    async fn administrate(&self, method: Method, action: &str, body: Vec<u8>) -> Result<Response> {
        let url = format!("{}/minio/admin/v3/{action}", self.endpoint);
        let mut request = http::Request::builder().method(method).uri(&url).body(body)?;
        sign_request(&mut request, &self.account.credentials())?;
        Ok(self.client.execute(request.try_into()?).await?)
    }

    /// Whether it serves, and has read its accounts. It says that it is ready before it has read them, and what it reads then replaces what
    /// it was told meanwhile: an account made in that moment is there but has no policy, and all that it asks is refused. This list is
    /// one of the few answers that wait until they are read.
    async fn is_ready(&self) -> Option<()> {
        let health = self.client.get(format!("{}/minio/health/ready", self.endpoint)).send().await.ok()?;
        let groups = self.administrate(Method::GET, "groups", Vec::new()).await.ok()?;
        (health.status().is_success() && groups.status().is_success()).then_some(())
    }
}

/// Signs a request of MinIO's administration, which takes the signatures of S3.
fn sign_request(request: &mut http::Request<Vec<u8>>, credentials: &Credentials) -> Result<()> {
    let identity = credentials.clone().into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()?
        .into();
    let url = request.uri().to_string();
    let body = SignableBody::Bytes(request.body());
    let signable = SignableRequest::new(request.method().as_str(), url, std::iter::empty(), body)?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}

/// What the operator may do: everything a bucket of ours needs, on buckets of our naming only. It has the rights on
/// objects too, because an identity that it issues can have no more than itself, and because it empties buckets.
fn operator_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": [
                "s3:CreateBucket",
                "s3:DeleteBucket",
                "s3:GetBucketLocation",
                "s3:ListBucket",
                "s3:ListBucketVersions",
                "s3:ListBucketMultipartUploads",
                "s3:GetBucketPolicy",
                "s3:PutBucketPolicy",
                "s3:DeleteBucketPolicy",
                "s3:GetBucketTagging",
                "s3:PutBucketTagging",
                "s3:GetEncryptionConfiguration",
                "s3:PutEncryptionConfiguration",
                "s3:GetBucketVersioning",
                "s3:PutBucketVersioning",
                "s3:GetLifecycleConfiguration",
                "s3:PutLifecycleConfiguration",
                "s3:GetObject",
                "s3:GetObjectVersion",
                "s3:GetObjectTagging",
                "s3:PutObject",
                "s3:PutObjectTagging",
                "s3:DeleteObject",
                "s3:DeleteObjectVersion",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ],
            "Resource": ["arn:aws:s3:::steading-*", "arn:aws:s3:::steading-*/*"],
        }],
    })
}
