//! What a TenantClass offers of databases, what a Workspace asks for, and what was observed.
//!
//! Databases are clusters of PostgreSQL run by CloudNativePG. Every field here is honoured: it decides about a field of a
//! `Cluster`, a `ScheduledBackup` or an `ObjectStore` in the stack namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, drill::RestoreDrillStatus, rules};

/// What Workspaces of a class get, unless they ask for something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassDatabase {
    /// Image of PostgreSQL that CloudNativePG can run. Its tag begins with the major version; with a digest it is pinned as well, such as
    /// `registry.example/postgresql:18.4@sha256:…`. Another minor version is rolled out instance by instance; another major version needs a new TenantClass.
    #[schemars(length(min = 4, max = 512))]
    #[x_kube(validation = rules::database_image(), validation = rules::major_version_stays())]
    pub image: String,
    /// How many instances: one writes, the others follow. A write counts once it is on two of them; with 2, while both are there. 1 to 9.
    #[schemars(range(min = 1, max = 9))]
    pub instances: i32,
    /// The volume of each instance.
    pub storage: ClassStorage,
    /// What each instance may use, and is promised.
    pub resources: DatabaseResources,
    /// How much may be lost with all instances: the log of what was written is closed after a third of it, and sent at once. 3m to 24h.
    #[x_kube(validation = rules::duration(), validation = within_a_day("database.rpo", 3))]
    pub rpo: Duration,
    /// How long it may take until a database is there again from its backups. Restore drills are measured against it, and end after three
    /// times as long. 5m to 24h.
    #[x_kube(validation = rules::duration(), validation = within_a_day("database.rto", 5))]
    pub rto: Duration,
    /// Full backups.
    pub backup: ClassBackup,
    /// Restores that show that the backups hold what was written. Each takes one more instance for as long as it lasts, which is part of
    /// what the database needs of the quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_drill: Option<ClassRestoreDrill>,
}

/// How often databases are restored from their backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassRestoreDrill {
    /// Time between two restores of one database: 1h to 90d; 7d if nothing is said of drills.
    #[x_kube(validation = rules::duration(), validation = every_in_bounds())]
    pub every: Duration,
}

/// From so many minutes to `24h`; malformed text is left to the rule of durations.
fn within_a_day(field: &str, least: u32) -> Rule {
    let minutes = "int(self.substring(0, size(self) - 1)) * (self.endsWith('h') ? 60 : 1)";
    Rule::new(format!(
        "!self.matches('^[1-9][0-9]{{0,4}}(m|h|d)$') || (!self.endsWith('d') && {minutes} >= {least} && {minutes} <= 1440)"
    ))
    .message(format!("{field} must be {least}m to 24h, in minutes or hours, such as 15m").as_str())
}

/// `1h` to `90d`; malformed text is left to the rule of durations.
fn every_in_bounds() -> Rule {
    let hours = "int(self.substring(0, size(self) - 1)) * (self.endsWith('d') ? 24 : 1)";
    Rule::new(format!("!self.matches('^[1-9][0-9]{{0,4}}(m|h|d)$') || (!self.endsWith('m') && {hours} <= 2160)"))
        .message("database.restoreDrill.every must be 1h to 90d, in hours or days, such as 7d")
}

/// The volumes of databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.storageClass) == has(oldSelf.storageClass) && (!has(self.storageClass) || self.storageClass == oldSelf.storageClass)")
        .message("database.storage.storageClass is immutable, because volumes do not move: create a new TenantClass to use another")
)]
#[serde(rename_all = "camelCase")]
pub struct ClassStorage {
    /// Size of each volume, in Mi, Gi or Ti. It can grow where the StorageClass lets volumes grow; an instance never shrinks.
    #[schemars(length(min = 3, max = 8))]
    #[x_kube(validation = rules::bytes())]
    pub size: String,
    /// StorageClass of the volumes; the cluster's default if it is left out. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::storage_class())]
    pub storage_class: Option<String>,
}

