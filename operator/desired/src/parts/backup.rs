//! A `Backup`: one full backup, out of turn.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::cluster::{BARMAN, Named};
use super::metadata;
use crate::database::CLUSTER;
use crate::workspace::Facts;

/// `postgresql.cnpg.io/v1`, as far as it is made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Backup {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    cluster: Named,
    method: &'static str,
    plugin_configuration: Named,
    target: &'static str,
}

/// A full backup of this name, as those that are made in their turn.
pub(crate) fn backup(facts: &Facts, name: &str) -> Backup {
    Backup {
        api_version: "postgresql.cnpg.io/v1",
        kind: "Backup",
        metadata: metadata(facts, name),
        spec: Spec {
            cluster: Named { name: CLUSTER },
            method: "plugin",
            plugin_configuration: Named { name: BARMAN },
            target: "prefer-standby",
        },
    }
}
