//! As much of CloudNativePG's objects as is read: their status, and their metadata as of any child. Nothing of their specs, so that no
//! field of theirs that we do not know could be lost: what is written comes from crate `desired`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// The spec of a `Cluster`, unread.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(
    group = "postgresql.cnpg.io",
    version = "v1",
    kind = "Cluster",
    plural = "clusters",
    namespaced,
    status = "ClusterStatus",
    schema = "disabled"
)]
pub struct ClusterSpec {}

/// What CloudNativePG says of a `Cluster`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// What it is at, in words for people.
    pub phase: Option<String>,
    /// Why.
    pub phase_reason: Option<String>,
    /// How many instances are ready.
    pub ready_instances: i32,
    /// The instance that writes.
    pub current_primary: Option<String>,
    /// `Ready`, `ContinuousArchiving`, `LastBackupSucceeded`, `cnpg.io/hibernation`.
    pub conditions: Vec<Condition>,
}

/// The spec of an `ObjectStore`, unread.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(
    group = "barmancloud.cnpg.io",
    version = "v1",
    kind = "ObjectStore",
    plural = "objectstores",
    namespaced,
    status = "ObjectStoreStatus",
    schema = "disabled"
)]
pub struct ObjectStoreSpec {}

/// What the plugin says of the backups in an `ObjectStore`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectStoreStatus {
    /// For each server that writes there.
    pub server_recovery_window: BTreeMap<String, RecoveryWindow>,
}

/// What can be gone back to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecoveryWindow {
    /// The earliest moment.
    pub first_recoverability_point: Option<Time>,
    /// When the last full backup was complete.
    pub last_successful_backup_time: Option<Time>,
    /// When the last one failed.
    pub last_failed_backup_time: Option<Time>,
}

/// As much of the spec of a `DatabaseRole` as is read.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(
    group = "postgresql.cnpg.io",
    version = "v1",
    kind = "DatabaseRole",
    plural = "databaseroles",
    namespaced,
    status = "DatabaseRoleStatus",
    schema = "disabled"
)]
pub struct DatabaseRoleSpec {
    /// Whether it may sign in.
    #[serde(default)]
    pub login: bool,
}

/// What CloudNativePG says of a `DatabaseRole`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseRoleStatus {
    /// The generation that it speaks of.
    pub observed_generation: i64,
    /// Whether the database is as that generation says.
    pub applied: Option<bool>,
    /// Why not.
    pub message: Option<String>,
    /// Its certificate, if it has one.
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate that CloudNativePG issued.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientCertificate {
    /// When it ends.
    pub expiration: Option<Time>,
    /// Why there is none.
    pub message: Option<String>,
}

/// The spec of a `ScheduledBackup`, unread.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(
    group = "postgresql.cnpg.io",
    version = "v1",
    kind = "ScheduledBackup",
    plural = "scheduledbackups",
    namespaced,
    schema = "disabled"
)]
pub struct ScheduledBackupSpec {}
