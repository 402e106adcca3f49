//! Keys in the transit engine of OpenBao or Vault.
//!
//! In: a [`KeySpec`], and a token of our own ServiceAccount to sign in with. Out: the tenant's key, created once, rotating by
//! itself, never readable from outside, and disabled rather than destroyed.
//!
//! What the engine cannot say by itself is said like this:
//! - **Owner:** transit keys carry no tags, so the name is the mark: it holds the installation id and the tenant's identity.
//! - **Released:** a key that nobody wants stops rotating (period 0). One of ours that is wanted always has a period.
//! - **Disabled by us or by somebody else:** we release before we disable; a disabled key that still has its period was disabled
//!   by somebody else, and is not brought back by us.
//! - **Disabled on Vault:** Vault has no soft delete. There the key gets one more version and refuses to decrypt with any older
//!   one (`min_decryption_version`), which can be taken back.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::{KeyObserved, KeySpec, SHORTEST_ROTATION_PERIOD, matches};
use crate::{
    external::External,
    fault::{Fault, reasons},
    wire::{self, Answer},
};

mod answers;
mod identity;
mod session;

use answers::{KeyData, Wrapped, errors_of};
pub use identity::IdentityTokens;
use session::Session;
pub use session::TokenSource;

/// Where the transit engine is, and how to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBaoConfig {
    /// Address, such as `https://bao.example:8200`.
    pub address: String,
    /// PEM certificates that are trusted for it; the system's if `None`.
    pub ca_bundle: Option<String>,
    /// Namespace within the server.
    pub namespace: Option<String>,
    /// Mount of the transit engine; may hold slashes.
    pub mount: String,
    /// Mount of the Kubernetes auth method; may hold slashes.
    pub auth_mount: String,
    /// Role to sign in to.
    pub auth_role: String,
    /// Audience that the role demands of the token.
    pub auth_audience: String,
}

/// Keys in one transit engine. Clones share the session; keep one for as long as its configuration stands.
#[derive(Clone)]
pub struct OpenBaoKeys {
    server: Arc<Server>,
}

impl std::fmt::Debug for OpenBaoKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenBaoKeys").field("config", &self.server.config).finish_non_exhaustive()
    }
}

struct Server {
    config: OpenBaoConfig,
    base: Url,
    client: Client,
    session: Session,
}

impl OpenBaoKeys {
    /// Checks the configuration; nothing is called yet.
    pub fn new(config: OpenBaoConfig, tokens: Arc<dyn TokenSource>) -> Result<Self, Fault> {
        let base = wire::endpoint(&config.address)?;
        let client = wire::client(config.ca_bundle.as_deref(), None)?;
        wire::address(&base, config.mount.split('/'))?;
        wire::address(&base, config.auth_mount.split('/'))?;
        let session = Session::new(tokens);
        Ok(Self { server: Arc::new(Server { config, base, client, session }) })
    }

    /// Reads the key, and refuses one that could not be ours or cannot be made fit.
    async fn read(&self, want: &KeySpec) -> Result<Option<KeyData>, Fault> {
        let what = self.name(want);
        let answer = self.server.call(Method::GET, &self.server.key(want, &[]), None, &what).await?;
        match answer.status {
            StatusCode::OK => {
                let key = answer.json::<Wrapped<KeyData>>(&what)?.data;
                key.check_fit(&what)?;
                Ok(Some(key))
            }
            // An absent key has no error text; an absent mount has one, and must not pass for an absent key.
            StatusCode::NOT_FOUND if errors_of(&answer).is_empty() => Ok(None),
            _ => Err(self.refused(&answer, &what)),
        }
    }

    /// The key as it is right now, for a write; between look and write it may have gone.
    async fn read_again(&self, want: &KeySpec) -> Result<KeyData, Fault> {
        self.read(want)
            .await?
            .ok_or_else(|| Fault::transient(format!("{} vanished; it is looked at again", self.name(want))))
    }

    async fn write(&self, want: &KeySpec, action: &[&str], body: &Value) -> Result<(), Fault> {
        let what = self.name(want);
        let answer = self.server.call(Method::POST, &self.server.key(want, action), Some(body), &what).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(&answer, &what)) }
    }

    fn refused(&self, answer: &Answer, what: &str) -> Fault {
        let config = &self.server.config;
        let remedy = match answer.status.as_u16() {
            401 | 403 => format!("give role `{}` a policy for `{}/keys/*`", config.auth_role, config.mount),
            400..=499 => format!("check that the transit engine is mounted at `{}`", config.mount),
            _ => "see the health of that server".to_owned(),
        };
        answer.fault(what, &errors_of(answer), &remedy)
    }

    /// Turns rotation off, which marks the key as nobody's.
    async fn stop_rotation(&self, want: &KeySpec) -> Result<(), Fault> {
        self.write(want, &["config"], &json!({"auto_rotate_period": "0s", "deletion_allowed": false})).await
    }

    /// Withholds all older versions, where there is no soft delete. May be repeated: each repetition adds an unused version.
    async fn withhold(&self, want: &KeySpec) -> Result<(), Fault> {
        self.write(want, &["rotate"], &json!({})).await?;
        let latest = self.read_again(want).await?.latest_version;
        self.write(want, &["config"], &json!({"min_decryption_version": latest})).await
    }
}

