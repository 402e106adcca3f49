//! What goes through a tunnel, and who may open one.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::stage::{Answer, NOW, Stage, accept, basic, read_exactly, rest, send, uid};
use crate::{
    hello::{ALERT, tests::hello},
    reason::Reason,
    token::Signer,
};

#[tokio::test]
async fn tls_goes_through_from_end_to_end() {
    let stage = Stage::new().await;
    let listener = stage.world.listen("93.184.215.14:443").await;
    let own = rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await.unwrap();
        let mut question = [0; 5];
        stream.read_exact(&mut question).await.unwrap();
        stream.write_all(&question.map(|byte| byte.to_ascii_uppercase())).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let tunnel = stage.tunnel("api.example.com:443").await;
    let name = "api.example.com".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, tunnel).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read_exactly(&mut stream, 5).await, b"HELLO");
    drop(stream);
    stage
        .until("the count of bytes", |stage| {
            stage.counted(r#"steading_egress_bytes_total{direction="received",pool="acme/desktops"}"#) > 500
        })
        .await;
    assert_eq!(stage.counted(r#"steading_egress_open_connections{pool="acme/desktops"}"#), 0);
    assert_eq!(
        stage.counted(r#"steading_egress_requests_total{decision="allowed",pool="acme/desktops",reason=""}"#),
        1
    );
}

#[tokio::test]
async fn a_tunnel_into_which_something_else_is_sent_carries_no_byte() {
    let cases = [
        ("another name", hello("evil.example", true), Reason::SniMismatch),
        ("a name below", hello("a.api.example.com", true), Reason::SniMismatch),
        ("no name", hello("api.example.com", false), Reason::SniMissing),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), Reason::NotTls),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_vec(), Reason::NotTls),
        ("a CONNECT inside", b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n".to_vec(), Reason::NotTls),
    ];
    for (trick, bytes, reason) in cases {
        let stage = Stage::new().await;
        let listener = stage.world.listen("93.184.215.14:443").await;
        let mut tunnel = stage.tunnel("api.example.com:443").await;
        let host = accept(&listener).await;
        tunnel.write_all(&bytes).await.unwrap();
        assert_eq!(rest(tunnel).await, ALERT, "{trick}");
        assert_eq!(rest(host).await, b"", "{trick}");
        assert_eq!(stage.denials(reason), 1, "{trick}");
    }
}

#[tokio::test]
async fn an_address_is_reached_only_where_it_is_listed_itself_and_without_a_name() {
    let stage = Stage::new().await;
    let listener = stage.world.listen("10.1.2.3:443").await;
    let mut tunnel = stage.tunnel("10.1.2.3:443").await;
    let mut host = accept(&listener).await;
    let bytes = hello("api.example.com", false);
    tunnel.write_all(&bytes).await.unwrap();
    assert_eq!(read_exactly(&mut host, bytes.len()).await, bytes);
    let mut tunnel = stage.tunnel("10.1.2.3:443").await;
    tunnel.write_all(&hello("api.example.com", true)).await.unwrap();
    assert_eq!(rest(tunnel).await, ALERT);
    let answer = stage.ask("CONNECT 10.1.2.4:443 HTTP/1.1\n").await;
    assert!(answer.is(Reason::HostNotAllowed), "{answer:?}");
}

#[tokio::test]
async fn a_listed_range_is_reached_by_name() {
    let stage = Stage::new().await;
    stage.world.name("inner.example.com", &[&["10.20.0.7"]]);
    let _listener = stage.world.listen("10.20.0.7:443").await;
    stage.tunnel("inner.example.com:443").await;
    assert_eq!(stage.world.dialled(), ["10.20.0.7:443"]);
}

#[tokio::test]
async fn only_the_session_itself_is_let_in() {
    let stage = Stage::new().await;
    let token = |signer: &Signer, session, pool, tenant| {
        signer.sign(uid(session).into(), uid(pool).into(), uid(tenant).into(), NOW + 60).expose_secret().to_owned()
    };
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let stranger = Signer::from_pkcs8(&pair.serialize_der()).unwrap();
    let name = |number| uid(number).to_string();
    let own = token(&stage.signer, 1, 2, 3);
    let cases = [
        ("nothing", String::new(), Reason::Unauthenticated),
        ("a bearer token", format!("Proxy-Authorization: Bearer {own}"), Reason::Unauthenticated),
        ("the field for servers", stage.shows(1).replacen("Proxy-", "", 1), Reason::Unauthenticated),
        ("the credentials twice", format!("{}\r\n{}", stage.shows(1), stage.shows(4)), Reason::Unauthenticated),
        ("no token", basic(&name(1), ""), Reason::TokenInvalid),
        ("a stranger's token", basic(&name(1), &token(&stranger, 1, 2, 3)), Reason::TokenInvalid),
        ("an expired token", stage.shows_until(1, NOW), Reason::TokenExpired),
        ("the token of another session", basic(&name(4), &own), Reason::OtherSession),
        ("a session that ended", stage.shows(9), Reason::SessionEnded),
        ("a session that is not known", stage.shows(8), Reason::UnknownSession),
        ("a pool that is not known", basic(&name(1), &token(&stage.signer, 1, 7, 3)), Reason::UnknownPool),
        ("the pool of another tenant", basic(&name(1), &token(&stage.signer, 1, 2, 7)), Reason::UnknownPool),
    ];
    for (trick, field, reason) in cases {
        let mut agent = stage.agent().await;
        let field = if field.is_empty() { field } else { format!("{field}\r\n") };
        send(&mut agent, &format!("CONNECT api.example.com:443 HTTP/1.1\r\n{field}\r\n")).await;
        let answer = Answer::read(&mut agent).await;
        assert!(answer.is(reason), "{trick}: {answer:?}");
        assert_eq!(answer.head.contains("proxy-authenticate: Basic"), answer.status == 407, "{trick}");
        assert!(!answer.body.contains("eyJ"), "{trick}: a token is never repeated: {answer:?}");
    }
    assert_eq!(stage.world.dialled(), [] as [&str; 0]);
}

#[tokio::test]
async fn what_is_sent_before_the_tunnel_is_open_counts_as_its_first_bytes() {
    let stage = Stage::new().await;
    let listener = stage.world.listen("93.184.215.14:443").await;
    let mut agent = stage.agent().await;
    let bytes = hello("api.example.com", true);
    let mut all = stage.head("CONNECT api.example.com:443 HTTP/1.1\n").into_bytes();
    all.extend_from_slice(&bytes);
    agent.write_all(&all).await.unwrap();
    assert_eq!(Answer::read(&mut agent).await.status, 200);
    let mut host = accept(&listener).await;
    assert_eq!(read_exactly(&mut host, bytes.len()).await, bytes);
}
