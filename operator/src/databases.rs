//! What CloudNativePG tells of the databases in stacks, and where instances find the API server.
//!
//! In: discovery, watches of CloudNativePG's objects and of the API server's own addresses. Out: [`Databases`], for those who ask, and a
//! wake for each Workspace whose database changed. Nothing is watched before some class offers databases, and CloudNativePG's objects
//! not before it is installed: a cluster without databases costs nothing.

pub mod drill;
#[cfg(test)]
mod fixtures;
pub mod full;
pub mod judge;
mod seen;
mod watch;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use api::conditions as names;
use desired::{
    canary::{CANARY, DRILL},
    database::{BACKUP, CLUSTER},
    fields::Kind,
};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::{sync::watch as channel, time::Instant};

use crate::engine::{fault::Fault, patience::Patience};
pub use seen::{Cluster, ClusterStatus, DatabaseRoleStatus, ObjectStoreStatus};
pub use watch::follow;

/// How long to wait for what a watch tells anyway.
const TOLD_ANYWAY: Duration = Duration::from_secs(30);

/// What is there for databases in this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// All of it.
    Usable,
    /// No CloudNativePG.
    NoOperator,
    /// One that is too old.
    Outdated,
    /// No Barman Cloud plugin.
    NoPlugin,
}

/// What is known, for those who ask. Cheap to clone; clones agree.
#[derive(Clone)]
pub struct Databases(Arc<Inner>);

struct Inner {
    known: RwLock<Known>,
    stage: channel::Sender<Stage>,
    namespace: String,
    patience: Patience,
}

/// How far watching has come. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// No class offers databases.
    #[default]
    Idle,
    /// Some class does.
    Wanted,
    /// And CloudNativePG is there.
    Installed,
}

/// Namespace and name.
type Place = (String, String);

/// A `DatabaseRole` as it was last told.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// Whether it may sign in.
    pub login: bool,
    /// Of the spec that says so.
    pub generation: i64,
    /// What CloudNativePG says.
    pub status: DatabaseRoleStatus,
}

impl Role {
    /// Whether the database is as the spec says.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.status.applied == Some(true) && self.status.observed_generation >= self.generation
    }
}

/// How a Job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its pod did.
    Complete,
    /// Its pod failed, or had no time left.
    Failed,
}

/// Whether a Deployment has a pod that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// Whether it has.
    pub is: bool,
    /// Since when it has, or has not.
    pub since: Timestamp,
}

#[derive(Default)]
struct Known {
    installed: Option<Installed>,
    api_server: BTreeSet<SocketAddr>,
    synced: HashSet<Kind>,
    clusters: HashMap<Place, ClusterStatus>,
    stores: HashMap<Place, ObjectStoreStatus>,
    roles: HashMap<Place, Role>,
    written: HashMap<Place, String>,
    deployments: HashMap<Place, Available>,
    jobs: HashMap<Place, Ended>,
    asked: HashMap<String, String>,
    resting: HashMap<String, Instant>,
}

impl Databases {
    /// Nothing is known yet; CloudNativePG is said to run in `namespace`.
    #[must_use]
    pub fn new(namespace: String) -> Self {
        let (known, stage) = (RwLock::default(), channel::Sender::new(Stage::Idle));
        Self(Arc::new(Inner { known, stage, namespace, patience: Patience::default() }))
    }

    /// The namespace of CloudNativePG.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Looks what is installed. Some class offers databases, so from here on they are followed.
    ///
    /// # Errors
    /// If the API server does not answer, or what databases need is missing.
    pub async fn look(&self, client: &Client) -> Result<(), Fault> {
        self.reach(Stage::Wanted);
        let installed = installed(client).await?;
        self.write().installed = Some(installed);
        if let Some(fault) = lacks(installed) {
            return Err(fault);
        }
        self.reach(Stage::Installed);
        Ok(())
    }

    /// Whether what databases need is there, as it was last looked at; a class does that from time to time.
    ///
    /// # Errors
    /// As [`Databases::look`].
    pub async fn usable(&self, client: &Client) -> Result<(), Fault> {
        let installed = self.read().installed;
        match installed {
            Some(installed) => lacks(installed).map_or(Ok(()), Err),
            None => self.look(client).await,
        }
    }

