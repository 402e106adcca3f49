//! Chance: by how much delays differ, so that what failed together does not come back together.
//!
//! In: nothing. Out: a fraction. In the unit tests of this crate it can be drawn from a seed, so that simulated worlds repeat.

/// From 0 up to 1.
#[cfg(not(test))]
#[must_use]
pub fn fraction() -> f64 {
    rand::random()
}

/// What a generator of one's own begins with.
#[cfg(not(test))]
#[must_use]
pub fn seed() -> u64 {
    rand::random()
}

#[cfg(test)]
pub use seeded::{fraction, seed};

#[cfg(test)]
pub mod seeded {
    //! Chance as this thread's world has it.

    use std::cell::RefCell;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    thread_local! {
        static RANDOM: RefCell<Option<StdRng>> = const { RefCell::new(None) };
    }

    /// From now on this thread draws from `seed`.
    pub fn begin(seed: u64) {
        RANDOM.set(Some(StdRng::seed_from_u64(seed)));
    }

    /// From 0 up to 1.
    pub fn fraction() -> f64 {
        RANDOM
            .with_borrow_mut(|random| random.as_mut().map_or_else(rand::random, |random| random.random_range(0.0..1.0)))
    }

    /// What a generator of one's own begins with.
    pub fn seed() -> u64 {
        RANDOM.with_borrow_mut(|random| random.as_mut().map_or_else(rand::random, RngExt::random))
    }
}
