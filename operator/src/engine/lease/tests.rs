use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// An API server that knows one Lease and compares versions as the real one does.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    lease: Option<Value>,
    version: u64,
    calls: BTreeMap<String, usize>,
}

impl Server {
    fn answer(&self, method: &Method, body: &[u8]) -> Response<Body> {
        let mut content = self.0.lock().unwrap();
        *content.calls.entry(method.to_string()).or_default() += 1;
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method, content.lease.clone()) {
            (&Method::GET, Some(lease)) => reply(200, &lease),
            (&Method::GET | &Method::PUT, None) => refusal(404, "NotFound"),
            (&Method::POST, Some(_)) => refusal(409, "AlreadyExists"),
            (&Method::PUT, Some(lease))
                if lease["metadata"]["resourceVersion"] != sent["metadata"]["resourceVersion"] =>
            {
                refusal(409, "Conflict")
            }
            (&Method::POST | &Method::PUT, _) => reply(200, &content.store(sent)),
            (other, _) => panic!("unexpected {other}"),
        }
    }

    /// Somebody edits it with kubectl.
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut content = self.0.lock().unwrap();
        let mut lease = content.lease.clone().unwrap();
        change(&mut lease);
        content.store(lease);
    }

    fn delete(&self) {
        self.0.lock().unwrap().lease = None;
    }

    fn holder(&self) -> String {
        self.0.lock().unwrap().lease.as_ref().unwrap()["spec"]["holderIdentity"].as_str().unwrap().to_owned()
    }

    fn calls(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }
}

impl Content {
    fn store(&mut self, mut lease: Value) -> Value {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.lease = Some(lease.clone());
        lease
    }
}

fn reply(code: u16, value: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(serde_json::to_vec(value).unwrap())).unwrap()
}

fn refusal(code: u16, reason: &str) -> Response<Body> {
    reply(code, &json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}))
}

/// What is between one replica and the server.
const OPEN: u64 = 0;
const SILENT: u64 = 1;
const LOSES_ANSWERS: u64 = 2;

struct Replica {
    leadership: Leadership,
    line: Arc<AtomicU64>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Replica {
    fn start(server: &Server, me: &str) -> Self {
        let settings =
            Settings { namespace: "farm".into(), name: "operator".into(), me: me.into(), timings: Timings::default() };
        let (leadership, candidate) = stand(settings, &Metrics::new().unwrap());
        let line = Arc::new(AtomicU64::new(OPEN));
        let (server, switch) = (server.clone(), Arc::clone(&line));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, switch) = (server.clone(), Arc::clone(&switch));
            async move {
                if switch.load(Ordering::Relaxed) == SILENT {
                    future::pending::<()>().await;
                }
                let (head, body) = request.into_parts();
                let answer = server.answer(&head.method, &body.collect_bytes().await?);
                if switch.load(Ordering::Relaxed) == LOSES_ANSWERS {
                    future::pending::<()>().await;
                }
                Ok::<_, kube::Error>(answer)
            }
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(candidate.run(Client::new(service, "farm"), stop.clone().cancelled_owned()));
        Self { leadership, line, task, stop }
    }

    fn line(&self, state: u64) {
        self.line.store(state, Ordering::Relaxed);
    }
}

/// Lets `seconds` pass and checks all the way that at most one leads; returns after how many seconds `wanted` led.
async fn watch(replicas: &[&Replica], wanted: &Replica, seconds: u32) -> Option<f32> {
    let mut led = None;
    for tick in 0..seconds * 10 {
        let leaders = replicas.iter().filter(|replica| replica.leadership.leads()).count();
        assert!(leaders <= 1, "{leaders} lead at {} s", tick / 10);
        if wanted.leadership.leads() {
            led = led.or(Some(f32::from(u16::try_from(tick).unwrap()) / 10.0));
        }
        tokio::time::sleep(SECOND / 10).await;
    }
    led
}

#[tokio::test(start_paused = true)]
async fn a_quiet_minute_of_leading_is_twelve_writes_and_no_read() {
    let server = Server::default();
    let alice = Replica::start(&server, "alice");
    alice.leadership.until_leader().await;
    assert_eq!(server.calls(), BTreeMap::from([("GET".into(), 1), ("POST".into(), 1)]));
    tokio::time::sleep(SECOND * 61).await;
    assert!(alice.leadership.leads());
    assert_eq!(server.calls(), BTreeMap::from([("PUT".into(), 12)]));
}

