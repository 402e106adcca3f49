//! A point: a story, and what befalls the operator at which of its writes. In and out: text such as
//! `create/patch.tenants-status.tenant.1/crash-before`, which is all that is needed to do it again.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, bail};
use providers::memory::Operation;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Story {
    /// A Tenant with one Workspace comes about.
    Create,
    /// Both change: more quota, other people, a rotated key.
    Change,
    /// Both go, and their data with them.
    Delete,
    /// A Workspace that stands gets a database, and an application of another team that uses all there is; a restore drill proves backups.
    Equip,
    /// The application's namespace consents no more, and the Workspace is suspended.
    Withdraw,
    /// The Workspace goes with all that, and its backups stay.
    Leave,
}

impl Story {
    /// What has come about before it begins.
    pub(super) fn follows(self) -> Option<Self> {
        match self {
            Self::Create => None,
            Self::Change | Self::Delete | Self::Equip => Some(Self::Create),
            Self::Withdraw | Self::Leave => Some(Self::Equip),
        }
    }

    /// Whether it is one of a database and its consumer.
    pub(super) fn is_of_database(self) -> bool {
        matches!(self, Self::Equip | Self::Withdraw | Self::Leave)
    }
}

/// One write of a story: what is written, and the how-manieth of these it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteName {
    /// Such as `patch.tenants-status.tenant`, or `provider.create-key`.
    pub what: String,
    /// From 1.
    pub nth: usize,
}

/// What befalls the operator at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // `FAULTS` gives each its name, `points` says where each fits
pub enum Fault {
    CrashBefore,
    CrashAfter,
    Conflict,
    AlreadyExists,
    Invalid,
    OverQuota,
    Forbidden,
    Terminating,
    TooMany,
    Internal,
    Unavailable,
    TimeoutAfter,
    ResetBefore,
    ResetAfter,
    Late,
    Broken,
    Half,
    LostAnswer,
    Throttled,
    Denied,
}

/// A fault at a write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blow {
    /// The write.
    pub write: WriteName,
    /// The fault.
    pub fault: Fault,
}

/// A story and its blows, of which each falls after the one before; none is the story as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// The story.
    pub story: Story,
    /// The blows.
    pub blows: Vec<Blow>,
}

pub(super) const STORIES: [(Story, &str); 6] = [
    (Story::Create, "create"),
    (Story::Change, "change"),
    (Story::Delete, "delete"),
    (Story::Equip, "equip"),
    (Story::Withdraw, "withdraw"),
    (Story::Leave, "leave"),
];

const FAULTS: [(Fault, &str); 20] = [
    (Fault::CrashBefore, "crash-before"),
    (Fault::CrashAfter, "crash-after"),
    (Fault::Conflict, "conflict"),
    (Fault::AlreadyExists, "already-exists"),
    (Fault::Invalid, "invalid"),
    (Fault::OverQuota, "over-quota"),
    (Fault::Forbidden, "forbidden"),
    (Fault::Terminating, "terminating"),
    (Fault::TooMany, "too-many"),
    (Fault::Internal, "internal"),
    (Fault::Unavailable, "unavailable"),
    (Fault::TimeoutAfter, "timeout-after"),
    (Fault::ResetBefore, "reset-before"),
    (Fault::ResetAfter, "reset-after"),
    (Fault::Late, "late"),
    (Fault::Broken, "broken"),
    (Fault::Half, "half"),
    (Fault::LostAnswer, "lost-answer"),
    (Fault::Throttled, "throttled"),
    (Fault::Denied, "denied"),
];

/// Credentials that a store issues for backups; all others are a consumer's.
pub(super) const ISSUE_FOR_BACKUPS: &str = "provider.issue-for-backups";

pub(super) const OPERATIONS: [(Operation, &str); 15] = [
    (Operation::CreateKey, "provider.create-key"),
    (Operation::UpdateKey, "provider.update-key"),
    (Operation::ReleaseKey, "provider.release-key"),
    (Operation::DeleteKey, "provider.delete-key"),
    (Operation::CreateBucket, "provider.create-bucket"),
    (Operation::UpdateBucket, "provider.update-bucket"),
    (Operation::ReleaseBucket, "provider.release-bucket"),
    (Operation::DeleteBucket, "provider.delete-bucket"),
    (Operation::IssueIdentity, ISSUE_FOR_BACKUPS),
    (Operation::IssueIdentity, "provider.issue-for-consumer"),
    (Operation::RevokeIdentities, "provider.revoke-identities"),
    (Operation::CreateStore, "provider.create-store"),
    (Operation::WriteModel, "provider.write-model"),
    (Operation::WriteTuples, "provider.write-tuples"),
    (Operation::DeleteStore, "provider.delete-store"),
];

