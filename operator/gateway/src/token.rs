//! The statement by which a session shows who it is. In: the text of a token, the keys that the gateway trusts, the time. Out:
//! [`Identity`], or why it is none.
//!
//! A token is a JWT (RFC 7519) signed with Ed25519 whose header is always the same text, so there is nothing to choose in it and nothing
//! to get wrong. The gateway holds public keys only: whoever reads all of its memory can still not make a token.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reason::Reason;

/// The only header: the algorithm and the type.
const HEADER: &str = r#"{"alg":"EdDSA","typ":"steading-egress+jwt"}"#;
/// Who tokens are for; they are worth nothing elsewhere.
const AUDIENCE: &str = "steading-egress";
/// No token of ours is longer.
const LENGTH: usize = 1024;
/// So many keys are trusted at once; two are enough to replace one.
pub const KEYS: usize = 4;
/// What stands before the 32 bytes of every Ed25519 key in its usual form (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

macro_rules! uids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl From<Uuid> for $name {
            fn from(uid: Uuid) -> Self {
                Self(uid)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotUid;

            /// In the one form that Kubernetes writes: lower case with hyphens.
            fn try_from(text: String) -> Result<Self, NotUid> {
                let uid = Uuid::try_parse(&text).map_err(|_| NotUid)?;
                if uid.to_string() == text { Ok(Self(uid)) } else { Err(NotUid) }
            }
        }

        impl From<$name> for String {
            fn from(uid: $name) -> Self {
                uid.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

uids! {
    /// UID of an AgentSession.
    SessionUid;
    /// UID of an AgentPool.
    PoolUid;
    /// Identity of a Tenant.
    TenantUid;
}

/// A text is no UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a UID is written like 0d6f1f0e-5c1b-4a57-9d3c-2f0a6f4f7a10")]
pub struct NotUid;

/// A public key, by which it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// Who brings a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The session.
    pub session: SessionUid,
    /// Its pool.
    pub pool: PoolUid,
    /// Its tenant.
    pub tenant: TenantUid,
    /// Until when, in seconds since 1970; at that second it is over.
    pub expires: u64,
    /// The key that says so.
    pub key: PublicKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    aud: String,
    sub: SessionUid,
    pool: PoolUid,
    tenant: TenantUid,
    exp: u64,
}

/// Why a file of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// No PEM, or of something else.
    #[error("it is not PEM with PUBLIC KEY blocks of Ed25519; make one with: openssl pkey -in key.pem -pubout")]
    NotKeys,
    /// None or too many.
    #[error("it holds {0} keys; 1 to {KEYS} can be trusted at once")]
    Count(usize),
}

/// The keys that are trusted. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenKeys(Arc<[PublicKey]>);

impl TokenKeys {
    /// Reads PEM with one or more public keys of Ed25519.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        for block in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            let block = block.map_err(|_| KeysError::NotKeys)?;
            let raw = block.strip_prefix(&SPKI).and_then(|raw| raw.try_into().ok()).ok_or(KeysError::NotKeys)?;
            keys.push(PublicKey(raw));
        }
        if keys.is_empty() || keys.len() > KEYS { Err(KeysError::Count(keys.len())) } else { Ok(Self(keys.into())) }
    }

    /// Whether `key` is trusted.
    pub fn trusts(&self, key: PublicKey) -> bool {
        self.0.contains(&key)
    }

    /// Whether no key is trusted, so that no token can be valid.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who brings `token`, at the time `now`.
    pub fn verify(&self, token: &SecretString, now: u64) -> Result<Identity, Reason> {
        let token = token.expose_secret();
        if token.len() > LENGTH {
            return Err(Reason::TokenInvalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::TokenInvalid)?;
        let (header, claims) = signed.split_once('.').ok_or(Reason::TokenInvalid)?;
        if header != BASE64URL_NOPAD.encode(HEADER.as_bytes()) {
            return Err(Reason::TokenInvalid);
        }
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| Reason::TokenInvalid)?;
        let signed_by = |key: &&PublicKey| {
            UnparsedPublicKey::new(&ED25519, key.0.as_slice()).verify(signed.as_bytes(), &signature).is_ok()
        };
        let key = *self.0.iter().find(signed_by).ok_or(Reason::TokenInvalid)?;
        let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).map_err(|_| Reason::TokenInvalid)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Reason::TokenInvalid)?;
        if claims.aud != AUDIENCE {
            return Err(Reason::TokenInvalid);
        }
        if claims.exp <= now {
            return Err(Reason::TokenExpired);
        }
        Ok(Identity { session: claims.sub, pool: claims.pool, tenant: claims.tenant, expires: claims.exp, key })
    }
}

/// Makes tokens. The gateway never does; whoever starts sessions does.
pub struct Signer(Ed25519KeyPair);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// The key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key is not Ed25519 in PKCS#8; make one with: openssl genpkey -algorithm ed25519 -outform DER")]
pub struct NotSigner;

