//! A Workspace's stack: the facts it depends on, and all of its children in the cluster.
//!
//! In: a Tenant and a Workspace as read, what the ledger granted. Out: [`Facts`], which can hold nothing that admission would have
//! refused, and [`Stack`], the children that isolate the stack. Nothing later reads a raw spec.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    Amounts, ConsumerNamespace, Identity, InvalidName, StackNamespace, Tenant, TenantName, Workspace, WorkspaceName,
    labels,
    subject::{Member, Owner},
};
use k8s_openapi::api::{
    core::v1::{LimitRange, Namespace, ResourceQuota, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};

pub use crate::parts::network_policy::CONSUMERS as ALLOW_CONSUMERS;
pub use crate::parts::resource_quota::{Content, NAME as QUOTA, content};
use serde_json::{Value, json};

use crate::database::Reach;
use crate::fields::Kind;
use crate::parts::{
    disruption_budget, limit_range, namespace, network_policy, resource_quota, role_binding, service_account,
};

/// All facts on which the stack of a Workspace depends, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Name of the Tenant and of its control namespace.
    pub tenant: TenantName,
    /// Name of the Workspace.
    pub workspace: WorkspaceName,
    /// Identity of the Workspace, from which the stack namespace takes its name.
    pub identity: Identity,
    /// Owners of the Tenant: editors in the stack.
    pub owners: Vec<Owner>,
    /// Members of the Workspace.
    pub members: Vec<Member>,
    /// What the ledger granted: all that the stack may use. A resource that is `None` is not limited.
    pub granted: Amounts,
    /// What its database may reach, if it is to have one and that is known.
    pub database: Option<Reach>,
    /// Namespace and name of the ServiceAccount of Steading's own operator, which makes agents, if its class has any.
    pub agents: Option<(String, String)>,
}

/// A spec holds what admission should have refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFacts {
    /// The object's name.
    #[error("metadata.name: {0}")]
    Name(#[from] InvalidName),
    /// An owner or member that belongs to the cluster.
    #[error(
        "{field}: {name:?} begins with system: and belongs to the cluster; name a user or group of your identity provider"
    )]
    Subject {
        /// The field, such as `spec.members`.
        field: &'static str,
        /// The subject's name, shortened to 80 characters.
        name: String,
    },
}

impl Facts {
    /// The facts of a Workspace whose identity is settled and to which the ledger granted something.
    pub fn of(
        tenant: &Tenant,
        workspace: &Workspace,
        identity: Identity,
        granted: Amounts,
    ) -> Result<Self, InvalidFacts> {
        let (owners, members) = (tenant.spec.owners.clone(), workspace.spec.members.clone());
        refuse_system("spec.owners of the Tenant", owners.iter().map(|owner| owner.name.as_str()))?;
        refuse_system("spec.members", members.iter().map(|member| member.name.as_str()))?;
        Ok(Self {
            tenant: tenant.metadata.name.as_deref().unwrap_or_default().parse()?,
            workspace: workspace.metadata.name.as_deref().unwrap_or_default().parse()?,
            identity,
            owners,
            members,
            granted,
            database: None,
            agents: None,
        })
    }

    /// Name of the stack namespace.
    #[must_use]
    pub fn namespace(&self) -> StackNamespace {
        StackNamespace::of(&self.tenant, &self.workspace, &self.identity)
    }

    /// The labels that every child carries.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        labels::of_workspace(&self.tenant, &self.workspace, &self.identity)
    }
}

/// Admission refuses these; an older CRD would not, and such a subject could be everybody.
fn refuse_system<'a>(field: &'static str, mut names: impl Iterator<Item = &'a str>) -> Result<(), InvalidFacts> {
    match names.find(|name| name.starts_with("system:")) {
        Some(name) => Err(InvalidFacts::Subject { field, name: name.chars().take(80).collect() }),
        None => Ok(()),
    }
}

/// All children that isolate a stack: nothing else is made before they stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// The stack namespace, with Pod Security.
    pub namespace: Namespace,
    /// Denies all packets.
    pub deny_all: NetworkPolicy,
    /// Lets the stack's parts be reached by one another.
    pub allow_parts_ingress: NetworkPolicy,
    /// Lets the stack's parts reach one another.
    pub allow_parts_egress: NetworkPolicy,
    /// Lets the stack's parts ask the cluster's DNS.
    pub allow_dns: NetworkPolicy,
    /// Holds the stack to what was granted.
    pub quota: ResourceQuota,
    /// Gives containers defaults that fit the quota.
    pub limits: LimitRange,
    /// Members who look.
    pub viewers: RoleBinding,
    /// Members who look and read logs, and the Tenant's owners.
    pub editors: RoleBinding,
    /// What its database needs.
    pub database: Option<DatabaseAccess>,
    /// What its agents need.
    pub agents: Option<AgentAccess>,
}

