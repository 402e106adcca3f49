//! A span of time as users write it: `90m`, `12h`, `30d`.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole number of minutes, hours or days: `^[1-9][0-9]{0,4}(m|h|d)$`, so between one minute and 99,999 days.
///
/// The text is kept as written, so that what a user reads back is what they wrote; [`Duration::to_std`] gives its length.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transparent)]
#[serde(transparent)]
pub struct Duration(#[schemars(length(min = 2, max = 6))] String);

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write a whole number of minutes, hours or days, such as 90m, 12h or 90d")]
pub struct InvalidDuration(pub String);

impl Duration {
    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length. `Err` if the value bypassed admission (for example in a test fixture).
    pub fn to_std(&self) -> Result<std::time::Duration, InvalidDuration> {
        let invalid = || InvalidDuration(self.0.clone());
        let unit = self.0.chars().next_back().ok_or_else(invalid)?;
        let minutes_per_unit = match unit {
            'm' => 1,
            'h' => 60,
            'd' => 60 * 24,
            _ => return Err(invalid()),
        };
        let number = self.0.strip_suffix(unit).unwrap_or_default();
        let plain =
            (1..=5).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
        if !plain {
            return Err(invalid());
        }
        let count: u64 = number.parse().map_err(|_| invalid())?;
        Ok(std::time::Duration::from_secs(count * minutes_per_unit * 60))
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration = Self(text.to_owned());
        duration.to_std()?;
        Ok(duration)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_minutes_hours_and_days() {
        for (text, seconds) in [("1m", 60), ("90m", 5_400), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(text.parse::<Duration>().unwrap().to_std().unwrap().as_secs(), seconds, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "m", "0m", "01d", "1s", "1w", "-1d", "100000d", "1.5h", "1 d", "d1", "+1d", "٣d"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?} was accepted");
        }
    }
}
