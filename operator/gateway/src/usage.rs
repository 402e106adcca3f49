//! What each session uses at the moment and has used. In: connections that open and close, bytes, denials. Out: yes, wait, or a
//! [`Reason`].
//!
//! It is the only state of the gateway, it is in memory, and each replica has its own.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    policy::{Limits, Policies, SessionState},
    reason::Reason,
    token::SessionUid,
};

/// So many audit lines of denials a second; a session may save up as many.
const LINES_PER_SECOND: u64 = 10;

/// A bucket that fills at a steady rate and holds what one second brings.
#[derive(Debug)]
pub struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
    /// Full.
    pub fn full(rate: u64, now: Instant) -> Self {
        Self { left: as_float(rate), at: now }
    }

    /// Takes `amount` and tells how long to wait before it counts as taken. What is waited for is owed, so whoever comes next waits
    /// longer: nobody gets more than the rate by asking often.
    pub fn take(&mut self, amount: u64, rate: u64, now: Instant) -> Duration {
        let rate = as_float(rate);
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * rate).min(rate) - as_float(amount);
        self.at = now;
        if self.left >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.left / rate) }
    }

    /// Takes `amount` only if it is there now.
    pub fn try_take(&mut self, amount: u64, rate: u64, now: Instant) -> bool {
        let waits = self.take(amount, rate, now) > Duration::ZERO;
        if waits {
            self.left += as_float(amount);
        }
        !waits
    }
}

/// Rates are far below 2^53, up to which each whole number has its own floating-point one.
#[allow(clippy::cast_precision_loss)]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// What one session uses.
#[derive(Debug)]
pub struct Usage {
    open: AtomicU32,
    bytes: AtomicU64,
    pace: Mutex<Option<Pace>>,
    lines: Mutex<Lines>,
}

/// How many audit lines may still be written.
#[derive(Debug)]
pub struct Lines {
    pace: Pace,
    left_out: u64,
}

impl Lines {
    /// As many as one second brings.
    pub fn new(now: Instant) -> Self {
        Self { pace: Pace::full(LINES_PER_SECOND, now), left_out: 0 }
    }

    /// Whether a line may be written, and how many were left out before it.
    pub fn write(&mut self, now: Instant) -> Option<u64> {
        if self.pace.try_take(1, LINES_PER_SECOND, now) {
            Some(std::mem::take(&mut self.left_out))
        } else {
            self.left_out += 1;
            None
        }
    }
}

impl Usage {
    fn new() -> Self {
        let lines = Mutex::new(Lines::new(Instant::now()));
        Self { open: AtomicU32::new(0), bytes: AtomicU64::new(0), pace: Mutex::new(None), lines }
    }

    /// Opens a connection; it counts until the [`Slot`] is dropped.
    pub fn open(self: &Arc<Self>, limits: &Limits) -> Result<Slot, Reason> {
        if limits.bytes_total.is_some_and(|most| self.bytes.load(Ordering::Relaxed) >= most) {
            return Err(Reason::BytesExhausted);
        }
        let more = |open: u32| (open < limits.connections).then_some(open + 1);
        match self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Slot(Arc::clone(self))),
            Err(_) => Err(Reason::TooManyConnections),
        }
    }

    /// Whether the audit line of a denial may be written, and how many were left out before it.
    pub fn line(&self) -> Option<u64> {
        locked(&self.lines).write(Instant::now())
    }
}

/// A connection that is open.
#[derive(Debug)]
#[must_use = "the connection counts as closed when this is dropped"]
pub struct Slot(Arc<Usage>);

