//! Restoring by hand, as docs/database.md says, in a namespace that is nobody's stack. In: a customer whose Workspace is gone. Out:
//! databases as they were.

use anyhow::Result;
use e2e::databases::STORAGE_CLASS;
use e2e::unique;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::database::{Database, PLUGIN, apply};
use crate::world::{Customer, World};

/// The backups of the one who is gone.
const BACKUPS: &str = "backups";

/// Who restores, with the store's own account.
pub struct Rescue<'a> {
    world: &'a World,
    namespace: String,
    server: String,
}

impl<'a> Rescue<'a> {
    pub async fn prepare(world: &'a World, customer: &Customer) -> Result<Self> {
        let rescue = Self { world, namespace: unique("rescue"), server: customer.server.clone() };
        let minio = &world.servers.minio;
        let root = minio.root_account();
        let entry = |key: &str| json!({ "name": BACKUPS, "key": key });
        let objects = [
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": rescue.namespace } }),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": BACKUPS },
                "stringData": {
                    "id": root.access_key.expose_secret(), "secret": root.secret_key.expose_secret(),
                    "ca.crt": world.plane().authority().certificate(),
                },
            }),
            json!({
                "apiVersion": "barmancloud.cnpg.io/v1", "kind": "ObjectStore", "metadata": { "name": BACKUPS },
                "spec": { "configuration": {
                    "destinationPath": format!("s3://{}/", customer.store.bucket),
                    "endpointURL": minio.endpoint(),
                    "endpointCA": entry("ca.crt"),
                    "s3Credentials": { "accessKeyId": entry("id"), "secretAccessKey": entry("secret") },
                }},
            }),
        ];
        for object in objects {
            rescue.apply(object).await?;
        }
        Ok(rescue)
    }

    /// A database as the customer's was at a moment, or as it was last.
    pub async fn as_of(&self, name: &str, moment: Option<&str>) -> Result<Database> {
        let origin =
            json!({ "name": PLUGIN, "parameters": { "barmanObjectName": BACKUPS, "serverName": self.server } });
        let mut recovery = json!({ "source": "origin" });
        if let Some(moment) = moment {
            recovery["recoveryTarget"] = json!({ "targetTime": moment });
        }
        let cluster = json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": { "name": name },
            "spec": {
                "instances": 1,
                "imageName": self.world.postgres.postgres,
                "storage": { "storageClass": STORAGE_CLASS, "size": "1Gi" },
                "bootstrap": { "recovery": recovery },
                "externalClusters": [{ "name": "origin", "plugin": origin }],
                // Looked at every ten seconds, it would be ten seconds late.
                "probes": { "startup": { "periodSeconds": 1, "failureThreshold": 3600 }, "readiness": { "periodSeconds": 1 } },
            },
        });
        self.apply(cluster).await?;
        let database = Database::new(name, &self.namespace, self.world.client()?);
        database.until_healthy(1).await?;
        Ok(database)
    }

    async fn apply(&self, object: Value) -> Result<()> {
        apply(&self.world.client()?, &self.namespace, object).await
    }
}