impl Signer {
    /// Takes a private key in PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, NotSigner> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self).map_err(|_| NotSigner)
    }

    /// The key by which its tokens are known.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().unwrap_or_default())
    }

    /// A token for `session` that is over at `expires`, in seconds since 1970.
    pub fn sign(&self, session: SessionUid, pool: PoolUid, tenant: TenantUid, expires: u64) -> SecretString {
        let claims = Claims { aud: AUDIENCE.to_owned(), sub: session, pool, tenant, exp: expires };
        // Texts and a number always become JSON; if not, nobody would take the token.
        self.signed(HEADER, &serde_json::to_string(&claims).unwrap_or_default())
    }

    fn signed(&self, header: &str, claims: &str) -> SecretString {
        let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = BASE64URL_NOPAD.encode(self.0.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}").into()
    }
}

impl From<&Signer> for TokenKeys {
    fn from(signer: &Signer) -> Self {
        Self(Arc::new([signer.public_key()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn signer() -> Signer {
        Signer(Ed25519KeyPair::generate().unwrap())
    }

    fn uid(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn claims(expires: u64) -> serde_json::Value {
        serde_json::json!({ "aud": AUDIENCE, "sub": uid(1).to_string(), "pool": uid(2).to_string(), "tenant": uid(3).to_string(), "exp": expires })
    }

    fn verify(signer: &Signer, header: &str, claims: &serde_json::Value) -> Result<Identity, Reason> {
        TokenKeys::from(signer).verify(&signer.signed(header, &claims.to_string()), NOW)
    }

    #[test]
    fn a_token_says_who_brings_it_until_its_last_second() {
        let signer = signer();
        let token = signer.sign(uid(1).into(), uid(2).into(), uid(3).into(), NOW + 1);
        let keys = TokenKeys::from(&signer);
        let identity = keys.verify(&token, NOW).unwrap();
        assert_eq!((identity.session, identity.pool, identity.tenant), (uid(1).into(), uid(2).into(), uid(3).into()));
        assert_eq!(keys.verify(&token, NOW + 1), Err(Reason::TokenExpired));
        assert_eq!(verify(&signer, HEADER, &claims(NOW + 1)), Ok(identity));
    }

    #[test]
    fn another_key_or_a_changed_byte_is_no_token() {
        let (signer, other) = (signer(), signer());
        let token = signer.sign(uid(1).into(), uid(2).into(), uid(3).into(), NOW + 60);
        assert_eq!(TokenKeys::from(&other).verify(&token, NOW), Err(Reason::TokenInvalid));
        assert_eq!(TokenKeys::default().verify(&token, NOW), Err(Reason::TokenInvalid));
        let text = token.expose_secret();
        for place in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(TokenKeys::from(&signer).verify(&changed.into(), NOW).is_err(), "byte {place}");
        }
    }

    #[test]
    fn the_header_leaves_nothing_to_choose() {
        let signer = signer();
        for header in
            [r#"{"alg":"none"}"#, r#"{"alg":"HS256","typ":"steading-egress+jwt"}"#, r#"{"alg":"EdDSA"}"#, "{}"]
        {
            assert_eq!(verify(&signer, header, &claims(NOW + 60)), Err(Reason::TokenInvalid), "{header}");
        }
    }

    #[test]
    fn claims_of_another_shape_are_refused() {
        let signer = signer();
        let changed = |field: &str, value: serde_json::Value| {
            let mut claims = claims(NOW + 60);
            claims[field] = value;
            verify(&signer, HEADER, &claims)
        };
        assert_eq!(changed("aud", "steading-relay".into()), Err(Reason::TokenInvalid), "a token for something else");
        assert_eq!(changed("admin", true.into()), Err(Reason::TokenInvalid));
        assert_eq!(changed("exp", "never".into()), Err(Reason::TokenInvalid));
        assert_eq!(changed("sub", uid(1).simple().to_string().into()), Err(Reason::TokenInvalid));
        assert_eq!(changed("sub", serde_json::Value::Null), Err(Reason::TokenInvalid));
    }

    #[test]
    fn nonsense_is_refused_without_reading_much_of_it() {
        let keys = TokenKeys::from(&signer());
        for text in ["", ".", "..", "a.b.c", "a.b.c.d", &"a".repeat(LENGTH + 1)] {
            assert_eq!(keys.verify(&text.to_owned().into(), NOW), Err(Reason::TokenInvalid), "{text}");
        }
    }

    #[test]
    fn keys_are_read_from_what_openssl_writes() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let keys = TokenKeys::from_pem(pair.public_key_pem().as_bytes()).unwrap();
        let signer = Signer::from_pkcs8(&pair.serialize_der()).unwrap();
        assert!(keys.trusts(signer.public_key()));
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        assert_eq!(TokenKeys::from_pem(other.public_key_pem().as_bytes()), Err(KeysError::NotKeys));
        assert_eq!(TokenKeys::from_pem(b"nothing"), Err(KeysError::Count(0)));
        let five = pair.public_key_pem().repeat(5);
        assert_eq!(TokenKeys::from_pem(five.as_bytes()), Err(KeysError::Count(5)));
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(format!("{:?}", signer()), "Signer");
    }
}
