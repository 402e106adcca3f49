//! What a store shall do by itself with what grows old in a bucket of backups.
//!
//! In: a [`Lifecycle`] as wanted. Out: what the store tells of it ([`LifecycleObserved`]), and whether rules of somebody else stand against
//! it ([`conflict`]).
//!
//! A bucket of ours is versioned, so whatever is deleted or overwritten stays as an older version until a rule of the store removes it:
//! without one, deleting frees nothing, and what was promised to be gone is still there.

use std::collections::BTreeSet;

use super::{BucketObserved, BucketSpec};
use crate::fault::{Fault, reasons};

/// How many rules of somebody else a message names.
const NAMED: usize = 3;

/// What shall happen to what grows old. Days are the store's: it counts from the midnight after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// For how many days what was deleted or overwritten stays as an older version.
    pub keep_deleted: u16,
    /// Where older objects move, if they shall.
    pub archive: Option<Archive>,
}

/// Older objects move to another class of storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Days after which they do.
    pub after: u16,
    /// The class, as the store calls it.
    pub storage_class: String,
}

/// One of our rules, as the store shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Told<T> {
    /// There is none.
    #[default]
    Absent,
    /// It says this, for the whole bucket and nothing else.
    Says(T),
    /// There is one that says something else than we would ever write.
    Garbled,
}

impl<T> Told<T> {
    /// Of what is wanted, as it will be told.
    pub(crate) fn of(wanted: Option<T>) -> Self {
        wanted.map_or(Self::Absent, Self::Says)
    }
}

/// What the store tells of its rules. Of a bucket for which no [`Lifecycle`] is wanted nothing is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleObserved {
    /// For how many days older versions stay.
    pub keep_deleted: Told<u16>,
    /// Where older objects move.
    pub archive: Told<Archive>,
    /// Rules of somebody else by which what is to be kept goes or moves.
    pub harmful: BTreeSet<String>,
}

/// Pure: whether older versions are dropped as wanted.
pub(super) fn expires_as_wanted(want: &BucketSpec, have: &LifecycleObserved) -> bool {
    want.lifecycle.as_ref().is_none_or(|wanted| have.keep_deleted == Told::Says(wanted.keep_deleted))
}

/// Pure: whether older objects move as wanted.
pub(super) fn archives_as_wanted(want: &BucketSpec, have: &LifecycleObserved) -> bool {
    want.lifecycle.as_ref().is_none_or(|wanted| have.archive == Told::of(wanted.archive.clone()))
}

/// Pure: rules of somebody else by which backups would go or move. They are told and left alone: whoever made them may have a reason, and
/// what they removed is gone already. `what` names the bucket and its store.
pub(super) fn conflict(what: &str, have: &BucketObserved) -> Option<Fault> {
    let harmful = &have.settings.lifecycle.harmful;
    if harmful.is_empty() {
        return None;
    }
    let mut named: Vec<String> = harmful.iter().take(NAMED).map(|rule| format!("`{rule}`")).collect();
    if harmful.len() > NAMED {
        named.push(format!("{} more", harmful.len() - NAMED));
    }
    Some(Fault::stalled(
        reasons::LIFECYCLE_CONFLICT,
        format!(
            "{what}: lifecycle rules that are not Steading's ({}) delete or move backups before their time: remove these rules at the store, \
             and check that the backups are whole",
            named.join(", ")
        ),
    ))
}
