//! What the demo reads of the kinds. In: a plane. Out: how ready each object is, and where its stack, bucket and key are.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::conditions::{ISOLATED, READY, RECONCILING, STALLED};
use api::{Tenant, TenantClass, Workspace};
use e2e::story::{Told, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::show::{Progress, Show};

/// The customer of the quickstart, which is also its control namespace.
pub(crate) const CUSTOMER: &str = "acme";
/// The other customer.
pub(crate) const OTHER_CUSTOMER: &str = "globex";

/// An object of ours as its status shows it.
pub(crate) struct Seen {
    name: String,
    is_ready: bool,
    reason: String,
    unmet: Vec<String>,
}

impl Seen {
    pub(crate) fn of<K: Told>(object: &K) -> Self {
        let ready = condition(object, READY);
        let is_lack = |it: &&Condition| it.status != "True" && ![RECONCILING, STALLED].contains(&it.type_.as_str());
        let lacks: Vec<&Condition> = object.conditions().iter().filter(is_lack).collect();
        // Ready repeats what one of the others says.
        let is_repeated = |it: &Condition| {
            it.type_ == READY && lacks.iter().any(|other| other.type_ != READY && other.message == it.message)
        };
        let told = |it: &Condition| format!("{} is {}, {}: {}", it.type_, it.status, it.reason, it.message);
        // An answer about an older generation says nothing about what was asked for last.
        let is_newest = object.meta().generation == Some(object.observed_generation());
        Self {
            name: format!("{} {}", K::kind(&()), object.name_any()),
            is_ready: is_newest && ready.is_some_and(|ready| ready.status == "True"),
            reason: ready.filter(|_| is_newest).map_or("not yet seen", |ready| ready.reason.as_str()).to_owned(),
            unmet: lacks.iter().copied().filter(|it| !is_repeated(it)).map(told).collect(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Name and state in a few words.
    pub(crate) fn state(&self) -> String {
        format!("{}: {}", self.name, if self.is_ready { "Ready" } else { &self.reason })
    }

    /// Name and every condition that is not met, for whoever must find out why it is not ready.
    pub(crate) fn explained(&self) -> String {
        format!("{}: {}", self.name, if self.unmet.is_empty() { self.reason.clone() } else { self.unmet.join("; ") })
    }
}

/// Every object of ours, classes first.
pub(crate) async fn all(client: &Client) -> Result<Vec<Seen>> {
    let mut seen = every::<TenantClass>(client).await?;
    seen.extend(every::<Tenant>(client).await?);
    seen.extend(every::<Workspace>(client).await?);
    Ok(seen)
}

async fn every<K: Told>(client: &Client) -> Result<Vec<Seen>> {
    let listed = Api::<K>::all(client.clone()).list(&ListParams::default()).await;
    let listed = listed.with_context(|| format!("cannot list {}", K::plural(&())))?;
    Ok(listed.iter().map(Seen::of).collect())
}

/// Waits until there are as many as `wanted` and all are Ready; fails with what the others lack.
pub(crate) async fn until_ready(
    show: &Show,
    patience: Duration,
    wanted: usize,
    look: impl AsyncFn() -> Result<Vec<Seen>>,
) -> Result<()> {
    let ready = show.until("all are Ready", patience, async || {
        let seen = look().await?;
        if seen.len() == wanted && seen.iter().all(Seen::is_ready) {
            return Ok(Progress::Done(()));
        }
        let waiting: Vec<String> = seen.iter().filter(|it| !it.is_ready()).map(Seen::state).collect();
        Ok(Progress::Still(waiting.join(", ")))
    });
    if let Err(error) = ready.await {
        let seen = look().await?;
        let why: Vec<String> = seen.iter().filter(|it| !it.is_ready()).map(Seen::explained).collect();
        bail!("{error:#}\n{}", why.join("\n"));
    }
    Ok(())
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
    /// Name of the key of the bucket; empty where the store keeps one of its own.
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

/// What the status of a Workspace names.
pub(crate) async fn stack(client: &Client, customer: &str, workspace: &str) -> Result<Stack> {
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
        key: bucket.key.unwrap_or_default(),
        bucket: bucket.name,
        isolated: format!("{}/{}: {}", isolated.status, isolated.reason, isolated.message),
    })
}
