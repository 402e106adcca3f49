//! The people that a spec names: owners of a Tenant and members of a Workspace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Whether a name is one user's or a group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// A user as the API server authenticates it.
    User,
    /// A group as the API server authenticates it.
    Group,
}

impl SubjectKind {
    /// The kind as RBAC writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }
}

/// An owner of a Tenant: editor in each of its stacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// User or Group.
    pub kind: SubjectKind,
    /// Its name as the API server authenticates it, at most 253 characters.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::subject_name(), validation = rules::subject_characters())]
    pub name: String,
}

/// What a member may do in a stack. No role lets anybody change isolation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Reads everything in the stack but Secrets and logs.
    Viewer,
    /// Reads what a viewer reads, and logs.
    Editor,
}

/// A member of a Workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// User or Group.
    pub kind: SubjectKind,
    /// Its name as the API server authenticates it, at most 253 characters.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::subject_name(), validation = rules::subject_characters())]
    pub name: String,
    /// What it may do.
    pub role: Role,
}
