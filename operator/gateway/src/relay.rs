//! Bytes from one connection to another and back, for as long as both want and the policies allow. In: two streams, what was let through,
//! the policies as they change. Out: why it ended, and how many bytes went each way.
//!
//! Tunnels and plain requests go through here alike, so there is one place that counts, slows down, waits and cuts off.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Clock,
    audit::Way,
    policy::{Limits, Passage, Policies},
    reach::Duplex,
    reason::Reason,
    usage::Slot,
};

/// What is read at once.
const CHUNK: usize = 16 * 1024;

/// No connection lives longer than this many seconds, a year, whatever its token says.
const LONGEST: u64 = 365 * 24 * 60 * 60;

/// Policies as they change; without anybody who could change them nothing is allowed any more.
pub type Watched = watch::Receiver<Arc<Policies>>;

/// What a connection was let through for, and what it may use.
#[derive(Debug)]
pub struct Lease {
    /// Whose it is, and where it goes.
    pub passage: Passage,
    /// How much it may use.
    pub limits: Limits,
    /// How it was asked for.
    pub way: Way,
    /// Its place among the session's connections.
    pub slot: Slot,
    /// What may change its mind.
    pub policies: Watched,
    /// Ranges of the cluster.
    pub cluster: Arc<[IpNet]>,
    /// The gateway ends.
    pub stop: CancellationToken,
    /// The time of day.
    pub clock: Clock,
}

impl Lease {
    /// Resolves when the connection is no longer allowed.
    pub async fn revoked(&self) -> Reason {
        let mut policies = self.policies.clone();
        let left = self.passage.who.expires.saturating_sub(self.clock.now()).min(LONGEST);
        let expiry = Instant::now() + Duration::from_secs(left);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Reason::Stopping,
                () = sleep_until(expiry) => return Reason::TokenExpired,
                changed = policies.changed() => {
                    if changed.is_err() {
                        return Reason::Stopping;
                    }
                    let now = Arc::clone(&policies.borrow_and_update());
                    if let Err(denial) = now.still(&self.passage, &self.cluster, self.clock.now()) {
                        return denial.reason;
                    }
                }
            }
        }
    }
}

/// How a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why it was cut off; none if the ends closed it.
    pub reason: Option<Reason>,
    /// Bytes from the agent.
    pub sent: u64,
    /// Bytes to the agent.
    pub received: u64,
}

/// When a byte last went through, shared by both ways.
struct Activity {
    begin: Instant,
    /// Milliseconds after the beginning.
    last: AtomicU64,
}

impl Activity {
    fn begin() -> Self {
        Self { begin: Instant::now(), last: AtomicU64::new(0) }
    }

    fn now(&self) {
        let after = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(after, Ordering::Relaxed);
    }

    /// Resolves when nothing went through for so long.
    async fn pauses(&self, most: Duration) {
        loop {
            let until = self.begin + Duration::from_millis(self.last.load(Ordering::Relaxed)) + most;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Why one way ended.
enum Broken {
    /// By a rule.
    Rule(Reason),
    /// By an end.
    End,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::End
    }
}

impl From<Reason> for Broken {
    fn from(reason: Reason) -> Self {
        Self::Rule(reason)
    }
}

/// Passes bytes between `agent` and `world` until an end closes or a rule cuts it off. `first` was read from the agent already.
pub async fn relay(agent: impl Duplex, world: impl Duplex, first: &[u8], lease: &Lease) -> Ended {
    let (mut from_agent, mut to_agent) = tokio::io::split(agent);
    let (mut from_world, mut to_world) = tokio::io::split(world);
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    let activity = Activity::begin();
    let out = async {
        pass(first, &mut to_world, lease, &sent).await?;
        pump(&mut from_agent, &mut to_world, lease, &sent, &activity).await?;
        // In a tunnel the answer may still come. A plain request is over when the gateway's own client lets go of it.
        if lease.way == Way::Plain { Err(Broken::End) } else { Ok(()) }
    };
    let back = async {
        let mut chunk = vec![0; CHUNK];
        // Counted from the last byte that was sent: an upload may take as long as it likes.
        let count = tokio::select! {
            count = from_world.read(&mut chunk) => count?,
            () = activity.pauses(lease.limits.first_byte) => return Err(Reason::FirstByteTimeout.into()),
        };
        if count > 0 {
            activity.now();
            pass(chunk.get(..count).unwrap_or_default(), &mut to_agent, lease, &received).await?;
            return pump(&mut from_world, &mut to_agent, lease, &received, &activity).await;
        }
        Ok(to_agent.shutdown().await?)
    };
    let both = async { tokio::try_join!(out, back).map(|_| ()) };
    let reason = tokio::select! {
        // What is no longer allowed ends before another byte goes through.
        biased;
        reason = lease.revoked() => Some(reason),
        done = both => match done {
            Err(Broken::Rule(reason)) => Some(reason),
            Err(Broken::End) | Ok(()) => None,
        },
        () = activity.pauses(lease.limits.idle) => Some(Reason::Idle),
    };
    Ended { reason, sent: sent.load(Ordering::Relaxed), received: received.load(Ordering::Relaxed) }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    lease: &Lease,
    passed: &AtomicU64,
    activity: &Activity,
) -> Result<(), Broken> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return Ok(to.shutdown().await?);
        }
        activity.now();
        pass(chunk.get(..count).unwrap_or_default(), to, lease, passed).await?;
        activity.now();
    }
}

async fn pass(
    bytes: &[u8],
    to: &mut (impl AsyncWrite + Unpin),
    lease: &Lease,
    passed: &AtomicU64,
) -> Result<(), Broken> {
    lease.slot.pass(bytes.len(), &lease.limits).await?;
    to.write_all(bytes).await?;
    to.flush().await?;
    passed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(())
}
