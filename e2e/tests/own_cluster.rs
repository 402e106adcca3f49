//! `make demo CLUSTER=current`, on clusters that others own. In: the demo's program and a kubeconfig. Out: that it asks before it writes,
//! shows what it claims, leaves nothing, and says what is missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that is surprised may panic, in its helpers too"
)]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use e2e::install::InProcess;
use e2e::nursery::Nursery;
use e2e::story::{Platform, Stage, class};
use e2e::wait::until;
use e2e::{Installation, Plane, PlaneOptions, Tier};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use providers::memory::{Injection, Operation};
use serde_json::json;
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_mins(1);

/// Somebody with a kubeconfig and no terminal.
struct Somebody {
    nursery: Nursery,
}

/// What the demo said, and how it ended.
struct Told {
    code: Option<i32>,
    text: String,
}

impl Told {
    /// That it ended so, having said all of this, in lines that fit a terminal.
    fn is(&self, code: i32, expected: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text);
        let words = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        for it in expected {
            assert!(self.text.contains(it) || words.contains(it), "it does not say {it:?}:\n{}", self.text);
        }
        let long: Vec<_> = self.text.lines().filter(|line| line.chars().count() > 80).collect();
        // A command is not broken, nor is what the parser of arguments says.
        assert!(code == 2 || long.iter().all(|line| line.starts_with("  kubectl ")), "{long:#?}");
    }
}

impl Somebody {
    fn of(plane: &Plane, user: &str, groups: &[&str]) -> Self {
        let nursery = Nursery::new("somebody").unwrap();
        let identity = plane.identity_of(user, groups).unwrap();
        let somebody = Self { nursery };
        plane.write_kubeconfig(&identity, &somebody.kubeconfig()).unwrap();
        somebody
    }

    fn kubeconfig(&self) -> PathBuf {
        self.nursery.directory().join("kubeconfig")
    }

    fn starts(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(["--cluster", "current"])
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn runs(&self, arguments: &[&str]) -> Told {
        told(self.starts(arguments)).await
    }
}

async fn told(demo: Child) -> Told {
    let output = demo.wait_with_output().await.unwrap();
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).concat();
    Told { code: output.status.code(), text }
}

/// Names of all namespaces that the demo made or had made.
async fn of_the_demo(client: &Client) -> Vec<String> {
    let all = Api::<Namespace>::all(client.clone()).list_metadata(&ListParams::default()).await.unwrap();
    all.iter().map(ResourceExt::name_any).filter(|name| name.starts_with("steading-demo")).collect()
}