impl Server {
    /// Path of the key below the address, with an action behind it.
    fn key(&self, want: &KeySpec, action: &[&str]) -> Vec<String> {
        let mount = self.config.mount.split('/').map(str::to_owned);
        let key = ["keys".to_owned(), want.name()];
        ["v1".to_owned()]
            .into_iter()
            .chain(mount)
            .chain(key)
            .chain(action.iter().map(|&part| part.to_owned()))
            .collect()
    }

    /// Calls with our token. If the server does not take the token any more, signs in anew and calls once more.
    async fn call(&self, method: Method, path: &[String], body: Option<&Value>, what: &str) -> Result<Answer, Fault> {
        let url = wire::address(&self.base, path.iter().map(String::as_str))?;
        let token = self.session.token(self).await?;
        let answer = self.send(method.clone(), url.clone(), body, Some(&token), what).await?;
        if answer.status != StatusCode::FORBIDDEN {
            return Ok(answer);
        }
        match self.session.renewed(self, &token).await? {
            Some(fresh) => self.send(method, url, body, Some(&fresh), what).await,
            None => Ok(answer),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
        token: Option<&SecretString>,
        what: &str,
    ) -> Result<Answer, Fault> {
        let mut request = self.client.request(method, url).header("X-Vault-Request", "true");
        if let Some(namespace) = &self.config.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(token) = token {
            let mut value = reqwest::header::HeaderValue::from_str(token.expose_secret()).map_err(|_| {
                Fault::transient(format!("{what}: the server issued a token that cannot be sent; it is asked again"))
            })?;
            value.set_sensitive(true);
            request = request.header("X-Vault-Token", value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        wire::send(request, what).await
    }
}

/// A duration as the engine takes it.
fn period_text(period: Duration) -> String {
    format!("{}s", period.as_secs())
}

impl External for OpenBaoKeys {
    type Desired = KeySpec;
    type Observed = KeyObserved;

    fn name(&self, want: &KeySpec) -> String {
        format!(
            "key `{}` at {} (transit mount `{}`)",
            want.name(),
            self.server.config.address,
            self.server.config.mount
        )
    }

    async fn observe(&self, want: &KeySpec) -> Result<Option<KeyObserved>, Fault> {
        let config = &self.server.config;
        let evidence = format!("read from `{}/keys/{}` at {}", config.mount, want.name(), config.address);
        Ok(self.read(want).await?.map(|key| key.observed(evidence)))
    }

    async fn create(&self, want: &KeySpec) -> Result<(), Fault> {
        if want.rotation_period < SHORTEST_ROTATION_PERIOD {
            return Err(Fault::invalid(format!(
                "{} rotates at most once an hour: choose a longer rotation period",
                self.name(want)
            )));
        }
        // On a name that exists this changes nothing, so a twin that was faster does no harm.
        let body = json!({
            "type": answers::KEY_TYPE,
            "derived": false,
            "exportable": false,
            "allow_plaintext_backup": false,
            "auto_rotate_period": period_text(want.rotation_period),
        });
        self.write(want, &[], &body).await
    }

    async fn update(&self, want: &KeySpec, _have: &KeyObserved) -> Result<(), Fault> {
        let key = self.read_again(want).await?;
        let now = key.observed(String::new());
        if !now.enabled && !now.released {
            return Err(Fault::stalled(
                reasons::KEY_DISABLED,
                format!(
                    "{} was disabled by somebody else: restore it there (`soft-delete-restore`) if that was a mistake",
                    self.name(want)
                ),
            ));
        }
        // Back to use before the period is set: the other way round, a crash in between would look like a stranger's doing.
        if key.soft_deleted == Some(true) {
            self.write(want, &["soft-delete-restore"], &json!({})).await?;
        } else if key.is_withheld() {
            let oldest = key.min_available_version.max(1);
            self.write(want, &["config"], &json!({"min_decryption_version": oldest})).await?;
        }
        if now.rotation_period != Some(want.rotation_period) || now.deletion_allowed {
            let body = json!({"auto_rotate_period": period_text(want.rotation_period), "deletion_allowed": false});
            self.write(want, &["config"], &body).await?;
        }
        if want.rotate.as_ref().is_some_and(|order| !now.has_rotated(order)) {
            self.write(want, &["rotate"], &json!({})).await?;
        }
        Ok(())
    }

    async fn release(&self, want: &KeySpec, _have: &KeyObserved) -> Result<(), Fault> {
        self.read_again(want).await?;
        self.stop_rotation(want).await
    }

    async fn delete(&self, want: &KeySpec, _have: &KeyObserved) -> Result<(), Fault> {
        let key = self.read_again(want).await?;
        self.stop_rotation(want).await?;
        if key.soft_deleted.is_none() {
            return self.withhold(want).await;
        }
        let what = self.name(want);
        let answer = self.server.call(Method::DELETE, &self.server.key(want, &["soft-delete"]), None, &what).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(&answer, &what)) }
    }

    fn matches(want: &KeySpec, have: &KeyObserved) -> bool {
        matches(want, have)
    }

    fn is_released(have: &KeyObserved) -> bool {
        have.released
    }

    fn is_gone(have: &KeyObserved) -> bool {
        !have.enabled && have.released
    }
}
