//! Who owns a thing outside the cluster, and the names and marks made of that.
//!
//! In: installation id and identities as text. Out: checked newtypes, the owner marks of a thing, and names that are legal at
//! every provider, bounded in length, and different for different owners. No name holds text that a user chose.

use std::{collections::BTreeMap, fmt};

use sha2::{Digest, Sha256};

use crate::fault::Fault;

/// Tag keys of the owner marks.
pub mod tags {
    /// The installation that made it.
    pub const INSTALLATION: &str = "steading.dev/installation";
    /// Identity of the tenant.
    pub const TENANT: &str = "steading.dev/tenant";
    /// Identity of the object in the cluster that asked for it.
    pub const OWNER: &str = "steading.dev/owner";
    /// Kind of that object.
    pub const KIND: &str = "steading.dev/kind";
    /// Present, with the value `true`, once nobody in the cluster wants the thing any more and it was kept.
    pub const RELEASED: &str = "steading.dev/released";
}

/// The installation id: a DNS label of 1 to 40 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Installation(String);

impl Installation {
    /// Checks the text.
    pub fn new(text: &str) -> Result<Self, Fault> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=40).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::invalid(format!(
                "{:?} is not an installation id: set a DNS label of 1 to 40 characters",
                shortened(text)
            )))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of a Tenant or Workspace: a UUID in lower case with dashes, 36 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

impl Identity {
    /// Checks the text. Only the one canonical spelling is taken, so that two spellings are never two owners.
    pub fn new(text: &str) -> Result<Self, Fault> {
        let well_formed = text.len() == 36
            && text.bytes().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
            });
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::invalid(format!(
                "{:?} is not an identity: write a UUID in lower case with dashes",
                shortened(text)
            )))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Name of a tenant's key in a transit engine: `steading-<installation>-<tenant identity>`, 47 to 86 characters.
///
/// Transit keys have no tags, so the name is the owner mark. It cannot be read two ways, because the identity at its end always
/// has the same length; and a policy for `transit/keys/steading-<installation>-*` fits exactly one installation's keys
/// unless another's id begins with this one's and a dash.
pub fn transit_key(installation: &Installation, tenant: &Identity) -> String {
    format!("steading-{installation}-{tenant}")
}

/// Name of a tenant's key at a KES server: `s-<installation>-<tenant identity>`, 40 to 79 characters (KES takes at most 80).
pub fn key_server_key(installation: &Installation, tenant: &Identity) -> String {
    format!("s-{installation}-{tenant}")
}

/// Name of the bucket of an owner: `steading-` and 32 characters of a hash, 41 in all (S3 takes at most 63).
///
/// Bucket names are visible and shared by everybody at a store, so they tell nothing, and nobody who lacks the identity can
/// occupy one beforehand.
pub fn bucket(installation: &Installation, owner: &Identity) -> String {
    hashed("bucket", installation, owner)
}

/// Name of the bucket for the backups of an owner's database: like [`bucket`], and another.
pub fn backup_bucket(installation: &Installation, owner: &Identity) -> String {
    hashed("backup", installation, owner)
}

/// Name of the authorization store of a tenant: `steading-` and 32 characters of a hash, 41 in all (OpenFGA takes at most 64, too few for
/// both ids). Stores carry no tags, so the name is the owner mark.
pub fn store(installation: &Installation, tenant: &Identity) -> String {
    hashed("store", installation, tenant)
}

fn hashed(purpose: &str, installation: &Installation, owner: &Identity) -> String {
    // A NUL stands in no part, so no two of them hash the same text.
    let digest = Sha256::digest(format!("{purpose}\0{installation}\0{owner}").as_bytes());
    let text = data_encoding::BASE32_NOPAD.encode(&digest).to_lowercase();
    format!("steading-{}", text.chars().take(32).collect::<String>())
}

/// The marks on a thing that can carry tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The installation that made it.
    pub installation: Installation,
    /// Identity of the tenant.
    pub tenant: Identity,
    /// Identity of the object in the cluster that asked for it.
    pub owner: Identity,
    /// Kind of that object.
    pub kind: &'static str,
}

/// What the tags of a thing say about its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// All marks are ours.
    Ours,
    /// No mark at all: nobody says that it is theirs.
    Unclaimed,
    /// Some mark is missing or somebody else's.
    Foreign,
}

