//! The wall clock, in whole seconds as the API server keeps time: what is read back then equals what was written.
//!
//! In: nothing. Out: now. In the unit tests of this crate it can follow the clock of the async runtime, so that simulated worlds
//! have days of their own; everywhere else it is the machine's.

use k8s_openapi::jiff::Timestamp;

/// Now.
#[cfg(not(test))]
#[must_use]
pub fn now() -> Timestamp {
    whole(Timestamp::now())
}

fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or_default()
}

#[cfg(test)]
pub use simulated::now;

#[cfg(test)]
pub mod simulated {
    //! Time as this thread's world has it.

    use std::{cell::Cell, time::Duration};

    use tokio::time::Instant;

    use super::{Timestamp, whole};

    thread_local! {
        static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    /// From now on this thread's clock is that of its async runtime, and it is the first second of 2026.
    pub fn begin() {
        BEGAN.set(Some(Instant::now()));
    }

    /// Time since [`begin`].
    pub fn age() -> Option<Duration> {
        BEGAN.get().map(|began| began.elapsed())
    }

    /// Now.
    pub fn now() -> Timestamp {
        age().map_or_else(|| whole(Timestamp::now()), |age| whole(Timestamp::constant(1_767_225_600, 0) + age))
    }
}
