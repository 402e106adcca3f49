//! What should exist: pure functions from facts to objects.
//!
//! In: facts that were parsed once ([`workspace::Facts`]). Out: typed Kubernetes objects, all children of a parent in one struct
//! ([`workspace::Stack`]) and those of its database ([`database`], [`canary`]), built by one function per child kind (module `parts`); what the server must say of them
//! ([`fields`], [`hash`]); and the quota ledger of a Tenant ([`ledger`]). Nothing here has a client, a clock or the environment.

pub mod agents;
pub mod canary;
pub mod consumer;
pub mod database;
pub mod fields;
pub mod hash;
pub mod ledger;
mod parts;
pub mod workspace;

#[cfg(test)]
mod fixtures;
