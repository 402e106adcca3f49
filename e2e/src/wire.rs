//! The wire between an operator and the API server, with faults on demand. In: a plane, and a verdict for each request. Out: an
//! address to which an operator's client can be pointed.
//!
//! Only what goes through it is concerned: a test's own clients keep going straight to the API server.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};
use kube::Client;
use kube::config::AuthInfo;
use tokio::task::JoinHandle;

use crate::plane::Plane;

/// Most bytes of a request's body.
const BODY_MAX: usize = 8 << 20;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gets through, and so does its answer.
    Pass,
    /// It does not get through; the caller is answered 500.
    Lost,
    /// It gets through and is carried out, but the caller is answered 504.
    AnswerLost,
}

type Judge = Box<dyn FnMut(&Parts) -> Verdict + Send>;

/// See the module. Dropping it ends all that goes through it.
pub struct Wire {
    url: String,
    judge: Arc<Mutex<Judge>>,
    task: JoinHandle<()>,
}

impl Wire {
    /// A wire to the API server of `plane` on which everything passes.
    pub async fn to(plane: &Plane) -> Result<Self> {
        let mut config = plane.config(plane.admin_identity())?;
        config.auth_info = AuthInfo::default(); // callers bring their own
        config.default_retry = false;
        config.read_timeout = None; // watches end when they end
        let forward = Client::try_from(config).context("cannot make a client for the plane")?;
        let judge: Arc<Mutex<Judge>> = Arc::new(Mutex::new(Box::new(|_| Verdict::Pass)));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(carry).with_state((forward, Arc::clone(&judge)));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the wire broke");
            }
        });
        Ok(Self { url, judge, task })
    }

    /// The configuration of a client that goes through this wire instead of straight.
    pub fn through(&self, mut config: kube::Config) -> Result<kube::Config> {
        config.cluster_url = self.url.parse()?;
        Ok(config)
    }

    /// From now on `judge` decides about each request; it sees method, path, query and headers.
    pub fn judge(&self, judge: impl FnMut(&Parts) -> Verdict + Send + 'static) {
        *self.judge.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(judge);
    }

    /// From now on everything passes.
    pub fn mend(&self) {
        self.judge(|_| Verdict::Pass);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether the request asks for a change that is to be kept, of anything but Leases and events.
pub fn is_write(request: &Parts) -> bool {
    let (path, query) = (request.uri.path(), request.uri.query().unwrap_or_default());
    request.method != Method::GET
        && !query.contains("dryRun")
        && !path.starts_with("/apis/coordination.k8s.io/")
        && !path.starts_with("/apis/events.k8s.io/")
}

async fn carry(State((forward, judge)): State<(Client, Arc<Mutex<Judge>>)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let verdict = judge.lock().unwrap_or_else(PoisonError::into_inner)(&parts);
    if verdict == Verdict::Lost {
        return (StatusCode::INTERNAL_SERVER_ERROR, "lost on the wire").into_response();
    }
    let Ok(body) = to_bytes(body, BODY_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let mut request = Request::from_parts(parts, kube::client::Body::from(body));
    request.headers_mut().remove(header::HOST);
    match forward.send(request).await {
        Ok(_) if verdict == Verdict::AnswerLost => {
            (StatusCode::GATEWAY_TIMEOUT, "the answer was lost on the wire").into_response()
        }
        Ok(mut answer) => {
            answer.headers_mut().remove(header::TRANSFER_ENCODING);
            answer.headers_mut().remove(header::CONNECTION);
            answer.map(Body::new)
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
