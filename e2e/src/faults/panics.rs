//! Counts panics of the whole process: an operator within it must not panic, in whatever task. In: nothing. Out: how many there were.

use std::sync::atomic::{AtomicUsize, Ordering};

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Panics since this was made.
#[derive(Clone, Copy, Debug)]
pub struct Panics(usize);

/// Begins to count.
pub fn count() -> Panics {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(panic);
    }));
    Panics(PANICS.load(Ordering::Relaxed))
}

impl Panics {
    /// How many there were.
    pub fn so_far(self) -> usize {
        PANICS.load(Ordering::Relaxed) - self.0
    }
}
