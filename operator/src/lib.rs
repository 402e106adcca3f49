//! The operator: watches the kinds of crate `api`, makes what crate `desired` says should exist, and what crate `providers`
//! makes outside the cluster. [`run`] is all that `main` and the tests call.

pub mod config;
pub mod engine;
pub mod metrics;
pub mod telemetry;
