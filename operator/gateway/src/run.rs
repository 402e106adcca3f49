//! The whole program but its process. In: [`Settings`], a future that asks it to end. Out: agents are served until then.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    Clock, Gateway,
    endpoints::{self, Readiness},
    metrics::Metrics,
    policy::Policies,
    reach::{SystemResolver, Tcp},
    route::Router,
    server,
    settings::Settings,
    source::Source,
};

/// How often policies are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long DNS may take.
const RESOLVE: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Serves agents until `stop` resolves.
pub async fn run(settings: Settings, stop: impl Future<Output = ()> + Send) -> Result<()> {
    let bind =
        async |address: SocketAddr| TcpListener::bind(address).await.with_context(|| format!("listen at {address}"));
    let (listener, http) = (bind(settings.listen).await?, bind(settings.http).await?);
    serve(settings, listener, http, stop).await
}

/// Serves agents at `listener` and the endpoints at `http` until `stop` resolves.
pub async fn serve(
    settings: Settings,
    listener: TcpListener,
    http: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    let tls = tls(&settings)?;
    let (metrics, clock, ready) = (Metrics::new()?, Clock::system(), Readiness::default());
    let (changes, policies) = watch::channel(Arc::new(Policies::default()));
    let router = Router {
        resolver: Arc::new(SystemResolver::default()),
        dialler: Arc::new(Tcp),
        upstream: settings.upstream(),
        cluster: settings.cluster_ranges.clone().into(),
        resolve_timeout: RESOLVE,
        connect_timeout: CONNECT,
    };
    let gateway = Gateway::new(policies, router, settings.bounds(), metrics.clone(), clock.clone());
    let ended = CancellationToken::new();
    let endpoints = tokio::spawn(endpoints::serve(http, ready.clone(), metrics, ended.clone().cancelled_owned()));
    let source = Source::new(settings.policies.clone(), settings.token_keys.clone());
    let mut looking: JoinHandle<Result<()>> = tokio::spawn(look(source, changes, gateway.clone(), ready, clock));
    tracing::info!("serving");
    let outcome = tokio::select! {
        () = server::serve(&gateway, listener, settings.places(), tls, stop) => Ok(()),
        // Without anybody who looks nothing can be revoked, so it is better to begin anew.
        looked = &mut looking => looked.context("the look at policies ended").and_then(|looked| looked),
    };
    gateway.finish(settings.grace()).await;
    looking.abort();
    ended.cancel();
    // Only a panic makes this fail, and the process ends anyway.
    let _ = endpoints.await;
    outcome
}

async fn look(
    mut source: Source,
    changes: watch::Sender<Arc<Policies>>,
    gateway: Gateway,
    ready: Readiness,
    clock: Clock,
) -> Result<()> {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looked = spawn_blocking(move || {
            let policies = source.look();
            (source, policies)
        });
        let (back, policies) = looked.await?;
        source = back;
        gateway.metrics().policies(source.tally());
        if let Some(policies) = policies {
            gateway.usages().keep(&policies);
            tracing::info!(pools = policies.pools.len(), "policies changed");
            changes.send_replace(Arc::new(policies));
            gateway.metrics().policies_changed(clock.now());
        }
        ready.set(source.ready());
    }
}

fn tls(settings: &Settings) -> Result<Option<TlsAcceptor>> {
    let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else { return Ok(None) };
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.with_context(|| format!("{} is no certificate in PEM", certificate.display()))?;
    let own = PrivateKeyDer::from_pem_slice(&read(key)?);
    let own = own.with_context(|| format!("{} is no private key in PEM", key.display()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, own)?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
