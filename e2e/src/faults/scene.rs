//! Where stories are told: a plane of its own, the chart, a world outside in memory, and one operator after the other. In: blows.
//! Out: they fall, and the next operator takes over from the one that died.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use api::TenantClass;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DeleteParams;
use kube::{Api, Client};
use providers::memory::{Injection, Operation, World};
use serde_json::json;
use tokio::sync::Mutex;

use super::cast::Cast;
use super::point::{Blow, Fault, OPERATIONS, Story};
use super::undertaker::Undertaker;
use super::watchman::Watchman;
use crate::databases::{Player, install_kinds};
use crate::history::{Recorder, record};
use crate::install::{InProcess, Installation};
use crate::plane::{Plane, PlaneOptions, Tier};
use crate::story::{BREAK_GLASS, Manifest, Platform, class, openfga_with_access_control};
use crate::wire::{Gate, Wire};

/// Longest time from an act to its end, all retries included.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long nothing is written before a story counts as told.
const QUIET: Duration = Duration::from_millis(400);
/// Between two looks at whether a blow fell.
const GLANCE: Duration = Duration::from_millis(5);
/// Between two looks at the API server.
const LOOK: Duration = Duration::from_millis(100);
/// How often what only somebody else can mend is looked at again here: a refusal is of one request, and nobody waits five minutes.
const STALLED: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Scene {
    // In the order in which they end.
    operator: Mutex<Option<InProcess>>,
    pub(super) recorder: Recorder,
    pub(super) watchman: Watchman,
    _undertaker: Undertaker,
    _player: Player,
    wire: Wire,
    pub(super) world: World,
    pub(super) platform: Platform,
    pub(super) class: Manifest<TenantClass>,
    pub(super) installation: Installation,
    plane: Plane,
}

/// A class with all there is: databases with backups that are tried, and a server of authorization that knows its callers.
fn offers() -> Manifest<TenantClass> {
    let database = json!({
        "image": "registry.example/postgresql:18.4", "instances": 1, "storage": { "size": "20Gi" },
        "resources": { "cpu": "1", "memory": "2Gi" }, "rpo": "15m", "rto": "1h",
        "backup": { "fullEvery": "2h", "retention": "30d" },
    });
    class("onprem")
        .with("authorization", openfga_with_access_control("01JZ8Q5W3N8M4T6R2V9X7B1C0D"))
        .with("buckets.s3.cidrs", json!(["192.0.2.0/24"]))
        .with("database", database)
}

/// How a wait ended.
pub(super) enum Ended {
    /// The story is told, and nothing is written any more.
    Told,
    /// The blow fell first.
    Struck,
}

/// How to know that a blow fell.
pub(super) enum Strike {
    OnWire(Gate),
    Outside { operation: Operation, identity: String, count: u64 },
}

