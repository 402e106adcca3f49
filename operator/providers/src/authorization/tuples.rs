//! Relationship tuples: who stands in which relation to what.
//!
//! In: subjects as Kubernetes names them, and tuples as the server shows them. Out: tuples that every server takes, and what must be
//! written and deleted so that those that stand there are those that are wanted.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{fault::Fault, owner::Identity};

/// Most tuples that a server takes in one request, by its default.
pub(crate) const BATCH: usize = 100;

/// Longest `user` of a tuple that every server takes, in bytes: the column `_user` of OpenFGA's schema for `MySQL`. Its API takes 512.
const USER_MAX: usize = 256;

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

/// Which tuples of a store are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of<'a> {
    /// Any: the first hundred.
    Store,
    /// Those of an object in whatever relation.
    Anyhow(&'a str),
    /// Those of an object in one relation.
    Object(&'a str, &'a str),
    /// Those by which somebody stands in one relation to anything of a type.
    User(&'a str, &'a str, &'a str),
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
    /// What makes `seen` be `wanted`.
    pub(crate) fn between(wanted: &BTreeSet<Tuple>, seen: &[TupleSeen]) -> Self {
        let deletes = seen.iter().filter(|seen| seen.conditional || !wanted.contains(&seen.tuple));
        let stands = |tuple: &Tuple| seen.iter().any(|seen| seen.tuple == *tuple && !seen.conditional);
        let writes = wanted.iter().filter(|tuple| !stands(tuple));
        Self { deletes: deletes.map(|seen| seen.tuple.clone()).collect(), writes: writes.cloned().collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deletes.is_empty() && self.writes.is_empty()
    }

    /// In requests that a server takes. What is taken away comes first and alone: a write that the server refuses must not take it back.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Self> {
        let deletes = self.deletes.chunks(BATCH).map(|some| Self { deletes: some.to_vec(), writes: Vec::new() });
        let writes = self.writes.chunks(BATCH).map(|some| Self { deletes: Vec::new(), writes: some.to_vec() });
        deletes.chain(writes)
    }
}

/// Those that can be written, and why another cannot.
pub(crate) fn writable(tuples: impl Iterator<Item = Result<Tuple, Fault>>) -> (BTreeSet<Tuple>, Option<Fault>) {
    let (mut fit, mut told) = (BTreeSet::new(), None);
    for tuple in tuples {
        match tuple {
            Ok(tuple) => drop(fit.insert(tuple)),
            Err(fault) => told = Some(fault),
        }
    }
    (fit, told)
}

/// Whether all that is wanted can be written and stands there, and nothing else.
pub(crate) fn is_all_there((wanted, unwritable): (BTreeSet<Tuple>, Option<Fault>), seen: &[TupleSeen]) -> bool {
    unwritable.is_none() && Changes::between(&wanted, seen).is_empty()
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
        assert!(
            Subject::User("u".repeat(251)).in_tuple().is_ok() && Subject::User("u".repeat(252)).in_tuple().is_err()
        );
    }

    #[test]
    fn a_condition_on_one_of_ours_is_taken_away() {
        let wanted = BTreeSet::from([
            Tuple::new("user:anna", "editor", "workspace:finance"),
            Tuple::new("user:ben", "editor", "workspace:finance"),
        ]);
        let there = [seen("user:ben", "editor", true), seen("user:carl", "editor", false)];
        let changes = Changes::between(&wanted, &there);
        let users = |tuples: &[Tuple]| tuples.iter().map(|tuple| tuple.user.clone()).collect::<Vec<_>>();
        assert_eq!(users(&changes.deletes), ["user:ben", "user:carl"]);
        assert_eq!(users(&changes.writes), ["user:anna", "user:ben"]);
    }

    proptest! {
        #[test]
        fn different_names_stay_different_and_are_legal(a in ".{1,20}", b in ".{1,20}") {
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
            let batches: Vec<Changes> = all.batches().collect();
            let sizes = batches.iter().map(|batch| batch.deletes.len() + batch.writes.len());
            prop_assert!(sizes.clone().all(|size| (1..=BATCH).contains(&size)));
            prop_assert_eq!(batches.len(), deletes.div_ceil(BATCH) + writes.div_ceil(BATCH));
            prop_assert!(batches.iter().all(|batch| batch.deletes.is_empty() || batch.writes.is_empty()));
            prop_assert_eq!(batches.iter().flat_map(|batch| batch.deletes.clone()).collect::<Vec<_>>(), all.deletes);
            prop_assert_eq!(batches.iter().flat_map(|batch| batch.writes.clone()).collect::<Vec<_>>(), all.writes);
        }
    }
}
