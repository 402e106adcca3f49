//! The desktops of a pool: what each is made of, what is known of those that are there, and which to make or take away next.
//!
//! In: the spec of an AgentSet, pods as watches tell of them, the time. Out: [`pod`] and the set that owns it ([`set`]), a [`View`] that
//! knows what was asked for and not yet seen, and [`decide`]. Nothing here has a client or a clock.

mod agent;
mod decide;
mod overhead;
mod pod;
mod set;
mod view;

pub use agent::{Agent, Stage};
pub use decide::{BACKOFF, Counts, Decision, Hold, Note, PATIENCE, Wanted, decide};
pub use overhead::each;
pub use pod::{ACCOUNT, CONTAINER, RELAY_PORT, pod, revision};
pub use set::{SELECTOR, Set, set};
pub use view::View;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