impl Scene {
    pub(super) async fn set() -> Result<Self> {
        let plane = Plane::start(Tier::One, PlaneOptions::default()).await?;
        install_kinds(&plane).await?;
        let values = serde_json::json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } });
        let installation = Installation::install(&plane, "faults", &values).await?;
        let (world, wire) = (World::new(), Wire::to(&plane).await?);
        let watchman = Watchman::new(world.clone());
        let judge = watchman.clone();
        wire.judge(move |asked| judge.judge(asked));
        let platform = Platform::new(plane.admin()?);
        let class = platform.applied(offers()).await?;
        let keeper = plane.client_for("bettina", &["system:masters", BREAK_GLASS])?;
        let scene = Self {
            operator: Mutex::new(None),
            recorder: Recorder::start_with(&platform.client, &world, &record::OF_DATABASES).await?,
            watchman,
            _player: Player::start(&keeper),
            _undertaker: Undertaker::start(keeper),
            wire,
            world,
            platform,
            class,
            installation,
            plane,
        };
        scene.start_operator().await?;
        scene.platform.until_ready(&scene.class).await?;
        Ok(scene)
    }

    pub(super) fn client(&self) -> &Client {
        &self.platform.client
    }

    async fn start_operator(&self) -> Result<()> {
        let adjust = |config: &mut operator::config::Config| {
            config.break_glass_groups = vec![BREAK_GLASS.to_owned()];
            config.timings.stalled = STALLED;
            self.wire.lead(config);
        };
        let operator = InProcess::start_on(&self.plane, &self.installation, self.world.clone(), adjust).await?;
        *self.operator.lock().await = Some(operator);
        Ok(())
    }

    /// The operator is gone in the middle of what it did; another takes over.
    ///
    /// Its Lease is removed, as if it had run out meanwhile: waiting for that is what `tests/leadership` shows, and would take
    /// a quarter of a minute at each point.
    pub(super) async fn crash(&self) -> Result<()> {
        let operator = self.operator.lock().await.take().context("no operator is there to crash")?;
        let panicked = !operator.is_running();
        operator.crash().await;
        ensure!(!panicked, "the operator ended by itself");
        let leases: Api<Lease> = Api::namespaced(self.client().clone(), "steading-system");
        leases.delete("steading-operator", &DeleteParams::default()).await.ok();
        self.world.heal();
        self.watchman.revive();
        self.start_operator().await
    }

    /// Whether the operator runs, which it does not after a panic.
    pub(super) async fn is_running(&self) -> bool {
        self.operator.lock().await.as_ref().is_some_and(InProcess::is_running)
    }

    /// The blow falls at its write, counted from now on.
    pub(super) fn arm(&self, cast: &Cast, blow: &Blow) -> Strike {
        let Some(operation) = blow.write.operation() else {
            return Strike::OnWire(self.watchman.arm(cast, blow));
        };
        let nth = u64::try_from(blow.write.nth).unwrap_or(u64::MAX);
        let identity = cast.identity_of(operation, &blow.write.what, &self.world);
        let injection = Injection::on(operation).identity(&identity).nth(nth);
        self.world.inject(match blow.fault {
            Fault::CrashBefore => injection.hangs(),
            Fault::CrashAfter => injection.after_commit().hangs(),
            Fault::Half => injection.after_steps(1),
            Fault::LostAnswer => injection.after_commit(),
            Fault::Throttled => injection.throttled(Duration::from_secs(1)),
            Fault::Denied => injection.denied(),
            _ => injection,
        });
        let count = self.world.calls_for(operation, &identity) + nth;
        Strike::Outside { operation, identity, count }
    }

    /// No blow falls on this cast any more.
    pub(super) fn disarm(&self, cast: &Cast) {
        self.watchman.disarm(cast);
        for (operation, name) in OPERATIONS {
            self.world.heal_only(&cast.identity_of(operation, name, &self.world));
        }
    }

    fn fell(&self, strike: &Strike) -> bool {
        match strike {
            Strike::OnWire(gate) => gate.is_open(),
            Strike::Outside { operation, identity, count } => self.world.calls_for(*operation, identity) >= *count,
        }
    }

    /// Waits until the blow fell, or else until the story is told.
    pub(super) async fn settle(&self, cast: &Cast, story: Story, strike: Option<&Strike>) -> Result<Ended> {
        let (started, mut looked) = (Instant::now(), None::<Instant>);
        loop {
            if strike.is_some_and(|strike| self.fell(strike)) {
                return Ok(Ended::Struck);
            }
            let may_look = looked.is_none_or(|looked| looked.elapsed() >= LOOK);
            if may_look && self.watchman.quiet_for(cast) >= QUIET {
                looked = Some(Instant::now());
                if cast.is_told(story, self.client()).await? {
                    return Ok(Ended::Told);
                }
                ensure!(self.is_running().await, "the operator ended by itself");
            }
            if started.elapsed() >= PATIENCE {
                bail!("not told after {} s: {}", PATIENCE.as_secs(), cast.seen(self.client()).await);
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Ends it all without blocking the async runtime.
    pub(super) async fn strike(self) -> Result<()> {
        Ok(tokio::task::spawn_blocking(move || drop(self)).await?)
    }
}
