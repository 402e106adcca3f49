//! Breaks the operator at every write that it makes. In: the stories of a Tenant with one Workspace (it is created, changed, deleted; it gets
//! a database and an application that uses it, loses that again and rests, goes with both).
//! Out: for each write and each fault, whether all that was promised held; for what failed, the one command that does it again.
//!
//! A fault-free run tells which writes a story has, at the API server and outside the cluster. Then the story is told once for each
//! [`Point`]: some write of it, and what befalls the operator there. After each point the oracles are asked: see [`oracles`].

// A JSON value that is read by index never panics: what is missing is null.
#![allow(clippy::indexing_slicing)]

mod cast;
mod end_state;
mod hidden;
pub mod oracles;
mod outside;
pub mod panics;
mod pending;
mod point;
mod points;
mod scene;
mod tell;
mod undertaker;
mod walk;
mod watchman;

pub use outside::{Outside, OutsidePoint, OutsideTally, walk_outside};
pub use pending::PENDING;
pub use point::{Blow, Fault, Point, Story, WriteName};
pub use undertaker::Undertaker;
pub use walk::{Scope, Tally, walk};
