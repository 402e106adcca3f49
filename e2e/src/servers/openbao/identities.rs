//! OpenBao as the issuer of identities for OpenFGA, set up as the documentation says. In: tokens of ServiceAccounts. Out: tokens whose `azp` is
//! the namespace and name of the ServiceAccount.

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::{AUDIENCE, AUTH_MOUNT, OPERATOR_ROLE, OpenBao, secret_at, send};

/// Role of the identity engine, key, policy, and audience of its tokens.
pub(in crate::servers) const OPENFGA: &str = "openfga";

/// Role to which every ServiceAccount of the cluster signs in, to get such a token and nothing else.
const APPLICATIONS_ROLE: &str = "applications";

impl OpenBao {
    /// Issues identities to the operator and to every ServiceAccount of the cluster from now on.
    pub async fn issue_identities(&self) -> Result<()> {
        let policy = format!("path \"identity/oidc/token/{OPENFGA}\" {{ capabilities = [\"read\"] }}");
        self.write(&format!("sys/policies/acl/{OPENFGA}"), &json!({ "policy": policy })).await?;
        self.let_operator_in(&[OPERATOR_ROLE, OPENFGA]).await?;
        let applications = json!({
            "bound_service_account_names": ["*"],
            "bound_service_account_namespaces": ["*"],
            "audience": AUDIENCE,
            "token_policies": [OPENFGA],
            "token_no_default_policy": true,
            "token_ttl": "10m",
            "alias_name_source": "serviceaccount_name",
        });
        self.write(&format!("auth/{AUTH_MOUNT}/role/{APPLICATIONS_ROLE}"), &applications).await?;
        let mounts = self.read("sys/auth").await?.context("OpenBao lists no auth mounts")?;
        let accessor = mounts.pointer(&format!("/data/{AUTH_MOUNT}~1/accessor")).and_then(serde_json::Value::as_str);
        let accessor = accessor.context("the Kubernetes auth method has no accessor")?;
        self.write(&format!("identity/oidc/key/{OPENFGA}"), &json!({ "allowed_client_ids": [OPENFGA] })).await?;
        let template = format!("{{\"azp\": {{{{identity.entity.aliases.{accessor}.name}}}}}}");
        let role = json!({ "key": OPENFGA, "client_id": OPENFGA, "template": template, "ttl": "10m" });
        self.write(&format!("identity/oidc/role/{OPENFGA}"), &role).await.map(drop)
    }

    /// The issuer of these identities.
    pub fn issuer(&self) -> String {
        format!("{}/v1/identity/oidc", self.address())
    }

    /// Exchanges the token of a ServiceAccount, of [`OpenBao::audience`], for one that OpenFGA takes.
    pub async fn identity_token(&self, service_account_token: &SecretString) -> Result<SecretString> {
        let body = json!({ "role": APPLICATIONS_ROLE, "jwt": service_account_token.expose_secret() });
        let (path, address) = (format!("auth/{AUTH_MOUNT}/login"), self.address());
        let (status, answer) = send(&self.client, &address, Method::POST, &path, None, Some(&body)).await?;
        if status != StatusCode::OK {
            bail!("OpenBao answered a sign-in with {status}: {answer}");
        }
        let session = secret_at(&answer, "/auth/client_token")?;
        let (status, answer) =
            self.send(Method::GET, &format!("identity/oidc/token/{OPENFGA}"), &session, None).await?;
        if status != StatusCode::OK {
            bail!("OpenBao answered a request for an identity with {status}: {answer}");
        }
        secret_at(&answer, "/data/token")
    }
}