/// What an instance may use. Requests and limits are the same, so that it is among the last to be evicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseResources {
    /// Cores, whole or in millicores.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = rules::cpu())]
    pub cpu: String,
    /// Memory in Mi, Gi or Ti; a quarter of it is PostgreSQL's own cache. At least 256Mi.
    #[schemars(length(min = 3, max = 8))]
    #[x_kube(
        validation = rules::bytes(),
        validation = Rule::new("!self.matches('^[1-9][0-9]{0,5}Mi$') || int(self.substring(0, size(self) - 2)) >= 256")
            .message("memory of a database must be at least 256Mi")
    )]
    pub memory: String,
}

/// Full backups of databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = archived_before_deleted())]
#[serde(rename_all = "camelCase")]
pub struct ClassBackup {
    /// Time between two full backups: 1h, 2h, 3h, 4h, 6h, 8h, 12h or 24h.
    #[x_kube(validation = Rule::new("self in ['1h', '2h', '3h', '4h', '6h', '8h', '12h', '24h']")
        .message("database.backup.fullEvery must be a part of a day: 1h, 2h, 3h, 4h, 6h, 8h, 12h or 24h"))]
    pub full_every: Duration,
    /// For how long any moment can be gone back to, in days: `30d`. Full backups and logs that it does not need are deleted.
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,3}d$')")
        .message("database.backup.retention must be whole days, such as 30d"))]
    pub retention: Duration,
    /// For how long what was deleted or overwritten in the backup bucket can still be brought back, in days: 1d to 365d; 7d if it is left out.
    /// The bucket is versioned: what is not needed any more stays as an older version for so long, and is gone after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,2}d$') && int(self.substring(0, size(self) - 1)) <= 365")
        .message("database.backup.keepDeleted must be whole days, 1d to 365d, such as 7d"))]
    pub keep_deleted: Option<Duration>,
    /// Older backups move to another class of the store's storage, which costs less to keep. They stay where they are written if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ClassArchive>,
}

/// Where older backups move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassArchive {
    /// How old, in days, what is in the backup bucket must be; less than the retention.
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,3}d$')")
        .message("database.backup.archive.after must be whole days, such as 14d"))]
    pub after: Duration,
    /// The class of storage, as the store calls it: upper-case letters, digits, `_` and `-`. A restore must be able to read it at once.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Z0-9_-]+$')")
            .message("database.backup.archive.storageClass must be upper-case letters, digits, _ and -, as the store calls it, such as STANDARD_IA"),
        validation = Rule::new("!(self in ['GLACIER', 'DEEP_ARCHIVE'])")
            .message("a restore could not read what is in GLACIER or DEEP_ARCHIVE, because it must be thawed first: use GLACIER_IR, which costs little and can be read at once")
    )]
    pub storage_class: String,
}

impl ClassBackup {
    /// Days for which what was deleted can be brought back, where nothing is said.
    pub const KEEP_DELETED: u16 = 7;
}

/// Malformed text is left to the rules of the two fields.
fn archived_before_deleted() -> Rule {
    let days = |field: &str| format!("int({field}.substring(0, size({field}) - 1))");
    let formed = |field: &str| format!("{field}.matches('^[1-9][0-9]{{0,3}}d$')");
    let (after, retention) = ("self.archive.after", "self.retention");
    Rule::new(format!(
        "!has(self.archive) || !{} || !{} || {} < {}",
        formed(after),
        formed(retention),
        days(after),
        days(retention)
    ))
    .message("database.backup.archive.after must be less than database.backup.retention: nothing gets older than that")
}

/// The database of a Workspace. What is left out is as the class says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// No database at all. Can be turned off later, not on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// How many instances, 1 to 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9))]
    pub instances: Option<i32>,
    /// The volume of each instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<DatabaseStorage>,
    /// What each instance may use, and is promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<DatabaseResources>,
    /// Begins with what another database of the Tenant held, instead of empty. Only at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_from: Option<RestoreFrom>,
}