#[tokio::test(start_paused = true)]
async fn a_follower_takes_over_when_the_leader_dies() {
    let server = Server::default();
    let alice = Replica::start(&server, "alice");
    alice.leadership.until_leader().await;
    let bob = Replica::start(&server, "bob");
    assert_eq!(watch(&[&alice, &bob], &bob, 60).await, None, "bob led beside alice");
    alice.task.abort();
    let took_over = watch(&[&alice, &bob], &bob, 30).await.unwrap();
    assert!(took_over <= 17.5, "after {took_over} s");
    assert_eq!(server.holder(), "bob");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_lets_go_is_followed_within_a_retry() {
    let server = Server::default();
    let alice = Replica::start(&server, "alice");
    alice.leadership.until_leader().await;
    let bob = Replica::start(&server, "bob");
    tokio::time::sleep(SECOND * 7).await;
    alice.stop.cancel();
    let took_over = watch(&[&alice, &bob], &bob, 10).await.unwrap();
    assert!(took_over <= 2.6, "after {took_over} s");
    assert!(alice.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_paused_process_knows_at_once_that_it_no_longer_leads() {
    let server = Server::default();
    let alice = Replica::start(&server, "alice");
    alice.leadership.until_leader().await;
    // Nothing of the process runs any more, so nothing of it can clear a flag.
    alice.task.abort();
    tokio::time::sleep(SECOND * 11).await;
    assert!(alice.leadership.leads());
    tokio::time::sleep(SECOND).await;
    assert!(!alice.leadership.leads());
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_stops_before_another_begins_and_follows_when_it_is_back() {
    let server = Server::default();
    let alice = Replica::start(&server, "alice");
    alice.leadership.until_leader().await;
    let bob = Replica::start(&server, "bob");
    tokio::time::sleep(SECOND * 3).await;
    alice.line(SILENT);
    assert!(watch(&[&alice, &bob], &bob, 40).await.is_some());
    alice.line(OPEN);
    assert_eq!(watch(&[&alice, &bob], &alice, 60).await, None);
    assert!(bob.leadership.leads());
}

#[tokio::test(start_paused = true)]
async fn lost_answers_never_make_two_leaders_and_heal() {
    let server = Server::default();
    let alice = Replica::start(&server, "alice");
    alice.leadership.until_leader().await;
    let bob = Replica::start(&server, "bob");
    alice.line(LOSES_ANSWERS);
    watch(&[&alice, &bob], &alice, 60).await;
    alice.line(OPEN);
    let leads = watch(&[&alice, &bob], &alice, 30).await.is_some() || bob.leadership.leads();
    assert!(leads, "nobody leads");
}

#[tokio::test(start_paused = true)]
async fn a_lease_deleted_by_hand_changes_nothing_for_long() {
    let server = Server::default();
    let alice = Replica::start(&server, "alice");
    alice.leadership.until_leader().await;
    let bob = Replica::start(&server, "bob");
    tokio::time::sleep(SECOND * 3).await;
    server.delete();
    assert_eq!(watch(&[&alice, &bob], &bob, 60).await, None);
    assert!(alice.leadership.leads());
    assert_eq!(server.holder(), "alice");
}

#[tokio::test(start_paused = true)]
async fn a_holder_edited_by_hand_is_replaced_within_a_lease_duration() {
    for holder in ["", "nobody"] {
        let server = Server::default();
        let alice = Replica::start(&server, "alice");
        alice.leadership.until_leader().await;
        let bob = Replica::start(&server, "bob");
        tokio::time::sleep(SECOND * 3).await;
        server.edit(|lease| lease["spec"]["holderIdentity"] = holder.into());
        watch(&[&alice, &bob], &alice, 20).await;
        assert!(alice.leadership.leads() != bob.leadership.leads(), "not exactly one leads after {holder:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_wrote_into_the_lease_stays() {
    let server = Server::default();
    let alice = Replica::start(&server, "alice");
    alice.leadership.until_leader().await;
    server.edit(|lease| lease["metadata"]["labels"] = json!({"team": "platform"}));
    tokio::time::sleep(SECOND * 20).await;
    assert!(alice.leadership.leads());
    alice.stop.cancel();
    alice.task.await.unwrap();
    let lease = server.0.lock().unwrap().lease.clone().unwrap();
    assert_eq!(lease["metadata"]["labels"]["team"], "platform");
    assert_eq!(lease["spec"]["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_leadership_and_for_its_end_both_wake() {
    let server = Server::default();
    let alice = Replica::start(&server, "alice");
    alice.leadership.until_leader().await;
    let lost = tokio::spawn({
        let leadership = alice.leadership.clone();
        async move { leadership.until_follower().await }
    });
    tokio::time::sleep(SECOND * 30).await;
    assert!(!lost.is_finished(), "it led all the time");
    alice.line(SILENT);
    tokio::time::sleep(SECOND * 13).await;
    assert!(lost.is_finished());
}

#[tokio::test]
async fn always_is_always() {
    let leadership = Leadership::always();
    leadership.until_leader().await;
    assert!(leadership.leads());
}

#[tokio::test(start_paused = true)]
async fn the_metric_follows_the_clock_not_the_task() {
    let metrics = Metrics::new().unwrap();
    let settings =
        Settings { namespace: "farm".into(), name: "operator".into(), me: "alice".into(), timings: Timings::default() };
    let (_leadership, candidate) = stand(settings, &metrics);
    candidate.deadline.send_replace(Some(Instant::now() + SECOND * 12));
    assert!(metrics.encode().unwrap().contains("leader_election_master_status{name=\"operator\"} 1"));
    tokio::time::sleep(SECOND * 13).await;
    assert!(metrics.encode().unwrap().contains("leader_election_master_status{name=\"operator\"} 0"));
}
