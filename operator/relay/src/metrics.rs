//! What the relay measures of itself. In: calls of the small methods below. Out: the text of `/metrics`.
//!
//! Neither tenants nor pods are labels: there may be any number of them, and audit lines have them.

use std::{fmt, sync::Arc, time::Duration};

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};

use crate::reason::Reason;

/// Name, labels, help: what there is, in the order of the docs.
pub const METRICS: &[(&str, &[&str], &str)] = &[
    ("steading_relay_sign_ins_total", &["decision", "reason"], "Pods that were let in or not, by reason."),
    ("steading_relay_sign_in_seconds", &[], "Time from a server's question to what was decided."),
    ("steading_relay_malformed_total", &[], "Questions of servers that were not understood, and not answered."),
    ("steading_relay_streams_failed_total", &[], "Times that a stream of events could not be made."),
];

/// Seconds, from an API server that is near to one that is nearly too slow.
const BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All metrics of one relay. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    sign_ins: IntCounterVec,
    seconds: Histogram,
    malformed: IntCounter,
    streams_failed: IntCounter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// A registry with every metric of [`METRICS`]. Fails only if that table contradicts itself.
    pub fn new() -> Result<Self, prometheus::Error> {
        let [sign_ins, seconds, malformed, streams_failed] = METRICS else {
            return Err(prometheus::Error::Msg("the table has another length".into()));
        };
        let opts = |(name, _, help): &(&str, &[&str], &str)| Opts::new(*name, *help);
        let histogram = HistogramOpts::from(opts(seconds)).buckets(BUCKETS.to_vec());
        let inner = Inner {
            registry: Registry::new(),
            sign_ins: IntCounterVec::new(opts(sign_ins), sign_ins.1)?,
            seconds: Histogram::with_opts(histogram)?,
            malformed: IntCounter::with_opts(opts(malformed))?,
            streams_failed: IntCounter::with_opts(opts(streams_failed))?,
        };
        inner.registry.register(Box::new(inner.sign_ins.clone()))?;
        inner.registry.register(Box::new(inner.seconds.clone()))?;
        inner.registry.register(Box::new(inner.malformed.clone()))?;
        inner.registry.register(Box::new(inner.streams_failed.clone()))?;
        Ok(Self(Arc::new(inner)))
    }

    /// Somebody was let in, or not for this reason.
    pub fn decided(&self, reason: Option<Reason>, took: Duration) {
        let labels = reason.map_or(["allowed", ""], |reason| ["denied", reason.word()]);
        self.0.sign_ins.with_label_values(&labels).inc();
        self.0.seconds.observe(took.as_secs_f64());
    }

    /// A question was not understood.
    pub fn malformed(&self) {
        self.0.malformed.inc();
    }

    /// A stream could not be made.
    pub fn stream_failed(&self) {
        self.0.streams_failed.inc();
    }

    /// The text that Prometheus reads.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_stands_in_the_docs_with_its_labels_and_help() {
        let page = include_str!("../../../docs/relay.md");
        for (name, labels, help) in METRICS {
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let row = format!("| `{name}` | {labels} | {help} |");
            assert!(page.lines().any(|line| line == row), "docs/relay.md lacks the row\n{row}");
        }
    }

    #[test]
    fn every_metric_is_exposed() {
        let metrics = Metrics::new().unwrap();
        metrics.decided(None, Duration::from_millis(3));
        metrics.decided(Some(Reason::TokenExpired), Duration::from_millis(3));
        let text = metrics.encode().unwrap();
        for (name, ..) in METRICS {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}:\n{text}");
        }
        assert!(text.contains(r#"steading_relay_sign_ins_total{decision="denied",reason="TokenExpired"} 1"#), "{text}");
    }
}
