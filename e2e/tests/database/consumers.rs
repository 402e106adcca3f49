//! Applications that use a database from namespaces of their own: `examples/consumer/billing.yaml`, which writes, and one that only
//! reads. In: a customer with a database. Out: that both get what they were promised, that nobody else does, and that nothing of it is left
//! once it is taken back.

mod refused;
mod taken;
mod visitor;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use api::Workspace;
use e2e::story::{Manifest, Platform, class, tenant, workspace};
use e2e::unique;
use e2e::wait::until;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::database::{PATIENCE, apply};
use crate::world::{Customer, World};
use visitor::{Visitor, Way};

/// What anybody copies first, and the names in it.
const EXAMPLE: &str = include_str!("../../../examples/consumer/billing.yaml");
const EXAMPLE_NAMESPACE: &str = "shop";
const EXAMPLE_CONSENT: &str = "acme/finance";
const EXAMPLE_SECRET: &str = "acme.finance.billing";
const EXAMPLE_IMAGE: &str = "registry.example/postgresql:18.4";

/// How a namespace consents.
const CONSENT: &str = "steading.dev/consumes";

/// What both may do.
const ROWS: &str = "SELECT count(*) FROM invoices";

/// Somebody whom a Workspace lets use its database.
struct Consumer {
    namespace: String,
    account: &'static str,
    right: &'static str,
}

impl Consumer {
    fn new(namespace: &str, account: &'static str, right: &'static str) -> Self {
        Self { namespace: unique(namespace), account, right }
    }

    /// As the Workspace lists it.
    fn listed(&self) -> Value {
        json!({ "namespace": self.namespace, "serviceAccount": self.account, "database": self.right })
    }

    /// As PostgreSQL knows it.
    fn role(&self) -> String {
        format!("consumer_{}_{}", self.namespace, self.account)
    }

    /// The name of the Secret that it gets.
    fn secret(&self, workspace: &Manifest<Workspace>) -> String {
        format!("{}.{}.{}", workspace.namespace(), workspace.name(), self.account)
    }
}

/// The example at work, one who reads beside it, and somebody in each place from which the database could be reached.
pub struct Shop {
    admin: Client,
    /// Of somebody who may look into stacks.
    stacks: Client,
    platform: Platform,
    workspace: Manifest<Workspace>,
    /// It when it was Ready with both.
    ready: Workspace,
    stack: String,
    billing: Consumer,
    reports: Consumer,
    from_billing: Visitor,
    from_reports: Visitor,
    /// In a namespace that nobody listed.
    from_outside: Visitor,
}

impl Shop {
    /// Lets two use the customer's database, and waits until the one that writes does so.
    pub async fn open(world: &World, acme: &Customer) -> Result<Self> {
        let (admin, platform) = (world.plane().admin()?, world.platform());
        let (billing, reports) =
            (Consumer::new("shop", "billing", "readWrite"), Consumer::new("desk", "reports", "read"));
        for object in example(&billing, &acme.workspace, &world.postgres.postgres)? {
            apply(&admin, &billing.namespace, object).await?;
        }
        let outside = unique("outside");
        let consent = json!({ CONSENT: consent(&acme.workspace) });
        apply(&admin, "", namespace(&reports.namespace, &consent)).await?;
        apply(&admin, "", namespace(&outside, &json!({}))).await?;
        let listed = json!([billing.listed(), reports.listed()]);
        let workspace = platform.applied(acme.workspace.clone().with("consumers", listed)).await?;
        let ready = platform.until_ready(&workspace).await?;

        let mut saved = Vec::new();
        for consumer in [&billing, &reports] {
            let secrets: Api<Secret> = Api::namespaced(admin.clone(), &consumer.namespace);
            let given =
                secrets.get(&consumer.secret(&workspace)).await.context("Ready, and the Secret is not there")?;
            has_what_it_needs(&given, consumer, &acme.stack)?;
            saved.push((consumer.account, given));
        }
        let stands = async |namespace: &str| Box::pin(Visitor::stands(world, namespace, &saved)).await;
        let (from_billing, from_reports, from_outside) =
            tokio::try_join!(stands(&billing.namespace), stands(&reports.namespace), stands(&outside))?;
        let (stacks, stack) = (world.client()?, acme.stack.clone());
        let shop = Self {
            admin,
            stacks,
            platform,
            workspace,
            ready,
            stack,
            billing,
            reports,
            from_billing,
            from_reports,
            from_outside,
        };
        // The first number, and a larger one.
        shop.goes_on().await?;
        shop.goes_on().await?;
        Ok(shop)
    }

