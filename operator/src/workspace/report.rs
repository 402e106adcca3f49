//! Status of a Workspace. Pure: what was seen in this round, and where nobody looked what was there before.

use api::{Workspace, workspace::WorkspaceStatus};
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
        encryption: facts.encryption.clone().unwrap_or(encryption),
        authorization: facts.authorization.clone().or(authorization),
        conditions: Vec::new(),
    };
    serde_json::to_value(status).unwrap_or_default()
}
