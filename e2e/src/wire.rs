//! The wire between an operator and a server, with faults on demand. In: a plane, or a server outside it, and a verdict for each
//! request. Out: an address to which an operator's client can be pointed.
//!
//! It speaks TLS with a certificate of the plane's own authority, so what is tried is the client as it is in production: a reset is
//! one of a TLS connection, and silence is that of a connection that stays open. Only what goes through the wire is concerned: a
//! test's own clients keep going straight to the API server.

mod asked;
mod refusal;
mod serve;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::StatusCode;
use kube::Client;
use kube::config::AuthInfo;
use reqwest::redirect::Policy;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, install_tls_provider};
use crate::plane::Plane;

pub use asked::Asked;
pub use refusal::Refusal;
pub use stream::{Filter, Step, filters};

/// What becomes of a request.
pub enum Verdict {
    /// It gets through, and so does its answer.
    Pass,
    /// It does not get through; the caller gets this.
    Instead(Fate),
    /// It gets through and is carried out; its answer is thrown away and the caller gets this.
    Afterwards(Fate),
    /// It gets through after so long.
    Late(Duration),
    /// It gets through once the gate is open.
    Held(Gate),
    /// It gets through, and the events of its answer, which is that of a watch, go through this.
    Through(Filter),
    /// It gets through, and its answer is kept for [`Verdict::Stale`] unless one is kept already.
    Kept,
    /// The caller gets the answer that was kept for the same path and query; without one, it gets through.
    Stale,
}

impl Verdict {
    /// It does not get through; the caller is answered 500.
    pub const fn lost() -> Self {
        Self::Instead(Fate::Refused(Refusal::Internal))
    }

    /// It gets through and is carried out, but the caller is answered 504.
    pub const fn answer_lost() -> Self {
        Self::Afterwards(Fate::Refused(Refusal::GatewayTimeout))
    }
}

/// What a caller gets in place of an answer.
#[derive(Clone, Debug)]
pub enum Fate {
    /// An answer that the API server might have given.
    Refused(Refusal),
    /// An answer that some other server might have given.
    Answered {
        /// The HTTP code.
        code: StatusCode,
        /// After how many seconds to come back, if it says so.
        retry_after: Option<u16>,
        /// The body: XML if it begins with `<`, else JSON.
        body: &'static str,
    },
    /// A reset of the connection.
    Reset,
    /// Nothing, on a connection that stays open.
    Silence,
    /// Nothing either; and the gate opens, for whoever is to end the caller right now.
    Death(Gate),
}

/// Closed until it is opened, once and for all. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<tokio::sync::watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(tokio::sync::watch::Sender::new(false)))
    }
}

impl Gate {
    /// Lets everything through that waits or comes.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is open.
    pub async fn opened(&self) {
        // The sender is held right here, so this cannot fail.
        self.0.subscribe().wait_for(|open| *open).await.ok();
    }
}

type Judge = Box<dyn FnMut(&Asked) -> Verdict + Send>;

/// Where requests go that get through.
enum Forward {
    Plane(Client),
    Server { client: reqwest::Client, url: String },
}

/// What all connections share.
struct Shared {
    forward: Forward,
    judge: Mutex<Judge>,
    kept: Mutex<HashMap<String, serve::Kept>>,
}

/// See the module. Dropping it ends all that goes through it.
pub struct Wire {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Wire {
    /// A wire to the API server of `plane` on which everything passes.
    pub async fn to(plane: &Plane) -> Result<Self> {
        let mut config = plane.config(plane.admin_identity())?;
        config.auth_info = AuthInfo::default(); // callers bring their own
        config.default_retry = false;
        config.read_timeout = None; // watches end when they end
        let forward = Forward::Plane(Client::try_from(config).context("cannot make a client for the plane")?);
        Self::over(plane, forward).await
    }

    /// A wire to the server at `url`, on which everything passes. Callers sign in by what they send; where a server knows them by
    /// their certificate instead, `identity` (certificate and key in PEM) is shown for all of them.
    pub async fn before(plane: &Plane, url: &str, identity: Option<&str>) -> Result<Self> {
        install_tls_provider();
        let trusted = reqwest::Certificate::from_pem(plane.authority().certificate().as_bytes())?;
        let client = reqwest::Client::builder().tls_certs_only([trusted]).http1_only().redirect(Policy::none());
        let client = match identity {
            Some(pem) => client.identity(reqwest::Identity::from_pem(pem.as_bytes())?),
            None => client,
        };
        let client = client.build().with_context(|| format!("cannot make a client for {url}"))?;
        Self::over(plane, Forward::Server { client, url: url.to_owned() }).await
    }

    async fn over(plane: &Plane, forward: Forward) -> Result<Self> {
        let judge: Mutex<Judge> = Mutex::new(Box::new(|_| Verdict::Pass));
        let shared = Arc::new(Shared { forward, judge, kept: Mutex::default() });
        let acceptor = acceptor(plane.authority())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("https://{}", listener.local_addr()?);
        let task = tokio::spawn(serve::serve(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { url, shared, task })
    }

    /// Its address, such as `https://127.0.0.1:20456`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The configuration of a client that goes through this wire instead of straight.
    pub fn through(&self, mut config: kube::Config) -> Result<kube::Config> {
        config.cluster_url = self.url.parse()?;
        Ok(config)
    }

    /// Points an operator at this wire.
    pub fn lead(&self, config: &mut operator::config::Config) {
        config.kube = config.kube.take().and_then(|kube| self.through(kube).ok());
    }

    /// From now on `judge` decides about each request.
    pub fn judge(&self, judge: impl FnMut(&Asked) -> Verdict + Send + 'static) {
        *self.shared.judge.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(judge);
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

/// The server's side of TLS, with a certificate of this authority for the local host.
fn acceptor(authority: &Authority) -> Result<TlsAcceptor> {
    install_tls_provider();
    let serving = authority.server("wire", &["127.0.0.1", "localhost"])?;
    let certificate = CertificateDer::from_pem_slice(serving.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(serving.key.expose_secret().as_bytes())?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
