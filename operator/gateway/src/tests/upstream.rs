//! A company's proxy between the gateway and the internet.

use std::{fs, path::PathBuf};

use data_encoding::BASE64;
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinHandle};

use super::stage::{Stage, accept, read_exactly, send, until};
use crate::{hello::tests::hello, reason::Reason, upstream::UpstreamProxy};

/// A file that goes with the test.
struct Credentials(PathBuf);

impl Credentials {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("steading-upstream-{}", uuid::Uuid::new_v4()));
        fs::write(&path, "gateway:open sesame\n").unwrap();
        Self(path)
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A proxy that answers its first request so and then sends back what it gets; and what the request was.
async fn proxy(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        let head = until(&mut stream, "\r\n\r\n").await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await
        });
        head
    });
    (address, seen)
}

async fn stage(answer: &'static str, resolves: bool, credentials: Option<PathBuf>) -> (Stage, JoinHandle<String>) {
    let (address, seen) = proxy(answer).await;
    (Stage::with(Some(UpstreamProxy { address, credentials, resolves })).await, seen)
}

const OK: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[tokio::test]
async fn it_is_asked_for_the_address_that_was_checked_with_its_own_credentials() {
    let credentials = Credentials::new();
    let (stage, seen) = stage(OK, false, Some(credentials.0.clone())).await;
    let mut tunnel = stage.tunnel("api.example.com:443").await;
    let bytes = hello("api.example.com", true);
    tunnel.write_all(&bytes).await.unwrap();
    assert_eq!(read_exactly(&mut tunnel, bytes.len()).await, bytes, "the proxy sends it back");
    let seen = seen.await.unwrap().to_ascii_lowercase();
    let shows =
        format!("proxy-authorization: basic {}\r\n", BASE64.encode(b"gateway:open sesame")).to_ascii_lowercase();
    assert!(seen.starts_with("connect 93.184.215.14:443 http/1.1\r\n"), "{seen}");
    assert!(seen.contains(&shows) && seen.matches("proxy-authorization").count() == 1, "{seen}");
    assert_eq!(stage.world.dialled(), [] as [&str; 0]);
}

#[tokio::test]
async fn it_is_asked_for_the_name_where_it_wants_names_and_the_gateway_need_not_know_them() {
    let (stage, seen) = stage(OK, true, None).await;
    stage.tunnel("unknown.apps.example.com:443").await;
    assert!(seen.await.unwrap().starts_with("CONNECT unknown.apps.example.com:443 "));
}

#[tokio::test]
async fn names_that_lead_inside_are_refused_before_it_is_asked() {
    for resolves in [false, true] {
        let (stage, seen) = stage(OK, resolves, None).await;
        stage.world.name("a.apps.example.com", &[&["169.254.169.254"]]);
        let answer = stage.ask("CONNECT a.apps.example.com:443 HTTP/1.1\n").await;
        assert!(answer.is(Reason::AddressNotAllowed), "{answer:?}");
        let answer = stage.ask("CONNECT evil.example:443 HTTP/1.1\n").await;
        assert!(answer.is(Reason::HostNotAllowed), "{answer:?}");
        assert!(!seen.is_finished());
    }
}

#[tokio::test]
async fn what_a_pool_lists_is_nearby_and_not_reached_through_it() {
    for resolves in [false, true] {
        let (stage, seen) = stage(OK, resolves, None).await;
        let _listener = stage.world.listen("10.20.0.7:443").await;
        stage.world.name("inner.example.com", &[&["10.20.0.7"]]);
        stage.tunnel("inner.example.com:443").await;
        assert_eq!(stage.world.dialled(), ["10.20.0.7:443"]);
        assert!(!seen.is_finished());
    }
}

#[tokio::test]
async fn its_refusal_is_named_and_its_words_are_not_passed_on() {
    let (stage, _seen) =
        stage("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", false, None).await;
    let answer = stage.ask("CONNECT api.example.com:443 HTTP/1.1\n").await;
    assert!(answer.is(Reason::UpstreamProxyRefused), "{answer:?}");
    assert!(!answer.head.contains("authenticate"), "{answer:?}");
}

#[tokio::test]
async fn plain_requests_go_through_a_tunnel_of_it_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stage = Stage::with(Some(UpstreamProxy { address, credentials: None, resolves: false })).await;
    let host = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        let tunnel = until(&mut stream, "\r\n\r\n").await;
        send(&mut stream, OK).await;
        let request = until(&mut stream, "\r\n\r\n").await;
        send(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        (tunnel, request)
    });
    let answer = stage.ask("GET http://api.example.com/a HTTP/1.1\n").await;
    assert_eq!(answer.body, "ok", "{answer:?}");
    let (tunnel, request) = host.await.unwrap();
    assert!(tunnel.starts_with("CONNECT 93.184.215.14:80 "), "{tunnel}");
    assert!(request.starts_with("GET /a ") && request.contains("host: api.example.com\r\n"), "{request}");
}
