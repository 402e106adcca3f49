//! Signing in at an OpenFGA server. In: credentials as they are configured. Out: the header of a request, and what to do if it is refused.

use std::sync::Arc;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{fault::Fault, keys::IdentityTokens};

/// How to sign in.
#[derive(Clone, Debug)]
pub enum OpenFgaCredentials {
    /// With one of the server's preshared keys.
    PresharedKey(SecretString),
    /// With a token from an issuer that the server trusts.
    IdentityToken(Arc<IdentityTokens>),
}

/// The same, checked.
#[derive(Clone)]
pub(super) enum SignIn {
    PresharedKey(HeaderValue),
    IdentityToken(Arc<IdentityTokens>),
}

impl SignIn {
    pub(super) fn new(credentials: &OpenFgaCredentials) -> Result<Self, Fault> {
        Ok(match credentials {
            OpenFgaCredentials::PresharedKey(key) => Self::PresharedKey(bearer(key).ok_or_else(|| {
                Fault::invalid("the preshared key holds characters that no header can: write it anew")
            })?),
            OpenFgaCredentials::IdentityToken(tokens) => Self::IdentityToken(Arc::clone(tokens)),
        })
    }

    pub(super) async fn header(&self) -> Result<HeaderValue, Fault> {
        match self {
            Self::PresharedKey(header) => Ok(header.clone()),
            Self::IdentityToken(tokens) => bearer(&tokens.token().await?).ok_or_else(|| {
                Fault::transient("an identity token was issued that no header can hold; another is asked for")
            }),
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::PresharedKey(_) => "put one of the server's preshared keys into the class's Secret",
            Self::IdentityToken(_) => {
                "check that the server trusts the issuer and the audience of the token, and that its access control has Steading's application as `admin` of `system:fga`"
            }
        }
    }
}

fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
    header.set_sensitive(true);
    Some(header)
}
