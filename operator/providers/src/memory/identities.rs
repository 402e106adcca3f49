//! Identities in memory.
//!
//! In: an [`IdentitySpec`]. Out: made-up credentials that no server takes.

use jiff::Timestamp;

use super::{Operation, World};
use crate::{
    fault::Fault,
    identities::{IdentitySpec, IssuedCredentials},
};

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
                // By the clock of whoever uses them, who decides by it when to renew them.
                let expires_at = Timestamp::now() + spec.life;
                Ok(IssuedCredentials {
                    access_key_id: format!("memory-{}", state.issued),
                    secret_access_key: format!("memory-secret-{}", state.issued).into(),
                    session_token: format!("memory-token-{}", state.issued).into(),
                    expires_at,
                })
            })
            .await
    }
}
