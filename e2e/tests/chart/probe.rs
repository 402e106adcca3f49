//! The enforcement probe as the chart renders it.

use serde_json::{Value, json};

use crate::helm::{of_kind, one, render, with};

async fn with_two_runtimes() -> Vec<Value> {
    let gvisor = json!({ "name": "gvisor", "runtimeClassName": "runsc", "nodeSelector": { "sandbox": "yes" } });
    render("steading", &with(json!({ "probe": { "period": 7, "runtimes": [{ "name": "default" }, gvisor] } }))).await
}

#[tokio::test]
async fn there_is_a_probe_for_each_runtime_and_one_control_on_every_node() {
    let objects = with_two_runtimes().await;
    let sets = of_kind(&objects, "DaemonSet");
    let of = |set: &Value, field: &str| set["spec"]["template"]["spec"][field].clone();
    let told: Vec<_> = sets
        .iter()
        .map(|set| (&set["metadata"]["name"], of(set, "runtimeClassName"), of(set, "nodeSelector")))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("steading-probe-control"), json!(null), json!(null)),
            (&json!("steading-probe-default"), json!(null), json!(null)),
            (&json!("steading-probe-gvisor"), json!("runsc"), json!({ "sandbox": "yes" })),
        ]
    );
    for set in sets {
        assert_eq!(of(set, "tolerations"), json!([{ "operator": "Exists" }]));
        assert_eq!(of(set, "automountServiceAccountToken"), json!(false));
        assert_eq!(of(set, "hostNetwork"), json!(null));
        // None is taken for a pod of the operator, by its Deployment, its disruption budget or who scrapes it.
        assert_eq!(set["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"], "steading-probe");
    }
}

#[tokio::test]
async fn its_pods_are_shut_off_as_those_of_a_stack_are() {
    let objects = with_two_runtimes().await;
    let labels = |component: &str| json!({ "app.kubernetes.io/name": "steading-probe", "app.kubernetes.io/component": component });
    let (isolated, control) = (labels("isolated"), labels("control"));
    let spec = |name: &str| one(&objects, "NetworkPolicy", &format!("steading-probe-{name}"))["spec"].clone();
    let selector = json!({ "matchLabels": isolated });
    assert_eq!(
        spec("deny-all"),
        json!({ "podSelector": selector, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": [] })
    );
    let peers = json!([{ "podSelector": { "matchLabels": control } }]);
    let ports = json!([{ "port": 8081, "protocol": "TCP" }]);
    assert_eq!(
        spec("allow-ingress"),
        json!({ "podSelector": selector, "policyTypes": ["Ingress"], "ingress": [{ "from": peers, "ports": ports }] })
    );
    assert_eq!(
        spec("allow-egress"),
        json!({ "podSelector": selector, "policyTypes": ["Egress"], "egress": [{ "to": peers, "ports": ports }] })
    );
    // The control is open whatever else stands in the namespace.
    let open = json!({ "matchLabels": control });
    assert_eq!(spec("control-ingress"), json!({ "podSelector": open, "policyTypes": ["Ingress"], "ingress": [{}] }));
    assert_eq!(spec("control-egress"), json!({ "podSelector": open, "policyTypes": ["Egress"], "egress": [{}] }));
    assert_eq!(of_kind(&objects, "NetworkPolicy").len(), 5);
    for set in of_kind(&objects, "DaemonSet") {
        let pod = &set["spec"]["template"]["metadata"]["labels"];
        let component = if set["metadata"]["name"] == "steading-probe-control" { &control } else { &isolated };
        assert!(component.as_object().unwrap().iter().all(|(key, value)| pod[key] == *value), "{pod}");
    }
}

#[tokio::test]
async fn without_it_the_chart_has_none_of_its_objects() {
    let objects = render("steading", &with(json!({ "probe": { "enabled": false } }))).await;
    let names: Vec<_> = objects.iter().filter_map(|it| it["metadata"]["name"].as_str()).collect();
    assert!(names.len() > 10 && !names.iter().any(|name| name.starts_with("steading-probe")), "{names:?}");
}
