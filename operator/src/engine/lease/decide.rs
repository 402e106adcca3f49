//! The decision: what to do about the Lease now. Pure. In: what was seen of it and when, by our own monotonic clock; who we
//! are. Out: one [`Step`].
//!
//! Times written by others are never compared with ours: a wall clock may be an hour off. A record counts as expired when it
//! has not *changed* for its duration, measured here from the moment we first saw it so.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timings;

/// What a Lease says, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Who holds it. `None` also stands for an empty string.
    pub holder: Option<String>,
    /// How long it asks to be believed.
    pub duration: Option<Duration>,
    /// Its times as they are written: told apart, never read. Empty if nobody ever held it.
    pub written: String,
    /// How often it went from one holder to another.
    pub transitions: i32,
}

impl Record {
    /// The duration that a holder writes when it lets go by itself. Without it an empty holder may be somebody's edit, while
    /// the holder is still at work and does not know yet.
    pub const RELEASED: Duration = Duration::from_secs(1);

    fn is_free_at_once(&self) -> bool {
        self.holder.is_none() && (self.written.is_empty() || self.duration == Some(Self::RELEASED))
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read the Lease.
    Look,
    /// Make it, with us as its holder.
    Create,
    /// Write ourselves into it, provided that it still has this version.
    Acquire { version: String },
    /// Say that we are still there, provided that it still has this version.
    Renew { version: String },
    /// Nothing before this moment.
    Wait(Instant),
}

/// The Lease as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Absent,
    Present { record: Record, version: String },
}

/// What one candidate knows.
#[derive(Clone, Debug)]
pub(super) struct Knowledge {
    me: String,
    timings: Timings,
    seen: Seen,
    /// What was seen is known to be out of date.
    stale: bool,
    /// The last write was refused because of that.
    refused: bool,
    /// Until when somebody else may believe that it leads.
    barred_until: Instant,
    /// When the last write that succeeded was sent. Not when it was answered: the others count from what they saw.
    held_since: Option<Instant>,
    /// When to look again, or to renew.
    due: Instant,
    /// No request before this moment: the last one failed.
    paused_until: Instant,
}

impl Knowledge {
    pub fn new(me: String, timings: Timings, now: Instant) -> Self {
        Self {
            me,
            timings,
            seen: Seen::Nothing,
            stale: false,
            refused: false,
            barred_until: now,
            held_since: None,
            due: now,
            paused_until: now,
        }
    }

    /// What to do now.
    pub fn decide(&self, now: Instant) -> Step {
        if now < self.paused_until {
            return Step::Wait(self.paused_until);
        }
        let (record, version) = match &self.seen {
            _ if self.stale => return Step::Look,
            Seen::Nothing => return Step::Look,
            Seen::Absent => (None, None),
            Seen::Present { record, version } => (Some(record), Some(version)),
        };
        let ours = record.is_some_and(|record| self.is_ours(record));
        match version {
            Some(version) if ours && now >= self.due => Step::Renew { version: version.clone() },
            _ if ours => Step::Wait(self.due),
            Some(version) if now >= self.barred_until => Step::Acquire { version: version.clone() },
            None if now >= self.barred_until => Step::Create,
            _ if now >= self.due => Step::Look,
            _ => Step::Wait(self.due.min(self.barred_until)),
        }
    }

    /// A look found this at `now`, by its answer.
    pub fn observed(&mut self, found: Option<(Record, String)>, now: Instant, look_again: Duration) {
        // Only if nobody held it in between: then its times would be others.
        let was_ours = matches!((&self.seen, &found), (Seen::Present { record: before, .. }, Some((now, _)))
            if self.is_ours(before) && before.written == now.written);
        self.stale = false;
        self.due = now + look_again;
        match found {
            // Nobody may make a Lease anew before its last holder is sure to have stopped, so what barred us still does.
            None => self.seen = Seen::Absent,
            Some((record, version)) => {
                let unchanged = matches!(&self.seen, Seen::Present { record: before, .. } if *before == record);
                if self.is_ours(&record) {
                    self.due = now;
                } else if !unchanged {
                    let free_at_once = record.is_free_at_once() || (was_ours && record.holder.is_none());
                    self.barred_until = if free_at_once { now } else { now + self.believed_for(&record) };
                }
                if record.holder.as_ref().is_some_and(|holder| *holder != self.me) {
                    self.held_since = None;
                }
                self.seen = Seen::Present { record, version };
            }
        }
    }

    /// Our write, sent at `sent`, was accepted and left this.
    pub fn wrote(&mut self, record: Record, version: String, sent: Instant) {
        self.held_since = self.is_ours(&record).then_some(sent);
        self.due = sent + self.timings.lease_renew;
        (self.stale, self.refused) = (false, false);
        self.seen = Seen::Present { record, version };
    }

    /// Our write was refused because the Lease is not what we thought. The first time it is looked at again at once, so that
    /// a leader loses no time; a refusal right after a look is followed by a pause, or we would run in circles.
    pub fn refused(&mut self, now: Instant, retry_after: Duration) {
        if self.refused {
            self.paused_until = now + retry_after;
        }
        (self.stale, self.refused) = (true, true);
    }

    /// A request failed; whether it did anything is not known.
    pub fn failed(&mut self, now: Instant, retry_after: Duration) {
        self.paused_until = now + retry_after;
    }

    /// Until when we lead, if nothing is renewed. It ends a margin before anybody else may begin.
    pub fn leads_until(&self) -> Option<Instant> {
        self.held_since.map(|since| since + self.timings.lease_duration - margin(&self.timings))
    }

    /// Version of the Lease, if the last that was seen of it is that we hold it.
    pub fn version_if_ours(&self) -> Option<&str> {
        match &self.seen {
            Seen::Present { record, version } if self.is_ours(record) => Some(version),
            _ => None,
        }
    }

    /// The record that makes us the holder. `written` is left to the caller, who knows the wall clock.
    pub fn claim(&self) -> Record {
        let before = match &self.seen {
            Seen::Present { record, .. } => record.transitions + i32::from(!self.is_ours(record)),
            _ => 0,
        };
        Record {
            holder: Some(self.me.clone()),
            duration: Some(self.timings.lease_duration),
            written: String::new(),
            transitions: before,
        }
    }

    fn is_ours(&self, record: &Record) -> bool {
        record.holder.as_deref() == Some(self.me.as_str())
    }

    /// How long this record must stay unchanged before it counts as expired. Never less than our own setting, so that an edit
    /// cannot depose a leader at work; never more than the longest setting, so that an edit cannot stop the work for ever.
    fn believed_for(&self, record: &Record) -> Duration {
        record.duration.unwrap_or_default().max(self.timings.lease_duration).min(Timings::LEASE_DURATION_MAX)
    }
}

/// How much earlier a leader stops than others may begin: room for clocks that run at different speeds and for a write that is
/// already on its way.
pub(super) fn margin(timings: &Timings) -> Duration {
    timings.lease_duration / 5
}

/// How long one request about the Lease may take, so that at least two attempts fit between renewal and the end.
pub(super) fn patience(timings: &Timings) -> Duration {
    timings.lease_duration.saturating_sub(margin(timings) + timings.lease_renew) / 2
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod worlds;
