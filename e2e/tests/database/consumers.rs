//! Applications that use what a Workspace has from namespaces of their own: `examples/consumer/billing.yaml`, which writes into the database, one
//! that only reads there, and `examples/consumer/archive.yaml`, which writes into the bucket and may ask the store of authorization. In: a customer with a database. Out: that all
//! get what they were promised, that nobody else does, and that nothing of it is left once it is taken back.

mod refused;
mod taken;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use api::Workspace;
use e2e::databases::{CONSENT, Consumer, ROWS, Use, Visitor, Way, host};
use e2e::story::{Manifest, Platform};
use e2e::unique;
use e2e::wait::until;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use serde_json::{Value, json};

use crate::data::Holder;
use crate::database::{PATIENCE, apply};
use crate::world::{Customer, World};
use crate::writer::{Through, Writer};

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
    /// Beside billing.
    archive: Consumer,
    from_billing: Visitor,
    from_reports: Visitor,
    /// In a namespace that nobody listed.
    from_outside: Visitor,
}

impl Shop {
    /// Lets two use the customer's database, and waits until the one that writes does so.
    pub async fn open(world: &World, acme: &Customer) -> Result<Self> {
        let (admin, platform) = (world.plane().admin()?, world.platform());
        let (shop, desk) = (unique("shop"), unique("desk"));
        let consumer = |namespace: &str, account, what, right| {
            let workspace = format!("{}/{}", acme.workspace.namespace(), acme.workspace.name());
            Consumer { namespace: namespace.to_owned(), account, what, right, workspace }
        };
        let billing = consumer(&shop, "billing", Use::Database, "readWrite");
        let archive = consumer(&shop, "archive", Use::Bucket, "readWrite");
        let reports = consumer(&desk, "reports", Use::Database, "read");
        for example in [&billing, &archive] {
            for object in example.example(&world.postgres.postgres)? {
                apply(&admin, &shop, object).await?;
            }
        }
        let outside = unique("outside");
        let consent = json!({ CONSENT: reports.workspace });
        apply(&admin, "", namespace(&reports.namespace, &consent)).await?;
        apply(&admin, "", namespace(&outside, &json!({}))).await?;
        let mut of_archive = archive.listed();
        of_archive["authorization"] = json!("readWrite");
        let listed = json!([billing.listed(), reports.listed(), of_archive]);
        let workspace = platform.applied(acme.workspace.clone().with("consumers", listed)).await?;
        let ready = platform.until_ready(&workspace).await?;

        let mut saved = Vec::new();
        for consumer in [&billing, &reports] {
            let given = consumer.given(&admin).await?.context("Ready, and the Secret is not there")?;
            has_what_it_needs(&given, consumer, &acme.stack)?;
            saved.push((consumer.account, given));
        }
        let image = &world.postgres.postgres;
        let stands = async |namespace: &str| Box::pin(Visitor::stands(&platform, image, namespace, &saved)).await;
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
            archive,
            from_billing,
            from_reports,
            from_outside,
        };
        // The first number, and a larger one.
        shop.goes_on().await?;
        shop.goes_on().await?;
        let stored = async || Ok(shop.archive.printed(&shop.admin).await?.is_some());
        until("the application that has the bucket stores something", PATIENCE, stored).await?;
        Ok(shop)
    }

    /// Where the application runs.
    pub fn namespace(&self) -> &str {
        &self.billing.namespace
    }

    /// The application, as somebody who could try its certificate elsewhere.
    pub async fn holder(&self) -> Result<Holder> {
        let certificate = self.billing.given(&self.admin).await?.context("the Secret is gone")?;
        Ok(Holder { what: "application's certificate", certificate, role: self.billing.role() })
    }

    /// Namespace and ServiceAccount of the application that has the store of authorization, and the bucket.
    pub fn asker(&self) -> (&str, &str) {
        (&self.archive.namespace, self.archive.account)
    }

    /// What the application was given that has the bucket.
    pub async fn given_for_the_bucket(&self) -> Result<Secret> {
        self.archive.given(&self.admin).await?.context("the Secret is gone")
    }

    /// All namespaces in which it was given something.
    pub fn namespaces(&self) -> [&str; 2] {
        [&self.billing.namespace, &self.reports.namespace]
    }

    /// Somebody who writes as the application does.
    pub async fn writer(&self) -> Result<Writer> {
        Writer::begin(Through::Service(Box::new(self.from_billing.clone()), Box::new(self.way_of(&self.billing)))).await
    }

    /// Who may read does.
    pub async fn reads_on(&self) -> Result<()> {
        let way = self.way_of(&self.reports);
        let reads = async || Ok(self.from_reports.sql(&way, ROWS).await.is_ok_and(|rows| rows.parse::<u64>().is_ok()));
        until("who may read does", PATIENCE, reads).await
    }

    /// Waits until a row is written by whom the application is: one that no writer counts.
    pub async fn writes(&self) -> Result<()> {
        const ROW: &str = "INSERT INTO acknowledged VALUES (1000000) ON CONFLICT (number) DO UPDATE SET number = 1000000 RETURNING number";
        let way = self.way_of(&self.billing).impatiently();
        let writes = async || Ok(self.from_billing.sql(&way, ROW).await.is_ok_and(|row| row.starts_with("1000000")));
        until("the application may write", PATIENCE, writes).await
    }

    /// Where the application runs, as somebody who can do anything in its pod.
    pub fn pod(&self) -> &Visitor {
        &self.from_billing
    }

    /// Waits until the application prints more rows than it does now.
    pub async fn goes_on(&self) -> Result<()> {
        let before = self.printed().await?;
        let what = format!("more rows are printed than {before:?}");
        until(&what, PATIENCE, async || Ok(self.printed().await? > before)).await
    }

    /// The number of rows that the application printed last, if it did lately.
    async fn printed(&self) -> Result<Option<u64>> {
        self.billing.printed(&self.admin).await
    }

    /// How a consumer connects that is meant to.
    fn way_of(&self, consumer: &Consumer) -> Way {
        consumer.way(&self.stack)
    }
}

fn namespace(name: &str, annotations: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "annotations": annotations } })
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
