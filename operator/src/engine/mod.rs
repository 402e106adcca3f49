//! What all controllers share. It knows no kind by name.
//!
//! In: objects of crate `desired`, outcomes of one round. Out: writes to the API server, status, and when to come back.

pub mod apply;
pub mod backoff;
pub mod children;
pub mod conditions;
pub mod contest;
pub mod drive;
pub mod fault;
pub mod finalize;
pub mod gate;
pub mod known;
pub mod lease;
pub mod patience;
pub mod round;
pub mod watches;
