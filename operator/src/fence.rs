//! The canary of the fence. In: the policies that the chart installs, compiled in; a client with the operator's own rights.
//! Out: [`Fence::stands`], which says why not.
//!
//! A fence that nobody tries may have fallen long ago. So the leader looks at start and every period: requests of its own that
//! must be refused ([`probes`]), and the policies and bindings themselves against what this version installs ([`expected`]),
//! since it cannot make the requests of others. While the fence is down, controllers make no namespace, binding or external
//! thing; what takes rights or things away goes on.
//!
//! A look costs two GETs for each policy and one request for each probe. No answer is no verdict: the last one then counts for
//! two more periods.

mod expected;
mod probes;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Request;
use kube::Client;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    config::Config,
    engine::{lease::Leadership, patience::Patience},
    metrics::Metrics,
};
use expected::{Policy, difference};
use probes::{Found, Probe};

/// Periods for which a verdict counts.
const VALID_PERIODS: u32 = 3;
/// First pause after a look that found the fence down; doubles up to [`LONGEST_PAUSE`]. A fresh policy takes seconds to bite.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between looks while the fence is down.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether the fence stands. Cheap to clone; clones agree.
#[derive(Clone)]
pub struct Fence(Arc<Shared>);

struct Shared {
    client: Client,
    period: Duration,
    probes: Vec<Probe>,
    policies: Result<Vec<Policy>, String>,
    verdict: Mutex<Verdict>,
    /// Whether it stands, for those who wait for that to change.
    turns: watch::Sender<bool>,
    patience: Patience,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    NotLooked,
    Stands { seen: Instant },
    Down { why: String },
}

impl Fence {
    /// Not looked at yet, so it does not stand.
    #[must_use]
    pub fn new(client: Client, config: &Config, metrics: &Metrics) -> Self {
        let shared = Shared {
            client,
            period: config.timings.canary,
            probes: probes::all(&config.namespace),
            policies: expected::policies(&config.namespace, &config.break_glass_groups, &config.cloud_native_pg),
            verdict: Mutex::new(Verdict::NotLooked),
            turns: watch::channel(false).0,
            patience: Patience::default(),
        };
        let fence = Self(Arc::new(shared));
        // The client holds the metrics, so they must not hold the client through here.
        let told = Arc::downgrade(&fence.0);
        metrics.before_scrape(move |metrics| {
            metrics.fence_canary(told.upgrade().is_some_and(|shared| Self(shared).stands().is_ok()));
        });
        fence
    }

    /// Stands, whatever happens. For tests of what is done while it does.
    #[cfg(test)]
    pub(crate) fn standing(client: Client) -> Self {
        Self(Arc::new(Shared {
            client,
            period: Duration::from_hours(24 * 365),
            probes: Vec::new(),
            policies: Ok(Vec::new()),
            verdict: Mutex::new(Verdict::Stands { seen: Instant::now() }),
            turns: watch::channel(true).0,
            patience: Patience::default(),
        }))
    }

    /// `Ok` if the last look found the fence standing and is not too old; else why not, and what to do.
    pub fn stands(&self) -> Result<(), String> {
        match &*self.verdict() {
            Verdict::Stands { seen } if seen.elapsed() <= self.0.period * VALID_PERIODS => Ok(()),
            Verdict::Stands { .. } => {
                Err("the fence was not seen for too long; see why the API server does not answer".to_owned())
            }
            Verdict::NotLooked => Err("the fence was not looked at yet".to_owned()),
            Verdict::Down { why } => Err(format!("the fence is down: {why}; install the chart of this version again")),
        }
    }

    /// Waits for a moment until it was looked at, which an operator that has just begun has not yet: it would else call what is well not ready.
    pub async fn looked(&self) {
        self.0.patience.until(|| !matches!(&*self.verdict(), Verdict::NotLooked)).await;
    }

    /// Tells whenever the fence falls or stands again.
    #[must_use]
    pub fn turns(&self) -> watch::Receiver<bool> {
        self.0.turns.subscribe()
    }

    /// Looks at start of leadership and every period until `stop` resolves.
    pub async fn watch(self, leadership: Leadership, stop: impl Future<Output = ()> + Send) {
        tokio::select! {
            () = stop => {}
            () = self.look_while_leading(&leadership) => {}
        }
    }

    /// Never returns.
    async fn look_while_leading(&self, leadership: &Leadership) {
        loop {
            leadership.until_leader().await;
            tokio::select! {
                () = leadership.until_follower() => {}
                () = self.look_again_and_again() => {}
            }
            // Whatever was found is for the next leader to find out.
            *self.verdict() = Verdict::NotLooked;
            self.0.turns.send_replace(false);
        }
    }

    async fn look_again_and_again(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.take_in(self.look().await);
            if self.stands().is_ok() {
                pause = FIRST_PAUSE;
                sleep(self.0.period).await;
            } else {
                sleep(pause.min(self.0.period)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn take_in(&self, found: Found) {
        let before = self.stands();
        match found {
            Found::Stands => *self.verdict() = Verdict::Stands { seen: Instant::now() },
            Found::Down(why) => *self.verdict() = Verdict::Down { why },
            // The last verdict stays, and ages.
            Found::Unknown(why) => tracing::warn!(why, "the fence could not be looked at"),
        }
        let now = self.stands();
        self.0.turns.send_if_modified(|stood| std::mem::replace(stood, now.is_ok()) != now.is_ok());
        match &now {
            Ok(()) if before.is_err() => tracing::info!("the fence stands"),
            Err(why) if before != now => tracing::error!(why, "nothing new is made"),
            _ => {}
        }
    }

    /// One look at everything, ended by the first thing that is not as it should be.
    async fn look(&self) -> Found {
        let policies = match &self.0.policies {
            Ok(policies) => policies,
            Err(why) => return Found::Down(format!("the fence compiled into this operator cannot be read ({why})")),
        };
        for policy in policies {
            for (resource, wanted) in
                [("validatingadmissionpolicies", &policy.spec), ("validatingadmissionpolicybindings", &policy.binding)]
            {
                let found = self.compare(resource, &policy.name, wanted).await;
                if found != Found::Stands {
                    return found;
                }
            }
        }
        for probe in &self.0.probes {
            let found = match probe.request() {
                Ok(request) => probe.judge(self.0.client.request(request).await),
                Err(error) => Found::Unknown(error.to_string()),
            };
            if found != Found::Stands {
                return found;
            }
        }
        Found::Stands
    }

    async fn compare(&self, resource: &str, name: &str, wanted: &Value) -> Found {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{resource}/{name}");
        let request = match Request::get(path).body(Vec::new()) {
            Ok(request) => request,
            Err(error) => return Found::Unknown(error.to_string()),
        };
        match self.0.client.request::<Value>(request).await {
            Ok(object) => match difference(wanted, object.get("spec").unwrap_or(&Value::Null)) {
                None => Found::Stands,
                Some(at) => {
                    Found::Down(format!("{resource} {name} differs from what this version installs, at spec.{at}"))
                }
            },
            Err(kube::Error::Api(status)) if status.code == 404 => Found::Down(format!("{resource} {name} is missing")),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Found::Down(format!("{resource} {name} must not be read by the operator, so nobody knows what it says"))
            }
            Err(error) => Found::Unknown(format!("{resource} {name} could not be read ({error})")),
        }
    }

    /// Nothing that runs under this lock can panic half-way through a change.
    fn verdict(&self) -> MutexGuard<'_, Verdict> {
        self.0.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fence").field(&self.stands()).finish()
    }
}

#[cfg(test)]
mod tests;