/// Which database to begin with, and as it was when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.workspace) != has(self.identity)")
        .message("restoreFrom needs either workspace, the name of a Workspace of this Tenant that is there, or identity, of one that is gone"),
    validation = Rule::new("has(self.identity) == has(self.serverName)")
        .message("restoreFrom.identity needs serverName, and workspace does not: it is the folder in the backup bucket, as status.database.backup said")
)]
#[serde(rename_all = "camelCase")]
pub struct RestoreFrom {
    /// A Workspace of the same Tenant. Whoever creates this one needs the verb `restore` on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 27))]
    #[x_kube(validation = rules::workspace_reference())]
    pub workspace: Option<String>,
    /// A Workspace of the same Tenant that is gone, and whose backups were kept: its identity, as its status showed it. Whoever creates this
    /// one needs the verb `adopt` on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = rules::identity())]
    pub identity: Option<String>,
    /// With `identity`: what its database called itself in its backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 17, max = 17))]
    #[x_kube(validation = rules::server_name())]
    pub server_name: Option<String>,
    /// The moment as it was at which the database begins, such as `2026-11-23T10:15:00Z`. Left out, it is the last that is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::moment())]
    #[schemars(length(min = 20, max = 32))]
    pub time: Option<String>,
}

/// The volume of each instance of a Workspace's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStorage {
    /// Its size in Mi, Gi or Ti. It can grow where the StorageClass lets volumes grow, and never shrinks.
    #[schemars(length(min = 3, max = 8))]
    #[x_kube(
        validation = rules::bytes(),
        validation = Rule::new("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("database.storage.size cannot shrink: volumes only grow")
    )]
    pub size: String,
}

/// The database of a Workspace as CloudNativePG last told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// Where applications connect to write: a Service of the stack namespace.
    #[schemars(length(max = 253))]
    pub service: String,
    /// How many instances there are to be.
    pub instances: i32,
    /// How many of them are ready.
    pub ready_instances: i32,
    /// Size of the volume of each instance as it was last asked for. It never shrinks.
    #[schemars(length(max = 8))]
    pub storage: String,
    /// The instance that writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub primary: Option<String>,
    /// The image that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// Where its backups are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// What it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<OriginStatus>,
    /// What restoring it has shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_drill: Option<RestoreDrillStatus>,
}

/// The backups with which a database began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OriginStatus {
    /// Identity of the Workspace whose they are.
    #[schemars(length(max = 36))]
    pub identity: String,
    /// Their bucket.
    #[schemars(length(max = 63))]
    pub bucket: String,
    /// Below which they lie there.
    #[schemars(length(max = 63))]
    pub server_name: String,
    /// The moment that was gone back to; the last one if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub time: Option<String>,
    /// UID of the stack namespace that began with them: one that is made anew begins with them again.
    #[serde(rename = "namespaceUID")]
    #[schemars(length(max = 36))]
    pub namespace_uid: String,
    /// Until when the database can read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_expire_at: Option<Time>,
    /// When everything was there for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

/// The backups of a Workspace's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// The bucket, which holds nothing else and which nobody but the database can use.
    #[schemars(length(max = 63))]
    pub bucket: String,
    /// Below which the database writes there; a stack that is made anew gets another.
    #[schemars(length(max = 63))]
    pub server_name: String,
    /// Address of the store.
    #[schemars(length(max = 253))]
    pub endpoint: String,
    /// The key under which new objects are encrypted by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub key: Option<String>,
    /// What the store was last seen to do with what grows old in the bucket. Absent while that is not as the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<LifecycleStatus>,
    /// When the bucket was last looked at. Absent before it was ever seen: it stands in status before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// Until when the database can write to the bucket, if nobody renews its credentials. They are renewed at half their life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_expire_at: Option<Time>,
    /// When the last full backup was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_full: Option<Time>,
    /// When the newest piece of the log was written to the bucket, as it was seen at `observedAt`: what was written before that could be restored
    /// then. A quiet database closes a piece in each third of the rpo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_log: Option<Time>,
    /// Since when the bucket was seen to lack a piece of the log that must be there. It is told until a newer one is seen, also where nobody
    /// would notice any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_missing_since: Option<Time>,
    /// The earliest moment that can be gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recoverable_since: Option<Time>,
    /// When a full backup last failed, if none has succeeded since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Time>,
}

/// What the store does with what grows old in a backup bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleStatus {
    /// For how long what was deleted or overwritten can still be brought back.
    pub keep_deleted: Duration,
    /// True where the store has no rules that remove older versions: then what was deleted stays until somebody removes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_without_end: bool,
    /// How old backups are when they move to another class of storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_after: Option<Duration>,
    /// Which class of storage that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub archive_storage_class: Option<String>,
}
