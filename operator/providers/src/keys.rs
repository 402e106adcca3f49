//! A key for each tenant.
//!
//! In: a [`KeySpec`]. Out: a [`KeyObserved`], never key material. Which provider holds the key is chosen by [`Keys`].
//!
//! # Rotation on request, exactly once
//! A transit engine rotates whenever it is asked, so asking twice after a crash would rotate twice. The caller therefore keeps
//! the intent: when it sees a new request it (1) reads [`KeyObserved::latest_version`], (2) stores request and that version in
//! the object's status, and (3) passes both as [`RotateOnce`] on every call from then on. A rotation happens only while the
//! latest version is not above [`RotateOnce::version_before`]; once it is, the request is done, whoever did it and however
//! often the caller was killed in between. A scheduled rotation that falls between (2) and (3) serves the request as well.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    external::External,
    fault::Fault,
    memory::MemoryKeys,
    owner::{Identity, Installation, transit_key},
};

pub mod openbao;

pub use openbao::{IdentityTokens, OpenBaoConfig, OpenBaoKeys, TokenSource};

/// Shortest rotation period that transit engines take.
pub const SHORTEST_ROTATION_PERIOD: Duration = Duration::from_hours(1);

/// The key that a tenant shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The installation that the key belongs to.
    pub installation: Installation,
    /// The tenant that the key serves, and nobody else.
    pub tenant: Identity,
    /// How often the key rotates by itself; at least [`SHORTEST_ROTATION_PERIOD`], whole seconds.
    pub rotation_period: Duration,
    /// A rotation that was asked for; see the module's documentation.
    pub rotate: Option<RotateOnce>,
}

impl KeySpec {
    /// Name of the key at its provider.
    pub fn name(&self) -> String {
        transit_key(&self.installation, &self.tenant)
    }
}

/// A rotation that was asked for once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateOnce {
    /// The request as the user wrote it; only for messages.
    pub request: String,
    /// [`KeyObserved::latest_version`] as it was when the request was first seen.
    pub version_before: u64,
}

/// A tenant's key as its provider shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyObserved {
    /// Name at the provider.
    pub name: String,
    /// The newest version, from 1; it only ever grows.
    pub latest_version: u64,
    /// How often it rotates by itself; `None` if it does not.
    pub rotation_period: Option<Duration>,
    /// When the oldest version that is still there was made.
    pub created: Option<Timestamp>,
    /// When the newest version was made, if it is not the first.
    pub last_rotated: Option<Timestamp>,
    /// Whether it can be used.
    pub enabled: bool,
    /// Whether nobody in the cluster wants it any more.
    pub released: bool,
    /// Whether the provider would let anybody destroy it. Ours never say yes.
    pub deletion_allowed: bool,
    /// How all this is known, such as ``read from `transit/keys/x` at https://bao.example:8200``.
    pub evidence: String,
}

impl KeyObserved {
    /// Whether the requested rotation is done.
    pub fn has_rotated(&self, order: &RotateOnce) -> bool {
        self.latest_version > order.version_before
    }
}

/// Pure: is the key as wanted? The same for every provider of keys.
pub(crate) fn matches(want: &KeySpec, have: &KeyObserved) -> bool {
    have.enabled
        && !have.released
        && !have.deletion_allowed
        && have.rotation_period == Some(want.rotation_period)
        && want.rotate.as_ref().is_none_or(|order| have.has_rotated(order))
}

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum Keys {
    /// In the transit engine of OpenBao or Vault.
    OpenBao(OpenBaoKeys),
    /// In memory, with faults on demand; for tests.
    Memory(MemoryKeys),
}

macro_rules! delegate {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self {
            Keys::OpenBao($inner) => $call,
            Keys::Memory($inner) => $call,
        }
    };
}

impl External for Keys {
    type Desired = KeySpec;
    type Observed = KeyObserved;

    fn name(&self, want: &KeySpec) -> String {
        delegate!(self, inner => inner.name(want))
    }

    async fn observe(&self, want: &KeySpec) -> Result<Option<KeyObserved>, Fault> {
        delegate!(self, inner => inner.observe(want).await)
    }

    async fn create(&self, want: &KeySpec) -> Result<(), Fault> {
        delegate!(self, inner => inner.create(want).await)
    }

    async fn update(&self, want: &KeySpec, have: &KeyObserved) -> Result<(), Fault> {
        delegate!(self, inner => inner.update(want, have).await)
    }

    async fn release(&self, want: &KeySpec, have: &KeyObserved) -> Result<(), Fault> {
        delegate!(self, inner => inner.release(want, have).await)
    }

    async fn delete(&self, want: &KeySpec, have: &KeyObserved) -> Result<(), Fault> {
        delegate!(self, inner => inner.delete(want, have).await)
    }

    fn matches(want: &KeySpec, have: &KeyObserved) -> bool {
        matches(want, have)
    }

    fn is_released(have: &KeyObserved) -> bool {
        have.released
    }

    fn is_gone(have: &KeyObserved) -> bool {
        !have.enabled && have.released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> (KeySpec, KeyObserved) {
        let want = KeySpec {
            installation: Installation::new("prod").unwrap(),
            tenant: Identity::new("11111111-1111-4111-8111-111111111111").unwrap(),
            rotation_period: Duration::from_hours(24),
            rotate: Some(RotateOnce { request: "now".to_owned(), version_before: 3 }),
        };
        let have = KeyObserved {
            name: want.name(),
            latest_version: 4,
            rotation_period: Some(want.rotation_period),
            created: None,
            last_rotated: None,
            enabled: true,
            released: false,
            deletion_allowed: false,
            evidence: String::new(),
        };
        (want, have)
    }

    #[test]
    fn each_difference_alone_keeps_a_key_from_matching() {
        let (want, have) = wanted();
        assert!(matches(&want, &have));
        let changes: [fn(&mut KeyObserved); 6] = [
            |key| key.latest_version = 3,
            |key| key.rotation_period = None,
            |key| key.rotation_period = Some(Duration::from_hours(25)),
            |key| key.enabled = false,
            |key| key.released = true,
            |key| key.deletion_allowed = true,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = have.clone();
            change(&mut other);
            assert!(!matches(&want, &other), "change {number}");
        }
    }
}
