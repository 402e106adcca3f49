//! The `ObjectStore` of a database: where its plugin sends backups and the log, and for how long they stay.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::cluster::{Amounts, Resources};
use super::metadata;
use crate::database::{
    ACCESS_KEY_ID, BACKUP, BackupPlace, Database, ORIGIN, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN, SIDECAR, STORE_CA,
};
use crate::workspace::Facts;

/// `barmancloud.cnpg.io/v1`, as far as it is applied.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectStore {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    configuration: Configuration,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_policy: Option<String>,
    instance_sidecar_configuration: Sidecar,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    destination_path: String,
    #[serde(rename = "endpointURL")]
    endpoint_url: String,
    #[serde(rename = "endpointCA", skip_serializing_if = "Option::is_none")]
    endpoint_ca: Option<Entry>,
    s3_credentials: Credentials,
    wal: Log,
    data: Data,
}

/// An entry of a Secret.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    key: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    access_key_id: Entry,
    secret_access_key: Entry,
    session_token: Entry,
    region: Entry,
}

/// The write-ahead log. No encryption is asked for: what the bucket does by itself is the tenant's key.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    compression: &'static str,
    max_parallel: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    compression: &'static str,
    jobs: u32,
    immediate_checkpoint: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sidecar {
    env: [Variable; 2],
    resources: Resources,
}

#[derive(Serialize)]
struct Variable {
    name: &'static str,
    value: &'static str,
}

/// Many stores refuse the newer checksums that the plugin's SDK adds by itself.
const CHECKSUMS: [Variable; 2] = [
    Variable { name: "AWS_REQUEST_CHECKSUM_CALCULATION", value: "when_required" },
    Variable { name: "AWS_RESPONSE_CHECKSUM_VALIDATION", value: "when_required" },
];

/// The backup bucket, used with the credentials in our Secret.
pub(crate) fn object_store(facts: &Facts, database: &Database, place: &BackupPlace) -> ObjectStore {
    named(facts, BACKUP, place, Some(format!("{}d", database.retention)))
}

/// The backups with which the database begins. Nothing of them is ever deleted from here.
pub(crate) fn origin(facts: &Facts, place: &BackupPlace) -> ObjectStore {
    named(facts, ORIGIN, place, None)
}

fn named(facts: &Facts, name: &'static str, place: &BackupPlace, retention_policy: Option<String>) -> ObjectStore {
    let entry = |key| Entry { name, key };
    // Of the one that is always kept current: every instance mounts it for as long as it lives.
    let authority = Entry { name: BACKUP, key: STORE_CA };
    let (cpu, memory) = SIDECAR;
    ObjectStore {
        api_version: "barmancloud.cnpg.io/v1",
        kind: "ObjectStore",
        metadata: metadata(facts, name),
        spec: Spec {
            configuration: Configuration {
                destination_path: format!("s3://{}/", place.bucket),
                endpoint_url: place.endpoint.clone(),
                endpoint_ca: place.has_ca.then_some(authority),
                s3_credentials: Credentials {
                    access_key_id: entry(ACCESS_KEY_ID),
                    secret_access_key: entry(SECRET_ACCESS_KEY),
                    session_token: entry(SESSION_TOKEN),
                    region: entry(REGION),
                },
                wal: Log { compression: "gzip", max_parallel: 4 },
                data: Data { compression: "gzip", jobs: 1, immediate_checkpoint: true },
            },
            retention_policy,
            instance_sidecar_configuration: Sidecar {
                env: CHECKSUMS,
                resources: Resources::between(Amounts::of(cpu / 10, memory), Amounts::of(cpu, memory)),
            },
        },
    }
}