    /// Waits for a moment until all is known that stands of databases, and where the API server is. From here on they are followed.
    pub async fn listed(&self, client: &Client) {
        if self.usable(client).await.is_ok() {
            self.0.patience.until(|| self.synced().is_ok() && !self.api_server().is_empty()).await;
        }
    }

    fn reach(&self, stage: Stage) {
        self.0.stage.send_if_modified(|reached| {
            let is_further = *reached < stage;
            *reached = stage.max(*reached);
            is_further
        });
    }

    async fn until(&self, stage: Stage) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.0.stage.subscribe().wait_for(|reached| *reached >= stage).await;
    }

    /// The addresses of the API server; empty while they are not known.
    #[must_use]
    pub fn api_server(&self) -> BTreeSet<SocketAddr> {
        self.read().api_server.clone()
    }

    /// Whether all that stands of databases is known.
    ///
    /// # Errors
    /// Waiting, if a watch has not told all of it yet.
    pub fn synced(&self) -> Result<(), Fault> {
        let known = self.read();
        let missing: Vec<&str> =
            Kind::DATABASE.into_iter().filter(|kind| !known.synced.contains(kind)).map(Kind::name).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("CloudNativePG's {} were not listed yet", missing.join(", "));
        Err(Fault::waiting(TOLD_ANYWAY, names::PROGRESSING, message))
    }

    /// What CloudNativePG says of the Cluster in this stack namespace.
    #[must_use]
    pub fn cluster(&self, namespace: &str) -> Option<ClusterStatus> {
        self.read().clusters.get(&place(namespace, CLUSTER)).cloned()
    }

    /// What it says of the one that is restored there to be looked at.
    #[must_use]
    pub fn restored(&self, namespace: &str) -> Option<ClusterStatus> {
        self.read().clusters.get(&place(namespace, DRILL)).cloned()
    }

    /// Whether the canary there writes.
    #[must_use]
    pub fn canary(&self, namespace: &str) -> Option<Available> {
        self.read().deployments.get(&place(namespace, CANARY)).copied()
    }

    /// How what looks at a restored database there has ended, if it has.
    #[must_use]
    pub fn looked(&self, namespace: &str) -> Option<Ended> {
        self.read().jobs.get(&place(namespace, DRILL)).copied()
    }

    /// What its plugin says of the backups there.
    #[must_use]
    pub fn store(&self, namespace: &str) -> Option<ObjectStoreStatus> {
        self.read().stores.get(&place(namespace, BACKUP)).cloned()
    }

    /// What it says of a role there.
    #[must_use]
    pub fn role(&self, namespace: &str, name: &str) -> Option<Role> {
        self.read().roles.get(&place(namespace, name)).cloned()
    }

    /// The digest of this Secret as it was last written to this stack namespace, or found there.
    #[must_use]
    pub fn written(&self, namespace: &str, secret: &str) -> Option<String> {
        self.read().written.get(&place(namespace, secret)).cloned()
    }

    /// Remembers it.
    pub fn wrote(&self, namespace: &str, secret: &str, digest: String) {
        self.write().written.insert(place(namespace, secret), digest);
    }

    /// Name of the full backup that was last asked for out of turn in this stack namespace.
    #[must_use]
    pub fn asked(&self, namespace: &str) -> Option<String> {
        self.read().asked.get(namespace).cloned()
    }

    /// Remembers it.
    pub fn has_asked(&self, namespace: &str, name: String) {
        self.write().asked.insert(namespace.to_owned(), name);
    }

    /// For how long the database in this stack namespace has been stopping: since this was first asked.
    #[must_use]
    pub fn resting(&self, namespace: &str) -> Duration {
        self.write().resting.entry(namespace.to_owned()).or_insert_with(Instant::now).elapsed()
    }

    /// It has stopped, or nobody waits for it any more. Nothing of it is remembered.
    pub fn rested(&self, namespace: &str) {
        let mut known = self.write();
        known.resting.remove(namespace);
        known.asked.remove(namespace);
        known.written.retain(|(within, _), _| within != namespace);
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(namespace: &str, name: &str) -> Place {
    (namespace.to_owned(), name.to_owned())
}

/// Asks the API server which kinds it serves: whoever may talk to it may ask that.
async fn installed(client: &Client) -> Result<Installed, Fault> {
    let Some(kinds) = kinds_of(client, "postgresql.cnpg.io/v1").await? else { return Ok(Installed::NoOperator) };
    // New in 1.30, which is the first version without the holes that `Outdated` names.
    if !kinds.contains("DatabaseRole") {
        return Ok(Installed::Outdated);
    }
    let plugin = kinds_of(client, "barmancloud.cnpg.io/v1").await?;
    Ok(if plugin.is_some_and(|kinds| kinds.contains("ObjectStore")) { Installed::Usable } else { Installed::NoPlugin })
}

async fn kinds_of(client: &Client, version: &str) -> Result<Option<HashSet<String>>, Fault> {
    match client.list_api_group_resources(version).await {
        Ok(list) => Ok(Some(list.resources.into_iter().map(|resource| resource.kind).collect())),
        // By its code: of a group that it does not serve the API server answers in plain words, without a reason.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(Fault::api(&error, &format!("see which kinds of {version} there are"))),
    }
}

/// What is to be done before there can be databases.
fn lacks(installed: Installed) -> Option<Fault> {
    let missing = |message: &str| Some(Fault::stalled(names::DATABASE_OPERATOR_MISSING, message));
    match installed {
        Installed::Usable => None,
        Installed::NoOperator => missing(
            "the cluster does not serve postgresql.cnpg.io/v1: install CloudNativePG 1.30 or newer, and its Barman Cloud plugin",
        ),
        Installed::NoPlugin => missing(
            "the cluster does not serve ObjectStores of barmancloud.cnpg.io/v1: install the Barman Cloud plugin of CloudNativePG",
        ),
        Installed::Outdated => Some(Fault::stalled(
            names::DATABASE_OPERATOR_OUTDATED,
            "the cluster serves no DatabaseRoles of postgresql.cnpg.io/v1, so CloudNativePG is older than 1.30: upgrade it (CVE-2026-55769, CVE-2026-44477, CVE-2026-55765 and GHSA-7qwx-x8ff-3px9 let one tenant out of its database)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_what_is_outdated_says_why_that_matters() {
        assert_eq!(lacks(Installed::Usable), None);
        for (installed, reason, named) in [
            (Installed::NoOperator, "DatabaseOperatorMissing", "install CloudNativePG 1.30"),
            (Installed::NoPlugin, "DatabaseOperatorMissing", "Barman Cloud plugin"),
            (Installed::Outdated, "DatabaseOperatorOutdated", "CVE-2026-55769"),
        ] {
            let fault = lacks(installed).unwrap();
            assert_eq!(fault.reason, reason);
            assert!(fault.message.contains(named), "{}", fault.message);
        }
    }

    #[test]
    fn nothing_is_synced_before_every_kind_was_listed() {
        let databases = Databases::new("cnpg-system".to_owned());
        for kind in Kind::DATABASE {
            assert!(databases.synced().unwrap_err().message.contains(kind.name()));
            databases.write().synced.insert(kind);
        }
        assert_eq!(databases.synced(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_stops_since_it_was_first_told_to_and_its_namesake_begins_anew() {
        let databases = Databases::new("cnpg-system".to_owned());
        let minutes = Duration::from_mins;
        assert_eq!(databases.resting("blue"), minutes(0));
        tokio::time::advance(minutes(3)).await;
        assert_eq!((databases.resting("blue"), databases.resting("green")), (minutes(3), minutes(0)));
        databases.rested("blue");
        assert_eq!(databases.resting("blue"), minutes(0));
    }

    #[tokio::test]
    async fn what_is_once_followed_stays_followed() {
        let databases = Databases::new("cnpg-system".to_owned());
        databases.reach(Stage::Installed);
        databases.reach(Stage::Wanted);
        databases.until(Stage::Installed).await;
    }
}
