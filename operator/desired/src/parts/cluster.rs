//! The `Cluster` of a database: instances of PostgreSQL, spread over zones, that let nobody in without a certificate.

use std::collections::BTreeMap;

use api::{
    amounts::{format_bytes, format_cpu},
    labels,
};
use k8s_openapi::{
    api::core::v1::TopologySpreadConstraint,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use serde::Serialize;

use super::{DATABASE_PART, DRILL_PART, metadata};
use crate::canary::{DRILL, ROLE};
use crate::database::{BACKUP, BackupPlace, CLUSTER, Database, HIBERNATION, ORIGIN, Origin};
use crate::workspace::Facts;

/// The plugin that makes backups.
pub(crate) const BARMAN: &str = "barman-cloud.cloudnative-pg.io";

/// From so many instances on, a write always waits until a second one has it. With two, one that is away would stop all writes: then the
/// other goes on alone.
const DURABLE_FROM: u32 = 3;

/// Seconds that clients have to end by themselves when an instance stops, and all that it has to stop.
const POLITE_SECONDS: u32 = 15;
const STOP_SECONDS: u32 = 120;

/// The database of an instance, and the role that owns it.
const DATABASE: &str = "app";

/// Seconds between two checkpoints: the shortest that PostgreSQL takes, and its default. After a start without recovery the process that closes
/// the log in time sleeps so long at first, so it must not be longer than the time in which the log is closed.
const CHECKPOINT_SECONDS: (u64, u64) = (30, 300);

/// Seconds that an instance may take to start, as for replaying a long log.
const START_SECONDS: u32 = 3600;

/// `postgresql.cnpg.io/v1`, as far as it is applied.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cluster {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    instances: u32,
    image_name: String,
    inherited_metadata: Inherited,
    bootstrap: Bootstrap,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_clusters: Vec<External>,
    storage: Storage,
    resources: Resources,
    affinity: Spread,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topology_spread_constraints: Vec<TopologySpreadConstraint>,
    postgresql: PostgreSql,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plugins: Vec<Plugin>,
    #[serde(rename = "enablePDB")]
    enable_pdb: bool,
    enable_superuser_access: bool,
    probes: Probes,
    smart_shutdown_timeout: u32,
    stop_delay: u32,
}

/// How often the kubelet asks. The defaults find out only after ten seconds that an instance is there.
#[derive(Serialize)]
struct Probes {
    startup: Probe,
    readiness: Probe,
}

