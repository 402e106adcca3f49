//! Fights over a child: somebody changes or deletes it each time that it is put back.
//!
//! In: each write that is about to be made, each look that found the child right. Out: whether to write. As long as writes to a child
//! are rare, nothing happens. If they become many, the child is contested: it is put back only now and then, and status names it,
//! until it stays right. So two that want different things do not wear out the API server.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::children::Key;

/// How many writes to a child may come at once.
const MANY: u32 = 100;
/// In the long run there may be one write in this time.
const EACH: Duration = Duration::from_secs(2);
/// How often a contested child is put back, and how long it must stay right to be contested no more.
const PAUSE: Duration = Duration::from_secs(30);

/// A contested child that nobody asks about for so long is forgotten: it went.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// Which children were written lately. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Contests(Arc<Mutex<HashMap<Key, State>>>);

#[derive(Clone, Debug)]
enum State {
    /// By when as many writes as there were are within what is allowed in the long run.
    Written(Instant),
    /// When it was last put back, and who changed it, if that was ever seen.
    Contested(Instant, Option<String>),
}

impl State {
    /// Whether it need not be forgotten yet.
    fn counts(&self, now: Instant) -> bool {
        match self {
            Self::Written(until) => now < *until,
            Self::Contested(last, _) => now < *last + FORGOTTEN,
        }
    }
}

/// A fight over a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// When to look again.
    pub again: Duration,
    /// The field manager that changes it; nobody knows who deletes.
    pub by: Option<String>,
}

/// Whether to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Yes.
    Given,
    /// Yes; and tell that it is contested.
    Now(Contest),
    /// No; tell that it is contested.
    Later(Contest),
}

impl Contests {
    /// A child is about to be written; `by` is who else wrote to it last.
    #[must_use]
    pub fn ask(&self, key: &Key, by: Option<&str>) -> Leave {
        let (now, mut all) = (Instant::now(), self.all());
        // Few are written at a time, so few are looked at.
        all.retain(|_, state| state.counts(now));
        let by = by.map(str::to_owned);
        let (state, leave) = match all.remove(key) {
            None => (State::Written(now + EACH), Leave::Given),
            Some(State::Written(until)) if until - now < EACH * MANY => (State::Written(until + EACH), Leave::Given),
            Some(State::Written(_)) => (State::Contested(now, by.clone()), Leave::Later(Contest { again: PAUSE, by })),
            Some(State::Contested(last, known)) => {
                // Once it is put back, nothing in the child tells any more who had changed it.
                let by = by.or(known);
                if now < last + PAUSE {
                    let again = last + PAUSE - now;
                    (State::Contested(last, by.clone()), Leave::Later(Contest { again, by }))
                } else {
                    (State::Contested(now, by.clone()), Leave::Now(Contest { again: PAUSE, by }))
                }
            }
        };
        all.insert(key.clone(), state);
        leave
    }

    /// A child was found right. The fight over it, until it has been right for long enough.
    #[must_use]
    pub fn still(&self, key: &Key) -> Option<Contest> {
        let (now, mut all) = (Instant::now(), self.all());
        let State::Contested(last, by) = all.get(key)? else { return None };
        if now < *last + PAUSE {
            return Some(Contest { again: *last + PAUSE - now, by: by.clone() });
        }
        all.remove(key);
        None
    }

    /// Nothing that runs under this lock can panic half-way through a change.
    fn all(&self) -> MutexGuard<'_, HashMap<Key, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use desired::fields::Kind;
    use tokio::time::advance;

    use super::*;

    fn quota(namespace: &str) -> Key {
        Key { kind: Kind::ResourceQuota, namespace: Some(namespace.into()), name: "steading".into() }
    }

    /// Contested: written more often than anything but a fight would.
    fn fought_over() -> Contests {
        let contests = Contests::default();
        let given = (0..2 * MANY).take_while(|_| contests.ask(&quota("cow"), None) == Leave::Given).count();
        assert_eq!(given, MANY as usize);
        contests
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_is_written_now_and_then_is_never_contested() {
        let contests = Contests::default();
        for _ in 0..10 * MANY {
            assert_eq!(contests.ask(&quota("cow"), None), Leave::Given);
            advance(EACH).await;
        }
        assert_eq!(contests.still(&quota("cow")), None);
        assert!(contests.all().len() <= 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_contested_child_is_put_back_once_in_each_pause_and_others_at_once() {
        let contests = fought_over();
        assert_eq!(contests.ask(&quota("hen"), None), Leave::Given);
        let mut written = 0;
        for _ in 0..300 {
            advance(Duration::from_secs(1)).await;
            written += u32::from(matches!(contests.ask(&quota("cow"), None), Leave::Now(_)));
        }
        assert_eq!(written, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_seen_to_change_it_is_named_for_as_long_as_it_is_contested() {
        let contests = fought_over();
        let by = |leave| match leave {
            Leave::Given => panic!("it is contested"),
            Leave::Now(contest) | Leave::Later(contest) => contest.by,
        };
        assert_eq!(by(contests.ask(&quota("cow"), None)), None);
        for seen in [Some("budgeter"), None] {
            assert_eq!(by(contests.ask(&quota("cow"), seen)).as_deref(), Some("budgeter"));
        }
        advance(PAUSE).await;
        assert_eq!(by(contests.ask(&quota("cow"), None)).as_deref(), Some("budgeter"));
        assert_eq!(contests.still(&quota("cow")).unwrap().by.as_deref(), Some("budgeter"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_stays_right_is_contested_no_more() {
        let contests = fought_over();
        advance(PAUSE).await;
        assert!(matches!(contests.ask(&quota("cow"), None), Leave::Now(_)));
        advance(PAUSE / 2).await;
        let later = Contest { again: PAUSE / 2, by: None };
        assert_eq!(contests.ask(&quota("cow"), None), Leave::Later(later));
        assert_eq!(contests.still(&quota("cow")).unwrap().again, PAUSE / 2);
        advance(PAUSE / 2).await;
        assert_eq!(contests.still(&quota("cow")), None);
        assert_eq!(contests.ask(&quota("cow"), None), Leave::Given);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_written_long_ago_is_forgotten() {
        let contests = Contests::default();
        for tenant in ["cow", "hen", "pig"] {
            assert_eq!(contests.ask(&quota(tenant), None), Leave::Given);
        }
        advance(EACH * 2).await;
        assert_eq!(contests.ask(&quota("ram"), None), Leave::Given);
        assert_eq!(contests.all().len(), 1);

        let contests = fought_over();
        advance(FORGOTTEN).await;
        assert_eq!(contests.ask(&quota("ram"), None), Leave::Given);
        assert_eq!(contests.all().len(), 1, "the child went while others fought over it");
    }
}
