//! The operator's way to the API server. In: how to reach it, [`Metrics`], [`Leadership`]. Out: a [`kube::Client`] like any
//! other, with these manners, each applied to every single attempt:
//!
//! - **Only a leader writes.** Asked right before the bytes go out, after any pause of a retry: a process that was stopped in
//!   between does not write when it wakes. Everything about Leases is exempt, or nobody could become leader.
//! - **Nothing waits for ever.** An attempt that is not a watch ends after [`REQUEST`], its body included.
//! - **A silent watch is noticed.** Nothing may be silent for [`SILENCE`]; watches ask the server to end them before that
//!   ([`WATCH_SECONDS`]), so silence always means a dead connection. kube gives such a watch up by itself a little earlier; this holds
//!   for whatever else waits for an answer.
//! - **An expired watch says so in its stream**, whichever way the server said it: that is where kube listens.
//! - **Few and safe repetitions** (see [`policy`]) in place of kube's own, which are up to 15, up to minutes each, POST included.
//! - **All is counted**, under the names of client-go.

mod policy;

use std::{sync::Arc, task, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use kube::{
    Client,
    client::{Body, ClientBuilder},
};
use serde_json::json;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Service, ServiceExt, layer::layer_fn};

use crate::{chance, engine::lease::Leadership, metrics::Metrics};
use policy::{Came, Shape};

/// How long one attempt may take that is not a watch. For a watch: until its first byte.
pub const REQUEST: Duration = Duration::from_secs(10);
/// What a watch must ask for as its own end, by `watcher::Config::timeout`.
pub const WATCH_SECONDS: u32 = 110;
/// How long a connection may be silent while something is expected from it.
pub const SILENCE: Duration = Duration::from_mins(2);

/// Why a request was not sent, or not waited for.
#[derive(Debug, thiserror::Error)]
pub enum NotAnswered {
    /// Another replica may lead by now.
    #[error("not sent: this replica does not lead")]
    NotLeading,
    /// The API server took too long.
    #[error("no answer within {} s", REQUEST.as_secs())]
    TimedOut,
}

/// Whether a request was not sent because this replica does not lead: nothing is wrong, and nothing was done.
#[must_use]
pub fn is_not_leading(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(cause) if matches!(cause.downcast_ref(), Some(NotAnswered::NotLeading)))
}

/// A client for `config` with the manners above.
pub fn client(config: kube::Config, metrics: &Metrics, leadership: &Leadership) -> kube::Result<Client> {
    let host = config.cluster_url.authority().map_or_else(String::new, ToString::to_string);
    let manners = layer_fn(|inner| Mannered::new(inner, &host, metrics, leadership));
    Ok(ClientBuilder::try_from(tuned(config))?.with_layer(&manners).build())
}

/// A client with the manners above over whatever answers.
#[cfg(test)]
pub(crate) fn over<S, B>(service: S, metrics: &Metrics, leadership: &Leadership) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(Mannered::new(service, "api.example", metrics, leadership), "default")
}

/// `config` without kube's own retries, and with ours of everything that is set per connection.
fn tuned(mut config: kube::Config) -> kube::Config {
    config.default_retry = false;
    config.connect_timeout = Some(REQUEST);
    config.read_timeout = Some(SILENCE);
    config.write_timeout = Some(REQUEST);
    // Otherwise the time that a connection lay idle in the pool would count as its silence.
    config.reset_reader_on_write = true;
    config
        .headers
        .push((header::USER_AGENT, HeaderValue::from_static(concat!("steading/", env!("CARGO_PKG_VERSION")))));
    config
}

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// Applies the manners to whatever really sends requests.
struct Mannered<S>(Arc<Inner<S>>);

struct Inner<S> {
    /// kube's stack cannot be cloned. The lock is held to hand a request over, not while it is answered.
    service: Mutex<S>,
    host: String,
    metrics: Metrics,
    leadership: Leadership,
}

