//! Labels, annotations, finalizers and field managers that Steading writes and reads. Nobody else may write the ones it owns:
//! the fence of the chart sees to it.

use std::collections::BTreeMap;

use crate::names::{Identity, TenantName, WorkspaceName};

/// Marks everything that Steading stamps out; watches select by it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const STEADING: &str = "steading";
/// Selector of everything that Steading stamps out.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=steading";
/// The fenced label: on stack namespaces only, its value is the Workspace's identity. Set at creation, never changed.
pub const STACK: &str = "steading.dev/stack";
/// Name of the Tenant, which is also the name of its control namespace.
pub const TENANT: &str = "steading.dev/tenant";
/// Name of the Workspace within its control namespace.
pub const WORKSPACE: &str = "steading.dev/workspace";
/// Identity of the object for which a child was made; pruning and repair go by it.
pub const OWNER: &str = "steading.dev/owner";
/// On pods of Steading's own parts in a stack (database, canary, …): the allow policies select by its presence.
pub const PART: &str = "steading.dev/part";

/// On agents: the pool that they are of. The policies of agents select by its presence, so no part of a stack bears it, and no agent bears
/// [`PART`].
pub const POOL: &str = "steading.dev/pool";
/// On a claimed agent for as long as it is kept from being evicted.
pub const PROTECTED: &str = "steading.dev/protected";

/// On an agent: UID of the session that claimed it. It is never taken off.
pub const SESSION: &str = "steading.dev/session-uid";
/// On an agent: digest of what it was made of.
pub const REVISION: &str = "steading.dev/revision";
/// On an agent: the certificates by which it knows the relay.
pub const RELAY_AUTHORITY: &str = "steading.dev/relay-authority";
/// On a claimed agent: until when it is kept from being evicted.
pub const PROTECTED_UNTIL: &str = "steading.dev/protected-until";

/// SHA-256 of what was applied, so that a child is known to be right without reading it.
pub const DESIRED_HASH: &str = "steading.dev/desired-hash";
/// On a Tenant: every new value asks for one rotation of the tenant's key.
pub const ROTATE_REQUESTED_AT: &str = "steading.dev/rotate-requested-at";

/// On a namespace: the Workspaces, as `tenant/workspace` separated by commas, that may make its workloads their consumers.
pub const CONSUMES: &str = "steading.dev/consumes";

/// Held on Tenants, Workspaces, TenantClasses and AgentPools until what they stand for is gone or released.
pub const CLEANUP_FINALIZER: &str = "steading.dev/cleanup";

/// Field manager for the children of a Workspace.
pub const MANAGER_WORKSPACE: &str = "steading/workspace";
/// Field manager for what a consumer's Secret says of the bucket, beside what it says of the database.
pub const MANAGER_CONSUMER_BUCKET: &str = "steading/consumer-bucket";
/// Field manager for what a consumer's Secret says of the store of authorization, beside all else.
pub const MANAGER_CONSUMER_AUTHORIZATION: &str = "steading/consumer-authorization";
/// Field manager for what is noted on agents.
pub const MANAGER_AGENTS: &str = "steading/agents";
/// Field manager for status.
pub const MANAGER_STATUS: &str = "steading/status";
/// Field manager for finalizers.
pub const MANAGER_FINALIZER: &str = "steading/finalizer";

/// The labels that every child of a Workspace carries.
#[must_use]
pub fn of_workspace(tenant: &TenantName, workspace: &WorkspaceName, owner: &Identity) -> BTreeMap<String, String> {
    [
        (MANAGED_BY, STEADING.to_owned()),
        (TENANT, tenant.to_string()),
        (WORKSPACE, workspace.to_string()),
        (OWNER, owner.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
