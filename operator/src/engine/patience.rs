//! Patience with what is listed only once somebody needs it. In: whether it was. Out: a moment's wait, when it is
//! first needed and not again: an operator that has just begun would else say of what is well that it is not known.

use std::{sync::OnceLock, time::Duration};

use tokio::time::{Instant, sleep};

/// How long all together wait at most, from the first on.
const AT_MOST: Duration = Duration::from_secs(10);

/// How often it is looked whether it is so.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(50);

/// Comes to its end, and then nobody waits any more.
#[derive(Debug, Default)]
pub struct Patience(OnceLock<Instant>);

impl Patience {
    /// Waits until it is so, or patience has come to its end.
    pub async fn until(&self, is_so: impl Fn() -> bool) {
        let end = *self.0.get_or_init(|| Instant::now() + AT_MOST);
        while !is_so() && Instant::now() < end {
            sleep(LOOKED_AT_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_listed_soon_is_waited_for_and_what_never_is_costs_time_once() {
        let (patience, begun, looks) = (Patience::default(), Instant::now(), Cell::new(0));
        let third = || looks.replace(looks.get() + 1) == 2;
        patience.until(third).await;
        assert_eq!(begun.elapsed(), LOOKED_AT_EVERY * 2);
        patience.until(|| false).await;
        assert_eq!(begun.elapsed(), AT_MOST);
        patience.until(|| false).await;
        assert_eq!(begun.elapsed(), AT_MOST);
    }
}
