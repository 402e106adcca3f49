use std::{collections::VecDeque, future, sync::Mutex as StdMutex};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, WatchParams},
};

use super::*;

/// What the server does with one request.
enum Does {
    Answer(u16),
    TurnAway { seconds: u32 },
    Reset,
    Hang,
    HangAfterHead,
}

/// Plays a list of answers and remembers what was asked, when.
#[derive(Clone)]
struct Server(Arc<StdMutex<Script>>);

struct Script {
    answers: VecDeque<Does>,
    asked: Vec<(String, Duration)>,
    started: Instant,
}

impl Server {
    fn playing(answers: impl IntoIterator<Item = Does>) -> Self {
        let script = Script { answers: answers.into_iter().collect(), asked: Vec::new(), started: Instant::now() };
        Self(Arc::new(StdMutex::new(script)))
    }

    fn client(&self, leadership: &Leadership, metrics: &Metrics) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let does = server.next(&request);
            async move { answer(does).await }
        });
        Client::new(Mannered::new(service, "api.example", metrics, leadership), "farm")
    }

    fn next(&self, request: &Request<Body>) -> Does {
        let mut script = self.0.lock().unwrap();
        let at = script.started.elapsed();
        script.asked.push((request.method().to_string(), at));
        script.answers.pop_front().expect("more requests than the script has answers")
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.iter().map(|(method, _)| method.clone()).collect()
    }

    fn asked_at(&self, index: usize) -> Duration {
        self.0.lock().unwrap().asked[index].1
    }
}

type Chunks = UnsyncBoxBody<Bytes, BoxError>;

async fn answer(does: Does) -> Result<Response<Chunks>, BoxError> {
    let object = || whole(Bytes::from_static(br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cow"}}"#));
    match does {
        Does::Answer(code @ 200..300) => Ok(Response::builder().status(code).body(object())?),
        Does::Answer(code) => {
            let status =
                json!({"kind": "Status", "status": "Failure", "code": code, "reason": "x", "message": "said so"});
            Ok(Response::builder().status(code).body(whole(status.to_string().into()))?)
        }
        Does::TurnAway { seconds } => {
            let text = whole(Bytes::from_static(b"Too many requests, please try again later."));
            Ok(Response::builder().status(429).header(header::RETRY_AFTER, seconds).body(text)?)
        }
        Does::Reset => Err("connection reset".into()),
        Does::Hang => future::pending().await,
        Does::HangAfterHead => {
            let body = http_body_util::StreamBody::new(futures::stream::pending());
            Ok(Response::builder().status(200).body(BodyExt::boxed_unsync(body))?)
        }
    }
}

fn maps(server: &Server) -> Api<ConfigMap> {
    Api::default_namespaced(server.client(&Leadership::always(), &Metrics::new().unwrap()))
}

fn cow() -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "cow"}})).unwrap()
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_is_repeated_until_it_succeeds() {
    let server = Server::playing([Does::Reset, Does::Answer(503), Does::Answer(200)]);
    maps(&server).get("cow").await.unwrap();
    assert_eq!(server.asked(), ["GET", "GET", "GET"]);
}

