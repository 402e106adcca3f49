//! The one secret of the relay. In: a file with 64 hexadecimal digits. Out: the keys of the operator of NATS, of accounts and of users.
//!
//! Every key follows from the secret and from what it is for (HKDF with SHA-256), so nothing else has to be kept: a relay that lost its
//! disk, or was built anew from Git with the same secret, has the same accounts. The account of a Tenant follows from its identity, never
//! from its name.

use std::{fmt, path::Path};

use api::names::Identity;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use data_encoding::HEXLOWER_PERMISSIVE;

use crate::nkey::{Role, Signer};

/// Bytes of the secret.
const BYTES: usize = 32;
/// Keeps these keys apart from whatever else the secret may be used for.
const SALT: &[u8] = b"steading-relay/1";

/// Why there is no secret, or no key of it.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The file cannot be read.
    #[error("the secret of the relay cannot be read from {0}: {1}")]
    Unreadable(String, std::io::Error),
    /// The file holds something else.
    #[error("the secret of the relay is 64 hexadecimal digits; make one with: openssl rand -hex 32")]
    NotSecret,
    /// The library refuses.
    #[error("a key cannot be made of the secret of the relay; make another one with: openssl rand -hex 32")]
    Refused,
}

/// The secret, from which all keys follow.
pub struct Root(Prk);

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root")
    }
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The operator of NATS, who signs accounts.
    Operator,
    /// The account in which servers speak of themselves.
    SystemAccount,
    /// The account in which servers ask who may come in.
    CalloutAccount,
    /// The account of a Tenant.
    TenantAccount(Identity),
    /// Who answers the servers' questions, in the callout's account.
    Callout,
    /// Who makes accounts known, in the system account.
    Registrar,
    /// Who makes the stream of events, in a Tenant's account.
    Keeper,
    /// What somebody is until it is known who he is: nobody.
    Nobody,
}

impl Owner {
    fn role(self) -> Role {
        match self {
            Self::Operator => Role::Operator,
            Self::SystemAccount | Self::CalloutAccount | Self::TenantAccount(_) => Role::Account,
            Self::Callout | Self::Registrar | Self::Keeper | Self::Nobody => Role::User,
        }
    }

    fn purpose(self) -> String {
        match self {
            Self::Operator => "operator".to_owned(),
            Self::SystemAccount => "account/system".to_owned(),
            Self::CalloutAccount => "account/callout".to_owned(),
            Self::TenantAccount(tenant) => format!("account/tenant/{tenant}"),
            Self::Callout => "user/callout".to_owned(),
            Self::Registrar => "user/registrar".to_owned(),
            Self::Keeper => "user/keeper".to_owned(),
            Self::Nobody => "user/nobody".to_owned(),
        }
    }
}

/// Says how long a key is.
struct Seed;

impl KeyType for Seed {
    fn len(&self) -> usize {
        BYTES
    }
}

impl Root {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, RootError> {
        let unreadable = |error| RootError::Unreadable(path.display().to_string(), error);
        Self::parse(&std::fs::read(path).map_err(unreadable)?)
    }

    /// Reads what is in the file. A line's end behind it does no harm.
    pub fn parse(text: &[u8]) -> Result<Self, RootError> {
        let secret = HEXLOWER_PERMISSIVE.decode(text.trim_ascii()).map_err(|_| RootError::NotSecret)?;
        if secret.len() == BYTES {
            Ok(Self(Salt::new(HKDF_SHA256, SALT).extract(&secret)))
        } else {
            Err(RootError::NotSecret)
        }
    }

    /// The key of somebody.
    pub fn key(&self, owner: Owner) -> Result<Signer, RootError> {
        let (purpose, mut seed) = (owner.purpose(), [0; BYTES]);
        let purpose = [purpose.as_bytes()];
        let key = self.0.expand(&purpose, Seed).map_err(|_| RootError::Refused)?;
        key.fill(&mut seed).map_err(|_| RootError::Refused)?;
        Signer::new(owner.role(), &seed).ok_or(RootError::Refused)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const TENANT: &str = "7a0c5d3e-9a3b-4f0f-8d35-3c1f7d1f2b11";

    pub(crate) fn root() -> Root {
        Root::parse("0f".repeat(BYTES).as_bytes()).unwrap()
    }

    #[test]
    fn the_same_secret_makes_the_same_keys_and_another_one_others() {
        let owner = Owner::TenantAccount(TENANT.parse().unwrap());
        let of = |root: &Root| root.key(owner).unwrap().public();
        assert_eq!(of(&root()), of(&Root::parse(format!("{}\n", "0F".repeat(BYTES)).as_bytes()).unwrap()));
        assert_ne!(of(&root()), of(&Root::parse("10".repeat(BYTES).as_bytes()).unwrap()));
    }

    #[test]
    fn no_two_owners_have_the_same_key() {
        let other = "00000000-9a3b-4f0f-8d35-3c1f7d1f2b11";
        let tenants = [TENANT, other].map(|tenant| Owner::TenantAccount(tenant.parse().unwrap()));
        let others = [
            Owner::Operator,
            Owner::SystemAccount,
            Owner::CalloutAccount,
            Owner::Callout,
            Owner::Registrar,
            Owner::Keeper,
            Owner::Nobody,
        ];
        let keys: std::collections::HashSet<_> =
            tenants.into_iter().chain(others).map(|owner| root().key(owner).unwrap().public()).collect();
        assert_eq!(keys.len(), 9);
    }

    #[test]
    fn keys_stay_what_they_were_in_earlier_versions() {
        let key = root().key(Owner::Operator).unwrap().public().to_string();
        assert_eq!(key, "ODVGATMRHP2O5KW6ROW3WXK4FUAGQTXGFLXXRQOEZJ54I5QWAMPSPBRH");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_never_shown() {
        for text in ["", "0f", &"0f".repeat(31), &"0f".repeat(33), &"zz".repeat(32)] {
            let refusal = Root::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(refusal.contains("openssl rand") && (text.is_empty() || !refusal.contains(text)), "{refusal}");
        }
        assert_eq!(format!("{:?}", root()), "Root");
    }
}
