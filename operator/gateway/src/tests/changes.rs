//! What is open when something changes: a tunnel lives only as long as it would be let through again.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::stage::{NOW, Stage, accept, read_exactly, rest, send, uid, until};
use crate::{allow::AllowList, hello::tests::hello, policy::SessionState, reason::Reason, token::TokenKeys};

/// Both ends of a tunnel that has carried bytes both ways.
async fn running(stage: &Stage, listener: &TcpListener, target: &str, name: &'static str) -> (TcpStream, TcpStream) {
    let mut tunnel = stage.tunnel(target).await;
    let mut host = accept(listener).await;
    let bytes = hello(name, true);
    tunnel.write_all(&bytes).await.unwrap();
    read_exactly(&mut host, bytes.len()).await;
    send(&mut host, "hello").await;
    read_exactly(&mut tunnel, 5).await;
    (tunnel, host)
}

async fn cut(change: impl FnOnce(&Stage), reason: Reason) {
    let stage = Stage::new().await;
    let listener = stage.world.listen("93.184.215.14:443").await;
    let (tunnel, host) = running(&stage, &listener, "api.example.com:443", "api.example.com").await;
    change(&stage);
    assert_eq!((rest(tunnel).await, rest(host).await), (vec![], vec![]));
    let series = format!(r#"steading_egress_cut_total{{pool="acme/desktops",reason="{reason}"}}"#);
    stage.until("the count", |stage| stage.counted(&series) == 1).await;
}

#[tokio::test]
async fn a_session_that_ends_takes_its_tunnels_with_it() {
    let end = |stage: &Stage| {
        stage.change_pool(|pool| {
            pool.sessions.insert(uid(1).into(), SessionState::Ended);
        });
    };
    cut(end, Reason::SessionEnded).await;
    cut(|stage| stage.change_pool(|pool| pool.sessions.clear()), Reason::UnknownSession).await;
}

#[tokio::test]
async fn a_pool_or_key_that_is_gone_takes_its_tunnels_with_it() {
    cut(|stage| stage.change(|policies| policies.pools.clear()), Reason::UnknownPool).await;
    cut(|stage| stage.change(|policies| policies.keys = TokenKeys::default()), Reason::TokenInvalid).await;
    cut(|stage| stage.change_pool(|pool| pool.tenant = uid(7).into()), Reason::UnknownPool).await;
}

#[tokio::test]
async fn a_host_that_is_taken_off_the_list_loses_its_tunnels_and_others_keep_theirs() {
    let stage = Stage::new().await;
    let listener = stage.world.listen("93.184.215.14:443").await;
    stage.world.name("a.apps.example.com", &[&["93.184.215.14"]]);
    let (kept, mut kept_host) = running(&stage, &listener, "api.example.com:443", "api.example.com").await;
    let (tunnel, host) = running(&stage, &listener, "a.apps.example.com:443", "a.apps.example.com").await;
    stage.change_pool(|pool| pool.allow = AllowList::new(vec!["api.example.com".parse().unwrap()]));
    assert_eq!((rest(tunnel).await, rest(host).await), (vec![], vec![]));
    let mut kept = kept;
    send(&mut kept, "still").await;
    assert_eq!(read_exactly(&mut kept_host, 5).await, b"still");
}

#[tokio::test]
async fn a_range_that_is_no_longer_listed_loses_its_tunnels() {
    let stage = Stage::new().await;
    let listener = stage.world.listen("10.20.0.7:443").await;
    stage.world.name("inner.example.com", &[&["10.20.0.7"]]);
    let (tunnel, host) = running(&stage, &listener, "inner.example.com:443", "inner.example.com").await;
    stage.change_pool(|pool| pool.addresses.clear());
    assert_eq!((rest(tunnel).await, rest(host).await), (vec![], vec![]));
}

#[tokio::test]
async fn a_session_that_ends_before_its_first_byte_sends_none() {
    let stage = Stage::new().await;
    let listener = stage.world.listen("93.184.215.14:443").await;
    let mut tunnel = stage.tunnel("api.example.com:443").await;
    let host = accept(&listener).await;
    stage.change_pool(|pool| pool.sessions.clear());
    // The gateway may have closed already.
    let _ = tunnel.write_all(&hello("api.example.com", true)).await;
    assert_eq!(rest(host).await, b"");
}

#[tokio::test]
async fn a_plain_answer_is_cut_off_in_the_middle() {
    let stage = Stage::new().await;
    let listener = stage.world.listen("93.184.215.14:80").await;
    let mut agent = stage.agent().await;
    send(&mut agent, &stage.head("GET http://api.example.com/ HTTP/1.1\n")).await;
    let mut host = accept(&listener).await;
    until(&mut host, "\r\n\r\n").await;
    send(&mut host, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    until(&mut agent, "half").await;
    stage.change_pool(|pool| pool.sessions.clear());
    assert_eq!((rest(agent).await, rest(host).await), (vec![], vec![]));
}

#[tokio::test]
async fn a_request_on_a_connection_that_was_let_in_is_judged_anew() {
    let stage = Stage::new().await;
    let mut agent = stage.agent().await;
    send(&mut agent, &stage.head("GET http://evil.example/ HTTP/1.1\n")).await;
    until(&mut agent, "spec.egress.allow\n").await;
    stage.change_pool(|pool| pool.sessions.clear());
    send(&mut agent, &stage.head("GET http://api.example.com/ HTTP/1.1\n")).await;
    until(&mut agent, "(UnknownSession)").await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_takes_its_tunnels_with_it() {
    let stage = Stage::new().await;
    let mut hosts = stage.world.pipe("93.184.215.14:443");
    let mut agent = stage.near_agent();
    let shows = stage.shows_until(1, NOW + 100);
    send(&mut agent, &format!("CONNECT api.example.com:443 HTTP/1.1\r\n{shows}\r\n\r\n")).await;
    until(&mut agent, "\r\n\r\n").await;
    agent.write_all(&hello("api.example.com", true)).await.unwrap();
    let mut host = hosts.recv().await.unwrap();
    send(&mut host, "hello").await;
    read_exactly(&mut agent, 5).await;
    let begin = tokio::time::Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(101), agent.read_u8()).await.expect("it stays open");
    assert!(ended.is_err() && begin.elapsed() >= Duration::from_secs(99), "{:?}", begin.elapsed());
    stage.now.store(NOW + 100, Ordering::Relaxed);
    assert_eq!(stage.counted(r#"steading_egress_cut_total{pool="acme/desktops",reason="TokenExpired"}"#), 1);
}

#[tokio::test]
async fn without_anybody_who_could_revoke_nothing_stays_open() {
    let stage = Stage::new().await;
    let listener = stage.world.listen("93.184.215.14:443").await;
    let (tunnel, host) = running(&stage, &listener, "api.example.com:443", "api.example.com").await;
    drop(stage.changes);
    assert_eq!((rest(tunnel).await, rest(host).await), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_ends_waits_for_tunnels_and_then_cuts_them_off() {
    let stage = Stage::new().await;
    let mut hosts = stage.world.pipe("93.184.215.14:443");
    let mut agent = stage.near_agent();
    stage.open(&mut agent, "api.example.com:443").await;
    let bytes = hello("api.example.com", true);
    agent.write_all(&bytes).await.unwrap();
    let mut host = hosts.recv().await.unwrap();
    read_exactly(&mut host, bytes.len()).await;
    let (ending, begin) = (stage.gateway.clone(), tokio::time::Instant::now());
    let ended = tokio::spawn(async move { ending.finish(Duration::from_secs(10)).await });
    send(&mut agent, "still").await;
    assert_eq!(read_exactly(&mut host, 5).await, b"still");
    assert_eq!((rest(agent).await, rest(host).await), (vec![], vec![]));
    assert_eq!(begin.elapsed().as_secs(), 10);
    ended.await.unwrap();
    assert_eq!(stage.counted(r#"steading_egress_cut_total{pool="acme/desktops",reason="Stopping"}"#), 1);
}
