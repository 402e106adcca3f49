//! A plain request to its host, and the answer back. In: a request that was let through, a stream to its host. Out: the host's answer
//! without what concerns one hop alone, or a [`Denial`].
//!
//! Each request has a connection of its own, on which nothing but this one request can come: it is written anew from what was read, so
//! what is hidden behind its body goes nowhere, and no answer can be meant for another session.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
    },
};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;

use crate::{
    answer::Body,
    host::{Port, Target},
    reason::{Denial, Reason},
};

/// What a host may send as the head of its answer.
const HEAD: usize = 64 * 1024;
/// What concerns one hop alone, besides what the Connection field names.
static HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The request as the host gets it: its own path, its own name, nothing that was for the gateway.
pub fn outgoing<B>(request: Request<B>, target: &Target) -> Request<B> {
    let (mut parts, body) = request.into_parts();
    strip(&mut parts.headers);
    parts.headers.remove(EXPECT);
    let path = parts.uri.path_and_query().cloned();
    parts.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    parts.version = Version::HTTP_11;
    let host = if target.port == Port::HTTP { target.host.to_string() } else { target.to_string() };
    // Host names and addresses are ASCII letters, so this cannot fail; without the field a host would refuse the request.
    if let Ok(host) = HeaderValue::try_from(host) {
        parts.headers.insert(HOST, host);
    }
    parts.headers.append(VIA, HeaderValue::from_static("1.1 steading-gateway"));
    parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Request::from_parts(parts, body)
}

/// Takes out what concerns one hop alone.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP) {
        headers.remove(name);
    }
}

/// Sends `request` through `stream` and waits for the head of the answer.
pub async fn send<B>(request: Request<B>, target: &Target, stream: DuplexStream) -> Result<Response<Body>, Denial>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bad = |_| Denial::new(Reason::BadAnswer, format!("{target} did not answer in HTTP"));
    let mut client = http1::Builder::new();
    client.max_buf_size(HEAD);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(bad)?;
    tokio::spawn(connection);
    let answer = sender.send_request(outgoing(request, target)).await.map_err(bad)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Denial::new(Reason::BadAnswer, format!("{target} switched protocols without being asked")));
    }
    let (mut parts, body) = answer.into_parts();
    strip(&mut parts.headers);
    parts.version = Version::HTTP_11;
    parts.headers.append(VIA, HeaderValue::from_static("1.1 steading-gateway"));
    Ok(Response::from_parts(parts, body.boxed()))
}

/// Methods whose requests reflect what they were, or that open tunnels, go to no host.
pub fn is_passed_on(method: &Method) -> bool {
    !matches!(*method, Method::CONNECT | Method::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(request: http::request::Builder, target: &str) -> Request<()> {
        outgoing(request.body(()).unwrap(), &Target::parse(target, None).unwrap())
    }

    #[test]
    fn the_host_gets_its_own_path_and_name() {
        let request =
            out(Request::get("http://API.example.com:8080/a/b?c=d").header(HOST, "whatever"), "api.example.com:8080");
        assert_eq!(request.uri(), "/a/b?c=d");
        assert_eq!(request.headers()[HOST], "api.example.com:8080");
        let request = out(Request::get("http://api.example.com"), "api.example.com:80");
        assert_eq!(
            (request.uri().path(), &request.headers()[HOST]),
            ("/", &HeaderValue::from_static("api.example.com"))
        );
    }

    #[test]
    fn what_is_for_the_gateway_goes_no_further() {
        let request = Request::get("http://a.example/")
            .header(PROXY_AUTHORIZATION, "Basic secret")
            .header("proxy-connection", "keep-alive")
            .header("keep-alive", "300")
            .header(CONNECTION, "x-private, upgrade")
            .header("x-private", "1")
            .header(UPGRADE, "websocket")
            .header(TE, "trailers")
            .header(TRANSFER_ENCODING, "chunked")
            .header(EXPECT, "100-continue")
            .header("x-kept", "1");
        let request = out(request, "a.example:80");
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["connection", "host", "via", "x-kept"]);
        assert_eq!(request.headers()[CONNECTION], "close");
    }

    #[test]
    fn a_request_that_is_given_back_as_it_was_is_not_passed_on() {
        assert!(!is_passed_on(&Method::TRACE));
        assert!(is_passed_on(&Method::PATCH));
    }
}
