//! What the gateway answers by itself. In: a [`Denial`], or that a tunnel is open. Out: a response with a short text.

use std::convert::Infallible;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, PROXY_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};

use crate::reason::Denial;

/// The body of any response.
pub type Body = BoxBody<Bytes, hyper::Error>;

/// The tunnel is open.
pub fn open() -> Response<Body> {
    Response::new(Empty::new().map_err(never).boxed())
}

/// It was refused.
pub fn refused(denial: &Denial) -> Response<Body> {
    let text = format!("steading-gateway: {denial}\n");
    let mut response = Response::new(Full::from(text).map_err(never).boxed());
    *response.status_mut() = denial.reason.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // A page that was asked for in a browser must not become one of the host's.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if denial.reason.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        headers.insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"steading-egress\""));
    }
    response
}

fn never(impossible: Infallible) -> hyper::Error {
    match impossible {}
}
