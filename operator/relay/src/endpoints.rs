//! What the kubelet and Prometheus ask. In: whether the servers of NATS are answered, [`Metrics`]. Out: `/healthz`, `/readyz`, `/metrics`.

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::{connection::Line, metrics::Metrics};

/// The lines without which nobody can be let in.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Where servers ask.
    pub callout: Line,
    /// Where accounts are made known.
    pub registrar: Line,
}

impl Lines {
    fn stand(&self) -> bool {
        self.callout.stands() && self.registrar.stands()
    }
}

/// Serves the endpoints on `listener` until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    lines: Lines,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || readyz(&lines)))
        .route("/metrics", get(async move || expose(&metrics)));
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the endpoints for health and metrics ended");
    }
}

fn readyz(lines: &Lines) -> Response {
    if lines.stand() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "there is no connection to NATS; the log says why\n").into_response()
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
