//! What the relay asks the API server. In: tokens and names. Out: what it says of them.
//!
//! A TokenReview with the audience is how tokens are verified: the API server knows its keys, and looks whether pod and ServiceAccount are
//! still there under the UIDs that the token names. Keys by themselves would not tell that a pod is gone.

use std::{collections::BTreeMap, time::Duration};

use agent_protocol::relay::AUDIENCE;
use api::{
    Tenant,
    names::{Identity, TenantName},
};
use async_trait::async_trait;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    core::v1::Namespace,
};
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use crate::admit::Review;

/// How long an answer may take; the server of NATS waits a little longer.
const PATIENCE: Duration = Duration::from_secs(4);

/// The API server did not answer, or refused to.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not say {what}: {why}")]
pub struct Unreachable {
    /// What was asked.
    pub what: &'static str,
    /// What came of it.
    pub why: String,
}

/// What can be asked.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Whose token this is.
    async fn review(&self, token: &SecretString) -> Result<Review, Unreachable>;
    /// The labels of a namespace; nothing if it is not there.
    async fn labels(&self, namespace: &str) -> Result<Option<BTreeMap<String, String>>, Unreachable>;
    /// The identity of a Tenant; nothing if it is not there, or has none yet.
    async fn identity(&self, tenant: &TenantName) -> Result<Option<Identity>, Unreachable>;
}

#[async_trait]
impl Cluster for Client {
    async fn review(&self, token: &SecretString) -> Result<Review, Unreachable> {
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec {
                audiences: Some(vec![AUDIENCE.to_owned()]),
                token: Some(token.expose_secret().to_owned()),
            },
            status: None,
        };
        let reviews: Api<TokenReview> = Api::all(self.clone());
        let what = "whose token it is";
        let status = answered(what, reviews.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
        let user = status.user.unwrap_or_default();
        Ok(Review {
            authenticated: status.authenticated.unwrap_or_default(),
            audiences: status.audiences.unwrap_or_default(),
            user: user.username.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        })
    }

    async fn labels(&self, namespace: &str) -> Result<Option<BTreeMap<String, String>>, Unreachable> {
        let namespaces: Api<Namespace> = Api::all(self.clone());
        let found = answered("what the namespace is", namespaces.get_metadata_opt(namespace)).await?;
        Ok(found.map(|namespace| namespace.metadata.labels.unwrap_or_default()))
    }

    async fn identity(&self, tenant: &TenantName) -> Result<Option<Identity>, Unreachable> {
        // A Tenant is named like its namespace.
        let tenants: Api<Tenant> = Api::namespaced(self.clone(), tenant.as_str());
        let found = answered("who the Tenant is", tenants.get_opt(tenant.as_str())).await?;
        let identity = found.and_then(|tenant| tenant.status).and_then(|status| status.identity);
        Ok(identity.and_then(|identity| identity.parse().ok()))
    }
}

async fn answered<T>(what: &'static str, answer: impl Future<Output = kube::Result<T>>) -> Result<T, Unreachable> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| Unreachable { what, why: error.to_string() }),
        Err(_) => Err(Unreachable { what, why: format!("it took longer than {} s", PATIENCE.as_secs()) }),
    }
}
