//! What a request asks for. In: its method, address and header fields. Out: a target and the way to it, or a [`Denial`]. Whatever can be
//! read in two ways is refused.

use http::{HeaderMap, Method, Request, Uri, header::HOST, uri::Scheme};

use crate::{
    audit::Way,
    host::{Port, Target},
    reason::{Denial, Reason},
};

/// The target of `request`, and how it is asked for.
pub fn of<B>(request: &Request<B>) -> Result<(Way, Target), Denial> {
    let (way, target) = if request.method() == Method::CONNECT {
        (Way::Tunnel, tunnel(request.uri())?)
    } else {
        (Way::Plain, plain(request.uri())?)
    };
    let default = if way == Way::Tunnel { target.port } else { Port::HTTP };
    agrees(request.headers(), &target, default)?;
    Ok((way, target))
}

fn malformed(what: impl Into<String>) -> Denial {
    Denial::new(Reason::Malformed, what)
}

fn tunnel(uri: &Uri) -> Result<Target, Denial> {
    let (None, None, Some(authority)) = (uri.scheme(), uri.path_and_query(), uri.authority()) else {
        return Err(malformed("CONNECT takes a host and a port alone"));
    };
    // Not repeated to whoever asked: it may hold anything.
    Target::parse(authority.as_str(), None)
        .map_err(|error| malformed(format!("the target of CONNECT is refused: {error}")))
}

fn plain(uri: &Uri) -> Result<Target, Denial> {
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(malformed("this is a proxy, and the request's address is not absolute"));
    };
    if *scheme != Scheme::HTTP {
        return Err(Denial::new(Reason::SchemeNotAllowed, "only http:// is passed on without a tunnel"));
    }
    let read = Target::parse(authority.as_str(), Some(Port::HTTP));
    read.map_err(|error| malformed(format!("the host of the request's address is refused: {error}")))
}

/// Servers choose by the Host field. It is written anew, so a difference could only mislead whoever reads logs; it is refused all the same.
fn agrees(headers: &HeaderMap, target: &Target, default: Port) -> Result<(), Denial> {
    let mut fields = headers.get_all(HOST).iter();
    let named = match (fields.next(), fields.next()) {
        (None, _) => return Ok(()),
        (Some(field), None) => field.to_str().ok().and_then(|host| Target::parse(host, Some(default)).ok()),
        _ => None,
    };
    if named.as_ref() == Some(target) {
        Ok(())
    } else {
        Err(Denial::new(Reason::HostMismatch, format!("the Host field does not name {target}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str, hosts: &[&str]) -> Result<String, Reason> {
        let mut request = Request::builder().method(method).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        of(&request.body(()).unwrap()).map(|(_, target)| target.to_string()).map_err(|denial| denial.reason)
    }

    #[test]
    fn connect_takes_host_and_port_alone() {
        assert_eq!(asked("CONNECT", "api.example.com:443", &[]).unwrap(), "api.example.com:443");
        for uri in ["api.example.com", "https://api.example.com:443/", "/", "user@api.example.com:443", "*"] {
            assert_eq!(asked("CONNECT", uri, &[]), Err(Reason::Malformed), "{uri}");
        }
    }

    #[test]
    fn a_plain_request_has_an_absolute_address_of_http() {
        assert_eq!(asked("GET", "http://api.example.com/a?b", &[]).unwrap(), "api.example.com:80");
        assert_eq!(asked("GET", "HTTP://API.example.com:8080", &[]).unwrap(), "api.example.com:8080");
        for scheme in ["https", "ftp", "ws", "wss", "file", "gopher"] {
            let uri = format!("{scheme}://api.example.com/");
            assert_eq!(asked("GET", &uri, &[]), Err(Reason::SchemeNotAllowed), "{uri}");
        }
        for uri in ["/healthz", "*", "api.example.com:80", "http://user:pw@api.example.com/"] {
            assert_eq!(asked("GET", uri, &["api.example.com"]), Err(Reason::Malformed), "{uri}");
        }
    }

    #[test]
    fn the_host_field_says_the_same_or_is_not_there() {
        let uri = "http://api.example.com/";
        for host in ["api.example.com", "api.example.com:80", "API.example.com."] {
            assert!(asked("GET", uri, &[host]).is_ok(), "{host}");
        }
        for host in ["evil.example", "api.example.com:443", "", "api.example.com@evil.example"] {
            assert_eq!(asked("GET", uri, &[host]), Err(Reason::HostMismatch), "{host}");
        }
        assert_eq!(asked("GET", uri, &["api.example.com", "api.example.com"]), Err(Reason::HostMismatch));
        assert!(asked("CONNECT", "api.example.com:8443", &["api.example.com"]).is_ok());
        assert_eq!(asked("CONNECT", "api.example.com:443", &["evil.example:443"]), Err(Reason::HostMismatch));
    }
}
