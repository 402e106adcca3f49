//! All that a round may touch.
//!
//! In: what `run` set up. Out: the stores, the children, the providers and the fence, shared by the stories of all kinds.

use std::{sync::Arc, time::Duration};

use api::{AgentPool, AgentSet, Identity, Installation, Tenant, TenantClass, Workspace};
use desired::database::Reach;
use k8s_openapi::{
    api::{core::v1::Service, node::v1::RuntimeClass},
    jiff::Timestamp,
};
use kube::{Resource as _, ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    agents::Agents,
    clock,
    config::Relay,
    connections::Connections,
    consents::Consents,
    databases::Databases,
    enforcement::Enforcement,
    engine::{
        children::Children,
        conditions::{self, Part, State},
        contest::Contests,
        drive::{Engine, Story},
        fault::Fault,
        known::Known,
        round::Round,
    },
    fence::Fence,
    identity,
};

/// Shared by the stories of all kinds.
pub struct Context {
    /// Turns, deadlines, status, metrics.
    pub engine: Arc<Engine>,
    /// All TenantClasses.
    pub classes: Known<TenantClass>,
    /// All Tenants.
    pub tenants: Known<Tenant>,
    /// All Workspaces.
    pub workspaces: Known<Workspace>,
    /// All AgentPools.
    pub pools: Known<AgentPool>,
    /// All AgentSets.
    pub agent_sets: Known<AgentSet>,
    /// All RuntimeClasses of the cluster.
    pub runtimes: Known<RuntimeClass>,
    /// The Service of the relay, if there is one.
    pub services: Known<Service>,
    /// Where that Service is, and by which certificates agents know the relay; `None` if the operator was told of none.
    pub relay: Option<Relay>,
    /// The desktops of all pools.
    pub agents: Agents,
    /// All that was stamped out.
    pub children: Children,
    /// Which of them others fight over.
    pub contests: Contests,
    /// The world outside the cluster.
    pub connections: Connections,
    /// Whether the admission policies that fence us in stand.
    pub fence: Fence,
    /// Whether the network does what policies say.
    pub enforcement: Enforcement,
    /// What CloudNativePG says of databases.
    pub databases: Databases,
    /// Which namespaces let Workspaces make consumers of them.
    pub consents: Consents,
    /// The image of this operator, in which the canary's program is.
    pub image: String,
    /// Namespace and name of the operator's own ServiceAccount.
    pub account: (String, String),
    /// Marks everything outside the cluster as ours.
    pub installation: Installation,
    /// How long a look at something outside the cluster counts as evidence. It is looked at again at half of it.
    pub evidence: Duration,
}

impl Context {
    /// The Tenant of a control namespace.
    pub fn tenant(&self, namespace: &str) -> Option<Arc<Tenant>> {
        self.tenants.get(&ObjectRef::new(namespace).within(namespace))
    }

    /// A TenantClass by name.
    pub fn class(&self, name: &str) -> Option<Arc<TenantClass>> {
        self.classes.get(&ObjectRef::new(name))
    }

    /// The Workspaces of a control namespace, deleted ones that are still there included.
    pub fn workspaces_of(&self, namespace: &str) -> Vec<Arc<Workspace>> {
        self.workspaces.all(|workspace| workspace.metadata.namespace.as_deref() == Some(namespace))
    }

    /// Identity of a Tenant.
    pub fn identity_of_tenant(&self, tenant: &Tenant) -> Result<Identity, Fault> {
        identity::of(tenant, |fits| self.tenants.store().find(|other| fits(other)).map(|other| other.name_any()))
    }

    /// Identity of a Workspace.
    pub fn identity_of_workspace(&self, workspace: &Workspace) -> Result<Identity, Fault> {
        let told = |other: &Workspace| format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any());
        identity::of(workspace, |fits| self.workspaces.store().find(|other| fits(other)).map(|other| told(&other)))
    }

    /// What the database of a Workspace may reach. `None` if it has none, or while that is not known.
    pub fn reach(&self, class: &TenantClass, workspace: &Workspace) -> Option<Reach> {
        if class.spec.database.is_none() || !workspace.spec.wants_database() {
            return None;
        }
        Reach::of(class, self.databases.namespace(), self.account.clone(), self.databases.api_server())
    }

    /// How long until evidence of `observed` must be renewed; zero if it is time.
    pub fn until_next_look(&self, observed: Option<Timestamp>) -> Duration {
        let Some(observed) = observed else { return Duration::ZERO };
        (self.evidence / 2).saturating_sub(age(observed))
    }

    /// Notes what a look that failed leaves of the part `name`, which was last seen at `observed`.
    pub fn look_failed<S: Story>(
        &self,
        object: &S::Object,
        round: &mut Round<S::Facts>,
        name: &'static str,
        observed: Option<Timestamp>,
        fault: &Fault,
    ) {
        let (before, counts) = (S::conditions(object), self.is_valid(observed));
        let state = conditions::after_failed_look(name, before, object.meta().generation, counts, fault.clone());
        if matches!(state, State::Good { .. }) {
            round.look_failed(fault);
        }
        round.parts.push(Part { name, state });
    }

    /// Whether evidence of `observed` still counts.
    pub fn is_valid(&self, observed: Option<Timestamp>) -> bool {
        observed.is_some_and(|observed| age(observed) < self.evidence)
    }
}

/// What was seen by a clock that is ahead of ours counts as seen just now.
fn age(observed: Timestamp) -> Duration {
    Duration::try_from(clock::now().duration_since(observed)).unwrap_or(Duration::ZERO)
}
