//! The `DatabaseRole` of a consumer: who it is in the database, by a certificate that CloudNativePG issues and renews.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::{cluster::Named, metadata};
use crate::consumer::{Consumer, Standing};
use crate::database::CLUSTER;
use crate::workspace::Facts;

/// `postgresql.cnpg.io/v1`, as far as it is applied.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DatabaseRole {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    cluster: Named,
    name: String,
    login: bool,
    disable_password: bool,
    in_roles: &'static [&'static str],
    client_certificate: ClientCertificate,
    database_role_reclaim_policy: &'static str,
}

#[derive(Serialize)]
struct ClientCertificate {
    enabled: bool,
}

/// The consumer's role. One that is shut out cannot sign in, belongs to nothing, so that also a session that is open reads no more of
/// others' tables, and has no certificate.
pub(crate) fn database_role(facts: &Facts, consumer: &Consumer, standing: Standing) -> DatabaseRole {
    let is_let_in = standing != Standing::ShutOut;
    DatabaseRole {
        api_version: "postgresql.cnpg.io/v1",
        kind: "DatabaseRole",
        metadata: metadata(facts, &consumer.database_role()),
        spec: Spec {
            cluster: Named { name: CLUSTER },
            name: consumer.role(),
            login: is_let_in,
            disable_password: true,
            in_roles: match standing {
                Standing::ReadWrite => &["app", "pg_read_all_data", "pg_write_all_data"],
                Standing::Read => &["pg_read_all_data"],
                Standing::ShutOut => &[],
            },
            client_certificate: ClientCertificate { enabled: is_let_in },
            // What it made in the database is the Workspace's, and PostgreSQL drops no role that owns something.
            database_role_reclaim_policy: "retain",
        },
    }
}
