//! The charts: what they refuse, what they render, what they install, and what the rights in them amount to.

// Helpers of tests are tests: clippy.toml lets only functions marked as tests unwrap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod helm;
mod installed;
mod operator_rights;
mod people;
mod probe;
mod relay;
mod rendered;
mod server;
mod values;
