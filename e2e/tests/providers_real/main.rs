//! The adapters of `providers` against the servers that users run: OpenBao, MinIO, KES and OpenFGA, each with the rights of the operator and
//! no more. In: servers built from source. Out: proof that what an adapter says is what the server does.

// Everything here is a test: a panic is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod access;
mod authorization;
mod buckets;
mod chain;
mod documents;
mod identities;
mod keys;
mod world;
