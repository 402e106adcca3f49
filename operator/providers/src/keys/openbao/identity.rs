//! Tokens that tell other servers who we are.
//!
//! In: a session with OpenBao or Vault, and a role of its identity engine. Out: a signed token that lives for minutes, kept in memory until
//! shortly before it ends. Servers that trust this issuer take it, so no secret has to be shared with them.

use std::{sync::Arc, time::Instant};

use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    OpenBaoKeys, Server,
    answers::{Wrapped, errors_of},
    session::use_until,
};
use crate::fault::Fault;

/// Our identity at one server, by one role.
pub struct IdentityTokens {
    server: Arc<Server>,
    role: String,
    current: Mutex<Option<Current>>,
}

impl std::fmt::Debug for IdentityTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityTokens").field("role", &self.role).finish_non_exhaustive()
    }
}

struct Current {
    token: SecretString,
    use_until: Option<Instant>,
}

#[derive(Deserialize)]
struct Issued {
    token: SecretString,
    /// Seconds that it lives.
    ttl: u64,
}

impl OpenBaoKeys {
    /// Our identity by this role of the identity engine, from the same session as the keys.
    pub fn identity_tokens(&self, role: &str) -> IdentityTokens {
        IdentityTokens { server: Arc::clone(&self.server), role: role.to_owned(), current: Mutex::new(None) }
    }
}

impl IdentityTokens {
    /// The token, a new one if there is none or it ends soon.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses us.
    pub async fn token(&self) -> Result<SecretString, Fault> {
        let mut current = self.current.lock().await;
        if let Some(known) = current.as_ref()
            && known.use_until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(known.token.clone());
        }
        let asked = Instant::now();
        let issued = self.issue().await?;
        let fresh = Current { token: issued.token, use_until: use_until(asked, issued.ttl) };
        Ok(current.insert(fresh).token.clone())
    }

    async fn issue(&self) -> Result<Issued, Fault> {
        let (config, role) = (&self.server.config, &self.role);
        let what = format!("identity token of role `{role}` at {}", config.address);
        let path = ["v1", "identity", "oidc", "token", role].map(str::to_owned);
        let answer = self.server.call(Method::GET, &path, None, &what).await?;
        if answer.status.is_success() {
            return Ok(answer.json::<Wrapped<Issued>>(&what)?.data);
        }
        let remedy = format!(
            "make the role `{role}` of its identity engine, and give role `{}` of auth mount `{}` a policy that reads `identity/oidc/token/{role}`",
            config.auth_role, config.auth_mount
        );
        Err(answer.fault(&what, &errors_of(&answer), &remedy))
    }
}
