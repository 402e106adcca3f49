//! What the kubelet and Prometheus ask. In: a [`Health`] that the rest of the program feeds, [`Metrics`]. Out: three endpoints.
//!
//! | Path | 200 | 503 |
//! |---|---|---|
//! | `/healthz` | nothing that only a restart mends | a watch task died, or a round is far past its deadline; the text names it |
//! | `/readyz` | all stores are complete: a follower is as ready as the leader | the text names the stores that are not |
//! | `/metrics` | always | |
//!
//! Waiting is never unhealthy, neither for the API server nor for leadership: a restart would only make it longer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::watch, time::Instant};

use crate::metrics::Metrics;

/// A round counts as stuck when it runs for this many times its deadline. It was cut off at the deadline, so it blocks its
/// thread or the clock went mad.
const STUCK_AFTER: u32 = 3;

/// What is known of the process's own state. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    deadline: Duration,
    state: Mutex<Known>,
    /// How many stores are expected and not complete; `None` until one is expected.
    missing: watch::Sender<Option<usize>>,
}

#[derive(Debug, Default)]
struct Known {
    watches: BTreeMap<&'static str, Watch>,
    rounds: BTreeMap<u64, (String, Instant)>,
    next_round: u64,
}

#[derive(Debug, Default)]
struct Watch {
    synced: bool,
    dead: bool,
}

impl Health {
    /// Nothing is known yet. `deadline` is that of one round.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        Self(Arc::new(Shared { deadline, state: Mutex::default(), missing: watch::channel(None).0 }))
    }

    /// The store of `what` will be filled by a task that holds the returned guard. Call it for all stores before the first of
    /// them can be complete.
    pub fn expect(&self, what: &'static str) -> Alive {
        self.state().watches.insert(what, Watch::default());
        self.count();
        Alive { health: self.clone(), what }
    }

    /// The store of `what` is complete.
    pub fn synced(&self, what: &'static str) {
        if let Some(watch) = self.state().watches.get_mut(what) {
            watch.synced = true;
        }
        self.count();
    }

    /// Returns when all expected stores are complete, and at least one is.
    pub async fn all_synced(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.0.missing.subscribe().wait_for(|missing| *missing == Some(0)).await;
    }

    /// A round begins. It ends when the guard is dropped.
    pub fn begin(&self, round: &str) -> Round {
        let mut state = self.state();
        let id = state.next_round;
        state.next_round += 1;
        state.rounds.insert(id, (round.to_owned(), Instant::now()));
        Round { health: self.clone(), id }
    }

    /// What a restart would mend, in words.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let state = self.state();
        let dead = state.watches.iter().filter(|(_, watch)| watch.dead);
        let dead = dead.map(|(what, _)| format!("the watch of {what} died"));
        let stuck = state.rounds.values().filter(|(_, since)| since.elapsed() > self.0.deadline * STUCK_AFTER);
        let stuck = stuck.map(|(round, since)| format!("{round} has been running for {} s", since.elapsed().as_secs()));
        dead.chain(stuck).collect()
    }

    /// Stores that are not complete.
    #[must_use]
    pub fn incomplete(&self) -> Vec<&'static str> {
        self.state().watches.iter().filter(|(_, watch)| !watch.synced).map(|(what, _)| *what).collect()
    }

    fn count(&self) {
        let state = self.state();
        let missing = state.watches.values().filter(|watch| !watch.synced).count();
        // Sent under the lock: otherwise an older count could overtake a newer one.
        self.0.missing.send_replace((!state.watches.is_empty()).then_some(missing));
    }

    /// Nothing that runs under this lock can panic half-way through a change.
    fn state(&self) -> MutexGuard<'_, Known> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the task that fills a store; dropping it means that the task is over.
#[derive(Debug)]
#[must_use = "dropping this says that the watch died"]
pub struct Alive {
    health: Health,
    what: &'static str,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(watch) = self.health.state().watches.get_mut(self.what) {
            watch.dead = true;
        }
    }
}

/// A round that runs.
#[derive(Debug)]
#[must_use = "the round counts as over when this is dropped"]
pub struct Round {
    health: Health,
    id: u64,
}

impl Drop for Round {
    fn drop(&mut self) {
        self.health.state().rounds.remove(&self.id);
    }
}

/// Serves the endpoints on `listener` until `stop` resolves; answers under way are finished.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    if let Err(error) = axum::serve(listener, endpoints(health, metrics)).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the endpoints for health and metrics ended");
    }
}

