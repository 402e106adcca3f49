//! What is allowed to whom at one moment. In: pools with their lists, limits and sessions, and the keys that are trusted. Out: yes or a
//! [`Denial`], for one request and again for each connection whenever something changed.
//!
//! What is not named here is refused: an unknown pool, an unknown session, a host that no entry means.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

use crate::{
    address::{self, Reach},
    allow::{AllowList, Listed},
    host::{Host, Target},
    reason::{Denial, Reason},
    token::{Identity, PoolUid, SessionUid, TenantUid, TokenKeys},
};

/// Whether a session may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It may.
    Active,
    /// It was released, or its time is over.
    Ended,
}

/// How much each session of a pool may use, in each replica of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: u32,
    /// Bytes per second, both ways together; none for as fast as it goes.
    pub bytes_per_second: Option<u64>,
    /// Bytes in its whole life, both ways together; none for as many as it likes.
    pub bytes_total: Option<u64>,
    /// Until the first byte of an answer.
    pub first_byte: Duration,
    /// Without a byte either way.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            bytes_per_second: None,
            bytes_total: None,
            first_byte: Duration::from_secs(30),
            idle: Duration::from_mins(5),
        }
    }
}

/// A pool and its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// UID of the AgentPool.
    pub uid: PoolUid,
    /// Its namespace and name, for people: `acme/desktops`.
    pub name: Arc<str>,
    /// The tenant whose it is.
    pub tenant: TenantUid,
    /// What its sessions may reach.
    pub allow: AllowList,
    /// Ranges that are not public and that they may reach all the same.
    pub addresses: Vec<IpNet>,
    /// How much each of them may use.
    pub limits: Limits,
    /// Its sessions.
    pub sessions: HashMap<SessionUid, SessionState>,
}

impl Pool {
    /// Whether the list has `target`.
    pub fn lets_ask(&self, target: &Target) -> Result<(), Denial> {
        let refused = |reason, what| Err(Denial::new(reason, format!("{target} {what} of pool {}", self.name)));
        match self.allow.says(target) {
            Listed::Yes => Ok(()),
            Listed::OtherPort => refused(Reason::PortNotAllowed, "is at another port than in the allow-list"),
            Listed::No => refused(Reason::HostNotAllowed, "is not in the allow-list"),
        }
    }

    /// Whether `address`, to which `target` led, may be connected to.
    pub fn lets_reach(&self, target: &Target, address: IpAddr, cluster: &[IpNet]) -> Result<Reach, Denial> {
        let itself = match target.host {
            Host::Address(_) if self.allow.names_address(address) => vec![IpNet::from(address::canonical(address))],
            _ => Vec::new(),
        };
        let reach =
            address::judge(address, cluster, &itself).or_else(|_| address::judge(address, cluster, &self.addresses));
        reach.map_err(|class| {
            let what = format!("{target} leads to {address}, which is {}", class.as_str());
            Denial::new(Reason::AddressNotAllowed, what)
        })
    }
}

/// All that the gateway knows of pools, sessions and keys. Immutable: a change is another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Keys by which tokens are signed.
    pub keys: TokenKeys,
    /// Pools by their UID.
    pub pools: HashMap<PoolUid, Arc<Pool>>,
}

impl Policies {
    /// The pool of a session that may send at the time `now`.
    pub fn admit(&self, who: &Identity, now: u64) -> Result<&Arc<Pool>, Denial> {
        let refused = |reason, what: String| Err(Denial::new(reason, what));
        let session = who.session;
        if !self.keys.trusts(who.key) {
            return refused(Reason::TokenInvalid, format!("the key of session {session}'s token is no longer trusted"));
        }
        if who.expires <= now {
            return refused(Reason::TokenExpired, format!("the token of session {session} has expired"));
        }
        let Some(pool) = self.pools.get(&who.pool).filter(|pool| pool.tenant == who.tenant) else {
            return refused(Reason::UnknownPool, format!("no policy names pool {} of session {session}", who.pool));
        };
        match pool.sessions.get(&session) {
            Some(SessionState::Active) => Ok(pool),
            Some(SessionState::Ended) => {
                refused(Reason::SessionEnded, format!("session {session} of pool {} has ended", pool.name))
            }
            None => refused(Reason::UnknownSession, format!("pool {} has no session {session}", pool.name)),
        }
    }

