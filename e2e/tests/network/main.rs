//! The promise `network`: who reaches whom is what the policies say, and between tenants that is nobody, shown by packets between pods
//! on two real nodes, under runc and under gVisor.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is surprised may panic, in its helpers too"
)]

mod moments;
mod outage;
mod town;
mod upgrade;
mod verdicts;
