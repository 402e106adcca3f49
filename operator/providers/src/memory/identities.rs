//! Identities in memory.
//!
//! In: an [`IdentitySpec`]. Out: made-up credentials that no server takes, and whether each still lives.

use jiff::Timestamp;

use super::{Operation, World};
use crate::{
    fault::Fault,
    identities::{Access, IdentitySpec, IssuedCredentials, Revocation},
};

/// Credentials as the world keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryIdentity {
    /// The one bucket.
    pub bucket: String,
    /// What they can do there.
    pub access: Access,
    /// The account that issued them.
    pub issuer: String,
    /// What they can be ended by.
    pub revocable_as: Option<String>,
    /// Whether they were.
    pub is_revoked: bool,
}

/// Issues made-up credentials.
#[derive(Clone, Debug)]
pub struct MemoryIdentities {
    world: World,
}

impl MemoryIdentities {
    /// Identities in this world.
    pub fn new(world: &World) -> Self {
        Self { world: world.clone() }
    }

    /// Issues an identity; see [`crate::identities::Identities::issue`].
    pub async fn issue(&self, spec: &IdentitySpec) -> Result<IssuedCredentials, Fault> {
        spec.check()?;
        self.world
            .call(Operation::IssueIdentity, &spec.session_name, &spec.bucket, Vec::new(), |state| {
                state.issued += 1;
                let access_key_id = format!("memory-{}", state.issued);
                let identity = MemoryIdentity {
                    bucket: spec.bucket.clone(),
                    access: spec.access,
                    issuer: state.account.clone(),
                    revocable_as: spec.revocable_as.clone(),
                    is_revoked: false,
                };
                state.identities.insert(access_key_id.clone(), identity);
                // By the clock of whoever uses them, who decides by it when to renew them.
                let expires_at = Timestamp::now() + spec.life;
                Ok(IssuedCredentials {
                    access_key_id,
                    secret_access_key: format!("memory-secret-{}", state.issued).into(),
                    session_token: format!("memory-token-{}", state.issued).into(),
                    expires_at,
                })
            })
            .await
    }

    /// See [`crate::identities::Identities::account`].
    pub fn account(&self) -> String {
        self.world.lock().account.clone()
    }

    /// See [`crate::identities::Identities::revocation`].
    pub fn revocation(&self) -> Revocation {
        self.world.lock().revocation
    }

    /// Ends identities; see [`crate::identities::Identities::revoke`]. A fault asked for this name befalls it.
    pub async fn revoke(&self, name: &str) -> Result<Revocation, Fault> {
        self.world
            .call(Operation::RevokeIdentities, name, name, Vec::new(), |state| {
                if state.revocation == Revocation::Immediate {
                    let account = &state.account;
                    let ours = |identity: &&mut MemoryIdentity| {
                        identity.revocable_as.as_deref() == Some(name) && identity.issuer == *account
                    };
                    state.identities.values_mut().filter(ours).for_each(|identity| identity.is_revoked = true);
                }
                Ok(state.revocation)
            })
            .await
    }
}
