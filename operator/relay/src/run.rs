//! The whole program but its process. In: settings, a future that asks it to end. Out: servers of NATS are answered until then.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use kube::Client;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    accounts::Accounts,
    callout::{About, Callout},
    clock::Clock,
    connection::{Gate, Line},
    endpoints::{self, Lines},
    metrics::Metrics,
    rights::{CALLOUT, Notary, OwnUser},
    root::Root,
    server_config,
    settings::{Configure, Each, Serve},
};

/// Those who answer share the questions.
const GROUP: &str = "steading-relay";
/// How long the pod's own connections may take to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Writes the configuration of a server.
pub fn configure(settings: &Configure) -> Result<()> {
    // What a tenant may use stands in its own account.
    let each =
        Each { tenant_connections: 1, tenant_subscriptions: 1, events_bytes: 1, events_hours: 1, events_copies: 1 };
    let notary = Notary::new(Root::read(&settings.secret)?, each.limits());
    let text = server_config::write(&settings.server, &notary, Clock::system().now())?;
    std::fs::write(&settings.output, text).with_context(|| format!("write {}", settings.output.display()))
}

/// Answers until `stop` resolves.
pub async fn run(settings: Serve, stop: impl Future<Output = ()> + Send) -> Result<()> {
    let client = Client::try_default().await.context("find the API server")?;
    let listener = TcpListener::bind(settings.http).await.with_context(|| format!("listen at {}", settings.http))?;
    serve(settings, client, listener, stop).await
}

/// Answers with what `client` says, with endpoints at `http`, until `stop` resolves.
pub async fn serve(
    settings: Serve,
    client: Client,
    http: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    let notary = Arc::new(Notary::new(Root::read(&settings.secret)?, settings.each.limits()));
    let (metrics, clock, tasks) = (Metrics::new()?, Clock::system(), TaskTracker::new());
    let gate = Gate {
        servers: settings.servers.clone(),
        authority: settings.authority.clone(),
        notary: Arc::clone(&notary),
        clock: clock.clone(),
    };
    let lines = Lines { callout: gate.keep(OwnUser::Callout).await?, registrar: gate.keep(OwnUser::Registrar).await? };
    let ended = CancellationToken::new();
    let asked = ended.clone().cancelled_owned();
    let endpoints = tokio::spawn(endpoints::serve(http, lines.clone(), metrics.clone(), asked));
    let accounts = Accounts::new(gate, lines.registrar.clone(), metrics.clone(), tasks.clone());
    let about = About { clock, metrics, account: settings.agent_service_account.clone() };
    let callout = Callout::new(Arc::new(client), accounts, notary, about);
    let outcome = answer(&callout, &lines.callout, &tasks, stop).await;
    tasks.close();
    if timeout(Duration::from_secs(settings.grace), tasks.wait()).await.is_err() {
        tracing::warn!("some questions are left without an answer; their clients try again");
    }
    for line in [&lines.callout, &lines.registrar] {
        // Whoever does not hear it notices that the connection is gone.
        let _ = timeout(DRAIN, line.client.drain()).await;
    }
    ended.cancel();
    // Only a panic makes this fail, and the process ends anyway.
    let _ = endpoints.await;
    outcome
}

async fn answer(callout: &Callout, line: &Line, tasks: &TaskTracker, stop: impl Future<Output = ()>) -> Result<()> {
    let mut questions =
        line.client.queue_subscribe(CALLOUT, GROUP.to_owned()).await.context("hear questions of NATS")?;
    tracing::info!("serving");
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => {
                // From now on another one is asked.
                questions.unsubscribe().await.context("hear no more questions of NATS")?;
                return Ok(());
            }
            question = questions.next() => {
                let Some(question) = question else { bail!("NATS asks nothing any more") };
                let (callout, client) = (callout.clone(), line.client.clone());
                tasks.spawn(async move { callout.answer(&client, &question).await });
            }
        }
    }
}
