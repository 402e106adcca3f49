use std::collections::BTreeMap;

use http::{Method, Response};
use kube::client::Body;
use serde_json::json;

use super::*;
use crate::config::CloudNativePg;

const MINUTE: Duration = Duration::from_mins(1);

/// An API server with the fence of the chart, which can be damaged.
#[derive(Clone)]
struct Server(Arc<Mutex<Site>>);

struct Site {
    specs: BTreeMap<String, Value>,
    /// What the operator may do although it should not, by path.
    open: Option<&'static str>,
    /// What RBAC refuses before the fence is asked, by path.
    without_right: Option<&'static str>,
    away: bool,
    calls: usize,
}

impl Server {
    fn sound() -> Self {
        let mut specs = BTreeMap::new();
        for policy in expected::policies("farm", &["vets".to_owned()], &CloudNativePg::default()).unwrap() {
            specs.insert(format!("validatingadmissionpolicies/{}", policy.name), policy.spec);
            specs.insert(format!("validatingadmissionpolicybindings/{}", policy.name), policy.binding);
        }
        Self(Arc::new(Mutex::new(Site { specs, open: None, without_right: None, away: false, calls: 0 })))
    }

    fn change(&self, change: impl FnOnce(&mut Site)) {
        change(&mut self.0.lock().unwrap());
    }

    fn calls(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    fn fence(&self, metrics: &Metrics) -> Fence {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = server.answer(request.method(), request.uri().path());
            async move { Ok::<_, kube::Error>(answer) }
        });
        let mut config = Config::of("test".parse().unwrap());
        config.namespace = "farm".into();
        config.break_glass_groups = vec!["vets".into()];
        Fence::new(Client::new(service, "farm"), &config, metrics)
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        let mut site = self.0.lock().unwrap();
        site.calls += 1;
        if site.away {
            return refusal(503, "away");
        }
        if method == Method::GET {
            let key = path.trim_start_matches("/apis/admissionregistration.k8s.io/v1/");
            return site
                .specs
                .get(key)
                .map_or_else(|| refusal(404, "gone"), |spec| reply(200, &json!({ "spec": spec })));
        }
        if site.open == Some(path) {
            return reply(201, &json!({}));
        }
        if site.without_right == Some(path) {
            return refusal(403, "User \"operator\" cannot create resource");
        }
        let rule = match path {
            "/api/v1/namespaces" => "the operator makes only stack namespaces",
            "/api/v1/namespaces/farm" => "the operator changes and deletes only stack namespaces",
            path if path.ends_with("/leases") => "the operator has one Lease",
            _ => "the operator works only in stack namespaces",
        };
        refusal(
            403,
            &format!("ValidatingAdmissionPolicy 'steading-operator' with binding 'x' denied request: steading: {rule}"),
        )
    }
}

fn reply(code: u16, value: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(value.to_string().into_bytes())).unwrap()
}

fn refusal(code: u16, message: &str) -> Response<Body> {
    reply(code, &json!({"kind": "Status", "status": "Failure", "code": code, "reason": "x", "message": message}))
}

async fn why_not(server: &Server) -> String {
    let fence = server.fence(&Metrics::new().unwrap());
    fence.take_in(fence.look().await);
    fence.stands().expect_err("the fence was found standing")
}

#[tokio::test]
async fn a_sound_fence_stands_after_one_look_of_nineteen_calls() {
    let server = Server::sound();
    let fence = server.fence(&Metrics::new().unwrap());
    assert!(fence.stands().unwrap_err().contains("not looked at yet"));
    fence.take_in(fence.look().await);
    assert_eq!(fence.stands(), Ok(()));
    assert_eq!(server.calls(), 19);
}

#[tokio::test]
async fn every_policy_and_binding_is_missed() {
    let keys: Vec<String> = Server::sound().0.lock().unwrap().specs.keys().cloned().collect();
    assert_eq!(keys.len(), 12);
    for key in keys {
        let server = Server::sound();
        server.change(|site| drop(site.specs.remove(&key)));
        let why = why_not(&server).await;
        assert!(why.contains(&format!("{} is missing", key.replace('/', " "))), "{why}");
        assert!(why.contains("install the chart"), "{why}");
    }
}

#[tokio::test]
async fn any_edit_of_a_policy_is_seen_and_its_place_named() {
    let server = Server::sound();
    server.change(|site| {
        let spec = site.specs.get_mut("validatingadmissionpolicies/steading-stacks").unwrap();
        spec["validations"][0]["expression"] = "true".into();
    });
    let why = why_not(&server).await;
    assert!(why.contains("steading-stacks differs") && why.contains("spec.validations[0].expression"), "{why}");
}

#[tokio::test]
async fn a_binding_that_only_audits_is_no_fence() {
    let server = Server::sound();
    server.change(|site| {
        let spec = site.specs.get_mut("validatingadmissionpolicybindings/steading-status").unwrap();
        spec["validationActions"] = json!(["Audit"]);
    });
    let why = why_not(&server).await;
    assert!(why.contains("validatingadmissionpolicybindings steading-status differs"), "{why}");
}

