//! Setting up and running: watches, stores, controllers, leadership, the fence's canary, the HTTP endpoints.
//!
//! In: the configuration, a signal to stop. Out: an operator that runs until then and finishes the rounds under way.

use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use futures::FutureExt;
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    agent_pool::AgentPools,
    agent_set::AgentSets,
    agents::Agents,
    client,
    config::Config,
    connections::Connections,
    consents::{self, Consents},
    context::Context,
    databases::{self, Databases},
    enforcement::{self, Enforcement},
    engine::{
        backoff::Backoff,
        children::Children,
        contest::Contests,
        drive::{self, Engine, Story},
        gate::Gate,
        known::Known,
        lease::{self, Leadership},
        watches::Reflected,
    },
    fence::Fence,
    figures,
    following::{Following, Mirrors},
    http::{self, Health},
    metrics::Metrics,
    orphans,
    tenant::Tenants,
    tenant_class::TenantClasses,
    wakes::{self, Kinds, Wakes, Woken},
    workspace::Workspaces,
};

/// Runs the operator until `stop` resolves.
pub async fn run(config: Config, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let metrics = Metrics::new().context("metrics cannot be registered")?;
    let (leadership, candidate) = lease::stand(lease_settings(&config), &metrics);
    let client = client::client(config.kube().await?, &metrics, &leadership)
        .context("the client of the API server cannot be made")?;
    let health = Health::new(config.timings.reconcile);
    let stopping = CancellationToken::new();
    let mut tasks = JoinSet::new();

    let listener = tokio::net::TcpListener::bind(config.http_address).await;
    let listener = listener
        .with_context(|| format!("cannot listen on {}: choose another with --http-address", config.http_address))?;
    tasks.spawn(http::serve(listener, health.clone(), metrics.clone(), stopping.clone().cancelled_owned()));

    let fence = Fence::new(client.clone(), &config, &metrics);
    let Assembled { context, mirrors, wakes, woken } =
        assemble(&config, &client, &leadership, &metrics, &health, fence.clone());

    let following =
        Following { client: client.clone(), health: health.clone(), stopping: stopping.clone(), wakes: wakes.clone() };
    let relay = config.relay.as_ref().map(|relay| (config.namespace.as_str(), relay.service.as_str()));
    following.all(&mut tasks, mirrors, relay, &context.children, &context.agents);

    let probes = enforcement::follow(context.enforcement.clone(), client.clone(), config.namespace, wakes.clone());
    tasks.spawn(until(&stopping, probes));

    let databases =
        databases::follow(context.databases.clone(), client.clone(), context.children.clone(), wakes.clone());
    tasks.spawn(until(&stopping, databases));
    tasks.spawn(until(&stopping, consents::follow(context.consents.clone(), client.clone(), wakes.clone())));

    let resigning = CancellationToken::new();
    tasks.spawn(candidate.run(client, resigning.clone().cancelled_owned()));
    tasks.spawn(fence.clone().watch(leadership.clone(), stopping.clone().cancelled_owned()));

    figures::count_waiting(&metrics, &context.engine.gate);
    figures::count_objects::<TenantClasses>(&metrics, &context.classes);
    figures::count_objects::<Tenants>(&metrics, &context.tenants);
    figures::count_objects::<Workspaces>(&metrics, &context.workspaces);
    figures::count_objects::<AgentPools>(&metrics, &context.pools);
    tasks.spawn(lead(leadership, fence, context.agents.clone(), wakes, health.clone(), stopping.clone()));
    tasks.spawn(until(&stopping, orphans::sweep(Arc::clone(&context), config.timings.sweep)));
    let controllers = control(&context, woken, &health, config.workers, &stopping);

    let mut controllers = pin!(controllers);
    let failed = tokio::select! {
        () = stop => None,
        Some(ended) = tasks.join_next() => Some(ended),
        () = &mut controllers => None,
    };
    tracing::info!("stopping; rounds under way are finished");
    stopping.cancel();
    if tokio::time::timeout(config.timings.shutdown, controllers).await.is_err() {
        tracing::warn!("some rounds were cut off; they are safe to repeat");
    }
    // Only now, when nothing writes any more, may another replica take the lead.
    resigning.cancel();
    if tokio::time::timeout(config.timings.lease_renew, async { while tasks.join_next().await.is_some() {} })
        .await
        .is_err()
    {
        tracing::warn!("some tasks did not end in time");
    }
    match failed {
        None => Ok(()),
        Some(Err(error)) => Err(error).context("a task of the operator died"),
        Some(Ok(())) => anyhow::bail!("a task of the operator ended before it was told to"),
    }
}

/// Runs `work` until `stopping`.
fn until<W: Future<Output = ()> + Send>(
    stopping: &CancellationToken,
    work: W,
) -> impl Future<Output = ()> + Send + use<W> {
    let stopping = stopping.clone();
    async move {
        stopping.run_until_cancelled(work).await;
    }
}

/// An operator before anything runs: stores that nothing fills yet, wakes that nobody receives yet.
pub(crate) struct Assembled {
    pub context: Arc<Context>,
    pub mirrors: Mirrors,
    pub wakes: Wakes,
    pub woken: Woken,
}

