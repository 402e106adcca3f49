//! What was made. In: the plan. Out: its objects, and their end: in order, waited for, or by commands for whoever has to do it by hand.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use e2e::story::{Manifest, Told};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::plan::{Customer, Plan, look};
use crate::objects::Seen;
use crate::show::{Progress, Show};

/// Longest wait for each kind of what was made to be gone.
const PATIENCE: Duration = Duration::from_mins(3);

/// How often a deletion is tried while others write to the object.
const TRIES: usize = 50;

/// The customers whose namespaces are ours.
#[derive(Default)]
pub(crate) struct Made<'a> {
    customers: Vec<&'a Customer>,
    /// With what the names of all their namespaces begin.
    run: &'a str,
}

impl<'a> Made<'a> {
    /// Makes what is planned. What it did not make it does not know: a namesake of somebody else's is left alone.
    pub(crate) async fn make(&mut self, show: &Show, client: &Client, plan: &'a Plan) -> Result<()> {
        self.run = &plan.run;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for customer in &plan.customers {
            let name = customer.tenant.name();
            let object = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
            let answer = namespaces.create(&PostParams::default(), &object).await;
            let is_taken = matches!(&answer, Err(kube::Error::Api(status)) if status.code == 409);
            // Without an answer it may be there: then it is ours.
            if !is_taken {
                self.customers.push(customer);
            }
            answer.map_err(|error| anyhow!("cannot create Namespace {name}: {}", said(&error)))?;
            create(client, &customer.tenant).await?;
            create(client, &customer.workspace).await?;
            show.say(&format!("created {name}: a namespace, a Tenant, the Workspace {}", customer.workspace.name()));
        }
        Ok(())
    }

    /// Deletes it and shows that it is gone. Workspaces first, since Tenants wait for them.
    pub(crate) async fn remove(&self, show: &Show, client: &Client) -> Result<()> {
        gone(show, client, self.customers.iter().map(|it| &it.workspace).collect()).await?;
        let mut keys = Vec::new();
        for it in &self.customers {
            let status = look(client, &it.tenant).await?.and_then(|tenant| tenant.status);
            keys.extend(status.and_then(|status| status.key).map(|key| key.name));
        }
        gone(show, client, self.customers.iter().map(|it| &it.tenant).collect()).await?;
        self.no_namespaces(show, client).await?;
        if !keys.is_empty() {
            show.say(&format!("What stays are the disabled keys at the key server: {}", keys.join(", ")));
        }
        Ok(())
    }

    async fn no_namespaces(&self, show: &Show, client: &Client) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for it in &self.customers {
            let name = it.tenant.name();
            accepted(namespaces.delete(name, &DeleteParams::default()).await.map(drop), &format!("Namespace {name}"))?;
        }
        let ours = |name: &String| self.customers.iter().any(|it| name.starts_with(it.tenant.name()));
        show.until("their namespaces are gone", PATIENCE, async || {
            let there = namespaces.list_metadata(&ListParams::default()).await;
            let names = there.map(|them| them.iter().map(ResourceExt::name_any).filter(ours).collect::<Vec<_>>());
            Ok(match names {
                Ok(names) if names.is_empty() => Progress::Done(()),
                Ok(names) => Progress::Still(names.join(", ")),
                Err(error) => Progress::Still(said(&error)),
            })
        })
        .await?;
        show.check(&format!("nothing whose name begins with {} is left", self.run), true);
        Ok(())
    }

    /// The commands that remove it.
    pub(crate) fn by_hand(&self, context: &str) -> Vec<String> {
        let kubectl = format!("  kubectl --context {}", quoted(context));
        let of_one = |it: &&Customer| {
            let (namespace, workspace) = (it.tenant.name(), it.workspace.name());
            [
                format!("{kubectl} -n {namespace} delete workspace {workspace}"),
                format!("{kubectl} -n {namespace} delete tenant {namespace}"),
                format!("{kubectl} delete namespace {namespace}"),
            ]
        };
        self.customers.iter().flat_map(of_one).collect()
    }
}

async fn create<K: Told>(client: &Client, manifest: &Manifest<K>) -> Result<()> {
    let object = serde_json::from_value(manifest.object())?;
    let answer = manifest.api(client).create(&PostParams::default(), &object).await;
    let what = || format!("{} {}/{}", K::kind(&()), manifest.namespace(), manifest.name());
    answer.map(drop).map_err(|error| anyhow!("cannot create {}: {}", what(), said(&error)))
}

/// Deletes them and waits until they are gone, saying what they wait for.
async fn gone<K: Told>(show: &Show, client: &Client, them: Vec<&Manifest<K>>) -> Result<()> {
    for it in &them {
        delete(client, it).await?;
    }
    show.until(&format!("their {} are gone", K::plural(&())), PATIENCE, async || {
        let mut left = Vec::new();
        for it in &them {
            match look(client, it).await {
                Ok(there) => left.extend(there.as_ref().map(|there| Seen::of(there).explained())),
                Err(error) => left.push(format!("{error:#}")),
            }
        }
        Ok(if left.is_empty() { Progress::Done(()) } else { Progress::Still(left.join("; ")) })
    })
    .await
}

/// Deletes it as it was read last. Otherwise the API server could remove it at once although a finalizer came between its own look and its
/// deletion, and the operator would go on making what belongs to it.
async fn delete<K: Told>(client: &Client, manifest: &Manifest<K>) -> Result<()> {
    let what = format!("{} {}/{}", K::kind(&()), manifest.namespace(), manifest.name());
    for _ in 0..TRIES {
        let Some(found) = look(client, manifest).await? else { return Ok(()) };
        let as_read = Preconditions { uid: found.uid(), resource_version: found.resource_version() };
        let params = DeleteParams { preconditions: Some(as_read), ..DeleteParams::default() };
        match manifest.api(client).delete(manifest.name(), &params).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            answer => return accepted(answer.map(drop), &what),
        }
    }
    bail!("cannot delete {what}: it changed each of {TRIES} times between a look and the deletion")
}

/// That it is not there is as good.
fn accepted(answer: Result<(), kube::Error>, what: &str) -> Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        answer => answer.map_err(|error| anyhow!("cannot delete {what}: {}", said(&error))),
    }
}

/// Why it failed, as the API server says it.
pub(crate) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// As a shell takes it for one word, whatever is in it.
fn quoted(text: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "@:/._-".contains(it);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_one_word_of_the_command_whatever_it_is_called() {
        assert_eq!(quoted("arn:aws:eks:eu-central-1:1:cluster/a"), "arn:aws:eks:eu-central-1:1:cluster/a");
        assert_eq!(quoted("my cluster; rm -rf ~"), "'my cluster; rm -rf ~'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_commands_remove_what_was_made_in_order() {
        let plan = Plan::of_class("local");
        let [one, _] = &plan.customers;
        let made = Made { customers: vec![one], run: &plan.run };
        let name = one.tenant.name();
        assert_eq!(
            made.by_hand("kind"),
            [
                format!("  kubectl --context kind -n {name} delete workspace finance"),
                format!("  kubectl --context kind -n {name} delete tenant {name}"),
                format!("  kubectl --context kind delete namespace {name}"),
            ]
        );
    }
}