#[tokio::test(start_paused = true)]
async fn a_read_gives_up_after_three_attempts_within_seconds() {
    let server = Server::playing([Does::Answer(503), Does::Answer(503), Does::Answer(503)]);
    assert_eq!(code(&maps(&server).get("cow").await.unwrap_err()), 503);
    assert!(server.asked_at(2) < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn apply_is_repeated_and_other_writes_are_not() {
    let apply = PatchParams::apply("test").force();
    let server = Server::playing([Does::Answer(504), Does::Answer(200)]);
    maps(&server).patch("cow", &apply, &Patch::Apply(cow())).await.unwrap();
    assert_eq!(server.asked(), ["PATCH", "PATCH"]);

    for failure in [|| Does::Answer(504), || Does::Answer(503), || Does::Reset] {
        let server = Server::playing([failure(), failure(), failure(), failure()]);
        let maps = maps(&server);
        maps.create(&PostParams::default(), &cow()).await.unwrap_err();
        maps.replace("cow", &PostParams::default(), &cow()).await.unwrap_err();
        maps.delete("cow", &DeleteParams::default()).await.unwrap_err();
        maps.patch("cow", &PatchParams::default(), &Patch::Merge(json!({}))).await.unwrap_err();
        assert_eq!(server.asked(), ["POST", "PUT", "DELETE", "PATCH"], "each once");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_turned_away_comes_back_not_before_it_was_asked_to() {
    let server = Server::playing([Does::TurnAway { seconds: 2 }, Does::Answer(201)]);
    maps(&server).create(&PostParams::default(), &cow()).await.unwrap();
    let again = server.asked_at(1);
    assert!((Duration::from_secs(2)..Duration::from_millis(3_100)).contains(&again), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_is_left_to_the_caller_who_is_told_how_long() {
    let server = Server::playing([Does::TurnAway { seconds: 60 }]);
    let kube::Error::Api(status) = maps(&server).get("cow").await.unwrap_err() else { panic!("not an answer") };
    assert_eq!((status.code, status.details.unwrap().retry_after_seconds), (429, 60));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_is_given_up_after_ten_seconds() {
    for hang in [Does::Hang, Does::HangAfterHead] {
        let server = Server::playing([hang]);
        let maps = maps(&server);
        let started = Instant::now();
        let created = timeout(Duration::from_mins(1), maps.create(&PostParams::default(), &cow())).await;
        let error = created.expect("it waits for ever").unwrap_err();
        assert!(error.to_string().contains("no answer within 10 s"), "{error}");
        assert_eq!(started.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_take_its_time_once_it_began_and_is_never_repeated() {
    let server = Server::playing([Does::HangAfterHead, Does::Answer(503)]);
    let maps = maps(&server);
    let mut events = Box::pin(maps.watch(&WatchParams::default(), "0").await.unwrap());
    let within_a_minute = timeout(Duration::from_mins(1), futures::StreamExt::next(&mut events)).await;
    assert!(within_a_minute.is_err(), "the watch ended");
    assert!(maps.watch(&WatchParams::default(), "0").await.is_err());
    assert_eq!(server.asked(), ["GET", "GET"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_as_expired_says_so_in_its_stream_where_kube_listens() {
    let server = Server::playing([Does::Answer(410), Does::Answer(410)]);
    let maps = maps(&server);
    let mut events = Box::pin(maps.watch(&WatchParams::default(), "7").await.unwrap());
    let event = futures::StreamExt::next(&mut events).await.expect("the stream is empty").unwrap();
    assert!(matches!(&event, kube::api::WatchEvent::Error(status) if status.code == 410), "{event:?}");
    assert_eq!(code(&maps.get("cow").await.unwrap_err()), 410, "what is no watch is left as it is");
}

/// A leadership that ends after `seconds`, and nobody is there to say so.
fn leads_for(seconds: u64) -> Leadership {
    Leadership::until(Instant::now() + Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn a_follower_reads_and_does_not_write() {
    let server = Server::playing([Does::Answer(200)]);
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client(&leads_for(0), &Metrics::new().unwrap()));
    maps.get("cow").await.unwrap();
    let error = maps.create(&PostParams::default(), &cow()).await.unwrap_err();
    assert!(is_not_leading(&error), "{error}");
    assert_eq!(server.asked(), ["GET"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_the_end_of_leadership_is_not_sent() {
    let server = Server::playing([Does::TurnAway { seconds: 3 }, Does::Answer(200)]);
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client(&leads_for(2), &Metrics::new().unwrap()));
    let error = maps.create(&PostParams::default(), &cow()).await.unwrap_err();
    assert!(is_not_leading(&error), "{error}");
    assert_eq!(server.asked(), ["POST"]);
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_counted() {
    let server = Server::playing([Does::Reset, Does::Answer(503), Does::Answer(200)]);
    let metrics = Metrics::new().unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client(&Leadership::always(), &metrics));
    maps.get("cow").await.unwrap();
    let text = metrics.encode().unwrap();
    for code in ["<error>", "503", "200"] {
        let line = format!(r#"rest_client_requests_total{{code="{code}",host="api.example",method="GET"}} 1"#);
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
    assert!(text.contains(r#"rest_client_request_duration_seconds_count{host="api.example",verb="GET"} 3"#));
}

#[tokio::test(start_paused = true)]
async fn requests_are_not_queued_behind_one_that_hangs() {
    let server = Server::playing([Does::Hang, Does::Answer(200)]);
    let maps = maps(&server);
    let mut hanging = Box::pin(maps.get("cow"));
    while server.asked().is_empty() {
        assert!(futures::poll!(&mut hanging).is_pending());
        tokio::task::yield_now().await;
    }
    timeout(Duration::from_secs(1), maps.get("cow")).await.expect("it waited for the other").unwrap();
}

#[test]
fn connections_are_tuned_and_introduce_themselves() {
    let config = tuned(kube::Config::new("https://api.example".parse().unwrap()));
    assert!(!config.default_retry, "kube's own retries are on");
    assert_eq!(config.read_timeout, Some(SILENCE));
    assert!(config.reset_reader_on_write);
    assert!(SILENCE > Duration::from_secs(u64::from(WATCH_SECONDS)), "a quiet watch would count as silent");
    let agent = config.headers.iter().find(|(name, _)| *name == header::USER_AGENT).unwrap();
    assert!(agent.1.to_str().unwrap().starts_with("steading/"));
}