    /// Waits until the application prints more rows than it does now.
    pub async fn goes_on(&self) -> Result<()> {
        let before = self.printed().await?;
        let what = format!("more rows are printed than {before:?}");
        until(&what, PATIENCE, async || Ok(self.printed().await? > before)).await
    }

    /// The number of rows that the application printed last, if it did lately.
    async fn printed(&self) -> Result<Option<u64>> {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), &self.billing.namespace);
        let found = pods.list(&ListParams::default().labels("app.kubernetes.io/name=billing")).await?;
        let Some(pod) = found.items.first() else { return Ok(None) };
        let last = LogParams { tail_lines: Some(100), ..LogParams::default() };
        // A pod that waits for its Secret has no log.
        let log = pods.logs(&pod.name_any(), &last).await.unwrap_or_default();
        Ok(log.lines().rev().find_map(|line| line.strip_suffix(" invoices")?.parse().ok()))
    }

    /// How a consumer connects that is meant to.
    fn way_of(&self, consumer: &Consumer) -> Way {
        Way::to(&host("rw", &self.stack)).for_user(&consumer.role()).with_certificate_of(consumer.account)
    }
}

/// The example as it would be written for this consumer of this Workspace: other names, and an image that is there.
fn example(consumer: &Consumer, workspace: &Manifest<Workspace>, image: &str) -> Result<Vec<Value>> {
    let names = BTreeMap::from([
        (EXAMPLE_NAMESPACE, consumer.namespace.clone()),
        (EXAMPLE_CONSENT, consent(workspace)),
        (EXAMPLE_SECRET, consumer.secret(workspace)),
        (EXAMPLE_IMAGE, image.to_owned()),
    ]);
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(EXAMPLE).context("the example is no YAML")?;
    for object in &mut objects {
        rename(object, &names);
    }
    let written = Value::from(objects.clone()).to_string();
    for (old, new) in names {
        ensure!(written.contains(&format!("\"{new}\"")), "the example does not name {old}");
    }
    Ok(objects)
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

/// What a namespace writes to consent.
fn consent(workspace: &Manifest<Workspace>) -> String {
    format!("{}/{}", workspace.namespace(), workspace.name())
}

fn namespace(name: &str, annotations: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "annotations": annotations } })
}

/// A Service of a stack's database.
fn host(service: &str, stack: &str) -> String {
    format!("database-{service}.{stack}.svc")
}

/// The Secret says where the database is and as whom to connect, has a certificate, and nothing else: no password.
fn has_what_it_needs(given: &Secret, consumer: &Consumer, stack: &str) -> Result<()> {
    let data = given.data.as_ref().context("the Secret is empty")?;
    let entries: BTreeMap<&str, String> =
        data.iter().map(|(key, value)| (key.as_str(), String::from_utf8_lossy(&value.0).into_owned())).collect();
    let (certificate, said): (BTreeMap<_, _>, BTreeMap<_, _>) =
        entries.into_iter().partition(|(_, value)| value.starts_with("-----BEGIN "));
    ensure!(certificate.into_keys().eq(["ca.crt", "tls.crt", "tls.key"]), "no certificate with a key and an authority");
    let promised = [
        ("database", "app".to_owned()),
        ("host", host("rw", stack)),
        ("host-ro", host("ro", stack)),
        ("port", "5432".to_owned()),
        ("provider", "steading".to_owned()),
        ("sslmode", "verify-full".to_owned()),
        ("type", "postgresql".to_owned()),
        ("username", consumer.role()),
    ];
    ensure!(said == BTreeMap::from(promised), "{said:?}");
    Ok(())
}

#[test]
fn the_example_is_taken_as_it_stands_but_for_names_and_image() -> Result<()> {
    let globex = tenant("globex").of_class(&class("onprem"));
    let till = Consumer { namespace: "market".to_owned(), account: "till", right: "read" };
    let objects = example(&till, &workspace("sales").of_tenant(&globex), "registry.test/postgresql:17")?;
    let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    ensure!(kinds == ["Namespace", "ServiceAccount", "Deployment"], "{kinds:?}");
    ensure!(objects[0]["metadata"]["annotations"][CONSENT] == "globex/sales", "{:#}", objects[0]);
    let (written, pod) = (Value::from(objects.clone()).to_string(), &objects[2]["spec"]["template"]["spec"]);
    ensure!(written.contains("globex.sales.till") && !written.contains("acme") && !written.contains("\"shop\""));
    ensure!(pod["volumes"][0]["secret"]["defaultMode"] == 0o440, "others could read the key: {pod:#}");
    Ok(())
}
