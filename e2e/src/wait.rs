//! Waiting for a condition. In: a condition that can be asked. Out: that it holds, or what was waited for in vain.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::nursery::POLL_EVERY;

/// Asks `condition` again and again until it holds; fails at the deadline, and at once if it cannot be asked.
///
/// `what` completes the sentence "waited 60 s in vain until …".
pub async fn until(what: &str, deadline: Duration, condition: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !condition().await? {
        if started.elapsed() >= deadline {
            bail!("waited {} s in vain until {what}", deadline.as_secs());
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    Ok(())
}
