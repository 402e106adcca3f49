//! One request after the other. In: connections of agents, the policies as they change. Out: tunnels, answers, and a [`Trail`] of each in
//! metrics and audit lines.

use std::{
    convert::Infallible,
    fmt, io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, duplex},
    sync::oneshot,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Clock,
    answer::{self, Body},
    asked,
    audit::{Audit, Trail, Way},
    credentials, forward, hello,
    metrics::Metrics,
    policy::{Passage, Policies, Pool},
    reach::Stream,
    reason::{Denial, Reason},
    relay::{Lease, Watched, relay},
    route::Router,
    token::Identity,
    usage::Usages,
};

/// What is between the two halves of a plain request.
const BUFFER: usize = 16 * 1024;
/// How long a client that was refused in its tunnel may take to be told so.
const TELL: Duration = Duration::from_secs(1);

/// Bounds of what comes before anybody is known, and of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a request's head, at least 8192.
    pub head_bytes: usize,
    /// How long a head may take, and how long an agent's connection may wait for its next request.
    pub head_timeout: Duration,
    /// How long a ClientHello may take.
    pub hello_timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { head_bytes: 16 * 1024, head_timeout: Duration::from_secs(30), hello_timeout: Duration::from_secs(10) }
    }
}

/// The gateway. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    policies: Watched,
    router: Router,
    bounds: Bounds,
    clock: Clock,
    usages: Usages,
    metrics: Metrics,
    audit: Audit,
    tasks: TaskTracker,
    closing: CancellationToken,
    stop: CancellationToken,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

impl Gateway {
    /// A gateway that lets through what `policies` allow.
    pub fn new(policies: Watched, router: Router, bounds: Bounds, metrics: Metrics, clock: Clock) -> Self {
        let audit = Audit::new(metrics.clone());
        let (usages, tasks) = (Usages::default(), TaskTracker::new());
        let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
        Self(Arc::new(Inner { policies, router, bounds, clock, usages, metrics, audit, tasks, closing, stop }))
    }

    /// What sessions use.
    pub fn usages(&self) -> &Usages {
        &self.0.usages
    }

    /// What is measured.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What runs besides agents' connections: tunnels and plain requests.
    pub fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// Finishes: answers what was asked, closes idle connections, leaves tunnels open for `grace` and then cuts them off.
    pub async fn finish(&self, grace: Duration) {
        self.0.closing.cancel();
        self.0.tasks.close();
        if timeout(grace, self.0.tasks.wait()).await.is_err() {
            self.0.stop.cancel();
            // What is cut off ends at once; a second is for its lines.
            let _ = timeout(Duration::from_secs(1), self.0.tasks.wait()).await;
        }
    }

    /// Serves one connection of an agent until it ends.
    pub async fn serve(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let _open = self.0.metrics.client();
        let asked = AtomicBool::new(false);
        let service = service_fn(|request| {
            asked.store(true, Ordering::Relaxed);
            let gateway = self.clone();
            async move { Ok::<_, Infallible>(gateway.answer(request).await) }
        });
        let bounds = &self.0.bounds;
        let mut protocol = http1::Builder::new();
        protocol.timer(TokioTimer::new()).header_read_timeout(bounds.head_timeout);
        protocol.max_buf_size(bounds.head_bytes.max(8192)).max_header_size(bounds.head_bytes);
        let mut connection = pin!(protocol.serve_connection(TokioIo::new(io), service).with_upgrades());
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.0.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        let Err(error) = served else { return };
        // A connection that waited for its next request simply ends.
        let reason = if error.is_parse_too_large() {
            Reason::HeadTooLarge
        } else if error.is_parse() {
            Reason::Malformed
        } else if error.is_timeout() && !asked.load(Ordering::Relaxed) {
            Reason::HeadTimeout
        } else {
            return;
        };
        self.0.audit.denied(&Trail::default(), reason);
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let mut trail = Trail::default();
        match self.judge(request, &mut trail).await {
            Ok(response) => response,
            Err(denial) => {
                self.0.audit.denied(&trail, denial.reason);
                answer::refused(&denial)
            }
        }
    }

