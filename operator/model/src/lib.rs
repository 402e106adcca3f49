//! Models for tests of what the operator leaves to others: an API server in memory, and what NetworkPolicies mean ([`network`]).
//! Models, not the real ones.
//!
//! # The API server
//!
//! In: one request at a time ([`Request`]). Out: its [`Answer`], and a log of [`Change`]s from which watches can be played. Nothing
//! here waits, draws lots or knows the time ([`Server::at`] tells it), so that the same requests always have the same answers.
//!
//! It has what the operator relies on: versions and generations, preconditions by UID and version, server-side apply with its
//! record of who owns what, status as a subresource, finalizers, namespaces that go in two steps and refuse what is new meanwhile,
//! metadata-only answers. A test of `e2e` sends the same requests to it and to a real API server and compares the answers.
//!
//! **It leaves out**: schemas, defaults of fields, CEL and all other admission, rights, conflicts of apply (every apply is forced),
//! field ownership of custom resources and within status (an apply of status replaces all of it, which is right as long as one
//! manager writes it), watches over HTTP, continue tokens, label selectors of lists, dry runs, quotas in force, garbage
//! collection, and every kind that the operator does not use.

// This crate is test code: indexing JSON makes what is missing, and a model that panics is a test that fails.
#![allow(clippy::indexing_slicing)]

mod apply;
mod controllers;
mod fields;
mod kinds;
pub mod network;
mod refusal;
mod request;
mod store;
mod verbs;

pub use kinds::Resource;
pub use request::Request;
pub use store::{Change, Key, Server};

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP code.
    pub code: u16,
    /// The body.
    pub body: serde_json::Value,
}

#[cfg(test)]
mod tests;
