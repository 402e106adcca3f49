//! JWTs as NATS signs them. In: claims and a key, or the text of one. Out: its text, or claims whose signature holds.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::nkey::{PublicKey, Role, Signer};

/// The only header that NATS writes.
const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;
/// No request of a server is longer: what a client says of itself is bounded by its line of 4096 bytes and its token.
const LENGTH: usize = 64 * 1024;

/// What every JWT of NATS says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Claims<T> {
    /// For whom it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Until when, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// What people call it.
    pub name: String,
    /// Whom it is about.
    pub sub: String,
    /// What it says.
    pub nats: T,
}

#[derive(Serialize)]
struct Signed<'a, T> {
    jti: &'a str,
    iat: u64,
    iss: String,
    #[serde(flatten)]
    claims: &'a Claims<T>,
}

/// Why a text is no JWT of NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Too long, or not three parts of base64.
    #[error("it is not a JWT")]
    Form,
    /// Another way to sign.
    #[error("it is not signed as NATS signs")]
    Header,
    /// Fields are missing, or are something else.
    #[error("it does not say what it should say")]
    Claims,
    /// Whoever says it did not sign it, or may not say it.
    #[error("its signature does not hold")]
    Signature,
}

/// Writes the claims and signs them. Nothing only if they cannot be written as JSON.
pub fn sign<T: Serialize>(claims: &Claims<T>, signer: &Signer, now: u64) -> Option<String> {
    let iss = signer.public().to_string();
    let content = serde_json::to_vec(&Signed { jti: "", iat: now, iss: iss.clone(), claims }).ok()?;
    let jti = BASE32_NOPAD.encode(digest(&SHA256, &content).as_ref());
    let content = serde_json::to_vec(&Signed { jti: &jti, iat: now, iss, claims }).ok()?;
    let said = format!("{}.{}", BASE64URL_NOPAD.encode(HEADER.as_bytes()), BASE64URL_NOPAD.encode(&content));
    let signature = BASE64URL_NOPAD.encode(&signer.sign(said.as_bytes()));
    Some(format!("{said}.{signature}"))
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
}

#[derive(Deserialize)]
struct Issued {
    iss: String,
}

/// Reads what somebody in this role said, and who he is.
pub fn open<T: DeserializeOwned>(text: &str, role: Role) -> Result<(T, PublicKey), Broken> {
    if text.len() > LENGTH {
        return Err(Broken::Form);
    }
    let (said, signature) = text.rsplit_once('.').ok_or(Broken::Form)?;
    let (header, content) = said.split_once('.').ok_or(Broken::Form)?;
    let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Broken::Form);
    let (header, content, signature) = (decode(header)?, decode(content)?, decode(signature)?);
    let header: Header = serde_json::from_slice(&header).map_err(|_| Broken::Header)?;
    if !header.typ.eq_ignore_ascii_case("jwt") || header.alg != "ed25519-nkey" {
        return Err(Broken::Header);
    }
    let Issued { iss } = serde_json::from_slice(&content).map_err(|_| Broken::Claims)?;
    let issuer = PublicKey::read(&iss, role).map_err(|_| Broken::Signature)?;
    if !issuer.signed(said.as_bytes(), &signature) {
        return Err(Broken::Signature);
    }
    serde_json::from_slice(&content).map(|claims| (claims, issuer)).map_err(|_| Broken::Claims)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn signer(role: Role) -> Signer {
        Signer::new(role, &[9; 32]).unwrap()
    }

    fn claims() -> Claims<Value> {
        Claims { aud: None, exp: Some(10), name: "n".to_owned(), sub: "s".to_owned(), nats: json!({ "type": "user" }) }
    }

    #[test]
    fn what_was_signed_is_opened_by_its_issuers_key() {
        let signer = signer(Role::Account);
        let text = sign(&claims(), &signer, 5).unwrap();
        let (read, issuer): (Value, _) = open(&text, Role::Account).unwrap();
        assert_eq!(issuer, signer.public());
        assert_eq!((&read["iat"], &read["exp"], &read["nats"]["type"]), (&json!(5), &json!(10), &json!("user")));
        assert_eq!(read["iss"], signer.public().to_string());
        assert!(text.starts_with("eyJ"), "NATS knows JWTs by their beginning");
    }

    #[test]
    fn a_changed_word_another_role_or_another_way_to_sign_is_refused() {
        let text = sign(&claims(), &signer(Role::Account), 5).unwrap();
        assert_eq!(open::<Value>(&text, Role::Server).unwrap_err(), Broken::Signature);
        let [header, content, signature] = text.split('.').collect::<Vec<_>>().try_into().unwrap();
        let forged =
            String::from_utf8(BASE64URL_NOPAD.decode(content.as_bytes()).unwrap()).unwrap().replace(":10", ":99");
        let forged = BASE64URL_NOPAD.encode(forged.as_bytes());
        assert_eq!(open::<Value>(&format!("{header}.{forged}.{signature}"), Role::Account), Err(Broken::Signature));
        let none = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"none"}"#);
        assert_eq!(open::<Value>(&format!("{none}.{content}.{signature}"), Role::Account), Err(Broken::Header));
        assert_eq!(open::<Value>(&"a".repeat(LENGTH + 1), Role::Account), Err(Broken::Form));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9_.-]{0,200}") {
            prop_assert!(open::<Value>(&text, Role::Server).is_err());
        }
    }
}
