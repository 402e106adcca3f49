//! A real Kubernetes control plane. In: a [`Tier`] and [`PlaneOptions`]. Out: a [`Plane`] that answers, clients for
//! any user, and a record of every call.

mod access;
mod audit;
mod control;
mod nodes;
mod real;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::sync::OnceCell;

use crate::certificates::{Authority, install_tls_provider};
use crate::components::{self, Component};
use crate::nursery::{Nursery, signal_group};
use crate::ports::LOOPBACK;
use crate::slots::{Kind, Slot};

pub use access::Identity;
pub use audit::{Calls, Entry, Mark, Object};
pub(crate) use real::provide;
pub use real::{Disks, GVISOR, MARK, METADATA, OUTSIDE, OUTSIDE_PORTS, PACKETS, why_not};

/// How much of a cluster is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// etcd and the API server: validation, admission, storage, watches. Ready in 3 to 4 seconds. Nothing acts on
    /// objects: namespaces stay `Terminating`, quotas are not counted, aggregated roles are empty, nothing is garbage
    /// collected, and no ServiceAccount appears by itself.
    One,
    /// Also the controller manager, the scheduler and fake nodes on which pods become Ready.
    Two,
    /// Real nodes instead: pods run under runc and gVisor, reach each other by packets and are held to NetworkPolicies. Needs Linux
    /// and root: see [`why_not`].
    Three,
}

/// What can be chosen about a plane.
#[derive(Debug, Clone)]
pub struct PlaneOptions {
    /// Number of fake nodes of a T2 plane; of real nodes of a T3 plane there are two.
    pub nodes: usize,
}

impl Default for PlaneOptions {
    fn default() -> Self {
        Self { nodes: 3 }
    }
}

/// Real nodes of a T3 plane: the fewest between which there is a network.
const REAL_NODES: u8 = 2;

/// What a plane of a lower tier is asked for in vain.
const NO_REAL_NODES: &str = "this plane has no real nodes";

/// A running control plane. Dropping it ends every process and removes every file of it.
pub struct Plane {
    tier: Tier,
    url: String,
    host: String,
    authority: Authority,
    admin: Identity,
    audit_log: PathBuf,
    // Fields drop in this order: first the processes end, then their ports and the slot are given back.
    nursery: Nursery,
    api_server: control::ApiServer,
    real: Option<real::Real>,
    _ports: Vec<crate::ports::Port>,
    _slots: Vec<Slot>,
}

impl Plane {
    /// Starts a plane of one's own: for tests that count calls, inject faults or try the fence.
    pub async fn start(tier: Tier, options: PlaneOptions) -> Result<Self> {
        Self::start_as(Kind::Own, tier, options).await
    }

