//! Whether status tells the truth. In: every write of a stretch of time, as the API server took them. Out: each point at which the
//! conditions, the rules of kstatus, the Lua health that the chart ships, and what was there in and outside the cluster disagree.

// A JSON value that is read by index never panics: what is missing is null.
#![allow(clippy::indexing_slicing)]

pub mod judge;
pub mod kstatus;
pub mod lua;
pub mod record;

pub use judge::{Judgement, judge};
pub use record::{Recorder, Write};
