//! What the demo reads of the kinds. In: a plane. Out: how ready each object is, and where its stack, bucket and key are.

use anyhow::{Context as _, Result};
use api::conditions::{ISOLATED, READY};
use api::{Tenant, TenantClass, Workspace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use kube::{Api, Client};

/// The customer of the quickstart, which is also its control namespace.
pub(crate) const CUSTOMER: &str = "acme";
/// The other customer.
pub(crate) const OTHER_CUSTOMER: &str = "globex";

/// An object of ours as its status shows it.
pub(crate) struct Seen {
    name: String,
    is_ready: bool,
    reason: String,
    message: String,
}

impl Seen {
    /// `observed` is the generation that status speaks of, with its conditions.
    fn of(kind: &str, object: &impl kube::ResourceExt, observed: Option<(i64, Vec<Condition>)>) -> Self {
        let (generation, conditions) = observed.unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == READY);
        Self {
            name: format!("{kind} {}", object.name_any()),
            // An answer about an older generation says nothing about what was asked for last.
            is_ready: object.meta().generation == Some(generation) && ready.is_some_and(|ready| ready.status == "True"),
            reason: ready.map_or("not yet seen", |ready| ready.reason.as_str()).to_owned(),
            message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Name and state in a few words.
    pub(crate) fn state(&self) -> String {
        format!("{}: {}", self.name, if self.is_ready { "Ready" } else { &self.reason })
    }

    /// Name, reason and message, for whoever must find out why it is not ready.
    pub(crate) fn explained(&self) -> String {
        format!("{}: {}: {}", self.name, self.reason, self.message)
    }
}

/// Every object of ours, classes first.
pub(crate) async fn all(client: &Client) -> Result<Vec<Seen>> {
    let every = ListParams::default();
    let mut seen = Vec::new();
    for it in Api::<TenantClass>::all(client.clone()).list(&every).await.context("cannot list TenantClasses")? {
        let observed = it.status.clone().map(|status| (status.observed_generation, status.conditions));
        seen.push(Seen::of("class", &it, observed));
    }
    for it in Api::<Tenant>::all(client.clone()).list(&every).await.context("cannot list Tenants")? {
        let observed = it.status.clone().map(|status| (status.observed_generation, status.conditions));
        seen.push(Seen::of("tenant", &it, observed));
    }
    for it in Api::<Workspace>::all(client.clone()).list(&every).await.context("cannot list Workspaces")? {
        let observed = it.status.clone().map(|status| (status.observed_generation, status.conditions));
        seen.push(Seen::of("workspace", &it, observed));
    }
    Ok(seen)
}

/// The Tenant of a customer.
pub(crate) async fn tenant(client: &Client, customer: &str) -> Result<Tenant> {
    let tenant = Api::<Tenant>::namespaced(client.clone(), customer).get(customer).await;
    tenant.with_context(|| format!("cannot read Tenant {customer}"))
}

/// What a Workspace stands for, as its status names it.
pub(crate) struct Stack {
    /// Name of the Workspace.
    pub(crate) workspace: String,
    /// Name of the stack namespace.
    pub(crate) namespace: String,
    /// UID of the stack namespace.
    pub(crate) namespace_uid: String,
    /// Identity of the Workspace.
    pub(crate) identity: String,
    /// Name of the bucket.
    pub(crate) bucket: String,
    /// Name of the key of the bucket.
    pub(crate) key: String,
    /// The sentence that says what the isolation rests on.
    pub(crate) isolated: String,
}

/// The stacks of the demo.
pub(crate) struct Stacks {
    /// Of the customer of the quickstart.
    pub(crate) finance: Stack,
    /// Of the customer of the quickstart.
    pub(crate) research: Stack,
    /// Of the other customer.
    pub(crate) sales: Stack,
}

impl Stacks {
    pub(crate) async fn read(client: &Client) -> Result<Self> {
        Ok(Self {
            finance: stack(client, CUSTOMER, "finance").await?,
            research: stack(client, CUSTOMER, "research").await?,
            sales: stack(client, OTHER_CUSTOMER, "sales").await?,
        })
    }

    pub(crate) fn all(&self) -> [&Stack; 3] {
        [&self.finance, &self.research, &self.sales]
    }
}

async fn stack(client: &Client, customer: &str, workspace: &str) -> Result<Stack> {
    let read = Api::<Workspace>::namespaced(client.clone(), customer).get(workspace).await;
    let status = read.with_context(|| format!("cannot read Workspace {customer}/{workspace}"))?.status;
    let status = status.with_context(|| format!("Workspace {customer}/{workspace} has no status"))?;
    let lacks = |what: &str| format!("the status of Workspace {customer}/{workspace} lacks {what}");
    let namespace = status.namespace.with_context(|| lacks("its stack namespace"))?;
    let bucket = status.bucket.with_context(|| lacks("its bucket"))?;
    let isolated = status.conditions.iter().find(|condition| condition.type_ == ISOLATED);
    let isolated = isolated.with_context(|| lacks("condition Isolated"))?;
    Ok(Stack {
        workspace: workspace.to_owned(),
        namespace: namespace.name,
        namespace_uid: namespace.uid,
        identity: status.identity.with_context(|| lacks("its identity"))?,
        key: bucket.key.with_context(|| lacks("the key of its bucket"))?,
        bucket: bucket.name,
        isolated: format!("{}/{}: {}", isolated.status, isolated.reason, isolated.message),
    })
}