/// What may pass to and from a database, and who may write its Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseAccess {
    /// Lets CloudNativePG in.
    pub allow_operator: NetworkPolicy,
    /// Lets the instances reach the API server.
    pub allow_api_server: NetworkPolicy,
    /// Lets the instances reach the store of their backups.
    pub allow_store: NetworkPolicy,
    /// Lets Steading write the credentials of the backup bucket.
    pub steading: RoleBinding,
}

/// What may pass to and from agents, who they are, and who may make them.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentAccess {
    /// Lets nobody in.
    pub ingress: NetworkPolicy,
    /// Lets them out to what they may reach.
    pub egress: NetworkPolicy,
    /// Who they are.
    pub account: ServiceAccount,
    /// Keeps claimed ones from being evicted.
    pub budget: PodDisruptionBudget,
    /// Lets Steading make them.
    pub steading: RoleBinding,
}

/// The children of the Workspace.
#[must_use]
pub fn stack(facts: &Facts) -> Stack {
    Stack {
        namespace: namespace::namespace(facts),
        deny_all: network_policy::deny_all(facts),
        allow_parts_ingress: network_policy::allow_parts_ingress(facts),
        allow_parts_egress: network_policy::allow_parts_egress(facts),
        allow_dns: network_policy::allow_dns(facts),
        quota: resource_quota::resource_quota(facts),
        limits: limit_range::limit_range(facts),
        viewers: role_binding::viewers(facts),
        editors: role_binding::editors(facts),
        database: facts.database.as_ref().map(|reach| DatabaseAccess {
            allow_operator: network_policy::allow_database_operator(facts, reach),
            allow_api_server: network_policy::allow_database_api_server(facts, reach),
            allow_store: network_policy::allow_database_store(facts, reach),
            steading: role_binding::of_steading(facts, &reach.steading),
        }),
        agents: facts.agents.as_ref().map(|steading| AgentAccess {
            ingress: network_policy::agents_ingress(facts),
            egress: network_policy::agents_egress(facts, &steading.0),
            account: service_account::of_agents(facts),
            budget: disruption_budget::of_agents(facts),
            steading: role_binding::of_agents(facts, steading),
        }),
    }
}

/// Lets the namespaces of consumers reach the database, if there are any. No part of the isolation: it comes and goes with them.
#[must_use]
pub fn allow_consumers(facts: &Facts, consumers: &BTreeSet<ConsumerNamespace>) -> Option<Value> {
    network_policy::allow_database_consumers(facts, consumers).map(|policy| json!(policy))
}

impl Stack {
    /// All of them as they are sent, in the order in which they are applied: deny before allow, limits before rights, so that at no
    /// moment more is open than at the end. The namespace comes first, and is also what is created.
    #[must_use]
    pub fn children(&self) -> Vec<(Kind, Value)> {
        // Without `..`: a child that is added to the stack and forgotten here does not compile.
        let Self {
            namespace,
            deny_all,
            allow_parts_ingress,
            allow_parts_egress,
            allow_dns,
            quota,
            limits,
            viewers,
            editors,
            database,
            agents,
        } = self;
        let mut children = vec![
            (Kind::Namespace, json!(namespace)),
            (Kind::NetworkPolicy, json!(deny_all)),
            (Kind::NetworkPolicy, json!(allow_parts_ingress)),
            (Kind::NetworkPolicy, json!(allow_parts_egress)),
            (Kind::NetworkPolicy, json!(allow_dns)),
            (Kind::ResourceQuota, json!(quota)),
            (Kind::LimitRange, json!(limits)),
            (Kind::RoleBinding, json!(viewers)),
            (Kind::RoleBinding, json!(editors)),
        ];
        if let Some(DatabaseAccess { allow_operator, allow_api_server, allow_store, steading }) = database {
            children.extend([
                (Kind::NetworkPolicy, json!(allow_operator)),
                (Kind::NetworkPolicy, json!(allow_api_server)),
                (Kind::NetworkPolicy, json!(allow_store)),
                (Kind::RoleBinding, json!(steading)),
            ]);
        }
        if let Some(AgentAccess { ingress, egress, account, budget, steading }) = agents {
            children.extend([
                (Kind::NetworkPolicy, json!(ingress)),
                (Kind::NetworkPolicy, json!(egress)),
                (Kind::ServiceAccount, json!(account)),
                (Kind::PodDisruptionBudget, json!(budget)),
                (Kind::RoleBinding, json!(steading)),
            ]);
        }
        children
    }
}

#[cfg(test)]
mod tests;
