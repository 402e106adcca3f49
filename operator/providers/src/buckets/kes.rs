//! The key server of a store: KES.
//!
//! In: an API key, and names. Out: keys of the tenants' own, which the store encrypts their buckets under.
//!
//! An API key is the seed of an Ed25519 key. KES knows a caller by the hash of the public key in its client certificate, so we make
//! a certificate for ourselves out of the API key; who signed it and when it ends does not matter to KES, but it must not be a
//! certificate authority, because KES overlooks those. KES cannot rotate or disable a key: it can make, describe and destroy it,
//! and we never destroy.

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ED25519,
};
use reqwest::{Client, Method, StatusCode, Url};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::BucketKey;
use crate::{
    fault::Fault,
    wire::{self, Answer, ClientIdentity},
};

/// Where the key server is, and who we are there.
#[derive(Clone, Debug)]
pub struct KesConfig {
    /// Address, such as `https://kes.example:7373`.
    pub endpoint: String,
    /// PEM certificates that are trusted for it; the system's if `None`.
    pub ca_bundle: Option<String>,
    /// `kes:v1:` and base64, as `kes identity new` prints it. Its identity needs the calls `/v1/key/create/s-<installation>-*` and
    /// `/v1/key/describe/s-<installation>-*`.
    pub api_key: SecretString,
}

/// A KES server.
#[derive(Clone)]
pub(crate) struct Kes {
    endpoint: String,
    base: Url,
    client: Client,
}

#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    algorithm: String,
    #[serde(default)]
    created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl Kes {
    /// Checks the configuration; nothing is called yet.
    pub(crate) fn new(config: &KesConfig) -> Result<Self, Fault> {
        let base = wire::endpoint(&config.endpoint)?;
        let client = wire::client(config.ca_bundle.as_deref(), Some(identity(&config.api_key)?))?;
        Ok(Self { endpoint: config.endpoint.clone(), base, client })
    }

    fn what(&self, name: &str) -> String {
        format!("key `{name}` at {}", self.endpoint)
    }

    async fn call(&self, method: Method, operation: &str, name: &str) -> Result<Answer, Fault> {
        let url = wire::address(&self.base, ["v1", "key", operation, name])?;
        wire::send(self.client.request(method, url), &self.what(name)).await
    }

    fn refused(&self, answer: &Answer, operation: &str, name: &str) -> Fault {
        let said = serde_json::from_slice::<Message>(&answer.body).map(|body| body.message).unwrap_or_default();
        let remedy = format!("allow the API key's identity /v1/key/{operation}/{name} in a policy of the key server");
        answer.fault(&self.what(name), &said, &remedy)
    }

    /// The key of this name, if there is one.
    pub(crate) async fn describe(&self, name: &str) -> Result<Option<BucketKey>, Fault> {
        let answer = self.call(Method::GET, "describe", name).await?;
        match answer.status {
            StatusCode::OK => {
                let key: Description = answer.json(&self.what(name))?;
                Ok(Some(BucketKey {
                    name: name.to_owned(),
                    created: key.created_at,
                    algorithm: key.algorithm,
                    evidence: format!("described by the key server {}", self.endpoint),
                }))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refused(&answer, "describe", name)),
        }
    }

    /// Makes the key. If there is one of that name already, this changes nothing: the name holds whose it is.
    pub(crate) async fn create(&self, name: &str) -> Result<(), Fault> {
        let answer = self.call(Method::PUT, "create", name).await?;
        if answer.status.is_success() || self.describe(name).await?.is_some() {
            return Ok(());
        }
        Err(self.refused(&answer, "create", name))
    }
}

/// The client certificate that an API key stands for.
fn identity(api_key: &SecretString) -> Result<ClientIdentity, Fault> {
    // None of these messages may repeat the text: it is the secret itself.
    let malformed = || {
        Fault::invalid(
            "the API key of the key server is malformed: it must be as `kes identity new` prints it, beginning with kes:v1:",
        )
    };
    let encoded = api_key.expose_secret().trim().strip_prefix("kes:v1:").ok_or_else(malformed)?;
    let decoded = data_encoding::BASE64.decode(encoded.as_bytes()).map_err(|_| malformed())?;
    // One byte for the type (0 is Ed25519), then the seed.
    let Some((0, seed)) = decoded.split_first().map(|(kind, seed)| (*kind, seed)) else { return Err(malformed()) };
    if seed.len() != 32 {
        return Err(malformed());
    }
    // PKCS #8 version 1 of an Ed25519 key is this prefix and the seed (RFC 8410, section 7).
    let mut der = vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    der.extend_from_slice(seed);
    let pkcs8 = PrivatePkcs8KeyDer::from(der);
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519).map_err(|_| malformed())?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "steading");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = parameters.self_signed(&key).map_err(|_| malformed())?;
    Ok(ClientIdentity { certificate: certificate.der().clone(), key: PrivateKeyDer::Pkcs8(pkcs8) })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::fault::reasons;

    /// Seed of zeros. Its public key is a published test value of Ed25519.
    const API_KEY: &str = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const PUBLIC_KEY: &str = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";

    #[test]
    fn the_certificate_carries_the_public_key_of_the_seed() {
        let made = identity(&API_KEY.into()).unwrap();
        let public = data_encoding::HEXLOWER.decode(PUBLIC_KEY.as_bytes()).unwrap();
        assert!(
            made.certificate.windows(public.len()).any(|window| window == public),
            "KES hashes this key to know us"
        );
    }

    #[test]
    fn the_certificate_is_no_authority_because_kes_overlooks_those() {
        let made = identity(&API_KEY.into()).unwrap();
        // BasicConstraints (2.5.29.19) is where an authority would say so.
        assert!(!made.certificate.windows(5).any(|window| window == [0x06, 0x03, 0x55, 0x1d, 0x13]));
    }

    #[test]
    fn a_malformed_api_key_is_refused_without_repeating_it() {
        for hostile in
            ["", "kes:v2:AAAA", "kes:v1:!!", "kes:v1:AAAA", "kes:v1:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        {
            let fault = identity(&hostile.into()).err().unwrap();
            assert_eq!(fault.reason, reasons::INVALID_SPEC);
            assert!(hostile.is_empty() || !fault.message.contains(hostile), "{fault}");
        }
    }

    #[test]
    fn different_api_keys_are_different_callers() {
        let other = format!("kes:v1:{}", data_encoding::BASE64.encode(&[&[0u8][..], &[7u8; 32]].concat()));
        let hash = |key: &str| Sha256::digest(identity(&key.into()).unwrap().certificate.as_ref());
        assert_ne!(hash(API_KEY), hash(&other));
    }
}
