//! Ways into a plane. In: who. Out: clients and kubeconfigs.

use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{
    AuthInfo, Cluster, Context as KubeconfigContext, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use kube::{Api, Client, Config};
use secrecy::{ExposeSecret as _, SecretString};

use super::Plane;
use crate::certificates::{Authority, KeyedCertificate};
use crate::nursery::write_private;

/// Who a client is.
#[derive(Clone)]
pub enum Identity {
    /// A user known by a certificate of the plane's own authority.
    Certificate(KeyedCertificate),
    /// The bearer of a token, such as a ServiceAccount.
    Token(SecretString),
}

impl Identity {
    /// The identity of `user` in `groups`.
    pub(crate) fn certificate(authority: &Authority, user: &str, groups: &[&str]) -> Result<Self> {
        Ok(Self::Certificate(authority.client(user, groups)?))
    }

    fn auth_info(&self) -> AuthInfo {
        let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
        match self {
            Self::Certificate(pair) => AuthInfo {
                client_certificate_data: Some(base64(&pair.certificate)),
                client_key_data: Some(base64(pair.key.expose_secret()).into()),
                ..AuthInfo::default()
            },
            Self::Token(token) => AuthInfo { token: Some(token.clone()), ..AuthInfo::default() },
        }
    }
}

/// Where an API server is and whom to trust there.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) url: &'a str,
    pub(super) authority: &'a Authority,
}

impl Way<'_> {
    /// The client configuration of `identity`.
    pub(super) fn config(self, identity: &Identity) -> Result<Config> {
        let mut config = Config::new(self.url.parse().context("the API server's address is no URL")?);
        config.root_cert = Some(vec![pem_to_der(self.authority.certificate())?]);
        config.auth_info = identity.auth_info();
        Ok(config)
    }

    /// A kubeconfig for `identity` with all certificates inside.
    pub(super) fn kubeconfig(self, identity: &Identity) -> Kubeconfig {
        let name = "steading-e2e".to_owned();
        let authority = data_encoding::BASE64.encode(self.authority.certificate().as_bytes());
        let cluster = Cluster {
            server: Some(self.url.to_owned()),
            certificate_authority_data: Some(authority),
            ..Cluster::default()
        };
        let context =
            KubeconfigContext { cluster: name.clone(), user: Some(name.clone()), ..KubeconfigContext::default() };
        Kubeconfig {
            clusters: vec![NamedCluster { name: name.clone(), cluster: Some(cluster), ..NamedCluster::default() }],
            auth_infos: vec![NamedAuthInfo {
                name: name.clone(),
                auth_info: Some(identity.auth_info()),
                ..NamedAuthInfo::default()
            }],
            contexts: vec![NamedContext { name: name.clone(), context: Some(context), ..NamedContext::default() }],
            current_context: Some(name),
            api_version: Some("v1".to_owned()),
            kind: Some("Config".to_owned()),
            ..Kubeconfig::default()
        }
    }
}

impl Plane {
    /// A client that may do everything (`system:masters`); admission policies hold for it too.
    ///
    /// Each test needs its own: a client dies with the async runtime it was made in.
    pub fn admin(&self) -> Result<Client> {
        self.client(&self.admin)
    }

    /// A client of `user`, a member of at most two `groups`, known by a certificate. It has only the rights that
    /// bindings give to these names.
    pub fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client> {
        self.client(&self.identity_of(user, groups)?)
    }

    /// The identity behind [`Plane::client_for`], to make a kubeconfig of.
    pub fn identity_of(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        Identity::certificate(&self.authority, user, groups)
    }

    /// A client of an existing ServiceAccount, with a token of one hour.
    pub async fn service_account_client(&self, namespace: &str, name: &str) -> Result<Client> {
        self.client(&Identity::Token(self.token_for(namespace, name, &[], 3600).await?))
    }

    /// A token of an existing ServiceAccount. No audience means the API server's own; `seconds` is at least 600.
    pub async fn token_for(
        &self,
        namespace: &str,
        name: &str,
        audiences: &[&str],
        seconds: i64,
    ) -> Result<SecretString> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
                expiration_seconds: Some(seconds),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin()?, namespace);
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("cannot get a token of ServiceAccount {namespace}/{name}: does it exist?"))?;
        let status =
            answer.status.with_context(|| format!("the token request for {namespace}/{name} has no answer"))?;
        Ok(status.token.into())
    }

    /// A client of `identity`.
    pub fn client(&self, identity: &Identity) -> Result<Client> {
        Client::try_from(self.config(identity)?).context("cannot make a client for the plane")
    }

    /// The client configuration of `identity`, for callers that change it before they make a client.
    pub fn config(&self, identity: &Identity) -> Result<Config> {
        self.way().config(identity)
    }

    /// The identity that may do everything.
    pub fn admin_identity(&self) -> &Identity {
        &self.admin
    }

    /// A kubeconfig for `identity` with all certificates inside.
    pub fn kubeconfig(&self, identity: &Identity) -> Kubeconfig {
        self.way().kubeconfig(identity)
    }

    /// Writes a kubeconfig for `identity` to a file that only we may read.
    pub fn write_kubeconfig(&self, identity: &Identity, path: &Path) -> Result<()> {
        write_kubeconfig(&self.kubeconfig(identity), path)
    }

    fn way(&self) -> Way<'_> {
        Way { url: &self.url, authority: &self.authority }
    }
}

/// Writes a kubeconfig to a file that only we may read. JSON is YAML, and every reader of kubeconfigs takes it.
pub(super) fn write_kubeconfig(kubeconfig: &Kubeconfig, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(kubeconfig).context("cannot write the kubeconfig as JSON")?;
    text.push('\n');
    write_private(path, text.as_bytes())
}

/// The first certificate of a PEM text, as DER.
fn pem_to_der(pem: &str) -> Result<Vec<u8>> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    data_encoding::BASE64.decode(body.as_bytes()).context("the certificate is not valid PEM")
}
