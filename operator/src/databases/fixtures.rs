//! What tests of databases begin with.

use std::time::Duration;

use desired::database::Database;

/// A database of three instances, as an ordinary class offers it.
pub fn wanted() -> Database {
    Database {
        image: "registry.example/postgresql:18.4".to_owned(),
        instances: 3,
        storage: 20 << 30,
        storage_class: None,
        cpu: 1_000,
        memory: 2 << 30,
        rpo: Duration::from_mins(15),
        full_every: 2,
        retention: 30,
        rto: Duration::from_hours(1),
        drill_every: Duration::from_hours(24),
        suspended: false,
    }
}
