//! What the operator measures of itself. In: calls of the small methods below. Out: the text of `/metrics`.
//!
//! [`METRICS`] is the one list of what there is. Figures that somebody else already holds (objects by condition, tenants that
//! wait) are not kept twice: [`Metrics::before_scrape`] asks for them when `/metrics` is read.

mod process;
mod table;
mod work;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use prometheus::{
    Counter, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};
use tokio::time::Instant;

pub use table::{Description, METRICS, MetricType};
pub use work::{Ended, Running, Waiting};

use process::Process;

/// Upper bounds in seconds for everything from a cached answer to the deadline of a reconcile.
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];

type Hook = Box<dyn Fn(&Metrics) + Send + Sync>;

/// All metrics of one operator. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    reconciles: Counters<2>,
    reconcile_errors: Counters<1>,
    terminal_errors: Counters<1>,
    reconcile_panics: Counters<1>,
    reconcile_timeouts: Counters<1>,
    reconcile_time: Histograms<1>,
    max_concurrent: Gauges<1>,
    active_workers: Gauges<1>,
    queue_depth: Gauges<2>,
    queue_adds: Counters<2>,
    queue_duration: Histograms<2>,
    work_duration: Histograms<2>,
    unfinished_work: Seconds<2>,
    longest_running: Seconds<2>,
    queue_retries: Counters<2>,
    api_requests: Counters<3>,
    api_duration: Histograms<2>,
    leader: Gauges<1>,
    cpu: Counter,
    resident_memory: IntGauge,
    open_files: IntGauge,
    objects: Gauges<3>,
    external_calls: Counters<3>,
    drift: Counters<1>,
    fence_canary: IntGauge,
    orphaned_stacks: IntGauge,
    tenants_waiting: IntGauge,
    running: Mutex<HashMap<&'static str, BTreeMap<u64, Instant>>>,
    next_id: AtomicU64,
    hooks: Mutex<Vec<Hook>>,
    scrape: Mutex<()>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Counters whose number of labels is checked once, at construction, against the table.
struct Counters<const LABELS: usize>(IntCounterVec);
struct Gauges<const LABELS: usize>(IntGaugeVec);
struct Seconds<const LABELS: usize>(GaugeVec);
struct Histograms<const LABELS: usize>(HistogramVec);