/// Gives a user the right to read everything, and no other.
async fn may_read_all(client: &Client, user: &str) {
    let reading = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"] }]);
    let role = json!({ "metadata": { "name": "reader" }, "rules": reading });
    let binding = json!({
        "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    });
    let (roles, bindings) = (Api::<ClusterRole>::all(client.clone()), Api::<ClusterRoleBinding>::all(client.clone()));
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
}

async fn leaves_nothing(stage: &Stage) {
    assert!(of_the_demo(&stage.platform.client).await.is_empty());
    assert!(stage.world.buckets().is_empty(), "{:?}", stage.world.buckets());
    assert!(stage.world.keys().values().all(|key| !key.enabled), "{:?}", stage.world.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_customers_come_up_on_a_cluster_of_ones_own_and_nothing_of_them_stays() {
    let stage = Stage::set(Tier::Two, |_| {}).await.unwrap();
    stage.platform.until_ready(&stage.platform.applied(class("site-a")).await.unwrap()).await.unwrap();
    let olga = Somebody::of(&stage.plane, "olga", &["system:masters"]);

    let shown = olga.runs(&["--yes"]).await;
    shown.is(0, &["context steading-e2e", stage.plane.url(), "As:       olga", "Class:    site-a"]);
    shown.is(0, &["only Steading writes networkpolicies", "fixed when it is made", "finance viewer: exactly as"]);
    shown.is(0, &["enforcement is assumed", "None are sent here: they need pods", "disabled keys", " is left\n"]);
    let (held, all) = shown.text.rsplit("demo: ").next().unwrap().split_once(" of ").unwrap();
    assert!(all.starts_with(held) && held.parse::<u32>().unwrap() > 20, "{}", shown.text);
    assert_eq!(stage.world.keys().len(), 2, "{:?}", stage.world.keys());
    leaves_nothing(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_goes_when_the_demo_is_interrupted_or_fails() {
    let stage = Stage::set(Tier::Two, |_| {}).await.unwrap();
    stage.platform.until_ready(&stage.platform.applied(class("site-a")).await.unwrap()).await.unwrap();
    let bettina = Somebody::of(&stage.plane, "bettina", &["system:masters", e2e::story::BREAK_GLASS]);
    stage.world.inject(Injection::on(Operation::CreateBucket));

    let failed = bettina.runs(&["--yes", "--patience", "3"]).await;
    failed.is(1, &["waited 3 s in vain", "BucketReady is False, ProviderUnavailable", "their namespaces are gone"]);
    leaves_nothing(&stage).await;

    let demo = bettina.starts(&["--yes"]);
    let id = demo.id().unwrap();
    // As early as can be: the operator is about to take up what goes again.
    let stand = async || Ok(!of_the_demo(&stage.platform.client).await.is_empty());
    until("the demo has made something", PATIENCE, stand).await.unwrap();
    assert!(Command::new("kill").args(["-s", "INT", &id.to_string()]).status().await.unwrap().success());
    told(demo).await.is(130, &["interrupted", "their namespaces are gone"]);
    leaves_nothing(&stage).await;

    stage.world.heal();
    bettina.runs(&["--yes"]).await.is(0, &["You are of a group in fence.breakGlassGroups"]);
    leaves_nothing(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_unless_somebody_says_yes() {
    let stage = Stage::set(Tier::One, |_| {}).await.unwrap();
    stage.platform.until_ready(&stage.platform.applied(class("site-a")).await.unwrap()).await.unwrap();
    let olga = Somebody::of(&stage.plane, "olga", &["system:masters"]);
    let mark = stage.plane.mark().await.unwrap();

    let asked = olga.runs(&[]).await;
    asked.is(1, &["It creates, and at the end deletes:", "say YES=1 (--yes)", "Nothing was written."]);
    let calls = stage.plane.calls_since(mark).await.unwrap().by_user("olga");
    // A review is an answer that the API server computes: nothing of it is kept.
    let written = calls.writes().filter(|it| !it.target().contains("reviews"));
    assert!(calls.len() > 5 && written.is_empty(), "{written}");

    // Names are bounded before anything is asked.
    olga.runs(&["--yes", "--class", "a;b"]).await.is(2, &["is not the name of a TenantClass"]);
    olga.runs(&["--keep"]).await.is(2, &["cannot be used with"]);
    assert!(of_the_demo(&stage.platform.client).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_with_the_way_to_it() {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await.unwrap();
    let olga = Somebody::of(&plane, "olga", &["system:masters"]);
    let mallory = Somebody::of(&plane, "mallory", &[]);
    let platform = Platform::new(plane.admin().unwrap());
    olga.runs(&["--yes"]).await.is(1, &["does not know the kind", "  helm install steading charts/steading \\\n"]);

    let installation = Installation::install(&plane, "own", &json!({})).await.unwrap();
    let unread = olga.runs(&["--yes"]).await;
    unread
        .is(1, &["no operator works", "has 0 of 0 pods ready", "kubectl -n steading-system get pods", "--replicas=2"]);

    let operator = InProcess::start(&plane, &installation).await.unwrap();
    olga.runs(&["--yes"]).await.is(1, &["there is no TenantClass", "examples/quickstart.yaml"]);

    let site_a = platform.applied(class("site-a")).await.unwrap();
    platform.until_ready(&site_a).await.unwrap();
    platform.until_ready(&platform.applied(class("site-b")).await.unwrap()).await.unwrap();
    let both = ["  TenantClass site-a: Ready\n", "  TenantClass site-b: Ready\n", "CLASS=NAME"];
    olga.runs(&["--yes"]).await.is(1, &[&["there are 2 TenantClasses"][..], &both].concat());
    olga.runs(&["--yes", "--class", "site-c"]).await.is(1, &[&["no TenantClass site-c"][..], &both].concat());
    olga.runs(&["--class", "site-b"]).await.is(1, &["Class:    site-b", "say YES=1"]);

    mallory.runs(&["--yes"]).await.is(1, &["User \"mallory\" cannot list resource"]);
    may_read_all(&platform.client, "mallory").await;
    let lacking = mallory.runs(&["--yes", "--class", "site-a"]).await;
    lacking.is(1, &["you may not do", "  create namespaces\n", "  use tenantclasses.steading.dev site-a\n"]);
    assert!(of_the_demo(&platform.client).await.is_empty());
    operator.stop().await.unwrap();
}
