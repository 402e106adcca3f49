//! Signing in.
//!
//! In: a token of our own ServiceAccount, from a [`TokenSource`]. Out: a token of the server, kept in memory until shortly before
//! it ends. Neither shows in `Debug` or in a message.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::sync::Mutex;

use super::{
    Server,
    answers::{LoginAnswer, errors_of},
};
use crate::{fault::Fault, wire};

/// Gives tokens of our own ServiceAccount.
#[async_trait::async_trait]
pub trait TokenSource: Send + Sync {
    /// A fresh token for this audience, valid for at least a minute.
    async fn token(&self, audience: &str) -> Result<SecretString, Fault>;
}

/// Our session with one server.
pub(super) struct Session {
    tokens: Arc<dyn TokenSource>,
    current: Mutex<Option<Current>>,
}

/// A refusal this soon after sign-in is not the token's fault. The server does not say whether it knows the token, so this bounds how
/// often a missing right makes us sign in again.
const FRESH: Duration = Duration::from_secs(1);
/// Longer lives are treated as this long.
const LONGEST_LIFE: u64 = 30 * 24 * 3600;

struct Current {
    token: SecretString,
    issued: Instant,
    use_until: Option<Instant>,
}

impl Session {
    pub(super) fn new(tokens: Arc<dyn TokenSource>) -> Self {
        Self { tokens, current: Mutex::new(None) }
    }

    /// The token, from a new sign-in if there is none or it ends soon. Many callers at once make one sign-in.
    pub(super) async fn token(&self, server: &Server) -> Result<SecretString, Fault> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.as_ref()
            && session.use_until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(session.token.clone());
        }
        let fresh = self.sign_in(server).await?;
        Ok(current.insert(fresh).token.clone())
    }

    /// Another token than this one, which the server refused; `None` if it was issued a moment ago, so that another would be refused
    /// as well.
    pub(super) async fn renewed(&self, server: &Server, refused: &SecretString) -> Result<Option<SecretString>, Fault> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.as_ref() {
            if session.token.expose_secret() != refused.expose_secret() {
                return Ok(Some(session.token.clone()));
            }
            if session.issued.elapsed() < FRESH {
                return Ok(None);
            }
        }
        let fresh = self.sign_in(server).await?;
        Ok(Some(current.insert(fresh).token.clone()))
    }

    async fn sign_in(&self, server: &Server) -> Result<Current, Fault> {
        let config = &server.config;
        let what =
            format!("sign-in at {} (auth mount `{}`, role `{}`)", config.address, config.auth_mount, config.auth_role);
        let jwt = self.tokens.token(&config.auth_audience).await?;
        let path = ["v1", "auth"].into_iter().chain(config.auth_mount.split('/')).chain(["login"]);
        let url = wire::address(&server.base, path)?;
        let body = json!({"role": config.auth_role, "jwt": jwt.expose_secret()});
        let answer = server.send(Method::POST, url, Some(&body), None, &what).await?;
        if !answer.status.is_success() {
            let remedy = format!(
                "check that the role exists, is bound to Steading's ServiceAccount and takes the audience `{}`",
                config.auth_audience
            );
            return Err(answer.fault(&what, &errors_of(&answer), &remedy));
        }
        let auth = answer.json::<LoginAnswer>(&what)?.auth;
        let issued = Instant::now();
        Ok(Current { token: auth.client_token, issued, use_until: use_until(issued, auth.lease_duration) })
    }
}

/// Until when a token that lives so many seconds from `now` is used: four fifths of its life, so that no call starts with one that
/// ends on the way. `None` if it does not end.
pub(super) fn use_until(now: Instant, lease_seconds: u64) -> Option<Instant> {
    (lease_seconds > 0).then(|| now + Duration::from_secs(lease_seconds.min(LONGEST_LIFE)) * 4 / 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_for_four_fifths_of_its_life() {
        let now = Instant::now();
        assert_eq!(use_until(now, 1000), Some(now + Duration::from_secs(800)));
        assert_eq!(use_until(now, 0), None, "a token without end is used until it is refused");
        assert!(use_until(now, u64::MAX).is_some(), "no overflow");
    }
}
