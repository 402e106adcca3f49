//! Short-lived identities that can use one bucket, and nothing else.
//!
//! In: an [`IdentitySpec`]. Out: [`IssuedCredentials`] that end by themselves, and at a store that can do so ([`Revocation`]) as soon as it is
//! told. What an identity may do stands in the policy of its session, because not every store holds signed callers to the bucket's
//! own policy.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use crate::{buckets::Purpose, fault::Fault, memory::MemoryIdentities};

mod administration;
pub mod policy;
pub mod sts;

pub use administration::READ_AGAIN;
pub use sts::StsIdentities;

/// Shortest life of an identity.
pub const SHORTEST_LIFE: Duration = Duration::from_mins(15);
/// Longest life of an identity for data that nobody can end before.
pub const LONGEST_LIFE: Duration = Duration::from_hours(1);

/// Longest life of an identity for data that can be ended at any time: long enough that an operator that is away for hours stops nobody.
pub const LONGEST_REVOCABLE_LIFE: Duration = Duration::from_hours(24);

/// Longest life of an identity for backups: longer than an operator is away over a weekend, as backups go on without it.
pub const LONGEST_BACKUP_LIFE: Duration = Duration::from_hours(7 * 24);

/// The identity that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySpec {
    /// The one bucket.
    pub bucket: String,
    /// What that bucket is for.
    pub purpose: Purpose,
    /// The one key that it may name when it writes; `None` if the store encrypts under its own.
    pub key_name: Option<String>,
    /// What it may do.
    pub access: Access,
    /// Who it is for, as the store's log shows it: 2 to 64 letters, digits and `=,.@-`.
    pub session_name: String,
    /// How long it lives: [`SHORTEST_LIFE`] to [`LONGEST_LIFE`], to [`LONGEST_REVOCABLE_LIFE`] if it can be ended before, for backups to
    /// [`LONGEST_BACKUP_LIFE`].
    pub life: Duration,
    /// What it is to be ended by, together with all others that are called the same: 1 to 64 lower-case letters, digits and dashes. Only
    /// where [`Identities::revocation`] says that this is possible.
    pub revocable_as: Option<String>,
}

/// How identities end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// As soon as the store is told.
    Immediate,
    /// At their time.
    ByExpiry,
}

/// What an identity may do in its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// List and read, older versions too.
    Read,
    /// List, read, write and delete; older versions are read but not removed.
    ReadWrite,
}

impl IdentitySpec {
    /// Refuses what the store would refuse, or what would not be bounded.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let name_is_legal = (2..=64).contains(&self.session_name.len())
            && self.session_name.bytes().all(|b| b.is_ascii_alphanumeric() || b"=,.@-_".contains(&b));
        if !name_is_legal {
            return Err(Fault::invalid("the session name of an identity must be 2 to 64 letters, digits and =,.@-_"));
        }
        let longest = match (self.purpose, &self.revocable_as) {
            (Purpose::Backup, _) => LONGEST_BACKUP_LIFE,
            (Purpose::Data, Some(_)) => LONGEST_REVOCABLE_LIFE,
            (Purpose::Data, None) => LONGEST_LIFE,
        };
        if !(SHORTEST_LIFE..=longest).contains(&self.life) {
            return Err(Fault::invalid(
                "an identity lives 15 minutes to 1 hour, one that can be ended before to 24 hours, one for backups to 7 days",
            ));
        }
        if let Some(name) = &self.revocable_as {
            check_revocable(name)?;
        }
        let bucket_is_legal = (3..=63).contains(&self.bucket.len())
            && self.bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if !bucket_is_legal {
            return Err(Fault::invalid("an identity is for one bucket; name it by its full name without wildcards"));
        }
        Ok(())
    }
}

/// Refuses a name under which a store could end more than what is meant: an empty one is that of all identities.
fn check_revocable(name: &str) -> Result<(), Fault> {
    let is_legal = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if is_legal {
        Ok(())
    } else {
        Err(Fault::invalid("identities are ended by a name of 1 to 64 lower-case letters, digits and dashes"))
    }
}

/// Credentials that end by themselves. Their secrets do not show in `Debug`.
#[derive(Clone, Debug)]
pub struct IssuedCredentials {
    /// Names the credentials; no secret.
    pub access_key_id: String,
    /// Signs requests.
    pub secret_access_key: SecretString,
    /// Goes with every request.
    pub session_token: SecretString,
    /// When they end.
    pub expires_at: Timestamp,
}

/// Who issues identities.
#[derive(Clone, Debug)]
pub enum Identities {
    /// By the STS of an S3-compatible store.
    Sts(StsIdentities),
    /// In memory, with faults on demand; for tests.
    Memory(MemoryIdentities),
}

impl Identities {
    /// Issues an identity. May be repeated: each call issues one more, and each ends by itself.
    pub async fn issue(&self, spec: &IdentitySpec) -> Result<IssuedCredentials, Fault> {
        match self {
            Self::Sts(inner) => inner.issue(spec).await,
            Self::Memory(inner) => inner.issue(spec).await,
        }
    }

    /// The account that issues, by its name at the store, which is no secret. What it issued only it can end.
    pub fn account(&self) -> String {
        match self {
            Self::Sts(inner) => inner.account().to_owned(),
            Self::Memory(inner) => inner.account(),
        }
    }

    /// Whether identities can be ended before their time, as the store itself shows it.
    pub async fn revocation(&self) -> Result<Revocation, Fault> {
        match self {
            Self::Sts(inner) => inner.revocation().await,
            Self::Memory(inner) => Ok(inner.revocation()),
        }
    }

    /// Ends all identities that our account issued as `revocable_as` this name, also those that we forgot. May be repeated. Says how they end:
    /// at a store that cannot do it, by themselves.
    pub async fn revoke(&self, name: &str) -> Result<Revocation, Fault> {
        match self {
            Self::Sts(inner) => inner.revoke(name).await,
            Self::Memory(inner) => inner.revoke(name).await,
        }
    }
}
