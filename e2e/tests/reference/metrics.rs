//! Metrics. In: the table of the operator, from which its registry is built too. Out: the reference.

use std::fmt::Write as _;

use operator::metrics::METRICS;

use crate::cell;

pub fn page() -> String {
    let mut page = "# Metrics\n\nEvery metric at `/metrics`. Names and labels that controllers share are those of \
                    controller-runtime and client-go, so dashboards and alerts made for other operators work here.\n\n\
                    | Metric | Type | Labels | Means |\n|---|---|---|---|\n"
        .to_owned();
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (metric.kind.as_str(), labels.join(", "));
        writeln!(page, "| `{}` | {kind} | {labels} | {} |", metric.name, cell(metric.help)).unwrap();
    }
    page
}
