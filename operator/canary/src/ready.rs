//! Whether rows are written. In: what the writer noted, and the time. Out: how old the newest row is, or what is wrong.

use std::{fs, io::ErrorKind, path::Path, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::seconds;

/// What a row may take beyond the time in which it is due.
const GRACE: Duration = Duration::from_secs(30);

/// Flags that say how often a row is written, and where that is noted.
#[derive(Args, Clone, Debug)]
pub struct Kept {
    /// Time from one row to the next, in seconds, such as 300s
    #[arg(long, env = "STEADING_CANARY_PERIOD", value_name = "SECONDS", value_parser = seconds)]
    pub period: Duration,
    /// Folder in which the last success is noted
    #[arg(long, env = "STEADING_CANARY_STATE", value_name = "FOLDER", default_value = "/run/canary/state")]
    state: PathBuf,
}

/// What the writer notes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// When the last row was written, by the clock of this machine.
    pub last_success: Option<Timestamp>,
    /// Why the last try failed, if it did.
    pub failure: Option<String>,
}

impl Kept {
    /// How old the newest row is, for people.
    ///
    /// # Errors
    /// If it is too old, with what keeps the writer from it.
    pub fn judge(&self) -> Result<String> {
        self.read()?.judge(self.period, Timestamp::now())
    }

    /// What was noted; nothing at first.
    pub fn read(&self) -> Result<State> {
        let file = self.file();
        match fs::read(&file) {
            Ok(content) => {
                serde_json::from_slice(&content).with_context(|| format!("{} is not understood", file.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Notes it, whole or not at all.
    pub fn note(&self, state: &State) -> Result<()> {
        let (file, new) = (self.file(), self.file().with_extension("new"));
        let failed = |file: &Path| format!("cannot write {}", file.display());
        fs::write(&new, serde_json::to_vec(state)?).with_context(|| failed(&new))?;
        fs::rename(&new, &file).with_context(|| failed(&file))
    }

    fn file(&self) -> PathBuf {
        self.state.join("written.json")
    }
}

impl State {
    /// Notes what came of a try.
    pub fn add(&mut self, tried: Result<(), String>, now: Timestamp) {
        match tried {
            Ok(()) => *self = Self { last_success: Some(now), failure: None },
            Err(failure) => self.failure = Some(failure),
        }
    }

    fn judge(&self, period: Duration, now: Timestamp) -> Result<String> {
        let why = self.failure.as_deref().unwrap_or("the last try has not ended");
        let Some(last) = self.last_success else { bail!("no row was written yet: {why}") };
        // What a clock noted that was put back since is new.
        let age = Duration::try_from(now.duration_since(last)).unwrap_or_default();
        let most = period * 2 + GRACE;
        ensure!(
            age < most,
            "no row was written for {} s, and after {} s that is too long: {why}",
            age.as_secs(),
            most.as_secs()
        );
        let failing = self.failure.as_ref().map(|failure| format!("; since then: {failure}")).unwrap_or_default();
        Ok(format!("a row was written {} s ago{failing}", age.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_mins(5);

    fn now() -> Timestamp {
        "2026-11-23T10:15:00Z".parse().unwrap()
    }

    fn judged(age: Option<u64>, failure: Option<&str>) -> Result<String, String> {
        let last_success = age.map(|age| now() - Duration::from_secs(age));
        let state = State { last_success, failure: failure.map(str::to_owned) };
        state.judge(PERIOD, now()).map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_ready_until_two_periods_and_half_a_minute_have_passed_without_a_row() {
        assert_eq!(judged(Some(0), None).unwrap(), "a row was written 0 s ago");
        assert_eq!(judged(Some(629), Some("disk full")).unwrap(), "a row was written 629 s ago; since then: disk full");
        let told = "no row was written for 630 s, and after 630 s that is too long: ";
        assert_eq!(judged(Some(630), Some("disk full")).unwrap_err(), format!("{told}disk full"));
        assert_eq!(judged(Some(630), None).unwrap_err(), format!("{told}the last try has not ended"));
    }

    #[test]
    fn without_a_row_it_is_not_ready_and_says_why() {
        assert_eq!(judged(None, Some("no answer")).unwrap_err(), "no row was written yet: no answer");
        assert_eq!(judged(None, None).unwrap_err(), "no row was written yet: the last try has not ended");
    }

    #[test]
    fn a_clock_that_was_put_back_makes_no_row_old() {
        let state = State { last_success: Some(now() + Duration::from_hours(5)), failure: None };
        assert_eq!(state.judge(PERIOD, now()).unwrap(), "a row was written 0 s ago");
    }

    #[test]
    fn a_failure_leaves_the_last_success_and_a_success_ends_the_failure() {
        let mut state = State::default();
        state.add(Ok(()), now());
        state.add(Err("disk full".to_owned()), now() + PERIOD);
        assert_eq!(state, State { last_success: Some(now()), failure: Some("disk full".to_owned()) });
        state.add(Ok(()), now() + PERIOD);
        assert_eq!(state, State { last_success: Some(now() + PERIOD), failure: None });
    }

    #[test]
    fn what_is_noted_is_read_and_what_is_not_understood_is_not_ready() {
        let folder = std::env::temp_dir().join(format!("steading-canary-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let kept = Kept { period: PERIOD, state: folder.clone() };
        assert_eq!(kept.read().unwrap(), State::default());
        assert!(kept.judge().unwrap_err().to_string().starts_with("no row was written yet"));
        let state = State { last_success: Some(Timestamp::now()), failure: None };
        kept.note(&state).unwrap();
        assert_eq!(kept.read().unwrap(), state);
        assert!(kept.judge().unwrap().starts_with("a row was written "));
        fs::write(kept.file(), "{").unwrap();
        assert!(kept.judge().unwrap_err().to_string().ends_with("written.json is not understood"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
