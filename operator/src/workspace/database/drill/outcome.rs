//! What a drill's pod tells. In: its termination message, which whoever may write in the database might have a hand in. Out: bounded figures, or
//! why there are none. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest text that is passed on.
const TOLD: usize = 300;

/// How far the clock of a node may be ahead.
const AHEAD: Duration = Duration::from_mins(1);

/// Longest message that is read: the kubelet lets no more through.
const LONGEST: usize = 4096;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// When the newest row of the canary was written.
    pub newest_row: Timestamp,
    /// How many of its rows there are; at least one.
    pub rows: i64,
    /// Bytes of the database.
    pub size: u64,
    /// Tables that were read to their ends.
    pub tables: i64,
    /// Tables that could not be.
    pub unread: i64,
}

#[derive(Deserialize)]
struct Failure {
    failure: String,
}

/// Reads a termination message at the moment `now`.
///
/// # Errors
/// What it says went wrong; or, in words of ours, that it cannot be read, or that a row is younger than it can be: whoever may write all rows
/// of a database could make a long loss look like none.
pub fn read(message: &str, now: Timestamp) -> Result<Outcome, String> {
    let unreadable = || "what its pod told cannot be read".to_owned();
    if message.len() > LONGEST {
        return Err(unreadable());
    }
    // An object and nothing else: what is derived would also take a list of the same values.
    let told = serde_json::from_str::<Map<String, Value>>(message).map_err(|_| unreadable())?;
    if let Ok(Failure { failure }) = Failure::deserialize(&told) {
        let plain = failure.chars().filter(|c| !c.is_control()).take(TOLD).collect::<String>();
        return Err(if plain.is_empty() { unreadable() } else { plain });
    }
    let outcome = Outcome::deserialize(&told).map_err(|_| unreadable())?;
    let makes_sense = outcome.rows > 0 && outcome.tables >= 0 && outcome.unread >= 0;
    if !makes_sense {
        return Err(unreadable());
    }
    let newest = outcome.newest_row;
    if newest > now.saturating_add(AHEAD).unwrap_or(now) {
        return Err(format!(
            "the newest row of the canary is of {newest}, which has not come yet: see the clocks of the nodes, and who writes to table steading_canary.chain"
        ));
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"newestRow":"2026-11-23T10:15:00.123456Z","rows":12,"size":31457280,"tables":7,"unread":0}"#;

    fn read_now(message: &str) -> Result<Outcome, String> {
        read(message, "2026-11-23T10:16:00Z".parse().unwrap())
    }

    #[test]
    fn figures_are_read() {
        let outcome = read_now(GOOD).unwrap();
        assert_eq!((outcome.rows, outcome.size, outcome.tables, outcome.unread), (12, 30 << 20, 7, 0));
        assert_eq!(outcome.newest_row.to_string(), "2026-11-23T10:15:00.123456Z");
    }

    #[test]
    fn a_failure_is_passed_on_bounded_and_without_control_characters() {
        let told = read_now(&format!(r#"{{"failure":"a\u001b[31m{}"}}"#, "x".repeat(1_000))).unwrap_err();
        assert!(told.starts_with("a[31mxxx") && told.chars().count() == TOLD, "{told}");
    }

    #[test]
    fn of_anything_else_nothing_is_passed_on() {
        let huge = format!(r#"{{"failure":"{}"}}"#, "secret".repeat(1_000));
        for message in [
            "",
            "secret",
            r#"["secret"]"#,
            r#"["2026-11-23T10:15:00Z",12,31457280,7,0]"#,
            r#"{"failure":""}"#,
            r#"{"failure":7}"#,
            r#"{"rows":"secret"}"#,
            &GOOD.replace("12", "0"),
            &GOOD.replace("12", "-1"),
            &GOOD.replace("2026", "secret"),
            &GOOD.replace("\"tables\":7", "\"tables\":99999999999999999999"),
            &huge,
        ] {
            assert_eq!(read_now(message).unwrap_err(), "what its pod told cannot be read", "{message}");
        }
    }

    #[test]
    fn a_row_of_the_future_shows_nothing() {
        let of = |moment: &str| read_now(&GOOD.replace("2026-11-23T10:15:00.123456Z", moment));
        assert!(of("2026-11-23T10:17:00Z").is_ok(), "clocks differ");
        let told = of("2026-11-23T10:17:00.000001Z").unwrap_err();
        assert!(told.contains("has not come yet"), "{told}");
        assert!(of("9999-12-30T22:00:00Z").is_err());
    }
}
