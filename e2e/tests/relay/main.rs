//! The relay: a pod reaches what lies below its own UID and nothing else, and nobody else reaches anything.
//!
//! NATS is the real one, with TLS; who lets in is the program of this checkout, which asks a real API server. Pods are objects without a
//! node: their tokens come from the TokenRequest API, bound to them, as the kubelet gets them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod doors;
mod outages;
mod streams;
mod walls;
mod world;
