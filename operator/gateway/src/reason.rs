//! Why something was refused or ended. In: the places that decide. Out: a [`Reason`], which is the word in metrics and audit lines, the
//! status of the answer, and the next step; and a [`Denial`], which names the object too.

use std::fmt;

use http::StatusCode;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $status:ident $step:literal;)*) => {
        /// Why a request was refused, or a connection was closed before its ends wanted it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for metrics, audit lines and answers.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// The status of the answer, where one can still be given.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }

            /// What whoever reads the answer can do.
            pub fn next_step(self) -> &'static str {
                match self { $(Self::$name => $step),* }
            }
        }
    };
}

reasons! {
    /// No credentials, or credentials of another form.
    Unauthenticated PROXY_AUTHENTICATION_REQUIRED
        "send Proxy-Authorization: Basic with the session's UID and its token";
    /// The token is not signed by a key that the gateway trusts, or says something else than tokens say.
    TokenInvalid PROXY_AUTHENTICATION_REQUIRED
        "use the token that the session was given; if its key was replaced, wait for a new one";
    /// The token's time is over.
    TokenExpired PROXY_AUTHENTICATION_REQUIRED "use the session's newest token";
    /// The token is another session's than the user name says.
    OtherSession PROXY_AUTHENTICATION_REQUIRED "send the UID of the session to which the token was given";
    /// No policy names the token's pool, or the pool is another tenant's.
    UnknownPool FORBIDDEN "wait until the gateway has read the pool's policy, or look at its metric of broken files";
    /// The pool's policy does not name the session.
    UnknownSession FORBIDDEN "wait until the gateway has read the session, or start a new one";
    /// The session has ended.
    SessionEnded FORBIDDEN "start a new session";
    /// The request is not one of HTTP, or its head contradicts itself.
    Malformed BAD_REQUEST "send CONNECT host:port, or a request with an absolute http:// address";
    /// The request's head is larger than the gateway reads.
    HeadTooLarge REQUEST_HEADER_FIELDS_TOO_LARGE "send fewer or shorter header fields";
    /// The request's head did not come in time.
    HeadTimeout REQUEST_TIMEOUT "send the whole head of a request at once";
    /// An absolute address of another scheme than http.
    SchemeNotAllowed BAD_REQUEST "use CONNECT for https:// and wss://; other schemes are not passed on";
    /// The Host field names another host than the request line, or there are several.
    HostMismatch BAD_REQUEST "name the same host and port in the Host field as in the request line";
    /// No entry of the allow-list means the host.
    HostNotAllowed FORBIDDEN "add it to spec.egress.allow";
    /// The allow-list has the host, at other ports.
    PortNotAllowed FORBIDDEN "add it with its port to spec.egress.allow";
    /// The host resolves to an address that the pool may not reach.
    AddressNotAllowed FORBIDDEN "list its range in spec.egress.addresses, if agents may go there";
    /// DNS has no address for the host.
    NameNotFound BAD_GATEWAY "check the name and the gateway's DNS";
    /// DNS did not answer, or not in a way that can be used.
    ResolverFailed BAD_GATEWAY "check the gateway's DNS and try again";
    /// No address of the host took the connection.
    Unreachable BAD_GATEWAY "check that the host listens at that port and lets the gateway in";
    /// The company's proxy could not be reached or did not take the request.
    UpstreamProxyRefused BAD_GATEWAY "check the upstream proxy, its credentials and its own rules";
    /// The host did not answer in time.
    FirstByteTimeout GATEWAY_TIMEOUT "check the host, or raise limits.firstByteSeconds of the pool";
    /// The host answered with something else than HTTP.
    BadAnswer BAD_GATEWAY "check that the host speaks plain HTTP at that port";
    /// The session has as many connections as it may have.
    TooManyConnections TOO_MANY_REQUESTS "close connections, or raise limits.connections of the pool";
    /// The session has passed on as many bytes as it may.
    BytesExhausted TOO_MANY_REQUESTS "start a new session, or raise limits.bytesTotal of the pool";
    /// What came through the tunnel is not TLS 1.2 or newer.
    NotTls FORBIDDEN "speak TLS through CONNECT; plain HTTP goes without it";
    /// The ClientHello names no server.
    SniMissing FORBIDDEN "send the host's name in TLS (SNI)";
    /// The ClientHello names another server than CONNECT did.
    SniMismatch FORBIDDEN "name the same host in TLS (SNI) as in CONNECT; an encrypted ClientHello hides it";
    /// The ClientHello is larger than any that a client needs.
    HelloTooLarge FORBIDDEN "send a shorter ClientHello";
    /// The ClientHello did not come in time.
    HelloTimeout REQUEST_TIMEOUT "start TLS at once after the tunnel is open";
    /// Nothing went through for as long as the pool allows.
    Idle GATEWAY_TIMEOUT "send something now and then, or raise limits.idleSeconds of the pool";
    /// The gateway ends.
    Stopping SERVICE_UNAVAILABLE "try again: another replica answers";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: the reason, and what was refused, in words that the asker may read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({reason}); {}", reason.next_step())]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// What, with the names of the objects. Never a credential, a path or a query.
    pub what: String,
}

impl Denial {
    /// Refuses `what` for `reason`.
    pub fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self { reason, what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/egress-gateway.md");

    #[test]
    fn every_reason_stands_in_the_docs_with_its_next_step() {
        for reason in Reason::ALL {
            let row = format!("| `{reason}` | {} |", reason.status().as_u16());
            let line = PAGE.lines().find(|line| line.starts_with(&row));
            let line = line.unwrap_or_else(|| panic!("docs/egress-gateway.md has no row that starts with {row}"));
            assert!(line.contains(reason.next_step()), "{reason}: {line}");
        }
    }

    #[test]
    fn a_denial_says_what_and_why_and_the_next_step() {
        let denial =
            Denial::new(Reason::HostNotAllowed, "a.example:443 is not in the allow-list of pool acme/desktops");
        assert_eq!(
            denial.to_string(),
            "a.example:443 is not in the allow-list of pool acme/desktops (HostNotAllowed); add it to spec.egress.allow"
        );
    }
}
