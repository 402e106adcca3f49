//! Databases as the library knows them, and how long each step of a test with them takes.

use std::time::Instant;

pub use e2e::databases::{Database, PATIENCE, apply};
use e2e::show;

/// Tells how long each step took, if somebody wants to know.
pub struct Steps(Option<Instant>);

impl Steps {
    pub fn begin() -> Self {
        Self(std::env::var_os("STEADING_TIMES").map(|_| Instant::now()))
    }

    pub fn end(&mut self, what: &str) {
        if let Some(begun) = &mut self.0 {
            show(&format!("database: {:5.1} s: {what}", begun.elapsed().as_secs_f32()));
            *begun = Instant::now();
        }
    }
}
