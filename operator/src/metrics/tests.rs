use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Every method called once, so that every series exists.
fn touched() -> Metrics {
    let metrics = Metrics::new().unwrap();
    metrics.controller("tenant", 8);
    metrics.queued("tenant").start().end(Ended::Success);
    metrics.retried("tenant");
    metrics.api_request("GET", "api.example", Some(200), Duration::from_millis(3));
    metrics.leads("steading-operator", true);
    metrics.external_call("openbao", "create", "ok");
    metrics.drift_corrected("NetworkPolicy");
    metrics.fence_canary(true);
    metrics.tenants_waiting(2);
    metrics.objects("Tenant", &counts(&[("True", "Ready", 3)]));
    metrics
}

fn counts(rows: &[(&str, &str, i64)]) -> BTreeMap<(String, String), i64> {
    rows.iter().map(|(ready, reason, count)| (((*ready).to_owned(), (*reason).to_owned()), *count)).collect()
}

/// The line of `/metrics` that begins with `series`, without it.
fn value(metrics: &Metrics, series: &str) -> Option<String> {
    let text = metrics.encode().unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

#[test]
fn the_table_says_exactly_what_the_registry_exposes() {
    let metrics = touched();
    metrics.encode().unwrap();
    let mut exposed = BTreeMap::new();
    for family in metrics.0.registry.gather() {
        let labels: BTreeSet<String> = family
            .get_metric()
            .iter()
            .flat_map(prometheus::proto::Metric::get_label)
            .map(|label| label.name().to_owned())
            .collect();
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        exposed.insert(family.name().to_owned(), (kind, labels, family.help().to_owned()));
    }
    let mut described = BTreeMap::new();
    for metric in METRICS {
        let labels: BTreeSet<String> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
        let row = (metric.kind.as_str().to_owned(), labels, metric.help.to_owned());
        assert!(described.insert(metric.name.to_owned(), row).is_none(), "{} stands in the table twice", metric.name);
    }
    assert_eq!(exposed, described);
}

#[test]
fn a_reconcile_counts_in_the_queue_then_as_running_then_by_its_end() {
    let metrics = Metrics::new().unwrap();
    let waiting = metrics.queued("tenant");
    assert_eq!(value(&metrics, r#"workqueue_depth{controller="tenant",name="tenant"}"#).unwrap(), "1");
    let running = waiting.start();
    assert_eq!(value(&metrics, r#"workqueue_depth{controller="tenant",name="tenant"}"#).unwrap(), "0");
    assert_eq!(value(&metrics, r#"controller_runtime_active_workers{controller="tenant"}"#).unwrap(), "1");
    running.end(Ended::Terminal);
    assert_eq!(value(&metrics, r#"controller_runtime_active_workers{controller="tenant"}"#).unwrap(), "0");
    assert_eq!(
        value(&metrics, r#"controller_runtime_reconcile_total{controller="tenant",result="error"}"#).unwrap(),
        "1"
    );
    assert_eq!(
        value(&metrics, r#"controller_runtime_terminal_reconcile_errors_total{controller="tenant"}"#).unwrap(),
        "1"
    );
    assert_eq!(value(&metrics, r#"controller_runtime_reconcile_timeouts_total{controller="tenant"}"#), None);
    assert_eq!(
        value(&metrics, r#"controller_runtime_reconcile_time_seconds_count{controller="tenant"}"#).unwrap(),
        "1"
    );
}

#[test]
fn a_wait_that_is_given_up_leaves_the_queue_and_starts_nothing() {
    let metrics = Metrics::new().unwrap();
    metrics.controller("tenant", 4);
    drop(metrics.queued("tenant"));
    assert_eq!(value(&metrics, r#"workqueue_depth{controller="tenant",name="tenant"}"#).unwrap(), "0");
    assert_eq!(value(&metrics, r#"controller_runtime_active_workers{controller="tenant"}"#).unwrap(), "0");
}

#[test]
fn a_panic_is_counted_although_nobody_reports_an_end() {
    let metrics = Metrics::new().unwrap();
    let running = metrics.queued("workspace").start();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _running = running;
        panic!("a bug");
    }));
    assert!(outcome.is_err());
    assert_eq!(value(&metrics, r#"controller_runtime_reconcile_panics_total{controller="workspace"}"#).unwrap(), "1");
    assert_eq!(
        value(&metrics, r#"controller_runtime_reconcile_total{controller="workspace",result="error"}"#).unwrap(),
        "1"
    );
    assert_eq!(value(&metrics, r#"controller_runtime_active_workers{controller="workspace"}"#).unwrap(), "0");
}

#[tokio::test(start_paused = true)]
async fn the_age_of_running_reconciles_grows_without_anybody_reporting() {
    let metrics = Metrics::new().unwrap();
    let older = metrics.queued("tenant").start();
    tokio::time::advance(Duration::from_secs(4)).await;
    let newer = metrics.queued("tenant").start();
    tokio::time::advance(Duration::from_secs(3)).await;
    let longest = r#"workqueue_longest_running_processor_seconds{controller="tenant",name="tenant"}"#;
    let unfinished = r#"workqueue_unfinished_work_seconds{controller="tenant",name="tenant"}"#;
    assert_eq!(value(&metrics, longest).unwrap(), "7");
    assert_eq!(value(&metrics, unfinished).unwrap(), "10");
    older.end(Ended::TimedOut);
    assert_eq!(value(&metrics, longest).unwrap(), "3");
    newer.end(Ended::Success);
    assert_eq!(value(&metrics, longest).unwrap(), "0");
    assert_eq!(value(&metrics, r#"controller_runtime_reconcile_timeouts_total{controller="tenant"}"#).unwrap(), "1");
}

#[test]
fn object_counts_are_replaced_for_their_kind_only() {
    let metrics = Metrics::new().unwrap();
    metrics.objects("Tenant", &counts(&[("True", "Ready", 3), ("False", "KeyMissing", 1)]));
    metrics.objects("Workspace", &counts(&[("False", "KeyMissing", 5)]));
    metrics.objects("Tenant", &counts(&[("True", "Ready", 4)]));
    assert_eq!(value(&metrics, r#"steading_objects{kind="Tenant",ready="True",reason="Ready"}"#).unwrap(), "4");
    assert_eq!(value(&metrics, r#"steading_objects{kind="Tenant",ready="False",reason="KeyMissing"}"#), None);
    assert_eq!(
        value(&metrics, r#"steading_objects{kind="Workspace",ready="False",reason="KeyMissing"}"#).unwrap(),
        "5"
    );
}

#[test]
fn figures_held_elsewhere_are_asked_for_at_each_scrape() {
    let metrics = Metrics::new().unwrap();
    let waiting = Arc::new(AtomicU64::new(3));
    let held_elsewhere = Arc::clone(&waiting);
    metrics.before_scrape(move |metrics| {
        metrics.tenants_waiting(usize::try_from(held_elsewhere.load(Ordering::Relaxed)).unwrap());
    });
    assert_eq!(value(&metrics, "steading_tenants_waiting").unwrap(), "3");
    waiting.store(0, Ordering::Relaxed);
    assert_eq!(value(&metrics, "steading_tenants_waiting").unwrap(), "0");
}

#[test]
fn an_unanswered_request_has_no_status_code() {
    let metrics = Metrics::new().unwrap();
    metrics.api_request("PATCH", "api.example", None, Duration::from_secs(10));
    let series = r#"rest_client_requests_total{code="<error>",host="api.example",method="PATCH"}"#;
    assert_eq!(value(&metrics, series).unwrap(), "1");
}
