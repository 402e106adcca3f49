//! The canary of a database, and the drill that restores its backups.
//!
//! In: the facts of a Workspace, its database, the image. Out: the objects of both. The canary writes a row into a schema of its own every third
//! of the rpo; a drill restores the backups beside the database and looks which of these rows came back, and whether everything can be read.

use serde_json::{Value, json};

use crate::database::{BackupPlace, Database};
use crate::fields::Kind;
use crate::parts::{cluster, database_role, deployment, job};
use crate::workspace::Facts;

/// Name of the canary's Deployment and of its `DatabaseRole`. It begins with the name of the Cluster: CloudNativePG writes nothing else in a
/// stack.
pub const CANARY: &str = "database-canary";
/// Name of the Cluster of a drill, of its `DatabaseRole` and of its Job.
pub const DRILL: &str = "database-drill";
/// The role of both in PostgreSQL, and the schema that is theirs.
pub const ROLE: &str = "steading_canary";
/// The entries of a Secret in which CloudNativePG puts a certificate and its key.
pub(crate) const CERTIFICATE: [&str; 2] = ["tls.crt", "tls.key"];

/// Who it is in the database.
#[must_use]
pub fn role(facts: &Facts) -> (Kind, Value) {
    (Kind::DatabaseRole, json!(database_role::of_canary(facts)))
}

/// What writes, once its role can sign in.
#[must_use]
pub fn deployment(facts: &Facts, database: &Database, image: &str) -> (Kind, Value) {
    (Kind::Deployment, json!(deployment::canary(facts, database, image)))
}

/// The database that is restored.
#[must_use]
pub fn restored(facts: &Facts, database: &Database, place: &BackupPlace) -> (Kind, Value) {
    (Kind::Cluster, json!(cluster::drill(facts, database, place)))
}

/// Who may look at it.
#[must_use]
pub fn reader(facts: &Facts) -> (Kind, Value) {
    (Kind::DatabaseRole, json!(database_role::of_drill(facts)))
}

/// What looks at it.
#[must_use]
pub fn look(facts: &Facts, database: &Database, image: &str) -> (Kind, Value) {
    (Kind::Job, json!(job::drill(facts, database, image)))
}

/// The kinds of all that a drill makes, in the order in which it is removed. CloudNativePG lets go of a role whose Cluster is gone.
pub const OF_DRILL: [Kind; 3] = [Kind::Job, Kind::DatabaseRole, Kind::Cluster];

/// How many times the rto a drill may take.
pub const PATIENCE: u32 = 3;
