//! A cluster with databases on offer. In: nothing. Out: customers, each with a Workspace whose database is Ready.

use std::time::Duration;

use anyhow::{Context as _, Result};
use api::{Tenant, TenantClass, Workspace};
use e2e::databases::{Bucket, CloudNativePg, STORAGE_CLASS};
use e2e::install::import_programs;
use e2e::story::{Manifest, Platform, Stage, class, tenant, workspace};
use e2e::{Plane, Servers, Tier, show, unique};
use kube::Client;
use operator::config::{Config, ProviderSource};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::Database;

/// Longest wait for a database.
const PATIENCE: Duration = Duration::from_mins(5);

/// How much may be lost with all instances: the least that a class may promise.
pub const RPO: Duration = Duration::from_mins(3);

/// Longest wait for a Workspace that is deleted: its database is given ten minutes to stop.
const STOPPED: Duration = Duration::from_mins(12);

/// Seconds for which the API server gives tokens at least.
const SHORTEST_TOKEN: i64 = 600;

/// What the store puts before the names of keys.
const KEYS: &str = "arn:aws:kms:";

/// Nodes, CloudNativePG, servers, the operator with the chart's rights.
pub struct World {
    pub stage: Stage,
    pub servers: Servers,
    pub postgres: CloudNativePg,
    class: Manifest<TenantClass>,
}

/// A customer with a database.
pub struct Customer {
    pub tenant: Manifest<Tenant>,
    pub workspace: Manifest<Workspace>,
    /// It when it was Ready.
    pub shown: Workspace,
    /// The stack namespace.
    pub stack: String,
    /// The tenant's key at the store, as the store tells it.
    pub key: String,
    pub database: Database,
    /// What it calls itself in its backups.
    pub server: String,
    /// The backup bucket.
    pub store: Bucket,
    /// Name of the bucket for data.
    pub data: String,
    /// Who owns the tenant, as OpenFGA knows them.
    pub owner: String,
    /// Where the application asks what somebody may do.
    pub questions: Questions,
}

/// What an application asks OpenFGA about.
pub struct Questions {
    /// The tenant's store.
    pub store: String,
    /// The Workspace.
    pub object: String,
}

fn settings(config: &mut Config) {
    config.providers = ProviderSource::Real;
}

impl Customer {
    /// The tenant's key, as the key server names it.
    pub fn key_name(&self) -> &str {
        self.key.strip_prefix(KEYS).unwrap_or(&self.key)
    }
}

impl World {
    pub async fn begin() -> Result<Self> {
        crate::nowhere::listen()?;
        let stage = Stage::set(Tier::Three, settings).await?;
        let (postgres, servers, ()) = tokio::try_join!(
            CloudNativePg::install(&stage.plane),
            Servers::start_with_access_control(&stage.plane),
            import_programs(&stage.plane)
        )?;
        show(&format!("database: {}", postgres.times));
        let spec = servers.class_spec(&stage.plane, "Assumed");
        let database = json!({
            "image": postgres.postgres,
            "instances": 1,
            "storage": { "size": "1Gi", "storageClass": STORAGE_CLASS },
            // Twice the least: volumes lie in memory here, and what is written to them counts as used by whoever writes.
            "resources": { "cpu": "400m", "memory": "512Mi" },
            "rpo": format!("{}m", RPO.as_secs() / 60),
            "rto": "30m",
            "backup": { "fullEvery": "1h", "retention": "7d" },
        });
        let class = ["residency", "keys", "buckets", "authorization", "network"]
            .into_iter()
            .fold(class("onprem"), |class, field| class.with(field, spec[field].clone()))
            .with("database", database);
        stage.platform.apply(&class).await?;
        Ok(Self { stage, servers, postgres, class })
    }

    pub fn plane(&self) -> &Plane {
        &self.stage.plane
    }

    pub fn platform(&self) -> Platform {
        self.stage.platform.patient(PATIENCE)
    }

    /// A client of somebody who may look and act in stacks.
    pub fn client(&self) -> Result<Client> {
        self.stage.break_glass()
    }

    /// The class says something else of databases.
    pub async fn offers(&self, field: &str, value: &str) -> Result<()> {
        self.platform().apply(&self.class.clone().with(field, value)).await.map(drop)
    }

    /// A new customer whose data stays when it is deleted.
    pub async fn customer(&self, name: &str, instances: u32) -> Result<Customer> {
        let platform = self.platform();
        let owners = json!([{ "kind": "User", "name": name }]);
        let tenant = tenant(&unique(name)).of_class(&self.class).with("owners", owners);
        let tenant: Manifest<Tenant> = platform.applied(tenant).await?;
        let workspace = workspace("finance").of_tenant(&tenant).with("database.instances", instances);
        let workspace = platform.applied(workspace).await?;
        let shown = platform.until_ready(&workspace).await?;
        let stack = platform.stack_of(&workspace).await?;
        let status = shown.status.clone().unwrap_or_default();
        let place = platform.until_ready(&tenant).await?.status.and_then(|status| status.authorization);
        let questions = Questions {
            store: place.and_then(|place| place.store_id).context("the Tenant has no store of authorization")?,
            object: status.authorization.context("status does not say what to ask OpenFGA")?.object,
        };
        let data = status.bucket.context("no bucket is shown")?.name;
        let backup = status.database.and_then(|database| database.backup).context("no backups are shown")?;
        let key = format!("{KEYS}{}", backup.key.clone().context("the backups are under no key")?);
        let store = Bucket::of(self.plane(), &self.servers.minio, &backup.bucket)?;
        let database = Database::new("database", &stack, self.client()?);
        let (owner, server) = (format!("user:{name}"), backup.server_name);
        Ok(Customer { tenant, workspace, shown, stack, key, database, server, store, data, owner, questions })
    }

    /// Starts an operator after it was stopped.
    pub async fn operator_returns(&mut self) -> Result<()> {
        self.stage.resume(settings).await
    }

    /// Deletes the Workspace and waits until it is gone.
    pub async fn delete(&self, customer: &Customer) -> Result<()> {
        let platform = self.stage.platform.patient(STOPPED);
        platform.delete(&customer.workspace).await?;
        platform.until_gone(&customer.workspace, &customer.shown).await
    }

    /// What the server of authorization answers to whoever has the token of this ServiceAccount: `path` begins behind `/stores`.
    pub async fn asks_as(
        &self,
        (namespace, account): (&str, &str),
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value)> {
        let openbao = &self.servers.openbao;
        let own = self.plane().token_for(namespace, account, &[openbao.audience()], SHORTEST_TOKEN).await?;
        let token = openbao.identity_token(&own).await?;
        self.servers.openfga.call_as(&token, Method::POST, path, Some(body)).await
    }

    /// Ends all of it.
    pub async fn end(self) -> Result<()> {
        self.stage.operator.stop().await?;
        tokio::task::spawn_blocking(move || drop((self.postgres, self.servers, self.stage.plane))).await?;
        Ok(())
    }
}
