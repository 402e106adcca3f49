//! A bound on how many control planes are alive at once on this machine. In: which kind of plane. Out: a [`Slot`]
//! whose life is that of the plane. File locks carry it across test processes, and the kernel frees them on any death.
//!
//! Planes shared by the tests of a binary and planes of a single test are counted apart, so that processes that each
//! hold a shared one while waiting for an own one cannot wait for each other in a circle.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::components::cache_root;

/// How many planes of each kind may be alive, unless `STEADING_PLANES` says otherwise. A T1 plane takes about 330 MB.
const DEFAULT_LIMIT: usize = 4;

/// How many planes of one test may have real nodes: what runs on these takes the processors from all others.
const REAL_LIMIT: usize = 2;

/// How long a test waits for its turn before it gives up.
const PATIENCE: Duration = Duration::from_mins(15);

/// Which count a plane belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Lives as long as the test binary.
    Shared,
    /// Lives as long as one test.
    Own,
    /// Has real nodes and lives as long as one test. It counts as one of those as well.
    Real,
}

/// The right to keep one plane alive.
#[derive(Debug)]
pub(crate) struct Slot {
    _lock: File,
}

impl Slot {
    /// Waits until fewer planes than the limit are alive.
    pub(crate) async fn acquire(kind: Kind) -> Result<Self> {
        let directory = cache_root()?.join("locks");
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let limit = limit()?;
        let limit = if kind == Kind::Real { limit.min(REAL_LIMIT) } else { limit };
        Self::acquire_in(&directory, kind, limit, PATIENCE).await
    }

    async fn acquire_in(directory: &Path, kind: Kind, limit: usize, patience: Duration) -> Result<Self> {
        let prefix = match kind {
            Kind::Shared => "plane-shared",
            Kind::Own => "plane-own",
            Kind::Real => "plane-real",
        };
        let started = Instant::now();
        loop {
            for index in 0..limit {
                let path = directory.join(format!("{prefix}-{index}.lock"));
                let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
                if lock.try_lock().is_ok() {
                    return Ok(Self { _lock: lock });
                }
            }
            if started.elapsed() >= patience {
                bail!(
                    "{limit} control planes are alive and none ended within {} s. Look for a hanging test, or raise \
                     the limit with STEADING_PLANES (each takes about 330 MB).",
                    patience.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn limit() -> Result<usize> {
    match std::env::var("STEADING_PLANES") {
        Err(_) => Ok(DEFAULT_LIMIT),
        Ok(text) => match text.parse() {
            Ok(limit) if limit > 0 => Ok(limit),
            _ => bail!("STEADING_PLANES is `{text}`: give the number of control planes that may be alive, 1 or more"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_planes_than_the_limit_are_alive_and_the_next_gets_its_turn() {
        let directory = std::env::temp_dir().join(format!("steading-slots-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&directory).unwrap();
        let acquire = async |kind| Slot::acquire_in(&directory, kind, 2, Duration::ZERO).await;
        let first = acquire(Kind::Own).await.unwrap();
        let _second = acquire(Kind::Own).await.unwrap();
        let refused = acquire(Kind::Own).await.unwrap_err().to_string();
        assert!(refused.contains("2 control planes are alive"), "{refused}");
        let _shared = acquire(Kind::Shared).await.unwrap();
        drop(first);
        acquire(Kind::Own).await.unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
