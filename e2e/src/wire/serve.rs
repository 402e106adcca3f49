//! Connections of the wire. In: a listener, and what all connections share. Out: each request judged, and answered or not.

use std::future::{pending, poll_fn};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Asked, Fate, Forward, Shared, Verdict, refusal, stream};

/// Most bytes of a request's body.
const BODY_MAX: usize = 8 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// The connection is to be reset.
#[derive(Debug, thiserror::Error)]
#[error("the wire resets the connection")]
struct Reset;

/// An answer that was kept.
#[derive(Clone)]
pub(super) struct Kept {
    code: StatusCode,
    kind: Option<HeaderValue>,
    body: Bytes,
}

/// Takes connections until it is dropped, and with it all of them.
pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    stream.set_nodelay(true).ok();
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { carry(&shared, request).await }.boxed()
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    if ended.is_ok() {
        stream.shutdown().await.ok();
    } else {
        // As when a process dies or a gateway gives up: TLS says no goodbye, and TCP resets.
        stream.into_inner().0.set_zero_linger().ok();
    }
}

/// Judges a request and does as the verdict says.
async fn carry(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Reset> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "too much for the wire"));
    };
    let asked = Asked::new(&head, body.to_bytes());
    let verdict = shared.judge.lock().unwrap_or_else(PoisonError::into_inner)(&asked);
    match verdict {
        Verdict::Pass => Ok(forward(shared, &asked).await),
        Verdict::Instead(fate) => meet(fate, &asked).await,
        Verdict::Afterwards(fate) => {
            // All of the answer is waited for, so that the change is there when the caller hears of something else; in a task of
            // its own, so that it is carried out even if the caller has gone by then.
            let (carried, request) = (Arc::clone(shared), asked.clone());
            let carried = async move { forward(&carried, &request).await.into_body().collect().await.ok() };
            tokio::spawn(carried).await.ok();
            meet(fate, &asked).await
        }
        Verdict::Late(time) => {
            tokio::time::sleep(time).await;
            Ok(forward(shared, &asked).await)
        }
        Verdict::Held(gate) => {
            gate.opened().await;
            Ok(forward(shared, &asked).await)
        }
        Verdict::Through(filter) => {
            let answer = forward(shared, &asked).await;
            if !answer.status().is_success() {
                return Ok(answer);
            }
            let filtered = move |body| StreamBody::new(stream::filtered(body, filter));
            Ok(answer.map(|body| filtered(body).map_err(|never| match never {}).boxed_unsync()))
        }
        Verdict::Kept => Ok(keep(shared, &asked, forward(shared, &asked).await).await),
        Verdict::Stale => {
            let kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key(&asked)).cloned();
            match kept {
                Some(kept) => Ok(answer(kept)),
                None => Ok(forward(shared, &asked).await),
            }
        }
    }
}

async fn meet(fate: Fate, asked: &Asked) -> Result<Answer, Reset> {
    match fate {
        Fate::Reset => Err(Reset),
        Fate::Silence => pending().await,
        Fate::Death(gate) => {
            gate.open();
            pending().await
        }
        Fate::Refused(refusal) => Ok(refused(refusal.answer(asked))),
        Fate::Answered { code, retry_after, body } => {
            let kind = if body.starts_with('<') { "application/xml" } else { "application/json" };
            Ok(refused(refusal::Answer { code, retry_after, kind, body: body.to_owned() }))
        }
    }
}

fn refused(answer: refusal::Answer) -> Answer {
    let mut response = Response::new(whole(Bytes::from(answer.body)));
    *response.status_mut() = answer.code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What the server answers.
async fn forward(shared: &Shared, asked: &Asked) -> Answer {
    match &shared.forward {
        Forward::Plane(client) => ask_plane(client, asked).await,
        Forward::Server { client, url } => ask_server(client, url, asked).await,
    }
}

/// The request as it came: who signs requests signs the address to which he sends them, so that stays too.
async fn ask_server(client: &reqwest::Client, url: &str, asked: &Asked) -> Answer {
    let request = client.request(asked.method.clone(), format!("{url}{}", asked.uri));
    match request.headers(asked.headers.clone()).body(asked.body.clone()).send().await {
        Ok(answer) => back(Response::from(answer)),
        Err(error) => plain(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}

async fn ask_plane(client: &kube::Client, asked: &Asked) -> Answer {
    let mut request = Request::new(kube::client::Body::from(asked.body.clone()));
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = asked.uri.clone();
    *request.headers_mut() = asked.headers.clone();
    request.headers_mut().remove(header::HOST);
    match client.send(request).await {
        Ok(answer) => back(answer),
        Err(error) => plain(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}

/// An answer on its way to the caller, without what concerns only the connection on which it came.
fn back<B>(mut answer: Response<B>) -> Answer
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    answer.headers_mut().remove(header::TRANSFER_ENCODING);
    answer.headers_mut().remove(header::CONNECTION);
    answer.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// Keeps an answer, unless one is kept already.
async fn keep(shared: &Shared, asked: &Asked, fresh: Answer) -> Answer {
    let (head, body) = fresh.into_parts();
    let Ok(body) = body.collect().await else { return plain(StatusCode::BAD_GATEWAY, "the answer broke off") };
    let kind = head.headers.get(header::CONTENT_TYPE).cloned();
    let fresh = Kept { code: head.status, kind, body: body.to_bytes() };
    if head.status.is_success() {
        let mut kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(key(asked)).or_insert_with(|| fresh.clone());
    }
    answer(fresh)
}

fn key(asked: &Asked) -> String {
    format!("{} {}", asked.method, asked.uri)
}

fn answer(kept: Kept) -> Answer {
    let mut response = Response::new(whole(kept.body));
    *response.status_mut() = kept.code;
    if let Some(kind) = kept.kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

fn plain(code: StatusCode, text: &str) -> Answer {
    let mut response = Response::new(whole(Bytes::from(text.to_owned())));
    *response.status_mut() = code;
    response
}

fn whole(bytes: Bytes) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
