//! Identities issued by the store's STS.
//!
//! In: an [`IdentitySpec`]. Out: credentials of a session of our own account, narrowed by the session's policy. Nothing has to be
//! cleaned up: the session ends by itself, or as soon as a store that can do that is told.

use std::sync::Arc;

use aws_sdk_sts::{
    Client, Config,
    config::{BehaviorVersion, Region},
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use jiff::Timestamp;

use super::{IdentitySpec, IssuedCredentials, Revocation, administration::Administration, policy};
use crate::{aws, buckets::s3::S3Config, fault::Fault, wire};

/// The role that is assumed where the store asks for one but knows none: any well-formed name does.
const ANY_ROLE: &str = "arn:aws:iam::000000000000:role/steading";

/// A name that no identity is revocable as: ending those tells whether that can be done at all.
const NOBODY: &str = "steading-nobody";

/// Issues identities for the buckets of one store.
#[derive(Clone)]
pub struct StsIdentities {
    endpoint: String,
    account: String,
    role: String,
    client: Client,
    administration: Arc<Administration>,
}

impl std::fmt::Debug for StsIdentities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StsIdentities")
            .field("endpoint", &self.endpoint)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl StsIdentities {
    /// Checks the configuration; nothing is called yet. The STS of an S3-compatible store answers at the store's own address.
    pub fn new(config: &S3Config) -> Result<Self, Fault> {
        wire::endpoint(&config.endpoint)?;
        let settings = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .endpoint_url(&config.endpoint)
            .credentials_provider(config.credentials())
            .http_client(aws::https(config.ca_bundle.as_deref())?)
            .timeout_config(aws::timeouts())
            .retry_config(aws::no_retries())
            .build();
        Ok(Self {
            endpoint: config.endpoint.clone(),
            account: config.access_key_id.clone(),
            role: ANY_ROLE.to_owned(),
            client: Client::from_conf(settings),
            administration: Arc::new(Administration::new(config)?),
        })
    }

    /// Issues an identity; see [`super::Identities::issue`].
    pub async fn issue(&self, spec: &IdentitySpec) -> Result<IssuedCredentials, Fault> {
        spec.check()?;
        let what = format!("an identity for bucket `{}` at {}", spec.bucket, self.endpoint);
        let seconds =
            i32::try_from(spec.life.as_secs()).map_err(|_| Fault::invalid("an identity cannot live that long"))?;
        let asked = self
            .client
            .assume_role()
            .role_arn(&self.role)
            .role_session_name(&spec.session_name)
            .duration_seconds(seconds)
            .policy(policy::for_session(spec).to_string())
            .customize();
        let asked = match spec.revocable_as.clone() {
            Some(name) => asked.mutate_request(move |request| add_parameter(request, "TokenRevokeType", &name)),
            None => asked,
        };
        let answer = asked.send().await.map_err(|error| aws::fault(&error, &what, "sts:AssumeRole"))?;
        let issued = answer.credentials.ok_or_else(|| {
            Fault::transient(format!("{what}: the answer holds no credentials; check that the store has an STS"))
        })?;
        let expires_at = Timestamp::from_second(issued.expiration.secs()).map_err(|_| {
            Fault::transient(format!("{what}: the answer holds no time that could be its end; check the store's clock"))
        })?;
        Ok(IssuedCredentials {
            access_key_id: issued.access_key_id,
            secret_access_key: issued.secret_access_key.into(),
            session_token: issued.session_token.into(),
            expires_at,
        })
    }

    /// See [`super::Identities::account`].
    pub fn account(&self) -> &str {
        &self.account
    }

    /// See [`super::Identities::revocation`].
    pub async fn revocation(&self) -> Result<Revocation, Fault> {
        self.administration.revoke(NOBODY).await
    }

    /// See [`super::Identities::revoke`].
    pub async fn revoke(&self, name: &str) -> Result<Revocation, Fault> {
        self.administration.revoke(name).await
    }
}

/// Adds a parameter to a request in the form of the AWS query protocol, before it is signed. The SDK knows only AWS's own; a store that does
/// not know this one passes over it. `value` needs no escape, see [`super::IdentitySpec::revocable_as`].
fn add_parameter(request: &mut HttpRequest, name: &'static str, value: &str) {
    let Some(form) = request.body().bytes() else { return };
    let mut form = form.to_vec();
    form.extend(format!("&{name}={value}").into_bytes());
    request.headers_mut().insert("content-length", form.len().to_string());
    *request.body_mut() = SdkBody::from(form);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_of_the_stores_own_stands_beside_those_of_the_sdk() {
        let mut request = HttpRequest::new(SdkBody::from("Action=AssumeRole"));
        request.headers_mut().insert("content-length", "17");
        add_parameter(&mut request, "TokenRevokeType", "shop-1");
        assert_eq!(request.body().bytes(), Some("Action=AssumeRole&TokenRevokeType=shop-1".as_bytes()));
        assert_eq!(request.headers().get("content-length"), Some("40"));
    }
}
