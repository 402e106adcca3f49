//! What a client shows. In: the text that it sent as token. Out: what the token says of itself, unproven, or why it cannot be one.
//!
//! It spares the API server questions whose answer is plain, and tells when a token ends, which a TokenReview does not say. It proves
//! nothing: whoever looks at a token only here has looked at a claim.

use agent_protocol::relay::AUDIENCE;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use crate::reason::Reason;

/// No projected token is longer: names have at most 253 characters, and there are four of them.
const LENGTH: usize = 8 * 1024;

/// What a token says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Until when, in seconds since 1970.
    pub expires: u64,
}

#[derive(Deserialize)]
struct Payload {
    aud: Audiences,
    exp: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Audiences {
    /// A token that is for others too is taken elsewhere too: it is refused.
    fn only(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => matches!(many.as_slice(), [one] if one == audience),
        }
    }
}

/// Reads the text of a token.
pub fn read(token: &str, now: u64) -> Result<Shown, Reason> {
    if token.is_empty() {
        return Err(Reason::TokenMissing);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reason::TokenMalformed);
    };
    if token.len() > LENGTH || header.is_empty() || signature.is_empty() {
        return Err(Reason::TokenMalformed);
    }
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).map_err(|_| Reason::TokenMalformed)?;
    let payload: Payload = serde_json::from_slice(&payload).map_err(|_| Reason::TokenMalformed)?;
    if !payload.aud.only(AUDIENCE) {
        return Err(Reason::OtherAudience);
    }
    if payload.exp <= now { Err(Reason::TokenExpired) } else { Ok(Shown { expires: payload.exp }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn token(payload: &Value) -> String {
        format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(payload.to_string().as_bytes()))
    }

    #[test]
    fn a_token_for_the_relay_alone_says_when_it_ends() {
        let shown = Ok(Shown { expires: 20 });
        assert_eq!(read(&token(&json!({ "aud": ["steading-relay"], "exp": 20, "sub": "x" })), 10), shown);
        assert_eq!(read(&token(&json!({ "aud": "steading-relay", "exp": 20 })), 10), shown);
    }

    #[test]
    fn a_token_for_somebody_else_or_for_others_too_is_refused() {
        for audience in [json!([]), json!(["steading-claim"]), json!(["steading-relay", "kubernetes"]), json!("relay")]
        {
            let token = token(&json!({ "aud": audience, "exp": 20 }));
            assert_eq!(read(&token, 10), Err(Reason::OtherAudience), "{audience}");
        }
    }

    #[test]
    fn a_token_is_over_at_its_last_second() {
        let token = token(&json!({ "aud": ["steading-relay"], "exp": 20 }));
        assert_eq!(read(&token, 20), Err(Reason::TokenExpired));
        assert!(read(&token, 19).is_ok());
    }

    #[test]
    fn what_is_no_token_is_called_so() {
        assert_eq!(read("", 10), Err(Reason::TokenMissing));
        let good = token(&json!({ "aud": ["steading-relay"], "exp": 20 }));
        let long = format!("{good}{}", "a".repeat(LENGTH));
        let negative = token(&json!({ "aud": ["steading-relay"], "exp": -1 }));
        for text in ["a", "a.b", "a.b.c", "a.b.c.d", "..", &good.replace("e30", ""), &long, &negative] {
            assert_eq!(read(text, 10), Err(Reason::TokenMalformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = read(&text, 10);
        }
    }
}
