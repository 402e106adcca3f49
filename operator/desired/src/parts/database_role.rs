//! A `DatabaseRole`: who somebody is in a database, by a certificate that CloudNativePG issues and renews.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::{cluster::Named, metadata};
use crate::canary::{CANARY, DRILL, ROLE};
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
pub(crate) fn of_consumer(facts: &Facts, consumer: &Consumer, standing: Standing) -> DatabaseRole {
    let in_roles: &[&str] = match standing {
        Standing::ReadWrite => &["app", "pg_read_all_data", "pg_write_all_data"],
        Standing::Read => &["pg_read_all_data"],
        Standing::ShutOut => &[],
    };
    let is_let_in = standing != Standing::ShutOut;
    role(metadata(facts, &consumer.database_role()), CLUSTER, consumer.role(), in_roles, is_let_in)
}

/// The canary's role: it belongs to nothing, so that it reads and writes what is its own.
pub(crate) fn of_canary(facts: &Facts) -> DatabaseRole {
    role(metadata(facts, CANARY), CLUSTER, ROLE.to_owned(), &[], true)
}

/// The same role in what was restored, where it reads all that came back.
pub(crate) fn of_drill(facts: &Facts) -> DatabaseRole {
    role(metadata(facts, DRILL), DRILL, ROLE.to_owned(), &["pg_read_all_data"], true)
}

fn role(
    metadata: ObjectMeta,
    cluster: &'static str,
    name: String,
    in_roles: &'static [&'static str],
    is_let_in: bool,
) -> DatabaseRole {
    DatabaseRole {
        api_version: "postgresql.cnpg.io/v1",
        kind: "DatabaseRole",
        metadata,
        spec: Spec {
            cluster: Named { name: cluster },
            name,
            login: is_let_in,
            disable_password: true,
            in_roles,
            client_certificate: ClientCertificate { enabled: is_let_in },
            // What it made in the database is the Workspace's, and PostgreSQL drops no role that owns something.
            database_role_reclaim_policy: "retain",
        },
    }
}
