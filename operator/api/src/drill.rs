//! What restore drills have shown of a database's backups.
//!
//! A drill restores the backups beside the database, looks at what came back, and removes it again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Restore drills of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreDrillStatus {
    /// Since when one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Since when the database of the one under way is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_at: Option<Time>,
    /// The last one that brought everything back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<RestoreProof>,
    /// Since when each one that brought everything back took longer than the rto, or lost more than the rpo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_since: Option<Time>,
    /// The last one that did not, if none has since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<RestoreFailure>,
}

/// What a drill has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreProof {
    /// When it ended.
    pub completed_at: Time,
    /// How much would have been lost with all instances: the age of the newest row of the canary when the database was there, such as
    /// `4m12s`.
    #[schemars(length(max = 16))]
    pub recovery_point: String,
    /// How long it took until the database was there, such as `1m3s`.
    #[schemars(length(max = 16))]
    pub recovery_time: String,
    /// When the newest row of the canary that came back was written.
    pub newest_row: Time,
    /// How many rows of the canary came back, each with the sum over it and those before.
    pub rows: i64,
    /// How large the database was.
    #[schemars(length(max = 16))]
    pub size: String,
    /// How many tables were read to their ends. Every page of them has a checksum that PostgreSQL compares.
    pub tables: i64,
    /// How many were not, because they show each role other rows.
    pub unread: i64,
    /// Below which the backups lie that were restored.
    #[schemars(length(max = 63))]
    pub server_name: String,
}

/// Why a drill showed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreFailure {
    /// When the one that failed began.
    pub started_at: Time,
    /// When it failed.
    pub at: Time,
    /// What failed.
    #[schemars(length(max = 400))]
    pub message: String,
}