fn checked<const LABELS: usize>(metric: &Description) -> Result<Opts, prometheus::Error> {
    if metric.labels.len() == LABELS {
        Ok(Opts::new(metric.name, metric.help))
    } else {
        Err(prometheus::Error::InconsistentCardinality { expect: LABELS, got: metric.labels.len() })
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl<const LABELS: usize> Counters<LABELS> {
    fn new(registry: &Registry, metric: &Description) -> Result<Self, prometheus::Error> {
        Ok(Self(registered(registry, IntCounterVec::new(checked::<LABELS>(metric)?, metric.labels)?)?))
    }

    fn add(&self, labels: [&str; LABELS]) {
        self.0.with_label_values(&labels).inc();
    }
}

impl<const LABELS: usize> Gauges<LABELS> {
    fn new(registry: &Registry, metric: &Description) -> Result<Self, prometheus::Error> {
        Ok(Self(registered(registry, IntGaugeVec::new(checked::<LABELS>(metric)?, metric.labels)?)?))
    }

    fn of(&self, labels: [&str; LABELS]) -> IntGauge {
        self.0.with_label_values(&labels)
    }
}

impl<const LABELS: usize> Seconds<LABELS> {
    fn new(registry: &Registry, metric: &Description) -> Result<Self, prometheus::Error> {
        Ok(Self(registered(registry, GaugeVec::new(checked::<LABELS>(metric)?, metric.labels)?)?))
    }

    fn set(&self, labels: [&str; LABELS], value: Duration) {
        self.0.with_label_values(&labels).set(value.as_secs_f64());
    }
}

impl<const LABELS: usize> Histograms<LABELS> {
    fn new(registry: &Registry, metric: &Description) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::from(checked::<LABELS>(metric)?).buckets(BUCKETS.to_vec());
        Ok(Self(registered(registry, HistogramVec::new(options, metric.labels)?)?))
    }

    fn observe(&self, labels: [&str; LABELS], took: Duration) {
        self.0.with_label_values(&labels).observe(took.as_secs_f64());
    }
}

fn plain_gauge(registry: &Registry, metric: &Description) -> Result<IntGauge, prometheus::Error> {
    registered(registry, IntGauge::with_opts(checked::<0>(metric)?)?)
}

/// A panic while one of these locks is held leaves plain numbers behind, never half-made state.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// A registry with every metric of [`METRICS`]. Fails only if that table contradicts itself.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        let started = registered(r, Gauge::with_opts(checked::<0>(&table::STARTED)?)?)?;
        started.set(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        let inner = Inner {
            reconciles: Counters::new(r, &table::RECONCILES)?,
            reconcile_errors: Counters::new(r, &table::RECONCILE_ERRORS)?,
            terminal_errors: Counters::new(r, &table::TERMINAL_ERRORS)?,
            reconcile_panics: Counters::new(r, &table::RECONCILE_PANICS)?,
            reconcile_timeouts: Counters::new(r, &table::RECONCILE_TIMEOUTS)?,
            reconcile_time: Histograms::new(r, &table::RECONCILE_TIME)?,
            max_concurrent: Gauges::new(r, &table::MAX_CONCURRENT)?,
            active_workers: Gauges::new(r, &table::ACTIVE_WORKERS)?,
            queue_depth: Gauges::new(r, &table::QUEUE_DEPTH)?,
            queue_adds: Counters::new(r, &table::QUEUE_ADDS)?,
            queue_duration: Histograms::new(r, &table::QUEUE_DURATION)?,
            work_duration: Histograms::new(r, &table::WORK_DURATION)?,
            unfinished_work: Seconds::new(r, &table::UNFINISHED_WORK)?,
            longest_running: Seconds::new(r, &table::LONGEST_RUNNING)?,
            queue_retries: Counters::new(r, &table::QUEUE_RETRIES)?,
            api_requests: Counters::new(r, &table::API_REQUESTS)?,
            api_duration: Histograms::new(r, &table::API_DURATION)?,
            leader: Gauges::new(r, &table::LEADER)?,
            cpu: registered(r, Counter::with_opts(checked::<0>(&table::CPU)?)?)?,
            resident_memory: plain_gauge(r, &table::RESIDENT_MEMORY)?,
            open_files: plain_gauge(r, &table::OPEN_FILES)?,
            objects: Gauges::new(r, &table::OBJECTS)?,
            external_calls: Counters::new(r, &table::EXTERNAL_CALLS)?,
            drift: Counters::new(r, &table::DRIFT)?,
            fence_canary: plain_gauge(r, &table::FENCE_CANARY)?,
            orphaned_stacks: plain_gauge(r, &table::ORPHANED_STACKS)?,
            tenants_waiting: plain_gauge(r, &table::TENANTS_WAITING)?,
            running: Mutex::default(),
            next_id: AtomicU64::new(0),
            hooks: Mutex::default(),
            scrape: Mutex::default(),
            registry,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Announces a controller and how many of its reconciles may run at once, so that its series exist from the start.
    pub fn controller(&self, controller: &'static str, workers: usize) {
        let m = &self.0;
        m.max_concurrent.of([controller]).set(i64::try_from(workers).unwrap_or(i64::MAX));
        m.active_workers.of([controller]).set(0);
        m.queue_depth.of([controller, controller]).set(0);
        for counters in [&m.reconcile_errors, &m.terminal_errors, &m.reconcile_panics, &m.reconcile_timeouts] {
            counters.0.with_label_values(&[controller]);
        }
        for result in ["success", "requeue", "requeue_after", "error"] {
            m.reconciles.0.with_label_values(&[controller, result]);
        }
        locked(&m.running).entry(controller).or_default();
    }

    /// A reconcile begins to wait for a worker.
    pub fn queued(&self, controller: &'static str) -> Waiting {
        Waiting::new(self, controller)
    }

    /// The reconcile that is about to be queued repeats one that failed.
    pub fn retried(&self, controller: &'static str) {
        self.0.queue_retries.add([controller, controller]);
    }

    /// One request to the API server ended. `code` is `None` where no answer came.
    pub fn api_request(&self, method: &str, host: &str, code: Option<u16>, took: Duration) {
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        self.0.api_requests.add([&code, method, host]);
        self.0.api_duration.observe([method, host], took);
    }

    /// Whether this process holds the Lease `name`.
    pub fn leads(&self, name: &str, leads: bool) {
        self.0.leader.of([name]).set(i64::from(leads));
    }

    /// One call to a system outside the cluster ended. `result` is `ok` or the class of the fault.
    pub fn external_call(&self, provider: &str, operation: &str, result: &str) {
        self.0.external_calls.add([provider, operation, result]);
    }

    /// A child of this kind had been changed or deleted by somebody else and was put back.
    pub fn drift_corrected(&self, kind: &str) {
        self.0.drift.add([kind]);
    }

    /// What the last look at the fence found.
    pub fn fence_canary(&self, stands: bool) {
        self.0.fence_canary.set(i64::from(stands));
    }

    /// Stack namespaces whose Workspace is gone and that are left alone.
    pub fn orphaned_stacks(&self, stacks: usize) {
        self.0.orphaned_stacks.set(i64::try_from(stacks).unwrap_or(i64::MAX));
    }

    /// Tenants that have a reconcile waiting for a worker.
    pub fn tenants_waiting(&self, tenants: usize) {
        self.0.tenants_waiting.set(i64::try_from(tenants).unwrap_or(i64::MAX));
    }

    /// Replaces the figures for one kind: how many objects have which (status, reason) in their Ready condition.
    /// Meant for [`Metrics::before_scrape`], where the store of that kind can be counted.
    pub fn objects(&self, kind: &str, counts: &BTreeMap<(String, String), i64>) {
        for labels in self.labels_of_objects() {
            if let [of, ready, reason] = labels.as_slice()
                && of == kind
                && !counts.contains_key(&(ready.clone(), reason.clone()))
            {
                // An error would mean that the series is already gone.
                let _ = self.0.objects.0.remove_label_values(&[of, ready, reason]);
            }
        }
        for ((ready, reason), count) in counts {
            self.0.objects.of([kind, ready, reason]).set(*count);
        }
    }

    /// Calls `hook` whenever `/metrics` is about to be read. It must not block.
    pub fn before_scrape(&self, hook: impl Fn(&Self) + Send + Sync + 'static) {
        locked(&self.0.hooks).push(Box::new(hook));
    }

    /// The text of `/metrics` (Prometheus text format 0.0.4).
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        let _one_at_a_time = locked(&self.0.scrape);
        for hook in locked(&self.0.hooks).iter() {
            hook(self);
        }
        self.refresh();
        TextEncoder::new().encode_to_string(&self.0.registry.gather())
    }

    /// Brings figures up to date that change by the mere passing of time.
    fn refresh(&self) {
        let now = Instant::now();
        for (controller, starts) in locked(&self.0.running).iter() {
            let ages = starts.values().map(|start| now.saturating_duration_since(*start));
            self.0.longest_running.set([controller, controller], ages.clone().max().unwrap_or_default());
            self.0.unfinished_work.set([controller, controller], ages.sum());
        }
        if let Some(process) = Process::read() {
            self.0.cpu.inc_by((process.cpu_seconds - self.0.cpu.get()).max(0.0));
            self.0.resident_memory.set(process.resident_bytes);
            self.0.open_files.set(process.open_files);
        }
    }

    /// Label values of every present series of `steading_objects`, in the order kind, ready, reason.
    fn labels_of_objects(&self) -> Vec<Vec<String>> {
        let families = self.0.objects.0.collect();
        let series = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
        series.map(|metric| metric.get_label().iter().map(|label| label.value().to_owned()).collect()).collect()
    }

    fn entered_queue(&self, controller: &'static str) {
        self.0.queue_adds.add([controller, controller]);
        self.0.queue_depth.of([controller, controller]).inc();
    }

    fn left_queue(&self, controller: &'static str) {
        self.0.queue_depth.of([controller, controller]).dec();
    }

    /// A worker took a reconcile that had waited for `waited`; returns the id under which it counts as running.
    fn started(&self, controller: &'static str, waited: Duration) -> u64 {
        self.0.queue_duration.observe([controller, controller], waited);
        self.0.active_workers.of([controller]).inc();
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        locked(&self.0.running).entry(controller).or_default().insert(id, Instant::now());
        id
    }

    fn ended(&self, controller: &'static str, id: u64, ended: Ended, panicked: bool, took: Duration) {
        let m = &self.0;
        if let Some(running) = locked(&m.running).get_mut(controller) {
            running.remove(&id);
        }
        m.active_workers.of([controller]).dec();
        m.reconcile_time.observe([controller], took);
        m.work_duration.observe([controller, controller], took);
        let result = match ended {
            Ended::Success => "success",
            Ended::Requeue => "requeue",
            Ended::RequeueAfter => "requeue_after",
            Ended::Error | Ended::Terminal | Ended::TimedOut => "error",
        };
        m.reconciles.add([controller, result]);
        if result == "error" {
            m.reconcile_errors.add([controller]);
        }
        match ended {
            Ended::Terminal => m.terminal_errors.add([controller]),
            Ended::TimedOut => m.reconcile_timeouts.add([controller]),
            _ => {}
        }
        if panicked {
            m.reconcile_panics.add([controller]);
        }
    }
}

#[cfg(test)]
mod tests;
