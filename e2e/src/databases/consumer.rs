//! Applications that use a database or a bucket from namespaces of their own. In: who, and whose. Out: their names as each side knows them,
//! and one of `examples/consumer` for each of them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use super::visitor::Way;

/// What anybody copies first.
struct Example {
    text: &'static str,
    /// Names in it.
    namespace: &'static str,
    secret: &'static str,
    image: &'static str,
    /// What its pods are labelled with.
    application: &'static str,
    /// What it prints after a number.
    counts: &'static str,
}

const BILLING: Example = Example {
    text: include_str!("../../../examples/consumer/billing.yaml"),
    namespace: "shop",
    secret: "acme.finance.billing",
    image: "registry.example/postgresql:18.4",
    application: "billing",
    counts: " invoices",
};
const ARCHIVE: Example = Example {
    text: include_str!("../../../examples/consumer/archive.yaml"),
    namespace: "desk",
    secret: "acme.finance.archive",
    image: "registry.example/python-boto3:1.44",
    application: "archive",
    counts: " objects",
};
/// Whose consent both name.
const EXAMPLE_CONSENT: &str = "acme/finance";

/// How a namespace consents.
pub const CONSENT: &str = "steading.dev/consumes";

/// What each consumer may ask.
pub const ROWS: &str = "SELECT count(*) FROM invoices";

/// A Service of a stack's database.
pub fn host(service: &str, stack: &str) -> String {
    format!("database-{service}.{stack}.svc")
}

/// What of a Workspace somebody is let use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// With `examples/consumer/billing.yaml`.
    Database,
    /// With `examples/consumer/archive.yaml`.
    Bucket,
}

impl Use {
    fn field(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Bucket => "bucket",
        }
    }

    fn example(self) -> &'static Example {
        match self {
            Self::Database => &BILLING,
            Self::Bucket => &ARCHIVE,
        }
    }
}

/// Somebody whom a Workspace lets use what it has.
pub struct Consumer {
    /// Where it runs.
    pub namespace: String,
    /// Its ServiceAccount.
    pub account: &'static str,
    /// What it may use.
    pub what: Use,
    /// What it may do with that: `read` or `readWrite`.
    pub right: &'static str,
    /// Control namespace and name of the Workspace.
    pub workspace: String,
}

impl Consumer {
    /// As the Workspace lists it.
    pub fn listed(&self) -> Value {
        json!({ "namespace": self.namespace, "serviceAccount": self.account, self.what.field(): self.right })
    }

    /// As PostgreSQL knows it.
    pub fn role(&self) -> String {
        format!("consumer_{}_{}", self.namespace, self.account)
    }

    /// The name of the Secret that it gets.
    pub fn secret(&self) -> String {
        format!("{}.{}", self.workspace.replace('/', "."), self.account)
    }

    /// How it connects, with the certificate that a visitor has in the folder of its name.
    pub fn way(&self, stack: &str) -> Way {
        Way::to(&host("rw", stack)).for_user(&self.role()).with_certificate_of(self.account)
    }

    /// The Secret that it has, if it has one.
    pub async fn given(&self, client: &Client) -> Result<Option<Secret>> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &self.namespace);
        Ok(secrets.get_opt(&self.secret()).await?)
    }

    /// The example as it would be written for it: other names, and an image that is there.
    pub fn example(&self, image: &str) -> Result<Vec<Value>> {
        let example = self.what.example();
        let names = BTreeMap::from([
            (example.namespace, self.namespace.clone()),
            (EXAMPLE_CONSENT, self.workspace.clone()),
            (example.secret, self.secret()),
            (example.image, image.to_owned()),
        ]);
        let mut objects: Vec<Value> = serde_saphyr::from_multiple(example.text).context("the example is no YAML")?;
        for object in &mut objects {
            rename(object, &names);
        }
        let written = Value::from(objects.clone()).to_string();
        for (old, new) in names {
            ensure!(written.contains(&format!("\"{new}\"")), "the example does not name {old}");
        }
        Ok(objects)
    }

    /// The number that the example printed last, of rows or objects, if it did lately.
    pub async fn printed(&self, client: &Client) -> Result<Option<u64>> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
        let Example { application, counts, .. } = self.what.example();
        let labels = format!("app.kubernetes.io/name={application}");
        let found = pods.list(&ListParams::default().labels(&labels)).await?;
        let Some(pod) = found.items.first() else { return Ok(None) };
        let last = LogParams { tail_lines: Some(100), ..LogParams::default() };
        // A pod that waits for its Secret has no log.
        let log = pods.logs(&pod.name_any(), &last).await.unwrap_or_default();
        Ok(log.lines().rev().find_map(|line| line.strip_suffix(counts)?.parse().ok()))
    }
}

fn rename(value: &mut Value, names: &BTreeMap<&str, String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = names.get(text.as_str()) {
                text.clone_from(name);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_taken_as_it_stands_but_for_names_and_image() -> Result<()> {
        let namespace = "market".to_owned();
        let workspace = "globex/sales".to_owned();
        let till = Consumer { namespace, account: "till", what: Use::Database, right: "read", workspace };
        let objects = till.example("registry.test/postgresql:17")?;
        let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        ensure!(kinds == ["Namespace", "ServiceAccount", "Deployment"], "{kinds:?}");
        ensure!(objects[0]["metadata"]["annotations"][CONSENT] == "globex/sales", "{:#}", objects[0]);
        let (written, pod) = (Value::from(objects.clone()).to_string(), &objects[2]["spec"]["template"]["spec"]);
        ensure!(written.contains("globex.sales.till") && !written.contains("acme") && !written.contains("\"shop\""));
        ensure!(pod["volumes"][0]["secret"]["defaultMode"] == 0o440, "others could read the key: {pod:#}");
        Ok(())
    }
}
