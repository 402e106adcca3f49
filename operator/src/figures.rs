//! Figures that others hold already and that are counted only when somebody asks for metrics. In: stores, the gate. Out: gauges.

use std::{collections::BTreeMap, fmt::Debug};

use api::conditions::READY;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;

use crate::{
    engine::{drive::Story, gate::Gate, known::Known},
    metrics::Metrics,
};

/// Counts the objects of one kind by their Ready condition, for `steading_objects`.
pub fn count_objects<S: Story>(metrics: &Metrics, known: &Known<S::Object>)
where
    S::Object: Resource<DynamicType = ()> + Debug,
{
    let known = known.clone();
    metrics.before_scrape(move |metrics| {
        let mut counts = BTreeMap::new();
        for object in known.all(|_| true) {
            *counts.entry(ready(S::conditions(&object))).or_insert(0) += 1;
        }
        metrics.objects(&S::Object::kind(&()), &counts);
    });
}

/// Counts the tenants that wait for a worker, for `steading_tenants_waiting`.
pub fn count_waiting(metrics: &Metrics, gate: &Gate) {
    let gate = gate.clone();
    metrics.before_scrape(move |metrics| metrics.tenants_waiting(gate.backlog().tenants));
}

/// Status and reason of the Ready condition; an object that nobody has looked at yet is `Unknown`, without a reason.
fn ready(conditions: &[Condition]) -> (String, String) {
    let ready = conditions.iter().find(|condition| condition.type_ == READY);
    ready.map_or_else(|| ("Unknown".to_owned(), String::new()), |ready| (ready.status.clone(), ready.reason.clone()))
}

#[cfg(test)]
mod tests {
    use api::{Tenant, TenantSpec};
    use futures::FutureExt;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;
    use crate::tenant::Tenants;

    fn tenant(name: &str, conditions: &serde_json::Value) -> Tenant {
        let spec: TenantSpec = serde_json::from_value(json!({ "class": "onprem" })).unwrap();
        let mut tenant = Tenant::new(name, spec);
        tenant.metadata.namespace = Some(name.into());
        tenant.status = serde_json::from_value(json!({ "observedGeneration": 1, "conditions": conditions })).unwrap();
        tenant
    }

    fn condition(status: &str, reason: &str) -> serde_json::Value {
        json!([
            { "type": "KeyReady", "status": "Unknown", "reason": "Other", "message": "", "lastTransitionTime": "2026-11-21T12:00:00Z" },
            { "type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-11-21T12:00:00Z" },
        ])
    }

    #[test]
    fn objects_are_counted_by_what_ready_says() {
        let (reader, mut writer) = reflector::store::<Tenant>();
        let known = Known::new(reader);
        let metrics = Metrics::new().unwrap();
        count_objects::<Tenants>(&metrics, &known);
        writer.apply_watcher_event(&Event::Apply(tenant("cow", &condition("True", "Ready"))));
        writer.apply_watcher_event(&Event::Apply(tenant("hen", &condition("True", "Ready"))));
        writer.apply_watcher_event(&Event::Apply(tenant("pig", &condition("False", "KeyMissing"))));
        writer.apply_watcher_event(&Event::Apply(tenant("ram", &json!([]))));
        let text = metrics.encode().unwrap();
        for line in [
            r#"steading_objects{kind="Tenant",ready="True",reason="Ready"} 2"#,
            r#"steading_objects{kind="Tenant",ready="False",reason="KeyMissing"} 1"#,
            r#"steading_objects{kind="Tenant",ready="Unknown",reason=""} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn tenants_that_wait_are_counted_once_each() {
        let gate = Gate::new(1);
        let metrics = Metrics::new().unwrap();
        count_waiting(&metrics, &gate);
        let _slot = gate.acquire("busy").now_or_never().unwrap();
        let mut places: Vec<_> = ["cow", "cow", "hen"].map(|tenant| Box::pin(gate.acquire(tenant))).into();
        for place in &mut places {
            assert!(place.as_mut().now_or_never().is_none());
        }
        assert!(metrics.encode().unwrap().contains("steading_tenants_waiting 2"));
    }
}
