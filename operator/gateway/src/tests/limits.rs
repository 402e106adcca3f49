//! How much a session may use, and how long things may take. Time stands still here and jumps to the next deadline.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Instant, sleep, timeout},
};

use super::stage::{Answer, Stage, accept, read_exactly, rest, send, until};
use crate::{
    hello::{ALERT, tests::hello},
    policy::Limits,
    proxy::Bounds,
    reason::Reason,
};

const API: &str = "93.184.215.14:443";

/// Both ends of a tunnel through which the hello went.
async fn tunnel(stage: &Stage) -> (DuplexStream, DuplexStream) {
    let mut hosts = stage.world.pipe(API);
    let mut agent = stage.near_agent();
    stage.open(&mut agent, "api.example.com:443").await;
    let bytes = hello("api.example.com", true);
    agent.write_all(&bytes).await.unwrap();
    let mut host = hosts.recv().await.unwrap();
    read_exactly(&mut host, bytes.len()).await;
    (agent, host)
}

fn cut(stage: &Stage, reason: Reason) -> u64 {
    stage.counted(&format!(r#"steading_egress_cut_total{{pool="acme/desktops",reason="{reason}"}}"#))
}

/// Waits for the end of the stream, and tells after how many seconds it came.
async fn ends_after(stream: &mut DuplexStream) -> u64 {
    let begin = Instant::now();
    let mut bytes = Vec::new();
    timeout(Duration::from_hours(1), stream.read_to_end(&mut bytes)).await.expect("it stays open").unwrap();
    begin.elapsed().as_secs()
}

#[tokio::test]
async fn a_session_has_as_many_connections_as_its_pool_allows_and_others_have_theirs() {
    let stage = Stage::new().await;
    let listener = stage.world.listen(API).await;
    stage.change_pool(|pool| pool.limits.connections = 2);
    let (first, _second) = (stage.tunnel("api.example.com:443").await, stage.tunnel("api.example.com:443").await);
    let answer = stage.ask("CONNECT api.example.com:443 HTTP/1.1\n").await;
    assert!(answer.is(Reason::TooManyConnections), "{answer:?}");
    let mut other = stage.agent().await;
    send(&mut other, &format!("CONNECT api.example.com:443 HTTP/1.1\r\n{}\r\n\r\n", stage.shows(4))).await;
    assert_eq!(Answer::read(&mut other).await.status, 200);
    drop(first);
    stage
        .until("the end", |stage| stage.counted(r#"steading_egress_open_connections{pool="acme/desktops"}"#) == 2)
        .await;
    stage.tunnel("api.example.com:443").await;
    drop(listener);
}

#[tokio::test]
async fn a_session_that_has_passed_on_all_its_bytes_is_cut_off_and_opens_no_more() {
    let stage = Stage::new().await;
    let listener = stage.world.listen(API).await;
    let bytes = hello("api.example.com", true);
    stage.change_pool(|pool| pool.limits.bytes_total = Some(bytes.len() as u64 + 10));
    let mut tunnel = stage.tunnel("api.example.com:443").await;
    let mut host = accept(&listener).await;
    tunnel.write_all(&bytes).await.unwrap();
    read_exactly(&mut host, bytes.len()).await;
    send(&mut host, "0123456789").await;
    assert_eq!(read_exactly(&mut tunnel, 10).await, b"0123456789");
    send(&mut host, "x").await;
    assert_eq!(rest(tunnel).await, b"");
    stage.until("the count", |stage| cut(stage, Reason::BytesExhausted) == 1).await;
    let answer = stage.ask("CONNECT api.example.com:443 HTTP/1.1\n").await;
    assert!(answer.is(Reason::BytesExhausted), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_go_no_faster_than_the_pool_allows() {
    let stage = Stage::new().await;
    stage.change_pool(|pool| pool.limits.bytes_per_second = Some(10_000));
    let (mut agent, mut host) = tunnel(&stage).await;
    let begin = Instant::now();
    tokio::spawn(async move {
        host.write_all(&vec![b'x'; 100_000]).await.unwrap();
        host
    });
    read_exactly(&mut agent, 100_000).await;
    // The first second's worth is there at once, less what the hello took.
    assert!((9..=10).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_through_which_nothing_goes_is_cut_off() {
    let stage = Stage::new().await;
    let (mut agent, mut host) = tunnel(&stage).await;
    let idle = Limits::default().idle;
    send(&mut host, "hello").await;
    read_exactly(&mut agent, 5).await;
    sleep(idle.mul_f64(0.9)).await;
    send(&mut agent, "still").await;
    read_exactly(&mut host, 5).await;
    assert_eq!(ends_after(&mut agent).await, idle.as_secs());
    assert_eq!(cut(&stage, Reason::Idle), 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_answers_in_a_tunnel_is_given_up() {
    let stage = Stage::new().await;
    let (mut agent, _host) = tunnel(&stage).await;
    assert_eq!(ends_after(&mut agent).await, Limits::default().first_byte.as_secs());
    assert_eq!(cut(&stage, Reason::FirstByteTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_answers_a_plain_request_is_named() {
    let stage = Stage::new().await;
    let _hosts = stage.world.pipe("93.184.215.14:80");
    let mut agent = stage.near_agent();
    send(&mut agent, &stage.head("GET http://api.example.com/ HTTP/1.1\n")).await;
    let text = timeout(Duration::from_secs(31), until(&mut agent, "of the pool\n")).await.expect("no answer comes");
    assert!(text.starts_with("HTTP/1.1 504") && text.contains("(FirstByteTimeout)"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_may_take_longer_than_an_answer() {
    let stage = Stage::new().await;
    let mut hosts = stage.world.pipe("93.184.215.14:80");
    let mut agent = stage.near_agent();
    send(&mut agent, &stage.head("POST http://api.example.com/ HTTP/1.1\nContent-Length: 60\n")).await;
    let mut host = hosts.recv().await.unwrap();
    until(&mut host, "\r\n\r\n").await;
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        send(&mut agent, "x").await;
        read_exactly(&mut host, 1).await;
    }
    send(&mut host, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(Answer::read(&mut agent).await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_byte_by_byte_is_given_up() {
    let stage = Stage::new().await;
    let mut agent = stage.near_agent();
    let begin = Instant::now();
    for byte in stage.head("CONNECT api.example.com:443 HTTP/1.1\n").bytes() {
        sleep(Duration::from_secs(1)).await;
        if agent.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    assert!(begin.elapsed() <= Bounds::default().head_timeout + Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(stage.counted(r#"steading_egress_requests_total{decision="denied",pool="",reason="HeadTimeout"}"#), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_comes_byte_by_byte_is_given_up() {
    let stage = Stage::new().await;
    let _hosts = stage.world.pipe(API);
    let mut agent = stage.near_agent();
    stage.open(&mut agent, "api.example.com:443").await;
    let begin = Instant::now();
    for byte in hello("api.example.com", true) {
        sleep(Duration::from_secs(1)).await;
        if agent.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    assert!(begin.elapsed() <= Bounds::default().hello_timeout + Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(rest(agent).await, ALERT);
    assert_eq!(stage.denials(Reason::HelloTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_read_is_cut_off_and_not_buffered() {
    let stage = Stage::new().await;
    let (_agent, mut host) = tunnel(&stage).await;
    let mut written = 0;
    let begin = Instant::now();
    while timeout(Duration::from_hours(1), host.write_all(&[0; 1024])).await.expect("it stays open").is_ok() {
        written += 1024;
    }
    assert!(begin.elapsed() <= Limits::default().idle + Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(written < 512 * 1024, "{written} bytes went somewhere");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_never_resolved_is_given_up() {
    let stage = Stage::new().await;
    stage.world.silence("a.apps.example.com");
    let mut agent = stage.near_agent();
    send(&mut agent, &stage.head("CONNECT a.apps.example.com:443 HTTP/1.1\n")).await;
    let answer = Answer::read(&mut agent).await;
    assert!(answer.is(Reason::ResolverFailed), "{answer:?}");
}
