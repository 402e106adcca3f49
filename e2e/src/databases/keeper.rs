//! CloudNativePG, as far as its words go: what it would say and make is said and made by hand. In: a stack, somebody who may write there.
//! Out: what the operator reads.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

const GROUP: &str = "postgresql.cnpg.io";

/// Objects of a kind of CloudNativePG's or its plugin's.
pub fn objects(client: &Client, namespace: &str, group: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Speaks for CloudNativePG in one stack.
pub struct Keeper {
    /// Of somebody who may write there.
    pub client: Client,
    /// The stack namespace.
    pub stack: String,
}

impl Keeper {
    /// Of this stack, with the rights of somebody who may write there.
    #[must_use]
    pub fn new(client: Client, stack: String) -> Self {
        Self { client, stack }
    }

    /// The `DatabaseRole`s of the stack.
    #[must_use]
    pub fn roles(&self) -> Api<DynamicObject> {
        objects(&self.client, &self.stack, GROUP, "DatabaseRole")
    }

    /// Writes a status.
    pub async fn says(&self, group: &str, kind: &str, name: &str, status: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "status": status }));
        let said =
            objects(&self.client, &self.stack, group, kind).patch_status(name, &PatchParams::default(), &patch).await;
        said.map(drop).with_context(|| format!("{kind} {name} takes no status"))
    }

    /// So many instances run, and the log is archived or not.
    pub async fn runs(&self, ready: u32, archiving: &str) -> Result<()> {
        self.runs_and(ready, archiving, None).await
    }

    /// It runs, and the last full backup was as the reason says.
    pub async fn runs_and(&self, ready: u32, archiving: &str, backup: Option<&str>) -> Result<()> {
        let condition = |type_: &str, status: &str, reason: &str| {
            json!({
                "type": type_, "status": status, "reason": reason, "message": "exit status 1",
                "lastTransitionTime": Timestamp::now(),
            })
        };
        let mut conditions = vec![condition("ContinuousArchiving", archiving, "Reason")];
        if let Some(reason) = backup {
            let status = if reason == "LastBackupSucceeded" { "True" } else { "False" };
            conditions.push(condition("LastBackupSucceeded", status, reason));
        }
        let status = json!({
            "phase": "Cluster in healthy state", "phaseReason": "", "instances": 3, "readyInstances": ready,
            "currentPrimary": "database-2", "conditions": conditions,
        });
        self.says(GROUP, "Cluster", "database", status).await
    }

    /// No instance runs any more, as it was asked; its log is archived to the end.
    pub async fn hibernates(&self) -> Result<()> {
        let condition = |type_: &str, reason: &str| {
            let now = Timestamp::now();
            json!({ "type": type_, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now })
        };
        let conditions = [condition("ContinuousArchiving", "Reason"), condition("cnpg.io/hibernation", "Hibernated")];
        self.says(GROUP, "Cluster", "database", json!({ "readyInstances": 0, "conditions": conditions })).await
    }

    /// An instance has no room for its log, in the words of CloudNativePG 1.30.
    pub async fn is_full(&self) -> Result<()> {
        let reason = "Insufficient disk space detected in one or more pods is preventing PostgreSQL from running.\
            Please verify your storage settings. Further information inside .status.instancesReportedState";
        let status = json!({ "phase": "Not enough disk space", "phaseReason": reason, "readyInstances": 2 });
        self.says(GROUP, "Cluster", "database", status).await
    }

    /// A full backup that was complete at this moment.
    pub async fn backed_up(&self, server: &str, at: Timestamp) -> Result<()> {
        let window = json!({ "lastSuccessfulBackupTime": at, "firstRecoverabilityPoint": at });
        let status = json!({ "serverRecoveryWindow": { server: window } });
        self.says("barmancloud.cnpg.io", "ObjectStore", "database-backup", status).await
    }

    /// No full backup was ever complete, and one failed at this moment.
    pub async fn failed_to_back_up(&self, server: &str, at: Timestamp) -> Result<()> {
        let status = json!({ "serverRecoveryWindow": { server: { "lastFailedBackupTime": at } } });
        self.says("barmancloud.cnpg.io", "ObjectStore", "database-backup", status).await
    }

    /// The role is in the database as it stands now, and has this certificate, if it may sign in.
    pub async fn has_role(&self, role: &str, certificate: &str, expires: &str) -> Result<()> {
        let object = self.roles().get(role).await?;
        let signs_in = object.data.pointer("/spec/login") == Some(&Value::Bool(true));
        if signs_in {
            let issued = [("tls.crt", certificate), ("tls.key", &format!("key of {certificate}"))];
            self.makes_secret(&format!("{role}-client-cert"), &issued).await?;
            let cluster = object.data.pointer("/spec/cluster/name").and_then(Value::as_str).context("of no Cluster")?;
            let authority = [("ca.crt", "the authority"), ("ca.key", "its key")];
            self.makes_secret(&format!("{cluster}-ca"), &authority).await?;
        }
        let issued = if signs_in { json!({ "expiration": expires }) } else { Value::Null };
        let status = json!({
            "observedGeneration": object.metadata.generation, "applied": true, "clientCertificate": issued,
        });
        self.says(GROUP, "DatabaseRole", role, status).await
    }

    async fn makes_secret(&self, name: &str, entries: &[(&str, &str)]) -> Result<()> {
        let data = entries.iter().map(|(entry, text)| ((*entry).to_owned(), (*text).to_owned()));
        let secret = Secret {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            string_data: Some(data.collect::<BTreeMap<_, _>>()),
            ..Secret::default()
        };
        let params = PatchParams::apply("cloudnative-pg").force();
        Api::<Secret>::namespaced(self.client.clone(), &self.stack).patch(name, &params, &Patch::Apply(secret)).await?;
        Ok(())
    }
}
