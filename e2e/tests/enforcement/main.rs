//! The promise `enforcement`: where the network does not enforce policies, classes that require it and their Workspaces say so, with
//! the node, the runtime and the way that packets take.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is surprised may panic, in its helpers too"
)]

mod breaks;
mod fake;