impl Slot {
    /// Counts bytes that are about to be passed on, and waits where they come too fast.
    pub async fn pass(&self, bytes: usize, limits: &Limits) -> Result<(), Reason> {
        let bytes = bytes as u64;
        let before = self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        if limits.bytes_total.is_some_and(|most| before.saturating_add(bytes) > most) {
            return Err(Reason::BytesExhausted);
        }
        let wait = limits.bytes_per_second.map_or(Duration::ZERO, |rate| {
            let now = Instant::now();
            locked(&self.0.pace).get_or_insert_with(|| Pace::full(rate, now)).take(bytes, rate, now)
        });
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all sessions use. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Usages(Arc<Mutex<HashMap<SessionUid, Arc<Usage>>>>);

impl Usages {
    /// What `session` uses. Only for sessions that a policy names, so that it cannot grow without bound.
    pub fn of(&self, session: SessionUid) -> Arc<Usage> {
        Arc::clone(locked(&self.0).entry(session).or_insert_with(|| Arc::new(Usage::new())))
    }

    /// Forgets the sessions that are over.
    pub fn keep(&self, policies: &Policies) {
        let all = policies.pools.values().flat_map(|pool| &pool.sessions);
        let active: HashSet<_> = all.filter(|(_, state)| **state == SessionState::Active).map(|(uid, _)| uid).collect();
        locked(&self.0).retain(|session, _| active.contains(session));
    }

    /// How many sessions are remembered.
    pub fn count(&self) -> usize {
        locked(&self.0).len()
    }
}

/// What is under these locks is plain numbers: a panic leaves them whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn usage() -> Arc<Usage> {
        Usages::default().of(Uuid::from_u128(1).into())
    }

    #[test]
    fn a_session_has_no_more_connections_than_its_pool_allows() {
        let (usage, limits) = (usage(), Limits { connections: 2, ..Limits::default() });
        let (first, second) = (usage.open(&limits).unwrap(), usage.open(&limits).unwrap());
        assert_eq!(usage.open(&limits).unwrap_err(), Reason::TooManyConnections);
        drop(first);
        let third = usage.open(&limits).unwrap();
        assert_eq!(usage.open(&limits).unwrap_err(), Reason::TooManyConnections);
        drop((second, third));
        assert!(usage.open(&limits).is_ok());
    }

    #[tokio::test]
    async fn bytes_count_over_all_connections_of_a_session() {
        let (usage, limits) = (usage(), Limits { bytes_total: Some(100), ..Limits::default() });
        let (one, other) = (usage.open(&limits).unwrap(), usage.open(&limits).unwrap());
        one.pass(60, &limits).await.unwrap();
        other.pass(40, &limits).await.unwrap();
        assert_eq!(one.pass(1, &limits).await, Err(Reason::BytesExhausted));
        assert_eq!(usage.open(&limits).unwrap_err(), Reason::BytesExhausted);
    }

    #[tokio::test(start_paused = true)]
    async fn two_connections_share_one_pace() {
        let (usage, limits) = (usage(), Limits { bytes_per_second: Some(1000), ..Limits::default() });
        let (one, other) = (usage.open(&limits).unwrap(), usage.open(&limits).unwrap());
        let begin = Instant::now();
        for _ in 0..10 {
            let (one, other) = tokio::join!(one.pass(500, &limits), other.pass(500, &limits));
            one.and(other).unwrap();
        }
        // Ten thousand bytes, of which the first second's worth was there.
        assert!((8_900..9_100).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_denials_writes_few_lines_and_counts_the_rest() {
        let usage = usage();
        let written = (0..100).filter(|_| usage.line().is_some()).count();
        assert_eq!(written, 10);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(usage.line(), Some(90));
        assert_eq!(usage.line(), Some(0));
    }

    #[test]
    fn sessions_that_are_over_are_forgotten() {
        let usages = Usages::default();
        usages.of(Uuid::from_u128(1).into());
        usages.keep(&Policies::default());
        assert_eq!(usages.count(), 0);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_rate(takes in prop::collection::vec((0_u64..5000, 0_u64..3000), 1..50)) {
            let begin = Instant::now();
            let (mut pace, mut now, mut taken) = (Pace::full(1000, begin), begin, 0);
            for (amount, pause) in takes {
                now += Duration::from_millis(pause);
                now += pace.take(amount, 1000, now);
                taken += amount;
                let most = 1000.0 + now.duration_since(begin).as_secs_f64() * 1000.0;
                prop_assert!(as_float(taken) <= most + 1.0, "{taken} of {most}");
            }
        }
    }
}
