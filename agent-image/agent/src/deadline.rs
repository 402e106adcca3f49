//! How long a verb may still take. In: a time. Out: pauses that end there, and an error once it is past.

use std::time::{Duration, Instant};

use agent_protocol::Code;

use crate::fault::{Done, Fault};

/// When a verb is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// So long from now.
    pub fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    /// What is left.
    ///
    /// # Errors
    /// If nothing is.
    pub fn left(self) -> Done<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.fault()) } else { Ok(left) }
    }

    /// Sleeps so long.
    ///
    /// # Errors
    /// If there is not so much left; it has then slept for what was.
    pub fn pause(self, time: Duration) -> Done {
        let left = self.left()?;
        std::thread::sleep(time.min(left));
        if time > left { Err(self.fault()) } else { Ok(()) }
    }

    /// That it is past.
    pub fn fault(self) -> Fault {
        let limit = self.limit.as_secs_f32();
        Fault::new(Code::TimedOut, format!("it was not done after {limit} s and was given up: ask for less at once"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_is_longer_than_what_is_left_ends_in_time_with_an_error() {
        let deadline = Deadline::after(Duration::from_millis(20));
        deadline.pause(Duration::from_millis(1)).unwrap();
        let begun = Instant::now();
        assert_eq!(deadline.pause(Duration::from_mins(1)).unwrap_err().code, Code::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(deadline.left().unwrap_err().code, Code::TimedOut);
    }
}