    /// Whether a connection that was let through would be let through again.
    pub fn still(&self, passage: &Passage, cluster: &[IpNet], now: u64) -> Result<(), Denial> {
        let pool = self.admit(&passage.who, now)?;
        pool.lets_ask(&passage.target)?;
        match passage.address {
            Some(address) => pool.lets_reach(&passage.target, address, cluster).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// What a connection was let through for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Whose it is.
    pub who: Identity,
    /// What was asked for.
    pub target: Target,
    /// The address that was checked and connected to; none where a company's proxy resolves the name.
    pub address: Option<IpAddr>,
}

#[cfg(test)]
pub(crate) mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::token::Signer;

    const NOW: u64 = 1_800_000_000;

    fn uid(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn signer() -> Signer {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Signer::from_pkcs8(&pair.serialize_der()).unwrap()
    }

    fn pool() -> Pool {
        let entries = ["api.example.com", "10.1.2.3", "plain.example.com:80"].map(|entry| entry.parse().unwrap());
        Pool {
            uid: uid(2).into(),
            name: "acme/desktops".into(),
            tenant: uid(3).into(),
            allow: AllowList::new(entries.into()),
            addresses: vec!["10.20.0.0/16".parse().unwrap()],
            limits: Limits::default(),
            sessions: [(uid(1).into(), SessionState::Active), (uid(9).into(), SessionState::Ended)].into(),
        }
    }

    fn identity(signer: &Signer) -> Identity {
        Identity {
            session: uid(1).into(),
            pool: uid(2).into(),
            tenant: uid(3).into(),
            expires: NOW + 60,
            key: signer.public_key(),
        }
    }

    fn policies(signer: &Signer) -> Policies {
        let pool = pool();
        Policies { keys: signer.into(), pools: [(pool.uid, Arc::new(pool))].into() }
    }

    fn admitted(change: impl FnOnce(&mut Identity)) -> Option<Reason> {
        let signer = signer();
        let mut who = identity(&signer);
        change(&mut who);
        policies(&signer).admit(&who, NOW).err().map(|denial| denial.reason)
    }

    #[test]
    fn only_a_known_live_session_of_its_own_pool_and_tenant_is_let_in() {
        assert_eq!(admitted(|_| ()), None);
        assert_eq!(admitted(|who| who.session = uid(9).into()), Some(Reason::SessionEnded));
        assert_eq!(admitted(|who| who.session = uid(8).into()), Some(Reason::UnknownSession));
        assert_eq!(admitted(|who| who.pool = uid(8).into()), Some(Reason::UnknownPool));
        assert_eq!(admitted(|who| who.tenant = uid(8).into()), Some(Reason::UnknownPool));
        assert_eq!(admitted(|who| who.expires = NOW), Some(Reason::TokenExpired));
        assert_eq!(admitted(|who| who.key = signer().public_key()), Some(Reason::TokenInvalid));
    }

    #[test]
    fn a_name_never_opens_the_address_that_is_listed_as_one() {
        let pool = pool();
        let (literal, name) = ("10.1.2.3:443", "api.example.com:443");
        let (literal, name) = (Target::parse(literal, None).unwrap(), Target::parse(name, None).unwrap());
        let address = "10.1.2.3".parse().unwrap();
        assert_eq!(pool.lets_reach(&literal, address, &["10.0.0.0/8".parse().unwrap()]), Ok(Reach::Listed));
        assert_eq!(pool.lets_reach(&name, address, &[]).unwrap_err().reason, Reason::AddressNotAllowed);
        assert_eq!(pool.lets_reach(&name, "10.20.3.4".parse().unwrap(), &[]), Ok(Reach::Listed));
    }

    #[test]
    fn refusals_name_target_and_pool() {
        let target = Target::parse("evil.example:443", None).unwrap();
        let denial = pool().lets_ask(&target).unwrap_err();
        assert_eq!(denial.what, "evil.example:443 is not in the allow-list of pool acme/desktops");
        let target = Target::parse("api.example.com:22", None).unwrap();
        assert_eq!(pool().lets_ask(&target).unwrap_err().reason, Reason::PortNotAllowed);
    }

    #[test]
    fn a_connection_lives_only_as_long_as_it_would_be_let_through_again() {
        let signer = signer();
        let policies = policies(&signer);
        let target = Target::parse("api.example.com:443", None).unwrap();
        let mut passage = Passage { who: identity(&signer), target, address: Some("10.20.3.4".parse().unwrap()) };
        let mut changed = policies.clone();
        let still =
            |policies: &Policies, passage: &Passage, now| policies.still(passage, &[], now).err().map(|it| it.reason);
        assert_eq!(still(&policies, &passage, NOW), None);
        assert_eq!(still(&policies, &passage, NOW + 60), Some(Reason::TokenExpired));
        let mut pool = pool();
        pool.addresses.clear();
        changed.pools.insert(pool.uid, Arc::new(pool.clone()));
        assert_eq!(still(&changed, &passage, NOW), Some(Reason::AddressNotAllowed));
        passage.address = None;
        assert_eq!(still(&changed, &passage, NOW), None);
        pool.allow = AllowList::default();
        changed.pools.insert(pool.uid, Arc::new(pool));
        assert_eq!(still(&changed, &passage, NOW), Some(Reason::HostNotAllowed));
        changed.pools.clear();
        assert_eq!(still(&changed, &passage, NOW), Some(Reason::UnknownPool));
    }
}