impl Probes {
    fn often() -> Self {
        Self {
            startup: Probe { period_seconds: 1, failure_threshold: Some(START_SECONDS) },
            readiness: Probe { period_seconds: 2, failure_threshold: None },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    period_seconds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_threshold: Option<u32>,
}

/// A reference to something in the same namespace, or to a plugin.
#[derive(Serialize)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
}

/// Labels of all that CloudNativePG makes. Not ours of children: what it makes is its own.
#[derive(Serialize)]
struct Inherited {
    labels: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Bootstrap {
    InitDb(InitDb),
    Recovery(Recovery),
}

/// Beginning with what another database held.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recovery {
    source: &'static str,
    database: &'static str,
    owner: &'static str,
    #[serde(rename = "recoveryTarget", skip_serializing_if = "Option::is_none")]
    target: Option<RecoveryTarget>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecoveryTarget {
    target_time: String,
}

/// A database elsewhere, by its backups.
#[derive(Serialize)]
struct External {
    name: &'static str,
    plugin: ExternalPlugin,
}

#[derive(Serialize)]
struct ExternalPlugin {
    name: &'static str,
    parameters: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitDb {
    database: &'static str,
    owner: &'static str,
    data_checksums: bool,
    /// As superuser, once, in the new database. What is restored has it already.
    #[serde(rename = "postInitApplicationSQL")]
    post_init_application_sql: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    size: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_class: Option<String>,
}

/// What a container is promised, and what it may use.
#[derive(Serialize)]
pub(crate) struct Resources {
    requests: Amounts,
    limits: Amounts,
}

impl Resources {
    pub(crate) fn between(requests: Amounts, limits: Amounts) -> Self {
        Self { requests, limits }
    }
}

#[derive(Serialize)]
pub(crate) struct Amounts {
    cpu: String,
    memory: String,
}

impl Amounts {
    /// Of millicores and bytes.
    pub(crate) fn of(cpu: u64, memory: u64) -> Self {
        Self { cpu: format_cpu(cpu), memory: format_bytes(memory) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spread {
    enable_pod_anti_affinity: bool,
    pod_anti_affinity_type: &'static str,
    topology_key: &'static str,
}

impl Spread {
    fn over_nodes() -> Self {
        Self {
            enable_pod_anti_affinity: true,
            pod_anti_affinity_type: "preferred",
            topology_key: "kubernetes.io/hostname",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostgreSql {
    parameters: BTreeMap<&'static str, String>,
    #[serde(rename = "pg_hba")]
    pg_hba: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    synchronous: Option<Synchronous>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Synchronous {
    method: &'static str,
    number: u32,
    data_durability: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plugin {
    name: &'static str,
    #[serde(rename = "isWALArchiver")]
    is_wal_archiver: bool,
    parameters: BTreeMap<&'static str, String>,
}

/// The instances.
pub(crate) fn cluster(facts: &Facts, database: &Database, place: &BackupPlace, origin: Option<&Origin>) -> Cluster {
    let amounts = || Amounts::of(database.cpu, database.memory);
    Cluster {
        api_version: "postgresql.cnpg.io/v1",
        kind: "Cluster",
        metadata: ObjectMeta { annotations: hibernation(database), ..metadata(facts, CLUSTER) },
        spec: Spec {
            instances: database.instances,
            image_name: database.image.clone(),
            inherited_metadata: Inherited { labels: BTreeMap::from([(labels::PART, DATABASE_PART)]) },
            bootstrap: bootstrap(origin),
            external_clusters: origin.map(|origin| external(ORIGIN, &origin.place.server)).into_iter().collect(),
            storage: Storage { size: format_bytes(database.storage), storage_class: database.storage_class.clone() },
            resources: Resources::between(amounts(), amounts()),
            affinity: Spread::over_nodes(),
            topology_spread_constraints: vec![over_zones()],
            postgresql: postgresql(database),
            plugins: vec![Plugin { name: BARMAN, is_wal_archiver: true, parameters: archive(BACKUP, &place.server) }],
            // Of a single one it would hold up every drain of its node.
            enable_pdb: database.instances > 1,
            enable_superuser_access: false,
            probes: Probes::often(),
            smart_shutdown_timeout: POLITE_SECONDS,
            stop_delay: STOP_SECONDS,
        },
    }
}

/// Asks CloudNativePG to stop all instances, the one that writes first, and to keep their volumes.
fn hibernation(database: &Database) -> Option<BTreeMap<String, String>> {
    database.suspended.then(|| BTreeMap::from([(HIBERNATION.to_owned(), "on".to_owned())]))
}

/// One instance that is restored from the newest backups, only to be looked at: it archives nothing, and no consumer reaches it.
pub(crate) fn drill(facts: &Facts, database: &Database, place: &BackupPlace) -> Cluster {
    let alone = Database { instances: 1, ..database.clone() };
    let whole = cluster(facts, &alone, place, None);
    Cluster {
        metadata: metadata(facts, DRILL),
        spec: Spec {
            inherited_metadata: Inherited { labels: BTreeMap::from([(labels::PART, DRILL_PART)]) },
            bootstrap: recovery(None),
            external_clusters: vec![external(BACKUP, &place.server)],
            topology_spread_constraints: Vec::new(),
            plugins: Vec::new(),
            ..whole.spec
        },
        ..whole
    }
}

/// Where a server's backups lie.
fn archive(object_store: &str, server: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([("barmanObjectName", object_store.to_owned()), ("serverName", server.to_owned())])
}

fn bootstrap(origin: Option<&Origin>) -> Bootstrap {
    let Some(origin) = origin else {
        return Bootstrap::InitDb(InitDb {
            database: DATABASE,
            owner: DATABASE,
            data_checksums: true,
            // Nobody but a superuser could give a role a schema of its own; it signs in once its `DatabaseRole` says so.
            post_init_application_sql: vec![
                format!("CREATE ROLE {ROLE} NOLOGIN"),
                format!("CREATE SCHEMA {ROLE} AUTHORIZATION {ROLE}"),
                format!("GRANT CONNECT ON DATABASE {DATABASE} TO {ROLE}"),
            ],
        });
    };
    // With six digits, as PostgreSQL counts.
    let target = origin.time.map(|time| RecoveryTarget { target_time: format!("{time:.6}") });
    recovery(target)
}

fn recovery(target: Option<RecoveryTarget>) -> Bootstrap {
    Bootstrap::Recovery(Recovery { source: ORIGIN, database: DATABASE, owner: DATABASE, target })
}

/// The backups of this server, by the credentials of this ObjectStore.
fn external(object_store: &str, server: &str) -> External {
    External { name: ORIGIN, plugin: ExternalPlugin { name: BARMAN, parameters: archive(object_store, server) } }
}

/// A zone that has none is preferred, and a cluster of one zone is no obstacle.
fn over_zones() -> TopologySpreadConstraint {
    let instances = [("cnpg.io/cluster", CLUSTER), ("cnpg.io/podRole", "instance")];
    let instances = instances.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector { match_labels: Some(instances), match_expressions: None }),
        ..TopologySpreadConstraint::default()
    }
}

/// `ALTER SYSTEM` is off by default, and `enableAlterSystem: false` is dropped by CloudNativePG when it writes defaults.
fn postgresql(database: &Database) -> PostgreSql {
    // A log file that nobody fills is closed after a third of what may be lost: the rest is for sending it.
    let archive_timeout = (database.rpo.as_secs() / 3).max(1);
    let data_durability = if database.instances >= DURABLE_FROM { "required" } else { "preferred" };
    let synchronous = Synchronous { method: "any", number: 1, data_durability };
    PostgreSql {
        parameters: BTreeMap::from([
            ("archive_timeout", format!("{archive_timeout}s")),
            ("checkpoint_timeout", format!("{}s", archive_timeout.clamp(CHECKPOINT_SECONDS.0, CHECKPOINT_SECONDS.1))),
            ("shared_buffers", format!("{}MB", (database.memory >> 22).max(16))),
            ("ssl_max_protocol_version", "TLSv1.3".to_owned()),
            ("ssl_min_protocol_version", "TLSv1.3".to_owned()),
        ]),
        // CloudNativePG lets its own roles in before these, and anybody with a password after them.
        pg_hba: vec!["hostssl all all all cert", "host all all all reject"],
        synchronous: (database.instances > 1).then_some(synchronous),
    }
}
