//! What a server of NATS asks. In: the text of its request. Out: who asks, for which connection, and the token that was shown.

use secrecy::SecretString;
use serde::Deserialize;

use crate::{
    jwt::{Broken, open},
    nkey::{Role, ServerKey, UserKey},
};

/// For whom requests are.
const AUDIENCE: &str = "nats-authorization-request";

/// A question.
#[derive(Debug)]
pub struct Request {
    /// The server.
    pub server: ServerKey,
    /// The key that the server invented for the connection; the answer is good for it alone.
    pub user: UserKey,
    /// Where the client connects from.
    pub address: String,
    /// What the client showed; may be empty.
    pub token: SecretString,
}

#[derive(Deserialize)]
struct Written {
    aud: String,
    nats: Question,
}

#[derive(Deserialize)]
struct Question {
    server_id: Server,
    user_nkey: String,
    #[serde(default)]
    client_info: Client,
    #[serde(default)]
    connect_opts: Connect,
}

#[derive(Deserialize)]
struct Server {
    id: String,
}

#[derive(Default, Deserialize)]
struct Client {
    #[serde(default)]
    host: String,
}

#[derive(Default, Deserialize)]
struct Connect {
    #[serde(default)]
    auth_token: SecretString,
}

/// Reads a request. The server that says it must have signed it.
pub fn read(text: &[u8]) -> Result<Request, Broken> {
    let text = str::from_utf8(text).map_err(|_| Broken::Form)?;
    let (Written { aud, nats }, signer) = open::<Written>(text, Role::Server)?;
    if aud != AUDIENCE || signer.to_string() != nats.server_id.id {
        return Err(Broken::Claims);
    }
    Ok(Request {
        server: nats.server_id.id.parse().map_err(|_| Broken::Claims)?,
        user: nats.user_nkey.parse().map_err(|_| Broken::Claims)?,
        address: nats.client_info.host.chars().filter(|c| !c.is_control()).take(64).collect(),
        token: nats.connect_opts.auth_token,
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        jwt::{Claims, sign},
        nkey::Signer,
    };

    fn key(role: Role) -> String {
        Signer::new(role, &[5; 32]).unwrap().public().to_string()
    }

    fn question() -> Value {
        json!({
            "server_id": { "id": key(Role::Server), "name": "relay-0" }, "user_nkey": key(Role::User),
            "client_info": { "host": "10.0.0.7", "id": 4 }, "connect_opts": { "auth_token": "a.b.c", "protocol": 1 },
            "type": "authorization_request", "version": 2,
        })
    }

    fn asked(aud: &str, nats: Value, seed: u8) -> Result<Request, Broken> {
        let claims = Claims { aud: Some(aud.to_owned()), nats, ..Claims::default() };
        read(sign(&claims, &Signer::new(Role::Server, &[seed; 32]).unwrap(), 5).unwrap().as_bytes())
    }

    #[test]
    fn a_request_says_who_asks_for_whom_and_what_was_shown() {
        let request = asked(AUDIENCE, question(), 5).unwrap();
        assert_eq!((request.server.to_string(), request.user.to_string()), (key(Role::Server), key(Role::User)));
        assert_eq!((request.address.as_str(), request.token.expose_secret()), ("10.0.0.7", "a.b.c"));
        assert!(!format!("{request:?}").contains("a.b.c"));
    }

    #[test]
    fn who_shows_no_token_shows_an_empty_one() {
        let mut nats = question();
        nats["connect_opts"] = json!({ "user": "root", "pass": "x" });
        assert_eq!(asked(AUDIENCE, nats, 5).unwrap().token.expose_secret(), "");
    }

    #[test]
    fn a_request_in_another_servers_name_or_for_somebody_else_is_refused() {
        assert_eq!(asked(AUDIENCE, question(), 6).unwrap_err(), Broken::Claims);
        assert_eq!(asked("somebody", question(), 5).unwrap_err(), Broken::Claims);
        let mut nats = question();
        nats["user_nkey"] = json!(key(Role::Server));
        assert_eq!(asked(AUDIENCE, nats, 5).unwrap_err(), Broken::Claims);
        assert_eq!(read(b"\xff").unwrap_err(), Broken::Form);
    }
}
