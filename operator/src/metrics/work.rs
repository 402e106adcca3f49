//! Guards around one reconcile: waiting for a worker, then running. Each observes itself when dropped, so no path out of a
//! reconcile, not even a panic or a cancelled task, is left out.

use tokio::time::Instant;

use super::Metrics;

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All is as it should be; nothing is planned but the usual resync.
    Success,
    /// Come back at once.
    Requeue,
    /// Come back after a delay: it waits for something.
    RequeueAfter,
    /// A fault that is retried with backoff.
    Error,
    /// A person or another system must act.
    Terminal,
    /// Cut off at the deadline.
    TimedOut,
}

/// A reconcile that waits for a worker.
#[derive(Debug)]
#[must_use = "the wait is observed when this is dropped or started"]
pub struct Waiting {
    metrics: Metrics,
    controller: &'static str,
    since: Instant,
    started: bool,
}

impl Waiting {
    pub(super) fn new(metrics: &Metrics, controller: &'static str) -> Self {
        metrics.entered_queue(controller);
        Self { metrics: metrics.clone(), controller, since: Instant::now(), started: false }
    }

    /// A worker took it.
    pub fn start(mut self) -> Running {
        self.started = true;
        let id = self.metrics.started(self.controller, self.since.elapsed());
        Running { metrics: self.metrics.clone(), controller: self.controller, since: Instant::now(), id, ended: None }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.metrics.left_queue(self.controller);
    }
}

/// A reconcile that runs.
#[derive(Debug)]
#[must_use = "the reconcile counts as ended when this is dropped"]
pub struct Running {
    metrics: Metrics,
    controller: &'static str,
    since: Instant,
    id: u64,
    ended: Option<Ended>,
}

impl Running {
    /// Says how it ended; without this it counts as an error, or as a panic if the task is unwinding.
    pub fn end(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let panicked = self.ended.is_none() && std::thread::panicking();
        let ended = self.ended.unwrap_or(Ended::Error);
        self.metrics.ended(self.controller, self.id, ended, panicked, self.since.elapsed());
    }
}
