//! Relationship tuples: who stands in which relation to what.
//!
//! In: subjects as Kubernetes names them, and tuples as the server shows them. Out: tuples that every server takes, and what must be
//! written and deleted so that those that stand there are those that are wanted.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{fault::Fault, owner::Identity};

/// Most tuples that a server takes in one request, by its default.
pub(crate) const BATCH: usize = 100;

/// Longest `user` of a tuple that a server takes, in bytes. Source: `CheckRequestTupleKey.user` of OpenFGA's API.
const USER_MAX: usize = 512;

/// A user or group as the API server authenticates it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// One user.
    User(String),
    /// All members of a group.
    Group(String),
}

impl Subject {
    /// As it stands in a tuple: `user:<name>` or `group:<name>#member`, the name percent-encoded but for letters, digits and `-._~@+/`.
    ///
    /// So no name can be read as a wildcard (`user:*`), as another type or as a relation.
    ///
    /// # Errors
    /// Too long to stand in a tuple.
    pub fn in_tuple(&self) -> Result<String, Fault> {
        let (text, name) = match self {
            Self::User(name) => (format!("user:{}", encoded(name)), name),
            Self::Group(name) => (format!("group:{}#member", encoded(name)), name),
        };
        if text.len() <= USER_MAX {
            return Ok(text);
        }
        let shown: String = name.chars().take(40).collect();
        Err(Fault::invalid(format!(
            "the name {shown:?}… takes {} bytes when percent-encoded, and OpenFGA takes {USER_MAX}: use a shorter name",
            text.len()
        )))
    }
}

fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~@+/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").ok();
        }
        text
    })
}

/// One relationship.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Who, such as `user:anna` or `group:admins#member`.
    pub user: String,
    /// In which relation.
    pub relation: String,
    /// To what, such as `workspace:22222222-2222-4222-8222-222222222222`.
    pub object: String,
}

impl Tuple {
    pub(crate) fn new(user: impl Into<String>, relation: &str, object: impl Into<String>) -> Self {
        Self { user: user.into(), relation: relation.to_owned(), object: object.into() }
    }
}

/// A tuple as the server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TupleSeen {
    /// The tuple.
    pub tuple: Tuple,
    /// Whether it holds under a condition only. None of ours does.
    pub conditional: bool,
}

/// The object that stands for a tenant.
pub fn tenant(identity: &Identity) -> String {
    format!("tenant:{identity}")
}

/// The object that stands for a workspace. By its identity, not its name: what an application wrote about a workspace that is gone must
/// not serve its namesake.
pub fn workspace(identity: &Identity) -> String {
    format!("workspace:{identity}")
}

/// What is to be deleted and written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) deletes: Vec<Tuple>,
    pub(crate) writes: Vec<Tuple>,
}

impl Changes {
    /// What makes `seen` be `wanted`. Of `seen` only what stands in one of `relations` is ours to judge.
    pub(crate) fn between(wanted: &BTreeSet<Tuple>, seen: &[TupleSeen], relations: &[&str]) -> Self {
        let ours = || seen.iter().filter(|seen| relations.contains(&seen.tuple.relation.as_str()));
        let deletes = ours().filter(|seen| seen.conditional || !wanted.contains(&seen.tuple));
        // One that stands there under a condition is deleted first, and written the next time: a request names a tuple once.
        let writes = wanted.iter().filter(|tuple| ours().all(|seen| seen.tuple != **tuple));
        Self { deletes: deletes.map(|seen| seen.tuple.clone()).collect(), writes: writes.cloned().collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deletes.is_empty() && self.writes.is_empty()
    }

    /// In requests that a server takes. What is taken away comes first; a change that fits one request is whole in it.
    pub(crate) fn batches(mut self) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let deletes: Vec<Tuple> = self.deletes.drain(..self.deletes.len().min(BATCH)).collect();
            let room = BATCH - deletes.len();
            let writes = self.writes.drain(..self.writes.len().min(room)).collect();
            let batch = Self { deletes, writes };
            (!batch.is_empty()).then_some(batch)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(user: &str, relation: &str, conditional: bool) -> TupleSeen {
        TupleSeen { tuple: Tuple::new(user, relation, "workspace:finance"), conditional }
    }

    #[test]
    fn no_name_can_be_read_as_a_wildcard_another_type_or_a_relation() {
        for (name, wanted) in [
            ("*", "user:%2A"),
            ("group:admins#member", "user:group%3Aadmins%23member"),
            ("anna@acme.example", "user:anna@acme.example"),
            ("https://login.example/#anna b", "user:https%3A//login.example/%23anna%20b"),
            ("100%", "user:100%25"),
            ("müller", "user:m%C3%BCller"),
        ] {
            assert_eq!(Subject::User(name.to_owned()).in_tuple().unwrap(), wanted);
        }
        assert_eq!(Subject::Group("a:b".to_owned()).in_tuple().unwrap(), "group:a%3Ab#member");
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused_by_its_beginning() {
        let fault = Subject::User("ü".repeat(253)).in_tuple().unwrap_err();
        assert!(fault.message.contains("takes 1523 bytes") && fault.message.contains("shorter name"), "{fault}");
        assert!(Subject::User("u".repeat(253)).in_tuple().is_ok());
    }

    #[test]
    fn relations_of_others_are_left_alone_and_conditions_on_ours_are_not() {
        let wanted = BTreeSet::from([
            Tuple::new("user:anna", "editor", "workspace:finance"),
            Tuple::new("user:ben", "editor", "workspace:finance"),
        ]);
        let there = [
            seen("user:ben", "editor", true),
            seen("user:carl", "editor", false),
            seen("user:dora", "approver", false),
        ];
        let changes = Changes::between(&wanted, &there, &["editor", "viewer"]);
        let users = |tuples: &[Tuple]| tuples.iter().map(|tuple| tuple.user.clone()).collect::<Vec<_>>();
        assert_eq!(users(&changes.deletes), ["user:ben", "user:carl"]);
        assert_eq!(users(&changes.writes), ["user:anna"]);
    }

    proptest! {
        #[test]
        fn different_names_stay_different_and_are_legal(a in ".{1,40}", b in ".{1,40}") {
            let text = |name: &str| Subject::User(name.to_owned()).in_tuple().unwrap();
            prop_assert_eq!(text(&a) == text(&b), a == b);
            let id = text(&a).split_off("user:".len());
            prop_assert!(!id.is_empty() && !id.contains(|c: char| c.is_whitespace() || ":#*".contains(c)), "{}", id);
        }

        #[test]
        fn batches_hold_everything_once_and_are_small_enough(deletes in 0_usize..350, writes in 0_usize..350) {
            let tuples = |count, relation| {
                (0..count).map(|i| Tuple::new(format!("user:{i}"), relation, "workspace:x")).collect::<Vec<_>>()
            };
            let all = Changes { deletes: tuples(deletes, "viewer"), writes: tuples(writes, "editor") };
            let batches: Vec<Changes> = all.clone().batches().collect();
            let sizes = batches.iter().map(|batch| batch.deletes.len() + batch.writes.len());
            prop_assert!(sizes.clone().all(|size| (1..=BATCH).contains(&size)));
            prop_assert_eq!(batches.len(), (deletes + writes).div_ceil(BATCH));
            prop_assert_eq!(batches.iter().flat_map(|batch| batch.deletes.clone()).collect::<Vec<_>>(), all.deletes);
            prop_assert_eq!(batches.iter().flat_map(|batch| batch.writes.clone()).collect::<Vec<_>>(), all.writes);
        }
    }
}
