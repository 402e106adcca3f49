//! What the API server itself refuses. In: the CRDs that the code generates, installed on a real API server. Out: for
//! each rule and each bound of each kind a refused input whose message is asserted, and its accepted neighbour.
//!
//! `schema` lists every rule and bound that the CRDs contain; `bounds` pins the bounds and makes inputs from them;
//! `rules` holds the inputs for the CEL rules. The first tests below need no cluster: they fail as soon as the CRDs
//! and the tables differ. Status is left out: users cannot write it, and its bounds only protect the API server.

// Everything here is a test: a panic is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agents;
mod bounds;
mod classes;
mod crds;
mod databases;
mod examples;
mod objects;
mod rules;
mod schema;
mod server;
mod tables;
mod tenants;
mod unknown_fields;
mod workspaces;
