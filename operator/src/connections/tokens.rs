//! Tokens of our own ServiceAccount for servers outside the cluster.
//!
//! In: an audience. Out: a short-lived token that this audience alone accepts, from the API server's TokenRequest.

use async_trait::async_trait;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use providers::keys::openbao::TokenSource;
use secrecy::SecretString;

/// Shortest life that a TokenRequest grants.
const LIFE_SECONDS: i64 = 600;

/// Asks the API server.
pub struct OwnTokens {
    /// Of the operator.
    pub client: Client,
    /// Our own namespace.
    pub namespace: String,
    /// Our own ServiceAccount.
    pub service_account: String,
}

#[async_trait]
impl TokenSource for OwnTokens {
    async fn token(&self, audience: &str) -> Result<SecretString, providers::Fault> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![audience.to_owned()],
                expiration_seconds: Some(LIFE_SECONDS),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let what =
            format!("a token of ServiceAccount {}/{} for audience {audience}", self.namespace, self.service_account);
        let answer = api.create_token_request(&self.service_account, &PostParams::default(), &request).await;
        match answer {
            Ok(TokenRequest { status: Some(status), .. }) => Ok(SecretString::from(status.token)),
            Ok(_) => Err(providers::Fault::transient(format!(
                "the API server answered a request for {what} without a token"
            ))),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Err(providers::Fault::denied(format!(
                "the API server refuses {what}: grant `create` on `serviceaccounts/token` (helm upgrade restores the chart's rights)"
            ))),
            Err(_) => Err(providers::Fault::transient(format!("the API server did not issue {what}"))),
        }
    }
}
