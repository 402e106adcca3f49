//! Plain requests: what the host sees of them, and what comes back.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use tokio::{io::AsyncWriteExt, net::TcpStream};
use tracing_subscriber::layer::SubscriberExt;

use super::stage::{Answer, Stage, accept, rest, send, until};
use crate::{reason::Reason, telemetry};

const HOST: &str = "93.184.215.14:80";

async fn answer(mut host: TcpStream, answer: &str) -> String {
    let head = until(&mut host, "\r\n\r\n").await;
    host.write_all(answer.as_bytes()).await.unwrap();
    host.shutdown().await.unwrap();
    head
}

#[tokio::test]
async fn a_request_goes_to_its_host_without_what_was_for_the_gateway() {
    let stage = Stage::new().await;
    let listener = stage.world.listen(HOST).await;
    let host = tokio::spawn(async move {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-private\r\nX-Private: 1\r\nX-Kept: 1\r\n\r\nok";
        answer(accept(&listener).await, ok).await
    });
    let got = stage
        .ask("GET http://API.example.com/path?query HTTP/1.1\nHost: api.example.com\nConnection: keep-alive\n")
        .await;
    assert_eq!((got.status, got.body.as_str()), (200, "ok"), "{got:?}");
    assert!(got.head.contains("x-kept: 1") && !got.head.contains("x-private"), "{got:?}");
    let seen = host.await.unwrap();
    let mut lines: Vec<_> = seen.trim_end().lines().collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        ["GET /path?query HTTP/1.1", "connection: close", "host: api.example.com", "via: 1.1 steading-gateway"]
    );
}

#[tokio::test]
async fn what_hides_behind_a_body_is_not_a_request_to_the_host() {
    let stage = Stage::new().await;
    let listener = stage.world.listen(HOST).await;
    let host = tokio::spawn(async move {
        let mut host = accept(&listener).await;
        let mut all = until(&mut host, "\r\n\r\n").await;
        all += &until(&mut host, "0\r\n\r\n").await;
        host.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        all + &String::from_utf8(rest(host).await).unwrap()
    });
    let mut agent = stage.agent().await;
    // One server ends the body by its length, another by its chunks; what follows would be a request to one of them.
    let head = "POST http://api.example.com/ HTTP/1.1\nContent-Length: 49\nTransfer-Encoding: chunked\n";
    let hidden = "GET /hidden HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    send(&mut agent, &format!("{}0\r\n\r\n{hidden}", stage.head(head))).await;
    let answers = [Answer::read(&mut agent).await.status, Answer::read(&mut agent).await.status];
    // Refusing the contradiction is as good as solving it; then, or after it, the connection may be closed.
    assert!(answers[1] != 200 && [200, 400].contains(&answers[0]), "{answers:?}");
    if answers[0] == 200 {
        let seen = host.await.unwrap();
        assert!(!seen.contains("hidden") && !seen.to_ascii_lowercase().contains("content-length"), "{seen}");
    }
}

#[tokio::test]
async fn each_request_has_a_connection_of_its_own() {
    let stage = Stage::new().await;
    let listener = stage.world.listen(HOST).await;
    tokio::spawn(async move {
        loop {
            let host = accept(&listener).await;
            answer(host, "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await;
        }
    });
    let mut agent = stage.agent().await;
    for _ in 0..2 {
        send(&mut agent, &stage.head("GET http://api.example.com/ HTTP/1.1\n")).await;
        assert_eq!(Answer::read(&mut agent).await.status, 204, "an answer that nobody asked for goes nowhere");
    }
    assert_eq!(stage.world.dialled(), [HOST, HOST]);
}

#[tokio::test]
async fn a_host_that_answers_in_something_else_is_named() {
    let stage = Stage::new().await;
    let listener = stage.world.listen(HOST).await;
    tokio::spawn(async move {
        for text in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "",
        ] {
            answer(accept(&listener).await, text).await;
        }
    });
    for _ in 0..3 {
        let got = stage.ask("GET http://api.example.com/ HTTP/1.1\n").await;
        assert!(got.is(Reason::BadAnswer), "{got:?}");
    }
}

#[tokio::test]
async fn an_agent_that_goes_away_gives_its_place_back() {
    let stage = Stage::new().await;
    let listener = stage.world.listen(HOST).await;
    let mut agent = stage.agent().await;
    send(&mut agent, &stage.head("GET http://api.example.com/ HTTP/1.1\n")).await;
    let mut host = accept(&listener).await;
    until(&mut host, "\r\n\r\n").await;
    host.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
    until(&mut agent, "half").await;
    drop(agent);
    stage
        .until("the end", |stage| stage.counted(r#"steading_egress_open_connections{pool="acme/desktops"}"#) == 0)
        .await;
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn audit_lines_say_who_and_where_and_nothing_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = telemetry::layer("off", move || writer.clone()).unwrap();
    // While there is one subscriber alone, a thread that has none may be the first at a line and mark it as unwanted by all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let stage = Stage::new().await;
    let listener = stage.world.listen(HOST).await;
    tokio::spawn(async move { answer(accept(&listener).await, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await });
    stage.ask("GET http://api.example.com/sesame?open=sesame HTTP/1.1\nCookie: sesame\n").await;
    stage.ask("GET http://evil.example/sesame?open=sesame HTTP/1.1\nCookie: sesame\n").await;
    stage
        .until("the end", |stage| stage.counted(r#"steading_egress_open_connections{pool="acme/desktops"}"#) == 0)
        .await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("sesame") && !text.contains("eyJ"), "{text}");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |decision: &str| lines.iter().find(|line| line["decision"] == decision).unwrap();
    for line in [of("allowed"), of("ended")] {
        assert_eq!(line["session"], "00000000-0000-0000-0000-000000000001");
        assert_eq!(line["pool"], "acme/desktops");
        assert_eq!(line["destination"], "api.example.com:80");
        assert_eq!(line["address"], HOST);
    }
    assert_eq!(of("denied")["reason"], "HostNotAllowed");
    assert_eq!(of("denied")["way"], "HTTP");
    assert!(of("ended")["received"].as_u64().unwrap() > 0);
}
