//! What came of a drill. In: what was found. Out: one line of JSON that is short enough for the termination message of a pod, from which
//! the operator reads it.

use std::{fs::File, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The most characters that a failure has. With these the line stays below 2 KiB, whatever they are.
const LONGEST: usize = 300;

/// What came of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// What was restored is whole.
    Whole(Restored),
    /// It is not, or that could not be shown.
    Failed(Failure),
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restored {
    /// When the newest row of the canary was written.
    pub newest_row: Timestamp,
    /// How many rows of the canary there are.
    pub rows: u64,
    /// Bytes of the database.
    pub size: u64,
    /// How many tables were read to the end.
    pub tables: u64,
    /// How many tables keep the canary from reading them, by row security.
    pub unread: u64,
}

/// Why it is not shown that what was restored is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// For people, at most 300 characters.
    pub failure: String,
}

impl Outcome {
    /// A failure, cut to length, without characters that are none to read.
    #[must_use]
    pub fn failed(why: &str) -> Self {
        let readable = why.chars().map(|character| if character.is_control() { ' ' } else { character });
        let mut failure: String = readable.take(LONGEST + 1).collect();
        if failure.chars().count() > LONGEST {
            failure = failure.chars().take(LONGEST - 1).chain(['…']).collect();
        }
        Self::Failed(Failure { failure })
    }

    /// Writes it to standard output and into `file`, which the kubelet reads. What was there is replaced.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn tell(&self, file: &Path) -> Result<()> {
        let line = serde_json::to_string(self)?;
        println!("{line}");
        let mut told = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
        told.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Outcome {
        let newest_row = "2026-11-23T10:15:00.123456Z".parse().unwrap();
        Outcome::Whole(Restored { newest_row, rows: 12, size: 31_457_280, tables: 7, unread: 0 })
    }

    fn line(outcome: &Outcome) -> String {
        serde_json::to_string(outcome).unwrap()
    }

    #[test]
    fn it_is_the_line_that_the_operator_reads_and_is_read_back() {
        let expected = r#"{"newestRow":"2026-11-23T10:15:00.123456Z","rows":12,"size":31457280,"tables":7,"unread":0}"#;
        assert_eq!(line(&whole()), expected);
        let failed = Outcome::failed("the canary's table came back without a row");
        assert_eq!(line(&failed), r#"{"failure":"the canary's table came back without a row"}"#);
        for outcome in [whole(), failed] {
            assert_eq!(serde_json::from_str::<Outcome>(&line(&outcome)).unwrap(), outcome);
        }
    }

    #[test]
    fn what_is_both_or_neither_is_not_read() {
        let both = line(&whole()).replace('{', r#"{"failure":"x","#);
        for bad in [both.as_str(), "{}", r#"{"rows":12}"#, r#"{"failure":7}"#, ""] {
            assert!(serde_json::from_str::<Outcome>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_is_one_line_below_two_kibibytes_whatever_failed() {
        let failure = |why: &str| match Outcome::failed(why) {
            Outcome::Failed(Failure { failure }) => failure,
            Outcome::Whole(_) => unreachable!(),
        };
        for bad in ["\"", "\\", "\n", "\u{1}", "\u{7f}", "🐤", "\u{2028}", "x"] {
            let outcome = Outcome::failed(&bad.repeat(5000));
            assert!(line(&outcome).len() <= 2048, "{bad:?}: {}", line(&outcome).len());
            assert!(!line(&outcome).contains('\n'));
            assert_eq!(failure(&bad.repeat(5000)).chars().count(), 300);
        }
        assert_eq!(failure(&"x".repeat(300)), "x".repeat(300));
        assert!(failure(&"x".repeat(301)).ends_with("x…"));
        assert_eq!(failure("a\nb"), "a b");
        let longest =
            Restored { newest_row: Timestamp::MAX, rows: u64::MAX, size: u64::MAX, tables: u64::MAX, unread: u64::MAX };
        assert!(line(&Outcome::Whole(longest)).len() <= 2048);
    }

    #[test]
    fn what_is_told_replaces_what_was_in_the_file() {
        let file = std::env::temp_dir().join(format!("steading-outcome-{}", std::process::id()));
        std::fs::write(&file, "x".repeat(5000)).unwrap();
        whole().tell(&file).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), line(&whole()));
        std::fs::remove_file(&file).unwrap();
    }
}
