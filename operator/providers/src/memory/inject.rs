//! The faults that a test can ask for.
//!
//! In: an [`Injection`] that says which calls fail, when, and how. Out: the verdict for each call.

use std::{future::pending, time::Duration};

use super::State;
use crate::fault::Fault;

/// One operation of one adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Looks at a key.
    ObserveKey,
    /// Makes a key.
    CreateKey,
    /// Changes or rotates a key.
    UpdateKey,
    /// Marks a key as released.
    ReleaseKey,
    /// Disables a key.
    DeleteKey,
    /// Looks at a bucket.
    ObserveBucket,
    /// Makes a bucket.
    CreateBucket,
    /// Changes a bucket.
    UpdateBucket,
    /// Marks a bucket as released.
    ReleaseBucket,
    /// Empties and removes a bucket.
    DeleteBucket,
    /// Issues an identity.
    IssueIdentity,
    /// Ends identities before their time.
    RevokeIdentities,
    /// Looks for the stores of a name.
    ListStores,
    /// Makes a store.
    CreateStore,
    /// Removes a store.
    DeleteStore,
    /// Reads the models of a store.
    ReadModels,
    /// Adds a model to a store.
    WriteModel,
    /// Reads tuples of a store.
    ReadTuples,
    /// Writes and deletes tuples of a store.
    WriteTuples,
}

impl Operation {
    /// Whether it can change anything.
    pub fn writes(self) -> bool {
        !matches!(self, Self::ObserveKey | Self::ObserveBucket | Self::ListStores | Self::ReadModels | Self::ReadTuples)
    }
}

/// Which calls of an operation fail, counted over those that fit the injection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// All of them.
    All,
    /// Only this one, from 1.
    Nth(u64),
    /// The first so many.
    First(u64),
}

/// How much of the call is done before it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing.
    BeforeCommit,
    /// So many of its steps (making the thing, marking it, each attribute that is repaired).
    AfterSteps(usize),
    /// Everything; only the answer is lost.
    AfterCommit,
}

/// How the call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As when the connection breaks.
    Transient,
    /// As when the server is asked too often.
    Throttled {
        /// What the server asks for.
        retry_after: Duration,
    },
    /// As when a right is missing.
    Denied,
    /// It never answers.
    Hangs,
}

impl Outcome {
    pub(super) async fn fault<T>(self, object: &str) -> Result<T, Fault> {
        Err(match self {
            Self::Transient => Fault::transient(format!(
                "in memory: the connection broke while working on `{object}`; it is tried again"
            )),
            Self::Throttled { retry_after } => {
                Fault::throttled(Some(retry_after), format!("in memory: too many requests for `{object}`"))
            }
            Self::Denied => Fault::denied(format!("in memory: access to `{object}` is denied; grant it")),
            Self::Hangs => pending().await,
        })
    }
}

/// A fault that a test asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Only this operation; `None` for all.
    pub operation: Option<Operation>,
    /// Only calls for this identity: the tenant's of a key or a store, the workspace's of a bucket or its members, the session's name of an identity, the name by which
    /// identities are ended.
    pub identity: Option<String>,
    /// Which of those calls.
    pub calls: Calls,
    /// How much is done before.
    pub moment: Moment,
    /// How it fails.
    pub outcome: Outcome,
}

impl Injection {
    /// Every call of the operation breaks before anything is done. Narrow it with the other methods.
    pub fn on(operation: Operation) -> Self {
        Self { operation: Some(operation), ..Self::everywhere() }
    }

    /// Every call breaks before anything is done. Narrow it with the other methods.
    pub fn everywhere() -> Self {
        Self {
            operation: None,
            identity: None,
            calls: Calls::All,
            moment: Moment::BeforeCommit,
            outcome: Outcome::Transient,
        }
    }

    /// Only calls for this identity.
    #[must_use]
    pub fn identity(self, identity: impl Into<String>) -> Self {
        Self { identity: Some(identity.into()), ..self }
    }

    /// Only the n-th call that fits, from 1.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { calls: Calls::Nth(nth), ..self }
    }

    /// Only the first calls that fit.
    #[must_use]
    pub fn first(self, count: u64) -> Self {
        Self { calls: Calls::First(count), ..self }
    }

    /// After everything is done.
    #[must_use]
    pub fn after_commit(self) -> Self {
        Self { moment: Moment::AfterCommit, ..self }
    }

    /// After so many steps.
    #[must_use]
    pub fn after_steps(self, count: usize) -> Self {
        Self { moment: Moment::AfterSteps(count), ..self }
    }

    /// Fails as throttled.
    #[must_use]
    pub fn throttled(self, retry_after: Duration) -> Self {
        Self { outcome: Outcome::Throttled { retry_after }, ..self }
    }

    /// Fails as denied.
    #[must_use]
    pub fn denied(self) -> Self {
        Self { outcome: Outcome::Denied, ..self }
    }

    /// Never answers.
    #[must_use]
    pub fn hangs(self) -> Self {
        Self { outcome: Outcome::Hangs, ..self }
    }
}

/// An injection, and how many calls fitted so far.
#[derive(Debug)]
pub(crate) struct Armed {
    injection: Injection,
    seen: u64,
}

impl Armed {
    pub(super) fn new(injection: Injection) -> Self {
        Self { injection, seen: 0 }
    }

    /// Whether it was asked for of this identity alone.
    pub(super) fn is_for(&self, identity: &str) -> bool {
        self.injection.identity.as_deref() == Some(identity)
    }

    /// Counts the call if it fits, and says whether it fails.
    fn strikes(&mut self, operation: Operation, identity: &str) -> bool {
        let fits = self.injection.operation.is_none_or(|only| only == operation)
            && self.injection.identity.as_deref().is_none_or(|only| only == identity);
        if !fits {
            return false;
        }
        self.seen += 1;
        match self.injection.calls {
            Calls::All => true,
            Calls::Nth(nth) => self.seen == nth,
            Calls::First(count) => self.seen <= count,
        }
    }
}

impl State {
    /// Counts a call and says whether and how it fails.
    pub(super) fn strike(&mut self, operation: Operation, identity: &str, object: &str) -> Option<(Moment, Outcome)> {
        *self.calls.entry(operation).or_default() += 1;
        *self.calls_for.entry((operation, identity.to_owned())).or_default() += 1;
        self.log.push((operation, object.to_owned()));
        // Each counts what fits it, so the order of injections does not shift anybody's n-th call.
        let struck: Vec<bool> = self.injections.iter_mut().map(|armed| armed.strikes(operation, identity)).collect();
        let first =
            self.injections.iter().zip(struck).find_map(|(armed, struck)| struck.then_some(&armed.injection))?;
        Some((first.moment, first.outcome))
    }
}
