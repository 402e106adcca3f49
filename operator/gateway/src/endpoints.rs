//! What the kubelet and Prometheus ask. In: whether there are policies, [`Metrics`]. Out: `/healthz`, `/readyz`, `/metrics`, at a port of
//! their own that agents cannot reach.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Whether agents can be served. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on they can, or cannot.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves the endpoints on `listener` until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    ready: Readiness,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    if let Err(error) = axum::serve(listener, endpoints(ready, metrics)).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the endpoints for health and metrics ended");
    }
}

fn endpoints(ready: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || readyz(&ready)))
        .route("/metrics", get(async move || expose(&metrics)))
}

fn readyz(ready: &Readiness) -> Response {
    if ready.get() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "keys or policies are not read yet; the log says why\n").into_response()
    }
}

fn expose(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics cannot be written: {error}\n")).into_response()
        }
    }
}
