//! The canary: whether what is written into a database comes back from its backups, and how much of it.
//!
//! In: a database that lets a role of the canary's own in, by certificate. Out: rows in it, one each period, of which each is tied to the
//! one before ([`write`]); whether they are written ([`ready`]); and of a copy that was restored from backups, whether it is whole and
//! how new it is ([`drill`]), as one line of JSON ([`Outcome`]).
//!
//! Customers may write into every table, so nothing that is read is trusted. What is told holds nothing of what is in a table, and no
//! name of one.

pub mod chain;
mod connection;
pub mod drill;
pub mod environment;
pub mod outcome;
pub mod ready;
mod rows;
mod tables;
pub mod write;

use std::time::Duration;

pub use outcome::Outcome;

/// The longest that a setting may be.
const LONGEST: u64 = 7 * 24 * 60 * 60;

/// Whole seconds as the operator writes them, such as `300s`.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').and_then(|number| number.parse::<u64>().ok());
    match number {
        Some(number) if (1..=LONGEST).contains(&number) => Ok(Duration::from_secs(number)),
        _ => Err(format!("not 1s to {LONGEST}s, such as 300s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_whole_seconds_between_one_and_a_week() {
        assert_eq!(seconds("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(seconds("604800s"), Ok(Duration::from_hours(7 * 24)));
        for bad in ["", "s", "0s", "604801s", "300", "5m", "-1s", "1.5s", " 1s", "1 s", "99999999999999999999s"] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }
}
