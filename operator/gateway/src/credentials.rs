//! What a request shows of who sends it. In: its header fields. Out: the session it claims to be of, and the token, unchecked.

use data_encoding::BASE64;
use http::{HeaderMap, header::PROXY_AUTHORIZATION};
use secrecy::SecretString;

use crate::{reason::Reason, token::SessionUid};

/// A UID, a colon and a token, in Base64, need less.
const LENGTH: usize = 2048;

/// The user name and the password of `Proxy-Authorization: Basic`.
pub fn of(headers: &HeaderMap) -> Result<(SessionUid, SecretString), Reason> {
    let mut fields = headers.get_all(PROXY_AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return Err(Reason::Unauthenticated) };
    let text = field.to_str().ok().filter(|text| text.len() <= LENGTH).ok_or(Reason::Unauthenticated)?;
    let (scheme, encoded) = text.split_once(' ').ok_or(Reason::Unauthenticated)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Reason::Unauthenticated);
    }
    let decoded = BASE64.decode(encoded.trim().as_bytes()).map_err(|_| Reason::Unauthenticated)?;
    let decoded = SecretString::from(String::from_utf8(decoded).map_err(|_| Reason::Unauthenticated)?);
    split(&decoded).ok_or(Reason::Unauthenticated)
}

fn split(decoded: &SecretString) -> Option<(SessionUid, SecretString)> {
    use secrecy::ExposeSecret;
    let (user, token) = decoded.expose_secret().split_once(':')?;
    Some((SessionUid::try_from(user.to_owned()).ok()?, token.into()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use secrecy::ExposeSecret;

    use super::*;

    const UID: &str = "00000000-0000-0000-0000-000000000001";

    fn read(fields: &[String]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(PROXY_AUTHORIZATION, HeaderValue::from_str(field).unwrap());
        }
        of(&headers).ok().map(|(session, token)| (session.to_string(), token.expose_secret().to_owned()))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text.as_bytes()))
    }

    #[test]
    fn user_name_and_password_are_session_and_token() {
        let expected = Some((UID.to_owned(), "a.b:c".to_owned()));
        assert_eq!(read(&[basic(&format!("{UID}:a.b:c"))]), expected);
        assert_eq!(read(&[basic(&format!("{UID}:a.b:c")).replacen("Basic", "bAsIc", 1)]), expected);
    }

    #[test]
    fn everything_else_shows_nothing() {
        let good = basic(&format!("{UID}:token"));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[good.clone(), good.clone()]), None, "which of the two?");
        for field in ["Basic", "Basic ", "Basic !", "Bearer token", &good.replacen("Basic", "Digest", 1)] {
            assert_eq!(read(&[field.to_owned()]), None, "{field}");
        }
        assert_eq!(read(&[basic("alice:token")]), None);
        assert_eq!(read(&[basic(UID)]), None);
        assert_eq!(read(&[basic(&format!("{UID}:{}", "a".repeat(LENGTH)))]), None);
    }
}
