//! Whether status tells the truth. In: a Tenant and Workspaces that are created, changed, broken, paused and deleted on a real
//! control plane, with every write recorded. Out: `disagreements=0`, which says that at each one the conditions, the rules
//! of kstatus, the Lua health that the chart ships, and what was there in and outside the cluster agree.

// Everything here is a test: a panic is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod scenario;
mod stage;
