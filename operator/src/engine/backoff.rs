//! When to try again. In: which object failed, or did not. Out: a delay, drawn at random below a bound that doubles with each
//! failure in a row.
//!
//! Full jitter spreads objects that failed together (an API server that restarts fails a thousand at once) over the whole
//! bound instead of letting them come back together. There is no clock here: the caller waits.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::chance;

/// No delay is shorter.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// No delay is longer.
pub const LONGEST: Duration = Duration::from_mins(5);

/// Counts failures in a row per key. An entry is held only while its key is failing: [`Backoff::succeeded`] and
/// [`Backoff::forget`] (call it for an object that is gone) remove it.
pub struct Backoff<K>(Mutex<State<K>>);

struct State<K> {
    failures: HashMap<K, u32>,
    random: StdRng,
}

impl<K: Eq + Hash> Default for Backoff<K> {
    fn default() -> Self {
        Self::seeded(chance::seed())
    }
}

impl<K> fmt::Debug for Backoff<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff").field("failing", &self.state().failures.len()).finish_non_exhaustive()
    }
}

impl<K> Backoff<K> {
    /// No lock is held across anything that can panic.
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Backoff<K> {
    /// Draws the same delays for the same `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(State { failures: HashMap::new(), random: StdRng::seed_from_u64(seed) }))
    }

    /// `key` failed once more: when to try again, from [`SHORTEST`] to at most [`LONGEST`].
    pub fn failed(&self, key: K) -> Duration {
        let mut state = self.state();
        let failures = state.failures.entry(key).or_insert(0);
        *failures = failures.saturating_add(1);
        let bound = bound(*failures);
        state.random.random_range(SHORTEST..=bound)
    }

    /// `key` did not fail: its next failure counts as the first.
    pub fn succeeded(&self, key: &K) {
        self.state().failures.remove(key);
    }

    /// `key` is gone.
    pub fn forget(&self, key: &K) {
        self.succeeded(key);
    }

    /// Failures of `key` in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.state().failures.get(key).copied().unwrap_or(0)
    }
}

/// `middle` ± 20 %, so that what was done at once is not repeated at once.
#[must_use]
pub fn around(middle: Duration) -> Duration {
    middle.mul_f64(0.8 + 0.4 * chance::fraction())
}

/// Upper end of the delay after this many failures in a row: 2 s, 4 s, … up to [`LONGEST`].
fn bound(failures: u32) -> Duration {
    2_u32.checked_pow(failures).and_then(|factor| SHORTEST.checked_mul(factor)).unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_at_once_comes_back_apart() {
        let middle = Duration::from_secs(100);
        let drawn: Vec<Duration> = (0..200).map(|_| around(middle)).collect();
        assert!(drawn.iter().all(|drawn| (Duration::from_secs(80)..=Duration::from_mins(2)).contains(drawn)));
        assert!(drawn.iter().any(|drawn| *drawn < Duration::from_secs(95)));
        assert!(drawn.iter().any(|drawn| *drawn > Duration::from_secs(105)));
    }

    #[test]
    fn the_bound_doubles_up_to_five_minutes_and_never_overflows() {
        let bounds: Vec<u64> = (1..=10).map(|failures| bound(failures).as_secs()).collect();
        assert_eq!(bounds, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(bound(31), LONGEST);
        assert_eq!(bound(u32::MAX), LONGEST);
    }

    #[test]
    fn delays_use_the_whole_width_and_stay_within_it() {
        let backoff = Backoff::seeded(11);
        let mut delays = Vec::new();
        for object in 0..2_000 {
            for _ in 0..4 {
                backoff.failed(object);
            }
            delays.push(backoff.failed(object));
        }
        let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(*least >= SHORTEST && *most <= Duration::from_secs(32), "{least:?} to {most:?}");
        let (early, late) = (Duration::from_secs(2), Duration::from_secs(31));
        assert!(*least < early && *most > late, "not spread: {least:?} to {most:?}");
        let mean = delays.iter().sum::<Duration>() / 2_000;
        assert!((Duration::from_secs(15)..Duration::from_secs(18)).contains(&mean), "{mean:?}");
    }

    #[test]
    fn objects_do_not_share_their_failures() {
        let backoff = Backoff::seeded(1);
        for _ in 0..20 {
            backoff.failed("failing");
        }
        assert!(backoff.failed("fresh") <= Duration::from_secs(2));
        assert_eq!((backoff.failures(&"failing"), backoff.failures(&"fresh")), (20, 1));
    }

    #[test]
    fn success_starts_again_and_leaves_nothing_in_memory() {
        let backoff = Backoff::seeded(1);
        for object in 0..100 {
            backoff.failed(object);
            backoff.failed(object);
            if object % 2 == 0 { backoff.succeeded(&object) } else { backoff.forget(&object) }
        }
        assert!(backoff.state().failures.is_empty());
        assert!(backoff.failed(4) <= Duration::from_secs(2));
    }

    #[test]
    fn the_same_seed_draws_the_same_delays() {
        let draw = |seed| {
            let backoff = Backoff::seeded(seed);
            (0..50).map(|_| backoff.failed("object")).collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn around_five_minutes_is_four_to_six() {
        let delays: Vec<Duration> = (0..500).map(|_| around(Duration::from_mins(5))).collect();
        assert!(delays.iter().all(|delay| (Duration::from_mins(4)..=Duration::from_mins(6)).contains(delay)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_secs(250)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_secs(350)));
    }
}
