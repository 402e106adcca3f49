//! Every metric that the operator exposes: name, type, labels, help. The registry is built from this table and the reference
//! in the docs is generated from it, so neither can say something else than `/metrics` does.
//!
//! Names and labels of the first three groups are those of controller-runtime and client-go, so that dashboards and alerts
//! made for other operators work here.

/// How a metric behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows, from zero at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl MetricType {
    /// The word that the Prometheus text format uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Full name, with the unit as its suffix where it has one.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// Names of the labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it counts or measures, in one sentence.
    pub help: &'static str,
}

macro_rules! table {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: Description =
            Description { name: $name, kind: MetricType::$kind, labels: &[$($label),*], help: $help };)*
        /// Every metric that the operator exposes, in the order of the reference.
        pub const METRICS: &[Description] = &[$($constant),*];
    };
}

table! {
    RECONCILES: Counter "controller_runtime_reconcile_total" ["controller", "result"]
        "Finished reconciles by controller and result (success, requeue, requeue_after, error).";
    RECONCILE_ERRORS: Counter "controller_runtime_reconcile_errors_total" ["controller"]
        "Reconciles that ended with an error.";
    TERMINAL_ERRORS: Counter "controller_runtime_terminal_reconcile_errors_total" ["controller"]
        "Reconciles that ended Stalled: a person or another system has to act.";
    RECONCILE_PANICS: Counter "controller_runtime_reconcile_panics_total" ["controller"]
        "Reconciles that panicked. Any value above zero is a bug.";
    RECONCILE_TIMEOUTS: Counter "controller_runtime_reconcile_timeouts_total" ["controller"]
        "Reconciles that were cut off at their deadline.";
    RECONCILE_TIME: Histogram "controller_runtime_reconcile_time_seconds" ["controller"]
        "Time that a reconcile took, without its wait for a worker.";
    MAX_CONCURRENT: Gauge "controller_runtime_max_concurrent_reconciles" ["controller"]
        "Most reconciles of this controller that may run at once.";
    ACTIVE_WORKERS: Gauge "controller_runtime_active_workers" ["controller"]
        "Reconciles that are running now.";

    QUEUE_DEPTH: Gauge "workqueue_depth" ["name", "controller"]
        "Reconciles that wait for a worker now.";
    QUEUE_ADDS: Counter "workqueue_adds_total" ["name", "controller"]
        "Reconciles that began to wait for a worker.";
    QUEUE_DURATION: Histogram "workqueue_queue_duration_seconds" ["name", "controller"]
        "Time that a reconcile waited for a worker.";
    WORK_DURATION: Histogram "workqueue_work_duration_seconds" ["name", "controller"]
        "Time that a worker was busy with one reconcile.";
    UNFINISHED_WORK: Gauge "workqueue_unfinished_work_seconds" ["name", "controller"]
        "Sum of the ages of all running reconciles. Steady growth means that some are stuck.";
    LONGEST_RUNNING: Gauge "workqueue_longest_running_processor_seconds" ["name", "controller"]
        "Age of the oldest running reconcile.";
    QUEUE_RETRIES: Counter "workqueue_retries_total" ["name", "controller"]
        "Reconciles that ran because an earlier one of the same object failed.";

    API_REQUESTS: Counter "rest_client_requests_total" ["code", "method", "host"]
        "Requests to the API server by status code (<error> where none came back), method and host; each attempt counts.";
    API_DURATION: Histogram "rest_client_request_duration_seconds" ["verb", "host"]
        "Time until the API server answered: the whole answer, for a watch its first line.";
    LEADER: Gauge "leader_election_master_status" ["name"]
        "1 while this process holds the Lease of this name, else 0.";

    CPU: Counter "process_cpu_seconds_total" []
        "Processor time that the operator used (Linux).";
    RESIDENT_MEMORY: Gauge "process_resident_memory_bytes" []
        "Resident memory of the operator (Linux).";
    OPEN_FILES: Gauge "process_open_fds" []
        "Open file descriptors of the operator (Linux).";
    STARTED: Gauge "process_start_time_seconds" []
        "When the operator started, in seconds since 1970.";

    OBJECTS: Gauge "steading_objects" ["kind", "ready", "reason"]
        "Objects of Steading's kinds by the status and reason of their Ready condition, as this process sees them.";
    EXTERNAL_CALLS: Counter "steading_external_calls_total" ["provider", "operation", "result"]
        "Calls to systems outside the cluster by provider, operation and result (ok or the class of the fault).";
    DRIFT: Counter "steading_drift_corrections_total" ["kind"]
        "Children that somebody else had changed or deleted and that were put back, by kind.";
    FENCE_CANARY: Gauge "steading_fence_canary_ok" []
        "1 while the last look at the fence found it standing; 0 while it is down or not yet looked at. Only the leader looks.";
    ORPHANED_STACKS: Gauge "steading_orphaned_stacks" []
        "Stack namespaces whose Workspace is gone and that are not empty, so that they are left alone. The log names each. Only the leader looks.";
    TENANTS_WAITING: Gauge "steading_tenants_waiting" []
        "Tenants of which at least one reconcile waits for a worker.";
}
