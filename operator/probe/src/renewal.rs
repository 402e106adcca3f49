//! Becoming a new pod to the network. In: what must not outlive it. Out: the end of all of this pod's containers; the kubelet makes them
//! anew, with a network and an address of their own.
//!
//! An enforcer that has died leaves the rules of the pods that are there, and so only a new one finds out. A pod cannot make another
//! without rights in the cluster, but it can end what holds its namespaces: with a process namespace shared by all containers that is
//! process 1, and it runs as the same user.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// After how long a probe on this node is renewed: between half the period and all of it, on each node at another time, so that in a
/// large cluster few are renewed at once.
#[must_use]
pub fn due(period: Duration, node: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    // Of 256 steps.
    let step = u32::from(hasher.finish().to_le_bytes()[0]);
    period / 2 + period / 2 * step / 256
}

/// Forgets what was found in the pod's first second and ends the pod's containers.
///
/// # Errors
/// If the process namespace is not shared, or process 1 is somebody else's. Then all is as before: this network is no new one.
pub fn renew(first_moment: &Path) -> Result<()> {
    anyhow::ensure!(getpid() != Pid::INIT, "the pod's containers share no process namespace");
    let kept = std::fs::read(first_moment).with_context(|| format!("cannot read {}", first_moment.display()))?;
    std::fs::remove_file(first_moment).with_context(|| format!("cannot remove {}", first_moment.display()))?;
    let ended = kill_process(Pid::INIT, Signal::TERM).context("cannot end what holds the pod's namespaces");
    if ended.is_err() {
        std::fs::write(first_moment, kept).with_context(|| format!("cannot write {}", first_moment.display()))?;
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_renewed_at_different_times_and_none_later_than_is_due() {
        let hour = Duration::from_hours(1);
        let dues: std::collections::BTreeSet<Duration> =
            (0..100).map(|number| due(hour, &format!("node-{number}"))).collect();
        assert!(dues.len() > 50, "they come at once");
        assert!(dues.iter().all(|due| (hour / 2..hour).contains(due)), "{dues:?}");
        assert_eq!(due(hour, "node-1"), due(hour, "node-1"));
    }
}
