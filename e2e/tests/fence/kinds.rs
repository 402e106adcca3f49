//! The kinds of CloudNativePG and of its plugin, as little of them as the fence needs to see. In: nothing. Out: definitions that let
//! every field through, and objects as Steading writes them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::caller::{Caller, create, read};

/// One kind.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its group and version.
    pub api: &'static str,
    /// As paths name it.
    pub plural: &'static str,
    name: &'static str,
}

const fn kind(api: &'static str, plural: &'static str, name: &'static str) -> Kind {
    Kind { api, plural, name }
}

const POSTGRESQL: &str = "postgresql.cnpg.io/v1";

pub const CLUSTER: Kind = kind(POSTGRESQL, "clusters", "Cluster");
pub const SCHEDULED_BACKUP: Kind = kind(POSTGRESQL, "scheduledbackups", "ScheduledBackup");
pub const DATABASE_ROLE: Kind = kind(POSTGRESQL, "databaseroles", "DatabaseRole");
pub const BACKUP: Kind = kind(POSTGRESQL, "backups", "Backup");
pub const FAILOVER_QUORUM: Kind = kind(POSTGRESQL, "failoverquorums", "FailoverQuorum");
/// One with which Steading has nothing to do.
pub const POOLER: Kind = kind(POSTGRESQL, "poolers", "Pooler");
pub const OBJECT_STORE: Kind = kind("barmancloud.cnpg.io/v1", "objectstores", "ObjectStore");

/// All of them.
pub const ALL: [Kind; 7] = [CLUSTER, SCHEDULED_BACKUP, DATABASE_ROLE, BACKUP, FAILOVER_QUORUM, POOLER, OBJECT_STORE];

impl Kind {
    /// An object of this kind.
    pub fn object(self, name: &str, spec: &Value) -> Value {
        json!({ "apiVersion": self.api, "kind": self.name, "metadata": { "name": name }, "spec": spec })
    }

    fn definition(self) -> Value {
        let group = self.api.trim_end_matches("/v1");
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let version = json!({
            "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
            "subresources": { "status": {} },
        });
        json!({
            "metadata": { "name": format!("{}.{group}", self.plural) },
            "spec": {
                "group": group, "scope": "Namespaced", "versions": [version],
                "names": { "kind": self.name, "plural": self.plural, "singular": self.name.to_lowercase() },
            },
        })
    }
}

/// Makes the API server know them.
pub async fn define(admin: &Caller) {
    for kind in ALL {
        admin.may(&create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kind.definition())).await;
    }
    for kind in ALL {
        e2e::wait::until("the kinds of CloudNativePG are served", Duration::from_secs(30), async || {
            Ok(admin.tries(&read(&format!("/apis/{}/{}", kind.api, kind.plural))).await.is_ok())
        })
        .await
        .unwrap();
    }
}

/// A Cluster as Steading asks for it.
pub fn cluster() -> Value {
    CLUSTER.object(
        "database",
        &json!({
            "instances": 3,
            "imageName": "registry.example/postgresql:18.4",
            "inheritedMetadata": { "labels": { "steading.dev/part": "database" } },
            "bootstrap": { "initdb": { "database": "app", "owner": "app" } },
            "storage": { "size": "10Gi" },
            "resources": { "requests": { "cpu": "500m" } },
            "affinity": { "podAntiAffinityType": "preferred" },
            "postgresql": {
                "parameters": { "shared_buffers": "256MB" },
                "pg_hba": ["host all all all reject"],
                "synchronous": { "method": "any", "number": 1, "dataDurability": "required" },
                "enableAlterSystem": false,
            },
            "plugins": [{ "name": "barman-cloud.cloudnative-pg.io", "isWALArchiver": true }],
            "enablePDB": true,
            "enableSuperuserAccess": false,
        }),
    )
}

/// The Cluster into which the backups are restored for a drill.
pub fn drill_cluster() -> Value {
    let parameters = json!({ "barmanObjectName": "database-backup", "serverName": "database-01234567" });
    let plugin = json!({ "name": "barman-cloud.cloudnative-pg.io", "parameters": parameters });
    let mut cluster = cluster();
    cluster["metadata"]["name"] = json!("database-drill");
    let spec = cluster["spec"].as_object_mut().unwrap();
    spec.remove("plugins");
    spec["instances"] = json!(1);
    spec["inheritedMetadata"] = json!({ "labels": { "steading.dev/part": "drill" } });
    spec["bootstrap"] = json!({ "recovery": { "source": "database-origin", "database": "app", "owner": "app" } });
    spec.insert("externalClusters".to_owned(), json!([{ "name": "database-origin", "plugin": plugin }]));
    cluster
}

/// The Secret with the credentials of the backups.
pub fn credentials() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "database-backup" }, "type": "Opaque",
        "stringData": { "accessKeyID": "a" },
    })
}

/// Name of the role of a consumer.
pub const CONSUMER: &str = "database-consumer-shop.billing";

/// The role of a consumer that reads and writes.
pub fn consumer() -> Value {
    DATABASE_ROLE.object(
        CONSUMER,
        &json!({
            "cluster": { "name": "database" },
            "name": "consumer_shop_billing",
            "login": true,
            "disablePassword": true,
            "inRoles": ["app", "pg_read_all_data", "pg_write_all_data"],
            "clientCertificate": { "enabled": true },
            "databaseRoleReclaimPolicy": "retain",
            // What the definition fills in.
            "connectionLimit": -1,
            "ensure": "present",
            "inherit": true,
        }),
    )
}

/// The role of the canary in the database.
pub fn canary_role() -> Value {
    let mut role = consumer();
    role["metadata"]["name"] = json!("database-canary");
    role["spec"]["name"] = json!("steading_canary");
    role["spec"]["inRoles"] = json!([]);
    role
}

/// The role of the canary in what was restored for a drill.
pub fn drill_role() -> Value {
    let mut role = canary_role();
    role["metadata"]["name"] = json!("database-drill");
    role["spec"]["cluster"]["name"] = json!("database-drill");
    role["spec"]["inRoles"] = json!(["pg_read_all_data"]);
    role
}

/// The role of a consumer while it is being taken back.
pub fn locked_consumer() -> Value {
    let mut role = consumer();
    role["spec"]["login"] = json!(false);
    role["spec"]["inRoles"] = json!([]);
    role["spec"]["clientCertificate"]["enabled"] = json!(false);
    role
}

/// What the operator writes for a database, in its order, by the paths of the kinds.
pub fn of_steading(namespace: &str) -> Vec<(String, Value)> {
    let of = |kind: Kind| format!("/apis/{}/namespaces/{namespace}/{}", kind.api, kind.plural);
    let schedule = json!({ "schedule": "0 0 */2 * * *", "cluster": { "name": "database" } });
    vec![
        (format!("/api/v1/namespaces/{namespace}/secrets"), credentials()),
        (of(OBJECT_STORE), OBJECT_STORE.object("database-backup", &json!({ "retentionPolicy": "30d" }))),
        (of(CLUSTER), cluster()),
        (of(SCHEDULED_BACKUP), SCHEDULED_BACKUP.object("database-backup", &schedule)),
    ]
}
