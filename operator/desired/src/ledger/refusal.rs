//! Why a Workspace was granted less than it asks for.

use std::fmt;

use api::{amounts::format_named, conditions};

use super::Limited;

/// The reason of a refusal, as the Workspace's conditions name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The Tenant limits a resource that the Workspace does not name.
    Required,
    /// The Tenant's quota has no room.
    Exceeded,
}

impl Reason {
    /// The documented reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => conditions::QUOTA_REQUIRED,
            Self::Exceeded => conditions::QUOTA_EXCEEDED,
        }
    }

    /// The reason of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Required, Self::Exceeded].into_iter().find(|reason| reason.as_str() == name)
    }
}

/// A refusal: its reason, and which resource, how much was asked and how much is possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its reason.
    pub reason: Reason,
    /// What was refused and what would be possible, at most 256 characters.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Refusal {
    pub(super) fn required(unnamed: &[&str]) -> Self {
        let them = unnamed.join(", ");
        Self { reason: Reason::Required, message: format!("the Tenant limits {them}: name how much in spec.quota") }
    }

    pub(super) fn exceeded(too_much: &[Limited]) -> Self {
        let line = |resource: &Limited| {
            let [asked, possible, limit] = [resource.wanted.unwrap_or(0), resource.possible(), resource.limit]
                .map(|amount| format_named(resource.name, amount));
            format!("{}: {asked} asked, up to {possible} possible of the Tenant's {limit}", resource.name)
        };
        Self { reason: Reason::Exceeded, message: too_much.iter().map(line).collect::<Vec<_>>().join("; ") }
    }

    pub(super) fn no_more_workspaces(most: i32) -> Self {
        Self { reason: Reason::Exceeded, message: format!("workspaces: the {most} that the Tenant can have are taken") }
    }
}
