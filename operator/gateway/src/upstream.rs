//! A company's proxy between the gateway and the internet. In: its address, a file with its credentials, a target. Out: a stream through
//! it. What it resolves by itself is said by [`UpstreamProxy::resolves`].

use std::{io, path::PathBuf};

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::{fs::File, io::AsyncReadExt};

use crate::{host::Target, reach::Stream};

/// A user name and a password need no more.
const CREDENTIALS: u64 = 4096;
/// The head of its answer is bounded like that of our clients.
const HEAD: usize = 16 * 1024;

/// A proxy that speaks HTTP and takes CONNECT.
#[derive(Clone, Debug)]
pub struct UpstreamProxy {
    /// Where it is: a host and a port.
    pub address: String,
    /// A file with `user:password` in one line, read for each connection so that it can be replaced at any time.
    pub credentials: Option<PathBuf>,
    /// Whether it wants names and resolves them itself. Otherwise it is given the address that was checked.
    pub resolves: bool,
}

impl UpstreamProxy {
    /// Asks the proxy at the other end of `stream` for a tunnel to `target`.
    pub async fn tunnel(&self, stream: Stream, target: &Target) -> io::Result<Stream> {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = target.to_string().parse::<Uri>().map_err(io::Error::other)?;
        let host = HeaderValue::try_from(target.to_string()).map_err(io::Error::other)?;
        request.headers_mut().insert(header::HOST, host);
        if let Some(credentials) = self.credentials().await? {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, basic(&credentials)?);
        }
        let mut client = hyper::client::conn::http1::Builder::new();
        client.max_buf_size(HEAD);
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        if answer.status() != StatusCode::OK {
            return Err(io::Error::other(format!("the upstream proxy answered {}", answer.status().as_u16())));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(io::Error::other)?;
        Ok(Box::new(TokioIo::new(upgraded)))
    }

    async fn credentials(&self) -> io::Result<Option<SecretString>> {
        let Some(path) = &self.credentials else { return Ok(None) };
        let mut text = String::new();
        File::open(path).await?.take(CREDENTIALS).read_to_string(&mut text).await?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).into()))
    }
}

fn basic(credentials: &SecretString) -> io::Result<HeaderValue> {
    let encoded = BASE64.encode(credentials.expose_secret().as_bytes());
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).map_err(io::Error::other)?;
    value.set_sensitive(true);
    Ok(value)
}
