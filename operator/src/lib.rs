//! The operator: watches the kinds of crate `api`, makes what crate `desired` says should exist, and what crate `providers`
//! makes outside the cluster. [`run`] is all that `main` and the tests call.

pub mod agent_pool;
pub mod agent_set;
pub mod agents;
mod chance;
pub mod client;
mod clock;
pub mod config;
pub mod connections;
pub mod consents;
pub mod context;
mod databases;
pub mod enforcement;
pub mod engine;
pub mod fence;
mod figures;
mod following;
pub mod http;
pub mod identity;
pub mod metrics;
mod orphans;
mod run;
pub mod telemetry;
pub mod tenant;
pub mod tenant_class;
mod wakes;
pub mod workspace;
#[cfg(test)]
mod worlds;

pub use config::Config;
pub use run::run;