/// Puts together what all rounds share.
pub(crate) fn assemble(
    config: &Config,
    client: &Client,
    leadership: &Leadership,
    metrics: &Metrics,
    health: &Health,
    fence: Fence,
) -> Assembled {
    let (class_mirror, class_store) = Reflected::new();
    let (tenant_mirror, tenant_store) = Reflected::new();
    let (workspace_mirror, workspace_store) = Reflected::new();
    let (pool_mirror, pool_store) = Reflected::new();
    let (set_mirror, set_store) = Reflected::new();
    let (runtime_mirror, runtime_store) = Reflected::new();
    let (service_mirror, service_store) = Reflected::new();
    let known = Kinds {
        classes: Known::new(class_store),
        tenants: Known::new(tenant_store),
        workspaces: Known::new(workspace_store),
        pools: Known::new(pool_store),
        sets: Known::new(set_store),
    };
    let (wakes, woken) = Wakes::new(known.clone());
    let reporter = Reporter { controller: "steading.dev/operator".to_owned(), instance: Some(config.instance.clone()) };
    let engine = Arc::new(Engine {
        client: client.clone(),
        leadership: leadership.clone(),
        gate: Gate::new(config.workers),
        backoff: Backoff::default(),
        metrics: metrics.clone(),
        health: health.clone(),
        recorder: Recorder::new(client.clone(), reporter),
        deadline: config.timings.reconcile,
        stalled: config.timings.stalled,
        forbidden: Mutex::new(HashMap::new()),
    });
    let connections = Connections::new(
        config.providers.clone(),
        client.clone(),
        config.namespace.clone(),
        config.service_account.clone(),
    );
    let context = Arc::new(Context {
        engine,
        classes: known.classes,
        tenants: known.tenants,
        workspaces: known.workspaces,
        pools: known.pools,
        agent_sets: known.sets,
        runtimes: Known::new(runtime_store),
        services: Known::new(service_store),
        relay: config.relay.clone(),
        agents: Agents::default(),
        children: Children::default(),
        contests: Contests::default(),
        connections,
        fence,
        enforcement: Enforcement::default(),
        consents: Consents::default(),
        databases: Databases::new(config.cloud_native_pg.namespace.clone()),
        image: config.image.clone(),
        account: (config.namespace.clone(), config.service_account.clone()),
        installation: config.installation.clone(),
        evidence: config.timings.resync * 2,
    });
    let mirrors = Mirrors {
        classes: class_mirror,
        tenants: tenant_mirror,
        workspaces: workspace_mirror,
        pools: pool_mirror,
        sets: set_mirror,
        runtimes: runtime_mirror,
        services: service_mirror,
    };
    Assembled { context, mirrors, wakes, woken }
}

/// The name of the Lease for which replicas compete.
const LEASE: &str = "steading-operator";

pub(crate) fn lease_settings(config: &Config) -> lease::Settings {
    lease::Settings {
        namespace: config.namespace.clone(),
        name: LEASE.to_owned(),
        me: config.instance.clone(),
        timings: config.timings,
    }
}

/// Wakes everything each time this replica takes the lead, for what was seen while following was left alone; and each time the fence
/// stands again, for what waited for it.
pub(crate) async fn lead(
    leadership: Leadership,
    fence: Fence,
    agents: Agents,
    wakes: Wakes,
    health: Health,
    stopping: CancellationToken,
) {
    let waking = async {
        health.all_synced().await;
        let mut fence = fence.turns();
        loop {
            leadership.until_leader().await;
            agents.doubt();
            wakes.all();
            loop {
                tokio::select! {
                    () = leadership.until_follower() => break,
                    _ = fence.changed() => if *fence.borrow_and_update() { wakes.all() },
                }
            }
        }
    };
    stopping.run_until_cancelled(waking).await;
}

/// The controllers of all kinds. They start when all stores are complete: before that, everything would look missing.
async fn control(context: &Arc<Context>, woken: Woken, health: &Health, workers: usize, stopping: &CancellationToken) {
    if stopping.run_until_cancelled(health.all_synced()).await.is_none() {
        return;
    }
    let engine = &context.engine;
    for name in [TenantClasses::NAME, Tenants::NAME, Workspaces::NAME, AgentPools::NAME, AgentSets::NAME] {
        engine.metrics.controller(name, workers);
    }
    let stop = || stopping.clone().cancelled_owned().boxed().shared();
    tokio::join!(
        drive::run(
            Arc::new(TenantClasses(Arc::clone(context))),
            Arc::clone(engine),
            wakes::stream_of(woken.classes),
            stop()
        ),
        drive::run(Arc::new(Tenants(Arc::clone(context))), Arc::clone(engine), wakes::stream_of(woken.tenants), stop()),
        drive::run(
            Arc::new(Workspaces(Arc::clone(context))),
            Arc::clone(engine),
            wakes::stream_of(woken.workspaces),
            stop()
        ),
        drive::run(
            Arc::new(AgentPools(Arc::clone(context))),
            Arc::clone(engine),
            wakes::stream_of(woken.pools),
            stop()
        ),
        drive::run(Arc::new(AgentSets(Arc::clone(context))), Arc::clone(engine), wakes::stream_of(woken.sets), stop()),
    );
}
