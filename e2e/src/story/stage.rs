//! Where a story takes place: a plane with the chart installed, the operator on a world outside that fails on demand. In: a tier.
//! Out: a stage of one's own, or the one that all tests of a binary share.

use std::ops::Deref;
use std::sync::LazyLock;

use anyhow::{Result, bail};
use kube::Client;
use operator::config::Config;
use providers::memory::World;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::Platform;
use crate::install::{InProcess, Installation};
use crate::plane::{Plane, PlaneOptions, Tier};
use crate::wire::{Asked, Verdict, Wire};

/// The group that may change what is in stack namespaces.
pub const BREAK_GLASS: &str = "break-glass";

/// A plane, the chart, an operator, and those who act.
pub struct Stage {
    // In the order in which they end.
    /// The operator.
    pub operator: InProcess,
    /// What is outside the cluster, as the operator sees it.
    pub world: World,
    /// Who applies and waits.
    pub platform: Platform,
    /// The chart.
    pub installation: Installation,
    /// The control plane.
    pub plane: Held,
}

/// A plane of one's own, or one that is shared.
pub enum Held {
    /// Ends with the stage.
    Own(Box<Plane>),
    /// Ends with the process.
    Shared(&'static Plane),
}

impl Deref for Held {
    type Target = Plane;

    fn deref(&self) -> &Plane {
        match self {
            Self::Own(plane) => plane,
            Self::Shared(plane) => plane,
        }
    }
}

impl Held {
    /// To break it; an error if it is shared.
    pub fn own(&mut self) -> Result<&mut Plane> {
        match self {
            Self::Own(plane) => Ok(plane),
            Self::Shared(_) => bail!("what others stand on is not broken"),
        }
    }
}

impl Stage {
    /// A stage of one's own, for stories that stop the operator, change its settings or count calls.
    pub async fn set(tier: Tier, adjust: impl FnOnce(&mut Config)) -> Result<Self> {
        let plane = Plane::start(tier, PlaneOptions::default()).await?;
        Self::set_on(Held::Own(Box::new(plane)), adjust).await
    }

    /// A stage of one's own whose operator reaches the API server through a wire, with this judge from its first request on.
    pub async fn wired(
        tier: Tier,
        adjust: impl FnOnce(&mut Config),
        judge: impl FnMut(&Asked) -> Verdict + Send + 'static,
    ) -> Result<(Self, Wire)> {
        let plane = Plane::start(tier, PlaneOptions::default()).await?;
        let wire = Wire::to(&plane).await?;
        wire.judge(judge);
        let adjust = |config: &mut Config| {
            adjust(config);
            wire.lead(config);
        };
        Ok((Self::set_on(Held::Own(Box::new(plane)), adjust).await?, wire))
    }

    /// Tells a story on the stage that all tests of this binary share. Keep apart from the others by names, and narrow injected
    /// faults to identities of your own.
    ///
    /// The stage lives in a runtime of its own, because an operator ends with the runtime in which it was started.
    pub fn shared<T>(tier: Tier, story: impl AsyncFnOnce(&'static Stage) -> Result<T>) -> Result<T> {
        static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(Runtime::new);
        static ONE: OnceCell<Stage> = OnceCell::const_new();
        static TWO: OnceCell<Stage> = OnceCell::const_new();
        static THREE: OnceCell<Stage> = OnceCell::const_new();
        let cell = match tier {
            Tier::One => &ONE,
            Tier::Two => &TWO,
            Tier::Three => &THREE,
        };
        let runtime = RUNTIME.as_ref()?;
        runtime.block_on(async {
            let set = async || Self::set_on(Held::Shared(Plane::shared(tier).await?), |_| {}).await;
            story(cell.get_or_try_init(set).await?).await
        })
    }

    async fn set_on(plane: Held, adjust: impl FnOnce(&mut Config)) -> Result<Self> {
        let values = json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } });
        let installation = Installation::install(&plane, "story", &values).await?;
        let world = World::new();
        let operator = InProcess::start_on(&plane, &installation, world.clone(), |config| {
            config.break_glass_groups = vec![BREAK_GLASS.to_owned()];
            adjust(config);
        })
        .await?;
        let platform = Platform::new(plane.admin()?);
        Ok(Self { operator, world, platform, installation, plane })
    }

    /// Stops the operator as SIGTERM would, runs `meanwhile`, and starts another on the same world.
    pub async fn restarted(
        mut self,
        adjust: impl FnOnce(&mut Config),
        meanwhile: impl AsyncFnOnce(&Platform) -> Result<()>,
    ) -> Result<Self> {
        self.pause().await?;
        meanwhile(&self.platform).await?;
        self.resume(adjust).await?;
        Ok(self)
    }

    /// Stops the operator as SIGTERM would. There is none until [`Self::resume`].
    pub async fn pause(&mut self) -> Result<()> {
        self.operator.halt().await
    }

    /// Ends the operator in the middle of whatever it does, as SIGKILL would. There is none until [`Self::resume`].
    pub async fn crash(&mut self) {
        self.operator.fall().await;
    }

    /// Starts another operator on the same world.
    pub async fn resume(&mut self, adjust: impl FnOnce(&mut Config)) -> Result<()> {
        self.operator = InProcess::start_on(&self.plane, &self.installation, self.world.clone(), |config| {
            config.break_glass_groups = vec![BREAK_GLASS.to_owned()];
            adjust(config);
        })
        .await?;
        Ok(())
    }

    /// A client of somebody who may change what is in stack namespaces.
    pub fn break_glass(&self) -> Result<Client> {
        self.plane.client_for("bettina", &["system:masters", BREAK_GLASS])
    }
}