    /// The plane shared by all tests of this test binary; started at first use. Keep apart from other tests by
    /// names: see [`crate::unique`].
    pub async fn shared(tier: Tier) -> Result<&'static Self> {
        static ONE: OnceCell<Plane> = OnceCell::const_new();
        static TWO: OnceCell<Plane> = OnceCell::const_new();
        static THREE: OnceCell<Plane> = OnceCell::const_new();
        let cell = match tier {
            Tier::One => &ONE,
            Tier::Two => &TWO,
            Tier::Three => &THREE,
        };
        cell.get_or_try_init(|| Self::start_as(Kind::Shared, tier, PlaneOptions::default())).await
    }

    async fn start_as(kind: Kind, tier: Tier, options: PlaneOptions) -> Result<Self> {
        install_tls_provider();
        components::build_all(&components_of(tier)).await?;
        let slots = slots(kind, tier).await?;
        let mut nursery = Nursery::new("plane")?;
        let authority = Authority::new("steading-e2e")?;
        let admin = Identity::certificate(&authority, "steading-e2e-admin", &["system:masters"])?;
        let mut real = match tier {
            Tier::One | Tier::Two => None,
            Tier::Three => Some(real::Real::prepare(&mut nursery).await?),
        };
        let host = real.as_ref().map_or_else(|| LOOPBACK.to_owned(), real::Real::address);
        let control = control::start(&mut nursery, &authority, &admin, &host).await?;
        let way = access::Way { url: &control.url, authority: &authority };
        let rest = match (tier, &mut real) {
            (Tier::One, _) => Ok(()),
            (_, None) => nodes::start(&mut nursery, way, &control.token_key, &admin, options.nodes).await,
            (_, Some(real)) => real.start(&mut nursery, way, &control.token_key, &admin, REAL_NODES).await,
        };
        rest.context("the API server is up, but the rest of the plane is not")?;
        Ok(Self {
            tier,
            url: control.url,
            host,
            authority,
            admin,
            audit_log: control.audit_log,
            nursery,
            api_server: control.api_server,
            real,
            _ports: control.ports,
            _slots: slots,
        })
    }

    /// The tier it was started with.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Where its real nodes stand, such as `steading1-4f2a6c`: their cgroups begin with it, and before the dash stands the name of the
    /// host's interface. `None` if it has none.
    pub fn ground(&self) -> Option<&str> {
        self.real.as_ref().map(real::Real::ground)
    }

    /// The address of the API server, such as `https://127.0.0.1:20123`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of this machine at which its API server is reached, and where servers must be bound that its pods are to reach.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Gives its real nodes the images in this archive.
    pub async fn import_image(&self, archive: &Path) -> Result<()> {
        self.real.as_ref().context(NO_REAL_NODES)?.import(archive).await
    }

    /// The authority that signed the API server's certificate; its clients' certificates are signed by it too.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where its processes keep their files and logs (`<process>.log`).
    pub fn directory(&self) -> &Path {
        self.nursery.directory()
    }

    /// Stops a process of it, such as `etcd`, in its tracks: its connections stay open, and nothing answers.
    pub fn freeze(&mut self, process: &str) -> Result<()> {
        signal_group("STOP", self.nursery.process(process)?.id())
    }

    /// What was frozen goes on.
    pub fn thaw(&mut self, process: &str) -> Result<()> {
        signal_group("CONT", self.nursery.process(process)?.id())
    }

    /// Kills the API server and starts it again, at the same address and with what etcd holds.
    pub async fn restart_api_server(&mut self) -> Result<()> {
        self.nursery.kill(control::ApiServer::NAME)?;
        self.api_server.start(&mut self.nursery).await
    }

    /// Ends what enforces NetworkPolicies on the real node of this number: pods that are new from here on are held to nothing.
    pub fn stop_enforcing(&mut self, node: u8) -> Result<()> {
        self.real.as_ref().context(NO_REAL_NODES)?.stop_enforcing(&mut self.nursery, node)
    }

    /// Starts it again.
    pub async fn start_enforcing(&mut self, node: u8) -> Result<()> {
        let way = access::Way { url: &self.url, authority: &self.authority };
        self.real.as_ref().context(NO_REAL_NODES)?.start_enforcing(&mut self.nursery, way, node).await
    }

    /// The disks of its real nodes.
    pub fn disks(&self) -> Result<Disks> {
        Ok(self.real.as_ref().context(NO_REAL_NODES)?.disks(&self.nursery))
    }

    /// Ends the real node of this number as when a machine loses its power: nobody is told, and what lies on its disk stays.
    pub fn lose_node(&mut self, node: u8) -> Result<()> {
        self.real.as_ref().context(NO_REAL_NODES)?.lose(&mut self.nursery, node)
    }

    /// Starts a node that was lost, with what lies on its disk.
    pub async fn return_node(&mut self, node: u8) -> Result<()> {
        let way = access::Way { url: &self.url, authority: &self.authority };
        self.real.as_mut().context(NO_REAL_NODES)?.return_node(&mut self.nursery, way, node).await
    }

    /// The ids of its processes.
    pub fn process_ids(&self) -> Vec<u32> {
        self.nursery.process_ids()
    }

    /// Ends every process and removes every file. The same happens on drop; this waits without blocking the runtime.
    pub async fn stop(self) -> Result<()> {
        tokio::task::spawn_blocking(move || drop(self)).await.context("stopping the plane failed")
    }
}

/// The right to start a plane. The rarer comes first, so that nobody waits for it while holding the other.
async fn slots(kind: Kind, tier: Tier) -> Result<Vec<Slot>> {
    let mut slots = Vec::new();
    if (kind, tier) == (Kind::Own, Tier::Three) {
        slots.push(Slot::acquire(Kind::Real).await?);
    }
    slots.push(Slot::acquire(kind).await?);
    Ok(slots)
}

/// What a tier consists of.
pub(crate) fn components_of(tier: Tier) -> Vec<Component> {
    let stores = [Component::Etcd, Component::KubeApiserver];
    let controllers = [Component::KubeControllerManager, Component::KubeScheduler];
    match tier {
        Tier::One => stores.to_vec(),
        Tier::Two => stores.into_iter().chain(controllers).chain([Component::Kwok]).collect(),
        Tier::Three => stores.into_iter().chain(controllers).chain(Component::NODE).collect(),
    }
}
