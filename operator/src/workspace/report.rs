//! Status of a Workspace. Pure: what was seen in this round, and where nobody looked what was there before.

use api::{Workspace, status::EncryptionPlace, workspace::WorkspaceStatus};
use serde_json::Value;

use super::Facts;

/// Status without conditions and observedGeneration.
pub fn status(workspace: &Workspace, facts: &Facts) -> Value {
    let before = workspace.status.clone().unwrap_or_default();
    let WorkspaceStatus {
        observed_generation: _,
        identity,
        namespace,
        quota,
        quota_revision,
        bucket,
        database,
        consumers,
        ending_credentials,
        encryption,
        authorization,
        conditions: _,
    } = before;
    let (quota, quota_revision) = match &facts.quota {
        Some((amounts, revision)) => (Some(amounts.clone()), Some(*revision)),
        None => (quota, quota_revision),
    };
    let status = WorkspaceStatus {
        observed_generation: 0,
        identity: identity.or_else(|| facts.identity.map(|identity| identity.to_string())),
        namespace: facts.namespace.clone().or(namespace),
        quota,
        quota_revision,
        bucket: facts.bucket.clone().or(bucket),
        database: facts.database.clone().or(database),
        consumers: facts.consumers.clone().unwrap_or(consumers),
        ending_credentials: facts.ending_credentials.clone().unwrap_or(ending_credentials),
        encryption: merged(encryption, &facts.encryption),
        authorization: facts.authorization.clone().or(authorization),
        conditions: Vec::new(),
    };
    serde_json::to_value(status).unwrap_or_default()
}

/// The places that were looked at in this round instead of what was known of them; the others stay.
fn merged(before: Vec<EncryptionPlace>, seen: &[EncryptionPlace]) -> Vec<EncryptionPlace> {
    let is_seen = |place: &EncryptionPlace| seen.iter().any(|seen| seen.place == place.place);
    let mut all: Vec<_> = before.into_iter().filter(|place| !is_seen(place)).chain(seen.iter().cloned()).collect();
    all.sort_by(|one, other| one.place.cmp(&other.place));
    all
}
