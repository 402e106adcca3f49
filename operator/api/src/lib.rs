//! What users of Steading write, and the vocabulary that every other crate shares.
//!
//! In: nothing but types and constants. Out: the kinds with their schemas and CEL rules ([`tenant_class`], [`tenant`],
//! [`workspace`], [`agent_pool`]), the one that only Steading writes ([`agent_set`]), the CRDs made of them ([`crds`]), names that are safe everywhere ([`names`]), labels ([`labels`]),
//! conditions with their documented reasons ([`conditions`]). This crate has no client and does no I/O.

pub mod agent_pool;
pub mod agent_set;
pub mod agents;
pub mod amounts;
pub mod authorization;
pub mod conditions;
pub mod consumer;
pub mod crds;
pub mod database;
pub mod drill;
pub mod duration;
pub mod labels;
pub mod names;
pub mod rules;
pub mod status;
pub mod subject;
pub mod tenant;
pub mod tenant_class;
pub mod workspace;

pub use agent_pool::{AgentPool, AgentPoolSpec, AgentPoolStatus};
pub use agent_set::{AgentSet, AgentSetSpec, AgentSetStatus};
pub use amounts::{Amounts, InvalidAmount};
pub use duration::Duration;
pub use names::{
    ConsumerNamespace, Identity, Installation, InvalidName, ServiceAccountName, StackNamespace, TenantName,
    WorkspaceName,
};
pub use tenant::{Tenant, TenantSpec, TenantStatus};
pub use tenant_class::{TenantClass, TenantClassSpec, TenantClassStatus};
pub use workspace::{Workspace, WorkspaceSpec, WorkspaceStatus};

/// The API group of all kinds.
pub const GROUP: &str = "steading.dev";
/// The only served version.
pub const VERSION: &str = "v1alpha1";