impl<S> Mannered<S> {
    fn new(service: S, host: &str, metrics: &Metrics, leadership: &Leadership) -> Self {
        let (metrics, leadership) = (metrics.clone(), leadership.clone());
        Self(Arc::new(Inner { service: Mutex::new(service), host: host.to_owned(), metrics, leadership }))
    }
}

impl<S, B> Service<Request<Body>> for Mannered<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        async move { inner.send(request).await }.boxed()
    }
}

impl<S, B> Inner<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn send(&self, mut request: Request<Body>) -> Result<Answer, BoxError> {
        let shape = Shape::of(&request);
        let (mut attempts, mut paused) = (0, Duration::ZERO);
        loop {
            let again = copy(&request);
            let answer = self.attempt(request, shape).await;
            attempts += 1;
            let came = match &answer {
                Ok(answer) => Came::Answer(answer.status(), policy::retry_after(answer.headers())),
                Err(error) if matches!(error.downcast_ref(), Some(NotAnswered::NotLeading)) => return answer,
                Err(_) => Came::Nothing,
            };
            let pause = policy::pause(shape.repeat, came, attempts, paused, chance::fraction());
            let (Some(pause), Some(next)) = (pause, again) else {
                return answer.map(|answer| telling_expired(shape, telling_when(answer)));
            };
            sleep(pause).await;
            paused += pause;
            request = next;
        }
    }

    /// One attempt, measured and bounded.
    async fn attempt(&self, request: Request<Body>, shape: Shape) -> Result<Answer, BoxError> {
        if shape.write && !self.leadership.leads() {
            return Err(NotAnswered::NotLeading.into());
        }
        let method = request.method().clone();
        let started = Instant::now();
        let answer =
            timeout(REQUEST, self.exchange(request, shape)).await.unwrap_or_else(|_| Err(NotAnswered::TimedOut.into()));
        let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        self.metrics.api_request(method.as_str(), &self.host, code, started.elapsed());
        answer
    }

    /// Sends, and reads all of the answer unless it has no end.
    async fn exchange(&self, request: Request<Body>, shape: Shape) -> Result<Answer, BoxError> {
        let answer = {
            let mut service = self.service.lock().await;
            service.ready().await.map_err(Into::into)?.call(request)
        };
        let (head, body) = answer.await.map_err(Into::into)?.into_parts();
        let body = body.map_err(Into::into);
        if shape.watch && head.status.is_success() {
            return Ok(Response::from_parts(head, body.boxed_unsync()));
        }
        Ok(Response::from_parts(head, whole(body.collect().await?.to_bytes())))
    }
}

fn whole(bytes: Bytes) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The same request once more; `None` if its body can be read only once.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// A 429 that is handed to the caller tells in its body when to come back, as `Status.details.retryAfterSeconds`: the server
/// says so in a header only, which kube does not pass on.
fn telling_when(answer: Answer) -> Answer {
    let (StatusCode::TOO_MANY_REQUESTS, Some(after)) = (answer.status(), policy::retry_after(answer.headers())) else {
        return answer;
    };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 429, "reason": "TooManyRequests",
        "message": "the API server asks to come back later",
        "details": { "retryAfterSeconds": after.as_secs() },
    });
    let (mut head, _) = answer.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(head, whole(Bytes::from(status.to_string())))
}

/// A watch that is refused with 410 begins, and tells in its stream that it expired, as API servers mostly do themselves: kube lists a
/// kind anew for the event, but for the refusal it asks for the same expired revision for ever.
fn telling_expired(shape: Shape, answer: Answer) -> Answer {
    if !shape.watch || answer.status() != StatusCode::GONE {
        return answer;
    }
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired",
        "message": "the revision from which the watch was to go on is no longer kept",
    });
    let (mut head, _) = answer.into_parts();
    head.status = StatusCode::OK;
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(head, whole(Bytes::from(format!("{}\n", json!({ "type": "ERROR", "object": status })))))
}

#[cfg(test)]
mod tests;