fn endpoints(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(health)
        .route("/metrics", get(expose).with_state(metrics))
}

async fn healthz(State(health): State<Health>) -> Response {
    verdict(&health.complaints())
}

async fn readyz(State(health): State<Health>) -> Response {
    let missing = *health.0.missing.borrow();
    match missing {
        None => verdict(&["starting".to_owned()]),
        Some(_) => {
            verdict(&health.incomplete().iter().map(|what| format!("{what} is not read yet")).collect::<Vec<_>>())
        }
    }
}

fn verdict(complaints: &[String]) -> Response {
    if complaints.is_empty() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, complaints.join("\n") + "\n").into_response()
    }
}

async fn expose(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics cannot be written: {error}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures::poll;
    use http::Request;
    use http_body_util::BodyExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::oneshot,
    };
    use tower::ServiceExt;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    async fn ask(health: &Health, path: &str) -> (u16, String) {
        let router = endpoints(health.clone(), Metrics::new().unwrap());
        let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_the_api_server_is_healthy_and_not_ready() {
        let health = Health::new(MINUTE);
        assert_eq!(ask(&health, "/readyz").await, (503, "starting\n".into()));
        let _tenants = health.expect("Tenant");
        tokio::time::advance(Duration::from_hours(2)).await;
        assert_eq!(ask(&health, "/healthz").await, (200, "ok\n".into()));
        assert_eq!(ask(&health, "/readyz").await, (503, "Tenant is not read yet\n".into()));
    }

    #[tokio::test]
    async fn ready_means_that_every_expected_store_is_complete() {
        let health = Health::new(MINUTE);
        let _watches = (health.expect("Tenant"), health.expect("Workspace"));
        health.synced("Tenant");
        assert_eq!(ask(&health, "/readyz").await, (503, "Workspace is not read yet\n".into()));
        health.synced("Workspace");
        assert_eq!(ask(&health, "/readyz").await, (200, "ok\n".into()));
    }

    #[tokio::test]
    async fn nobody_starts_on_stores_that_are_not_even_expected_yet() {
        let health = Health::new(MINUTE);
        let waiting = health.clone();
        let mut waiting = std::pin::pin!(waiting.all_synced());
        assert!(poll!(&mut waiting).is_pending(), "no store is expected yet");
        let _watches = (health.expect("Tenant"), health.expect("Workspace"));
        health.synced("Workspace");
        assert!(poll!(&mut waiting).is_pending(), "Tenant is missing");
        health.synced("Tenant");
        assert!(poll!(&mut waiting).is_ready());
    }

    #[tokio::test]
    async fn a_watch_task_that_ended_is_named() {
        let health = Health::new(MINUTE);
        let (_tenants, workspaces) = (health.expect("Tenant"), health.expect("Workspace"));
        let task = tokio::spawn(async move {
            let _workspaces = workspaces;
            panic!("a bug");
        });
        assert!(task.await.is_err());
        assert_eq!(ask(&health, "/healthz").await, (503, "the watch of Workspace died\n".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_far_past_its_deadline_is_named_until_it_ends() {
        let health = Health::new(MINUTE);
        let stuck = health.begin("workspace acme/finance");
        tokio::time::advance(MINUTE * 3).await;
        let _fresh = health.begin("workspace acme/other");
        assert_eq!(ask(&health, "/healthz").await.0, 200, "slow is not stuck");
        tokio::time::advance(Duration::from_secs(2)).await;
        let (code, text) = ask(&health, "/healthz").await;
        assert_eq!((code, text.as_str()), (503, "workspace acme/finance has been running for 182 s\n"));
        drop(stuck);
        assert_eq!(ask(&health, "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn metrics_are_text_and_other_paths_are_not_there() {
        let health = Health::new(MINUTE);
        let (code, text) = ask(&health, "/metrics").await;
        assert_eq!(code, 200);
        assert!(text.contains("# TYPE steading_fence_canary_ok gauge"), "{text}");
        assert_eq!(ask(&health, "/debug").await.0, 404);
    }

    #[tokio::test]
    async fn serving_ends_when_told_to_and_not_before() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let server = tokio::spawn(serve(listener, Health::new(MINUTE), Metrics::new().unwrap(), stopped));
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(!server.is_finished());
        drop(stop);
        tokio::time::timeout(Duration::from_secs(10), server).await.expect("it goes on").unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