    async fn judge(&self, request: Request<Incoming>, trail: &mut Trail) -> Result<Response<Body>, Denial> {
        // The lease watches from here on: what changes while names are resolved counts.
        let mut watched = self.0.policies.clone();
        let policies = Arc::clone(&watched.borrow_and_update());
        let (who, pool) = self.admit(&request, &policies, trail)?;
        let (way, target) = asked::of(&request)?;
        (trail.way, trail.target) = (Some(way), Some(target.clone()));
        if way == Way::Plain && !forward::is_passed_on(request.method()) {
            return Err(Denial::new(Reason::Malformed, "requests of this method are not passed on"));
        }
        pool.lets_ask(&target)?;
        let usage = self.0.usages.of(who.session);
        let slot = usage.open(&pool.limits).map_err(|reason| {
            Denial::new(reason, format!("session {} of pool {} is at its limit", who.session, pool.name))
        })?;
        let begin = Instant::now();
        let (stream, address) = self.0.router.connect(&target, &pool).await?;
        self.0.metrics.connected(&pool.name, begin.elapsed());
        trail.address = address;
        let lease = Lease {
            passage: Passage { who, target, address: address.map(|address| address.ip()) },
            limits: pool.limits,
            way,
            slot,
            policies: watched,
            cluster: Arc::clone(&self.0.router.cluster),
            stop: self.0.stop.clone(),
            clock: self.0.clock.clone(),
        };
        match way {
            Way::Tunnel => Ok(self.tunnel(request, trail.clone(), stream, lease)),
            Way::Plain => self.plain(request, trail.clone(), stream, lease).await,
        }
    }

    fn admit(
        &self,
        request: &Request<Incoming>,
        policies: &Policies,
        trail: &mut Trail,
    ) -> Result<(Identity, Arc<Pool>), Denial> {
        let shown = |reason| Denial::new(reason, "the proxy credentials are refused");
        let now = self.0.clock.now();
        let (session, token) = credentials::of(request.headers()).map_err(shown)?;
        let who = policies.keys.verify(&token, now).map_err(shown)?;
        if who.session != session {
            return Err(shown(Reason::OtherSession));
        }
        trail.who = Some(who.clone());
        let pool = Arc::clone(policies.admit(&who, now)?);
        trail.pool = Some(Arc::clone(&pool));
        trail.usage = Some(self.0.usages.of(who.session));
        Ok((who, pool))
    }

    fn tunnel(&self, mut request: Request<Incoming>, trail: Trail, stream: Stream, lease: Lease) -> Response<Body> {
        let (gateway, open) = (self.clone(), self.0.metrics.opened(trail.pool_name()));
        let upgrade = hyper::upgrade::on(&mut request);
        self.0.tasks.spawn(async move {
            let _open = open;
            // Whoever does not take the answer is gone.
            let Ok(Ok(agent)) = timeout(gateway.0.bounds.hello_timeout, upgrade).await else { return };
            gateway.inside(TokioIo::new(agent), &trail, stream, &lease).await;
        });
        answer::open()
    }

    async fn inside(
        &self,
        mut agent: impl AsyncRead + AsyncWrite + Unpin + Send,
        trail: &Trail,
        stream: Stream,
        lease: &Lease,
    ) {
        let hello = tokio::select! {
            biased;
            reason = lease.revoked() => Err(reason),
            hello = timeout(self.0.bounds.hello_timeout, hello::read(&mut agent, &lease.passage.target.host)) => {
                hello.unwrap_or(Err(Reason::HelloTimeout))
            }
        };
        match hello {
            Ok(first) => {
                self.0.audit.allowed(trail);
                let ended = relay(agent, stream, &first, lease).await;
                self.0.audit.ended(trail, &ended);
            }
            Err(reason) => {
                self.0.audit.denied(trail, reason);
                let _ = timeout(TELL, tell(&mut agent)).await;
            }
        }
    }

    async fn plain(
        &self,
        request: Request<Incoming>,
        trail: Trail,
        stream: Stream,
        lease: Lease,
    ) -> Result<Response<Body>, Denial> {
        self.0.audit.allowed(&trail);
        let (gateway, open) = (self.clone(), self.0.metrics.opened(trail.pool_name()));
        let target = lease.passage.target.clone();
        let (ours, theirs) = duplex(BUFFER);
        let (tell, cut) = oneshot::channel();
        self.0.tasks.spawn(async move {
            let _open = open;
            let ended = relay(theirs, stream, &[], &lease).await;
            gateway.0.audit.ended(&trail, &ended);
            // Whoever waited for it may be gone.
            let _ = tell.send(ended.reason);
        });
        let answer = forward::send(request, &target, ours).await;
        let Err(denial) = answer else { return answer };
        // If a rule cut it off, that is why no answer came.
        match cut.await {
            Ok(Some(reason)) => Err(Denial::new(reason, format!("the request to {target} was cut off"))),
            Ok(None) | Err(_) => Err(denial),
        }
    }
}

/// Tells a client of TLS that it was refused, and ends its tunnel.
async fn tell(agent: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    agent.write_all(&hello::ALERT).await?;
    agent.shutdown().await
}
