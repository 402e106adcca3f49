//! Status of a Tenant. Pure: what was seen in this round, and where nobody looked what was there before.

use api::{Tenant, tenant::TenantStatus};
use serde_json::Value;

use super::Facts;

/// Status without conditions and observedGeneration.
pub fn status(tenant: &Tenant, facts: &Facts) -> Value {
    let before = tenant.status.clone().unwrap_or_default();
    let TenantStatus { observed_generation: _, identity, key, encryption, authorization, quota, conditions: _ } =
        before;
    let status = TenantStatus {
        observed_generation: 0,
        identity: identity.or_else(|| facts.identity.map(|identity| identity.to_string())),
        key: facts.key.clone().or(key),
        encryption: facts.encryption.clone().unwrap_or(encryption),
        authorization: facts.authorization.clone().or(authorization),
        quota: facts.ledger.clone().or(quota),
        conditions: Vec::new(),
    };
    serde_json::to_value(status).unwrap_or_default()
}
