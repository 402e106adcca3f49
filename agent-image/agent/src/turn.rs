//! Whose turn it is: there is one pointer and one keyboard. In: verbs that want a turn, one after the other. Out: a turn, which lasts until
//! whatever was begun in it has ended, and not only until nobody waits for it any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::timeout;

use crate::fault::{Done, Fault};

/// What overruns gets so long to end, before those who wait are told that it does not.
const GRACE: Duration = Duration::from_secs(5);

/// Gives turns, in the order in which they are asked for.
#[derive(Debug)]
pub struct Turns {
    turn: Arc<Mutex<()>>,
    overrun: Arc<watch::Sender<bool>>,
}

/// The turn of one verb. It ends when the last who holds it lets it go.
#[derive(Debug)]
pub struct Turn {
    overrun: Arc<watch::Sender<bool>>,
    _guard: OwnedMutexGuard<()>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { turn: Arc::default(), overrun: Arc::new(watch::channel(false).0) }
    }
}

impl Turns {
    /// The next turn. Whoever is before may take the time of a verb.
    ///
    /// # Errors
    /// If a verb was given up and what it began does not end.
    pub async fn next(&self) -> Done<Arc<Turn>> {
        tokio::select! {
            biased;
            guard = Arc::clone(&self.turn).lock_owned() => {
                Ok(Arc::new(Turn { overrun: Arc::clone(&self.overrun), _guard: guard }))
            }
            () = self.hangs() => Err(Fault::failed(
                "the X server does not answer: a verb before was given up and still waits for it; if it stays so, end the session",
            )),
        }
    }

    /// Whether a verb was given up and what it began goes on.
    pub fn overrun(&self) -> bool {
        *self.overrun.borrow()
    }

    /// Until something has overrun for too long.
    async fn hangs(&self) {
        let mut overrun = self.overrun.subscribe();
        loop {
            // Its sender is ours, so it does not end before this does.
            let begun = overrun.wait_for(|overrun| *overrun).await.is_ok();
            if !begun || timeout(GRACE, overrun.wait_for(|overrun| !*overrun)).await.is_err() {
                return;
            }
        }
    }
}

impl Turn {
    /// Says that nobody waits any more for what was begun in this turn.
    pub fn overruns(&self) {
        self.overrun.send_replace(true);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.overrun.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use agent_protocol::Code;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_what_overruns_is_told_and_gets_the_turn_when_it_has_ended() {
        let turns = Turns::default();
        let held = turns.next().await.unwrap();
        assert!(timeout(Duration::from_mins(10), turns.next()).await.is_err(), "a turn within its time is waited for");
        held.overruns();
        assert!(turns.overrun());
        let fault = turns.next().await.unwrap_err();
        assert_eq!((fault.code, fault.message.contains("does not answer")), (Code::Failed, true));
        drop(held);
        assert!(!turns.overrun());
        turns.next().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_overruns_for_a_moment_is_waited_for() {
        let turns = Turns::default();
        let held = turns.next().await.unwrap();
        held.overruns();
        let (next, ()) = tokio::join!(turns.next(), async {
            tokio::time::sleep(GRACE / 2).await;
            drop(held);
        });
        next.unwrap();
    }
}
