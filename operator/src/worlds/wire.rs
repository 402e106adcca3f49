//! The wire between operators and the API server: every request waits on it until the world says what becomes of it.

use std::sync::{Arc, Mutex, MutexGuard};

use http::{HeaderValue, Request, Response, header};
use kube::client::Body;
use model::Answer;
use serde_json::Value;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tower::{BoxError, Service};

/// A request under way.
pub struct Pending {
    /// Which process sent it.
    pub process: usize,
    /// When.
    pub sent: Instant,
    /// What it says.
    pub request: model::Request,
    /// The answer, once the server has carried it out.
    pub answer: Option<Answer>,
    back: oneshot::Sender<Answer>,
}

impl Pending {
    /// Hands the answer to whoever waits for it, if he is still there.
    pub fn reply(self, answer: Answer) {
        let _ = self.back.send(answer);
    }

    /// Whether its answer would reach nobody.
    pub fn is_orphan(&self) -> bool {
        self.back.is_closed()
    }

    /// Whether it is about a Lease.
    pub fn is_lease(&self) -> bool {
        self.request.path.starts_with("/apis/coordination.k8s.io/")
    }

    /// One line of it.
    pub fn told(&self) -> String {
        let path = self.request.path.split('?').next().unwrap_or_default();
        format!("p{} {} {path}", self.process, self.request.method)
    }
}

/// All requests under way. Clones share them.
#[derive(Clone, Default)]
pub struct Wire {
    pending: Arc<Mutex<Vec<Pending>>>,
    arrived: Arc<Notify>,
}

impl Wire {
    /// The requests under way, the oldest first.
    pub fn pending(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap()
    }

    /// Returns as soon as a request has come since the last call.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// The end that a process talks to.
    pub fn of(
        &self,
        process: usize,
    ) -> impl Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send> + Clone + Send + use<>
    {
        let wire = self.clone();
        tower::service_fn(move |request: Request<Body>| {
            let wire = wire.clone();
            async move {
                let request = read(request).await?;
                let (back, answer) = oneshot::channel();
                wire.pending().push(Pending { process, sent: Instant::now(), request, answer: None, back });
                wire.arrived.notify_one();
                written(&answer.await.map_err(|_| "the connection broke")?)
            }
        })
    }
}

async fn read(request: Request<Body>) -> Result<model::Request, BoxError> {
    let (head, body) = request.into_parts();
    let bytes = body.collect_bytes().await?;
    let text = |name: header::HeaderName| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    Ok(model::Request {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        content_type: text(header::CONTENT_TYPE),
        accept: text(header::ACCEPT),
        body: if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? },
    })
}

fn written(answer: &Answer) -> Result<Response<Body>, BoxError> {
    let mut response = Response::builder().status(answer.code).body(Body::from(serde_json::to_vec(&answer.body)?))?;
    if answer.code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}