#[tokio::test]
async fn break_glass_groups_that_the_operator_was_not_told_of_are_a_difference() {
    let server = Server::sound();
    server.change(|site| {
        for policy in
            expected::policies("farm", &["vets".into(), "everybody".into()], &CloudNativePg::default()).unwrap()
        {
            site.specs.insert(format!("validatingadmissionpolicies/{}", policy.name), policy.spec);
        }
    });
    assert!(why_not(&server).await.contains("variables"));
}

#[tokio::test]
async fn another_cloudnativepg_than_the_operator_was_told_of_is_a_difference() {
    let cnpg = CloudNativePg::default();
    let others = [
        CloudNativePg { namespace: "wells".into(), ..cnpg.clone() },
        CloudNativePg { operator_service_account: "mallory".into(), ..cnpg.clone() },
        CloudNativePg { plugin_service_account: "mallory".into(), ..cnpg },
    ];
    for other in others {
        let server = Server::sound();
        server.change(|site| {
            for policy in expected::policies("farm", &["vets".into()], &other).unwrap() {
                site.specs.insert(format!("validatingadmissionpolicies/{}", policy.name), policy.spec);
            }
        });
        let why = why_not(&server).await;
        assert!(why.contains("steading-stacks differs") && why.contains("variables"), "{other:?}: {why}");
    }
}

const PROBED: [&str; 7] = [
    "/api/v1/namespaces",
    "/api/v1/namespaces/farm",
    "/apis/networking.k8s.io/v1/namespaces/farm/networkpolicies",
    "/api/v1/namespaces/farm/resourcequotas",
    "/api/v1/namespaces/farm/limitranges",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/farm/rolebindings",
    "/apis/coordination.k8s.io/v1/namespaces/farm/leases",
];

#[tokio::test]
async fn each_way_through_the_fence_is_found() {
    for path in PROBED {
        let server = Server::sound();
        server.change(|site| site.open = Some(path));
        let why = why_not(&server).await;
        assert!(why.contains("the fence did not refuse it"), "{path}: {why}");
    }
}

#[tokio::test]
async fn a_refusal_for_want_of_rights_proves_nothing() {
    for path in PROBED {
        let server = Server::sound();
        server.change(|site| site.without_right = Some(path));
        let why = why_not(&server).await;
        assert!(why.contains("not by the fence"), "{path}: {why}");
    }
}

/// A fence that is watched by a leader, and whose first look is over.
async fn watched(server: &Server, metrics: &Metrics) -> Fence {
    let fence = server.fence(metrics);
    tokio::spawn(fence.clone().watch(Leadership::always(), std::future::pending()));
    tokio::time::sleep(Duration::from_millis(10)).await;
    fence
}

#[tokio::test(start_paused = true)]
async fn the_leader_looks_at_start_and_every_ten_minutes() {
    let server = Server::sound();
    let metrics = Metrics::new().unwrap();
    let fence = watched(&server, &metrics).await;
    assert_eq!(fence.stands(), Ok(()));
    assert!(metrics.encode().unwrap().contains("steading_fence_canary_ok 1"));
    server.calls();
    tokio::time::sleep(MINUTE * 9).await;
    assert_eq!(server.calls(), 0);
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(server.calls(), 19);
}

#[tokio::test(start_paused = true)]
async fn a_follower_does_not_look() {
    let server = Server::sound();
    let fence = server.fence(&Metrics::new().unwrap());
    tokio::spawn(fence.clone().watch(Leadership::until(Instant::now()), std::future::pending()));
    tokio::time::sleep(MINUTE * 30).await;
    assert_eq!(server.calls(), 0);
    assert!(fence.stands().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_verdict_ends_with_the_leadership_in_which_it_was_found() {
    let server = Server::sound();
    let fence = server.fence(&Metrics::new().unwrap());
    let leadership = Leadership::until(Instant::now() + MINUTE);
    tokio::spawn(fence.clone().watch(leadership, std::future::pending()));
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(fence.stands(), Ok(()));
    tokio::time::sleep(MINUTE).await;
    assert!(fence.stands().unwrap_err().contains("not looked at yet"));
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_was_put_up_again_is_noticed_within_half_a_minute() {
    let server = Server::sound();
    let metrics = Metrics::new().unwrap();
    let fence = watched(&server, &metrics).await;
    server.change(|site| site.open = Some(PROBED[0]));
    tokio::time::sleep(MINUTE * 25).await;
    assert!(fence.stands().is_err());
    assert!(metrics.encode().unwrap().contains("steading_fence_canary_ok 0"));
    server.change(|site| site.open = None);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(fence.stands(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn without_answers_the_last_verdict_holds_for_a_while_and_then_does_not() {
    let server = Server::sound();
    let fence = watched(&server, &Metrics::new().unwrap()).await;
    server.change(|site| site.away = true);
    tokio::time::sleep(MINUTE * 25).await;
    assert_eq!(fence.stands(), Ok(()), "no answer is no verdict");
    tokio::time::sleep(MINUTE * 6).await;
    assert!(fence.stands().unwrap_err().contains("not seen for too long"));
}
