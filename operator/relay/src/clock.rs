//! The time of day. In: the system's clock, or what a test says. Out: seconds since 1970.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Tells the time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        // Before 1970 the clock is wrong, and then every token counts as expired.
        let seconds = |now: SystemTime| now.duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs());
        Self::of(move || seconds(SystemTime::now()))
    }

    /// What `now` says.
    pub fn of(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
