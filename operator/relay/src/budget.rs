//! How often a pod may sign in. In: its UID, the time. Out: whether once more.
//!
//! NATS has no limit for the connections of one user, only of an account, so a pod that connects and connects would leave its
//! tenant's others no place. Each sign-in holds ten minutes at the longest; so who gets few of them has few connections.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use agent_protocol::relay::PodUid;
use tokio::time::Instant;

/// So many at once, for a pod that starts over and over.
const BURST: u32 = 8;
/// One more after each of these.
const EACH: Duration = Duration::from_secs(30);
/// So many pods are remembered; those that have their whole budget need not be.
const PODS: usize = 100_000;

/// What each pod has spent.
#[derive(Debug, Default)]
pub struct Budget(Mutex<HashMap<PodUid, Spent>>);

#[derive(Clone, Copy, Debug)]
struct Spent {
    times: u32,
    since: Instant,
}

impl Spent {
    /// What is left of it now.
    fn at(self, now: Instant) -> Self {
        let back = now.saturating_duration_since(self.since).as_secs() / EACH.as_secs();
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        if back >= self.times {
            Self { times: 0, since: now }
        } else {
            Self { times: self.times - back, since: self.since + EACH * back }
        }
    }
}

impl Budget {
    /// Whether the pod may sign in once more; it then has.
    pub fn takes(&self, pod: &PodUid, now: Instant) -> bool {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pods.len() >= PODS {
            pods.retain(|_, spent| spent.at(now).times > 0);
        }
        let spent = pods.get(pod).map_or(Spent { times: 0, since: now }, |spent| spent.at(now));
        if spent.times >= BURST || (pods.len() >= PODS && !pods.contains_key(pod)) {
            return false;
        }
        pods.insert(pod.clone(), Spent { times: spent.times + 1, ..spent });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(last: char) -> PodUid {
        format!("0d6f1f0e-5c1b-4a57-9d3c-2f0a6f4f7a1{last}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_signs_in_too_often_waits_and_the_others_do_not() {
        let (budget, begun) = (Budget::default(), Instant::now());
        for _ in 0..BURST {
            assert!(budget.takes(&pod('0'), begun));
        }
        assert!(!budget.takes(&pod('0'), begun));
        assert!(budget.takes(&pod('1'), begun));
        let later = begun + EACH;
        assert!(budget.takes(&pod('0'), later) && !budget.takes(&pod('0'), later));
        assert!(!budget.takes(&pod('0'), later + EACH / 2));
        let much_later = later + EACH * 100;
        assert!((0..BURST).all(|_| budget.takes(&pod('0'), much_later)) && !budget.takes(&pod('0'), much_later));
    }

    #[tokio::test(start_paused = true)]
    async fn in_ten_minutes_a_pod_gets_few_connections() {
        let (budget, begun) = (Budget::default(), Instant::now());
        let got = (0..600).filter(|second| budget.takes(&pod('0'), begun + Duration::from_secs(*second))).count();
        assert_eq!(got, 27);
    }
}