impl Marks {
    fn pairs(&self) -> [(&'static str, &str); 4] {
        [
            (tags::INSTALLATION, self.installation.as_str()),
            (tags::TENANT, self.tenant.as_str()),
            (tags::OWNER, self.owner.as_str()),
            (tags::KIND, self.kind),
        ]
    }

    /// Compares with the tags of a thing. Tags that are not about ownership are ignored, unless they stand alone.
    pub fn claim(&self, found: &BTreeMap<String, String>) -> Claim {
        if found.is_empty() {
            Claim::Unclaimed
        } else if self.pairs().iter().all(|(key, value)| found.get(*key).is_some_and(|have| have == value)) {
            Claim::Ours
        } else {
            Claim::Foreign
        }
    }

    /// The tags that the thing shall have: ours, and whatever else was there.
    pub fn onto(&self, found: &BTreeMap<String, String>, released: bool) -> BTreeMap<String, String> {
        let mut all = found.clone();
        all.extend(self.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())));
        all.remove(tags::RELEASED);
        if released {
            all.insert(tags::RELEASED.to_owned(), "true".to_owned());
        }
        all
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    const ACME: &str = "11111111-1111-4111-8111-111111111111";
    const FINANCE: &str = "22222222-2222-4222-8222-222222222222";

    fn installation(text: &str) -> Installation {
        Installation::new(text).unwrap()
    }

    fn identity(text: &str) -> Identity {
        Identity::new(text).unwrap()
    }

    fn marks() -> Marks {
        Marks {
            installation: installation("prod"),
            tenant: identity(ACME),
            owner: identity(FINANCE),
            kind: "Workspace",
        }
    }

    #[test]
    fn only_one_spelling_of_an_identity_is_taken() {
        for hostile in [
            "",
            "11111111-1111-4111-8111-11111111111",
            "11111111-1111-4111-8111-11111111111A",
            "11111111x1111-4111-8111-111111111111",
            "../../../../../../../../../../../../",
        ] {
            assert!(Identity::new(hostile).is_err(), "{hostile}");
        }
        assert!(Identity::new(ACME).is_ok());
    }

    #[test]
    fn an_installation_id_is_a_dns_label_of_at_most_40_characters() {
        for hostile in ["", "-a", "a-", "A", "a.b", "a/b", &"a".repeat(41)] {
            assert!(Installation::new(hostile).is_err(), "{hostile}");
        }
        assert!(Installation::new(&"a".repeat(40)).is_ok());
    }

    #[test]
    fn the_longest_names_fit_their_providers() {
        let longest = installation(&"a".repeat(40));
        assert_eq!(transit_key(&longest, &identity(ACME)).len(), 86);
        assert_eq!(key_server_key(&longest, &identity(ACME)).len(), 79, "KES takes at most 80");
        assert_eq!(bucket(&longest, &identity(ACME)).len(), 41, "S3 takes at most 63");
        assert_eq!(backup_bucket(&longest, &identity(ACME)).len(), 41, "S3 takes at most 63");
        assert_eq!(store(&longest, &identity(ACME)).len(), 41, "OpenFGA takes at most 64");
    }

    #[test]
    fn different_owners_get_different_names() {
        let pairs = [("a", ACME), ("a", FINANCE), ("a-a", ACME), ("aa", ACME)];
        for make in [transit_key, key_server_key, bucket, backup_bucket, store] {
            let names: std::collections::BTreeSet<String> =
                pairs.iter().map(|(i, t)| make(&installation(i), &identity(t))).collect();
            assert_eq!(names.len(), pairs.len(), "{names:?}");
        }
    }

    #[test]
    fn bucket_names_are_legal_and_do_not_change_between_versions() {
        let name = bucket(&installation("prod"), &identity(ACME));
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        assert_eq!(name, "steading-omnvfvxe3ku55vkqp7h2dwdkxricsp7a");
        assert_ne!(
            backup_bucket(&installation("prod"), &identity(ACME)),
            name,
            "whoever has the data has not the backups"
        );
    }

    #[test]
    fn any_other_or_missing_mark_means_foreign() {
        let ours = marks().onto(&BTreeMap::new(), false);
        assert_eq!(marks().claim(&ours), Claim::Ours);
        for key in ours.keys() {
            let mut other = ours.clone();
            other.insert(key.clone(), "somebody".to_owned());
            assert_eq!(marks().claim(&other), Claim::Foreign, "{key} changed");
            other.remove(key);
            assert_eq!(marks().claim(&other), Claim::Foreign, "{key} missing");
        }
        assert_eq!(marks().claim(&BTreeMap::from([("team".to_owned(), "blue".to_owned())])), Claim::Foreign);
        assert_eq!(marks().claim(&BTreeMap::new()), Claim::Unclaimed);
    }

    #[test]
    fn other_peoples_tags_stay_and_the_released_mark_comes_and_goes() {
        let found = BTreeMap::from([("cost-centre".to_owned(), "7".to_owned())]);
        let released = marks().onto(&found, true);
        assert_eq!(released.get("cost-centre").map(String::as_str), Some("7"));
        assert_eq!(released.get(tags::RELEASED).map(String::as_str), Some("true"));
        let again = marks().onto(&released, false);
        assert!(!again.contains_key(tags::RELEASED));
        assert_eq!(again.len(), 5);
    }
}