impl Fault {
    /// Whether the operator ends there.
    pub fn is_crash(self) -> bool {
        matches!(self, Self::CrashBefore | Self::CrashAfter)
    }

    /// What befalls requests to the API server, crashes aside.
    pub(super) const ON_WIRE: [Self; 13] = [
        Self::Conflict,
        Self::AlreadyExists,
        Self::Invalid,
        Self::OverQuota,
        Self::Forbidden,
        Self::Terminating,
        Self::TooMany,
        Self::Internal,
        Self::Unavailable,
        Self::TimeoutAfter,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Late,
    ];

    /// What befalls calls outside the cluster, crashes aside.
    pub(super) const OUTSIDE: [Self; 5] = [Self::Broken, Self::Half, Self::LostAnswer, Self::Throttled, Self::Denied];

    /// Both ends that a process can come to at a write.
    pub(super) const CRASHES: [Self; 2] = [Self::CrashBefore, Self::CrashAfter];
}

impl WriteName {
    /// The call outside the cluster that it is, if it is one.
    pub fn operation(&self) -> Option<Operation> {
        OPERATIONS.iter().find(|(_, name)| *name == self.what).map(|(operation, _)| *operation)
    }
}

impl Point {
    /// Whether the operator ends somewhere in it.
    pub fn has_crash(&self) -> bool {
        self.blows.iter().any(|blow| blow.fault.is_crash())
    }
}

fn name_of<T: PartialEq>(table: &[(T, &'static str)], one: &T) -> &'static str {
    table.iter().find(|(other, _)| other == one).map_or("", |(_, name)| name)
}

fn named<T: Copy>(table: &[(T, &'static str)], name: &str) -> Result<T> {
    let all = || table.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    let found = table.iter().find(|(_, other)| *other == name).map(|(one, _)| *one);
    found.with_context(|| format!("{name:?} is none of {}", all()))
}

impl fmt::Display for WriteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.what, self.nth)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&STORIES, &self.story))?;
        for (index, blow) in self.blows.iter().enumerate() {
            let between = if index == 0 { "/" } else { "+" };
            write!(f, "{between}{blow}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.write, name_of(&FAULTS, &self.fault))
    }
}

impl FromStr for Blow {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((write, fault)) = text.split_once('/') else { bail!("{text:?} is no write and fault") };
        Ok(Self { write: write.parse()?, fault: named(&FAULTS, fault)? })
    }
}

impl FromStr for WriteName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (what, nth) = text.rsplit_once('.').with_context(|| format!("{text:?} has no number at its end"))?;
        let nth = nth.parse().with_context(|| format!("{nth:?} is no number"))?;
        Ok(Self { what: what.to_owned(), nth })
    }
}

impl FromStr for Point {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (story, rest) = text.split_once('/').unwrap_or((text, ""));
        let story = named(&STORIES, story)?;
        let blows = rest.split('+').filter(|blow| !blow.is_empty()).map(str::parse);
        Ok(Self { story, blows: blows.collect::<Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_what_its_text_says() {
        for text in [
            "create",
            "create/patch.tenants-status.tenant.1/crash-before",
            "delete/provider.delete-bucket.2/half+patch.x.1/late",
            "change/post.events.3/conflict+provider.update-key.1/denied",
        ] {
            assert_eq!(text.parse::<Point>().unwrap().to_string(), text);
        }
        let point: Point = "create/provider.create-key.1/crash-after".parse().unwrap();
        assert_eq!(point.blows[0].write.operation(), Some(Operation::CreateKey));
        assert!(point.has_crash());
    }

    #[test]
    fn what_is_no_point_is_refused() {
        for text in ["", "erase", "create/x", "create/x/late", "create/x.1/later", "create/x.y/late"] {
            assert!(text.parse::<Point>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = FAULTS.iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), FAULTS.len());
        let all = Fault::ON_WIRE.len() + Fault::OUTSIDE.len() + Fault::CRASHES.len();
        assert_eq!(all, FAULTS.len(), "a fault is in no list, or in two");
    }
}
