//! What will be made. In: the class. Out: two customers with names of their own, told before anything is written, and the answer.

use std::io::{BufRead, IsTerminal as _};

use anyhow::{Context as _, Result, bail};
use api::{Tenant, Workspace};
use e2e::story::{Manifest, Told, class, tenant, workspace};
use kube::Client;
use serde_json::json;

use super::cluster::Cluster;
use crate::apart::Asked;
use crate::objects::Seen;
use crate::show::Show;

/// Most characters of an answer that are read.
const ANSWER: u64 = 16;

/// A customer with one workspace. The Tenant is named like its control namespace.
pub(crate) struct Customer {
    pub(crate) tenant: Manifest<Tenant>,
    pub(crate) workspace: Manifest<Workspace>,
    pub(crate) asked: Asked,
    /// Group of the tenant's owners.
    pub(crate) owners: String,
    /// Group that may look into the workspace.
    pub(crate) viewers: String,
}

impl Customer {
    fn new(name: &str, of_class: &str, in_it: &str, asked: Asked) -> Self {
        let (owners, viewers) = (format!("{name}-owners"), format!("{name}-viewers"));
        let quota = json!({ "cpu": asked.cpu, "memory": asked.memory, "storage": asked.storage });
        let tenant = tenant(name)
            .of_class(&class(of_class))
            .deleting_data()
            .with("owners", json!([{ "kind": "Group", "name": owners }]))
            .with("quota", quota.clone())
            .with("quota.workspaces", 1);
        let workspace = workspace(in_it)
            .of_tenant(&tenant)
            .with("quota", quota)
            .with("members", json!([{ "kind": "Group", "name": viewers, "role": "viewer" }]));
        Self { tenant, workspace, asked, owners, viewers }
    }
}

/// Two customers.
pub(crate) struct Plan {
    /// With what every name begins.
    pub(crate) run: String,
    pub(crate) customers: [Customer; 2],
}

impl Plan {
    pub(crate) fn of_class(of_class: &str) -> Self {
        let run = e2e::unique("steading-demo");
        let small = Asked { cpu: "1", memory: "1Gi", storage: "1Gi" };
        let large = Asked { cpu: "2", memory: "2Gi", storage: "2Gi" };
        let customers = [("a", "finance", small), ("b", "sales", large)];
        let customers = customers.map(|(it, name, asked)| Customer::new(&format!("{run}-{it}"), of_class, name, asked));
        Self { run, customers }
    }

    /// Says where what would be made, and what of it remains.
    pub(crate) fn tell(&self, show: &Show, cluster: &Cluster) {
        show.say(&format!("Context:  {}", cluster.context));
        show.say(&format!("Server:   {}", cluster.server));
        show.say(&format!("As:       {}", cluster.user));
        show.say(&format!("Class:    {}", cluster.class));
        show.say("It creates, and at the end deletes:");
        let row = |kind: &str, namespace: &str, name: &str| vec![kind.to_owned(), format!("{namespace}{name}")];
        let rows = self.customers.iter().flat_map(|it| {
            let control = it.tenant.name();
            let within = format!("{control}/");
            [
                row("Namespace", "", control),
                row("Tenant", &within, control),
                row("Workspace", &within, it.workspace.name()),
            ]
        });
        show.table(&rows.collect::<Vec<_>>());
        show.say(
            "For each, Steading makes a key and a bucket where the class says, and a stack namespace with policies, quota and \
             bindings. They go with it, for deletionPolicy is Delete. Two disabled keys stay at the key server: Steading \
             never destroys a key at once.",
        );
        show.say("Nothing else is changed. What it tries of the fence are dry runs.");
    }

    /// All that was asked for, as far as it is there.
    pub(crate) async fn seen(&self, client: &Client) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for it in &self.customers {
            seen.extend(look(client, &it.tenant).await?.as_ref().map(Seen::of));
            seen.extend(look(client, &it.workspace).await?.as_ref().map(Seen::of));
        }
        Ok(seen)
    }
}

/// It as it is now, if it is there.
pub(crate) async fn look<K: Told>(client: &Client, manifest: &Manifest<K>) -> Result<Option<K>> {
    let (kind, namespace, name) = (K::kind(&()), manifest.namespace(), manifest.name());
    manifest.api(client).get_opt(name).await.with_context(|| format!("cannot read {kind} {namespace}/{name}"))
}

/// Asks whether to go on. Where nobody can be asked it has to be said beforehand.
pub(crate) async fn is_wanted(show: &Show, is_said: bool) -> Result<bool> {
    if is_said {
        show.say("Go on? Yes, as was said by YES=1 (--yes).");
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("standard input is no terminal, so nobody can be asked: say YES=1 (--yes) to go on without a question");
    }
    show.ask("Go on? [y/N]");
    let answer = tokio::task::spawn_blocking(|| answer(std::io::stdin().lock())).await?;
    answer.context("cannot read the answer")
}

/// Whether the line says yes; whatever else it says is a no.
fn answer(input: impl BufRead) -> std::io::Result<bool> {
    let mut line = String::new();
    input.take(ANSWER).read_line(&mut line)?;
    Ok(["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "yes\n", "Y\n", " YES \r\n", "y"] {
            assert!(answer(yes.as_bytes()).unwrap(), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no\n", "yep\n", "y y\n", "\ny\n", "y but not now, please\n"] {
            assert!(!answer(no.as_bytes()).unwrap(), "{no:?}");
        }
    }

    #[test]
    fn names_fit_their_kinds_and_are_those_of_this_run() {
        let plan = Plan::of_class("local");
        let [one, other] = &plan.customers;
        for it in [one, other] {
            assert!(it.tenant.name().parse::<api::TenantName>().is_ok(), "{}", it.tenant.name());
            assert!(it.tenant.name().starts_with(&plan.run) && it.workspace.namespace() == it.tenant.name());
        }
        assert_ne!(one.tenant.name(), other.tenant.name());
        assert_ne!(plan.run, Plan::of_class("local").run);
    }
}
