//! A Workspace with a database that has backups, and what is said of its drills.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use api::drill::RestoreDrillStatus;
use api::{Tenant, Workspace, conditions as names};
use e2e::databases::{CANARY, DRILL, Keeper, ago, install_kinds, objects};
use e2e::story::{Manifest, PATIENCE, Platform, Stage, condition, tenant, workspace};
use e2e::{Tier, unique};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use operator::config::Config;
use serde_json::json;

use crate::told::{keeper_of, with_databases};

/// What the class promises of how long a restore takes.
pub const RTO: Duration = Duration::from_mins(5);

const EXPIRES: &str = "2027-01-01T00:00:00Z";

/// A Workspace whose database is Ready and has a full backup that is an hour old.
pub struct Drilled {
    pub stage: Stage,
    pub acme: Manifest<Tenant>,
    pub finance: Manifest<Workspace>,
    pub keeper: Keeper,
    /// What its database calls itself in its backups.
    pub server: String,
}

impl Drilled {
    pub async fn set(tier: Tier) -> Result<Self> {
        Self::set_with(tier, settings).await
    }

    /// The same, of an operator with these settings.
    pub async fn set_with(tier: Tier, settings: impl FnOnce(&mut Config)) -> Result<Self> {
        let stage = Stage::set(tier, settings).await?;
        install_kinds(&stage.plane).await?;
        let platform = &stage.platform;
        let onprem = platform.applied(with_databases().with("database.rto", "5m")).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem).deleting_data()).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        platform.until_condition(&finance, names::BACKUP_FRESH, "False", names::BACKUP_PENDING).await?;
        let keeper = keeper_of(&stage, &finance).await?;
        keeper.runs(3, "True").await?;
        let status = platform.get(&finance).await?.status.context("no status")?;
        let backup = status.database.and_then(|database| database.backup).context("no backups are shown")?;
        keeper.backed_up(&backup.server_name, ago(60)).await?;
        Ok(Self { stage, acme, finance, keeper, server: backup.server_name })
    }

    /// The same, and its first drill is due.
    pub async fn begun() -> Result<Self> {
        let drilled = Self::set(Tier::One).await?;
        drilled.canary_stands().await?;
        drilled.keeper.canary_writes(true, ago(11)).await?;
        Ok(drilled)
    }

    pub fn clusters(&self) -> Api<DynamicObject> {
        objects(&self.keeper.client, &self.keeper.stack, "postgresql.cnpg.io", "Cluster")
    }

    pub fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.keeper.client.clone(), &self.keeper.stack)
    }

    pub fn schedules(&self) -> Api<DynamicObject> {
        objects(&self.keeper.client, &self.keeper.stack, "postgresql.cnpg.io", "ScheduledBackup")
    }

    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.keeper.client.clone(), &self.keeper.stack)
    }

    /// Lets the canary sign in, and waits for its Deployment.
    pub async fn canary_stands(&self) -> Result<()> {
        self.until(self.keeper.roles(), CANARY, "stands", |_| true).await?;
        self.keeper.has_role(CANARY, "the canary's", EXPIRES).await?;
        self.until(self.deployments(), CANARY, "stands", |_| true).await.map(drop)
    }

    /// Waits until the cluster says that the canary's pod is ready, and since when.
    pub async fn canary_writes_since(&self) -> Result<Timestamp> {
        let writes = self.until(self.deployments(), CANARY, "writes", |it| available(it).is_some()).await?;
        available(&writes).context("it writes no more")
    }

    /// A drill takes nothing of the canary along.
    pub async fn canary_is_there(&self) -> Result<()> {
        let there = (self.keeper.roles().get_opt(CANARY).await?, self.deployments().get_opt(CANARY).await?);
        ensure!(there.0.is_some() && there.1.is_some(), "the canary went with the drill");
        Ok(())
    }

    /// Lets in what looks at the restored database.
    pub async fn reader_signs_in(&self) -> Result<()> {
        self.until(self.keeper.roles(), DRILL, "stands", |_| true).await?;
        self.keeper.has_role(DRILL, "the drill's", EXPIRES).await
    }

    /// Goes along with a drill until its Job stands.
    pub async fn until_looking(&self) -> Result<()> {
        let stands = |job: &Job| job.metadata.deletion_timestamp.is_none() && !has_ended(job);
        self.until(self.clusters(), DRILL, "is restored", |_| true).await?;
        self.keeper.restored().await?;
        self.reader_signs_in().await?;
        self.until(self.jobs(), DRILL, "looks", stands).await.map(drop)
    }

    pub async fn until_proven(&self, status: &str, reason: &str) -> Result<Workspace> {
        self.stage.platform.until_condition(&self.finance, names::RESTORE_PROVEN, status, reason).await
    }

    /// Waits until a drill has failed and all of it is gone.
    pub async fn until_failed_again(&self) -> Result<Workspace> {
        let over = |told: &Workspace| {
            drill_of(told).is_some_and(|drill| drill.started_at.is_none() && drill.last_failure.is_some())
        };
        let seen = self.stage.platform.until(&self.finance, "tells of a failure", over).await?;
        self.nothing_is_left().await?;
        Ok(seen)
    }

    /// Waits until `RestoreProven` says this.
    pub async fn says(&self, what: &str) -> Result<()> {
        let tells =
            |told: &Workspace| condition(told, names::RESTORE_PROVEN).is_some_and(|it| it.message.contains(what));
        self.stage.platform.until(&self.finance, &format!("says {what:?} of restores"), tells).await.map(drop)
    }

    pub async fn is_ready(&self) -> Result<bool> {
        let seen = self.stage.platform.get(&self.finance).await?;
        Ok(condition(&seen, names::READY).is_some_and(|it| it.status == "True"))
    }

    /// Says that the drill under way began then, as nobody could wait so long. Meanwhile no operator writes what it still remembers.
    pub async fn began(mut self, at: Timestamp) -> Result<Self> {
        let name = self.finance.name().to_owned();
        // Nobody else may write status.
        let operator = self.stage.installation.operator_client(&self.stage.plane).await?;
        let set_back = async |_: &Platform| {
            let patch = Patch::Merge(json!({ "status": { "database": { "restoreDrill": { "startedAt": at } } } }));
            let workspaces = Api::<Workspace>::namespaced(operator, self.finance.namespace());
            workspaces.patch_status(&name, &PatchParams::default(), &patch).await?;
            Ok(())
        };
        self.stage = self.stage.restarted(settings, set_back).await?;
        Ok(self)
    }

    /// The same Workspace with another operator.
    pub async fn restarted(mut self) -> Result<Self> {
        self.stage = self.stage.restarted(settings, async |_| Ok(())).await?;
        Ok(self)
    }

    /// Waits until an object that is not going is so; what is told of the Workspace is the error if it never is.
    pub async fn until<K>(&self, api: Api<K>, name: &str, what: &str, is_so: impl Fn(&K) -> bool + Send) -> Result<K>
    where
        K: kube::Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
    {
        let is_so = |it: Option<&K>| it.is_some_and(|it| it.meta().deletion_timestamp.is_none() && is_so(it));
        if let Ok(found) = tokio::time::timeout(PATIENCE, await_condition(api.clone(), name, is_so)).await {
            return found?.with_context(|| format!("{name} is gone"));
        }
        let told = self.stage.platform.get(&self.finance).await?.status;
        let it = api.get_opt(name).await?;
        bail!("waited in vain until {name} {what}; it is {it:#?}, and the Workspace tells {told:#?}")
    }

    /// Waits until neither Job nor `DatabaseRole` nor Cluster of a drill is there.
    pub async fn nothing_is_left(&self) -> Result<()> {
        let gone = async {
            await_condition(self.jobs(), DRILL, |it: Option<&Job>| it.is_none()).await?;
            await_condition(self.keeper.roles(), DRILL, |it: Option<&DynamicObject>| it.is_none()).await?;
            await_condition(self.clusters(), DRILL, |it: Option<&DynamicObject>| it.is_none()).await?;
            anyhow::Ok(())
        };
        let waited = tokio::time::timeout(PATIENCE, gone).await;
        waited.context("something of the drill is left")?
    }

    /// All events there are.
    pub async fn events(&self) -> Result<String> {
        let events = Api::<Event>::all(self.stage.plane.admin()?).list(&ListParams::default()).await?;
        Ok(serde_json::to_string(&events.items)?)
    }
}

/// What failed is tried again soon.
fn settings(config: &mut Config) {
    config.timings.stalled = Duration::from_secs(2);
}

fn available(deployment: &Deployment) -> Option<Timestamp> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let told = conditions.iter().find(|it| it.type_ == "Available" && it.status == "True")?;
    told.last_transition_time.as_ref().map(|time| time.0)
}

fn has_ended(job: &Job) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| ["Complete", "Failed"].contains(&it.type_.as_str()))
}

/// What status tells of drills.
pub fn drill_of(workspace: &Workspace) -> Option<RestoreDrillStatus> {
    workspace.status.as_ref()?.database.as_ref()?.restore_drill.clone()
}
