//! The wire does what its verdicts say, to a client that speaks TLS with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use anyhow::Result;
use e2e::plane::Identity;
use e2e::wire::{Asked, Fate, Gate, Refusal, Verdict, Wire, filters};
use e2e::{Plane, Tier, unique, wait::until};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde_json::json;

/// A wire, a client that goes through it, and one that goes straight.
struct Ends {
    wire: Wire,
    through: Api<ConfigMap>,
    straight: Api<ConfigMap>,
}

async fn ends() -> Result<Ends> {
    let plane = Plane::shared(Tier::One).await?;
    let wire = Wire::to(plane).await?;
    let mut config = wire.through(plane.config(&somebody(plane).await?)?)?;
    config.default_retry = false;
    assert_eq!(config.cluster_url.scheme_str(), Some("https"));
    let through = Api::namespaced(Client::try_from(config)?, "default");
    Ok(Ends { wire, through, straight: Api::namespaced(plane.admin()?, "default") })
}

/// Somebody known by a token: a certificate is of a connection and so does not get through the wire.
async fn somebody(plane: &Plane) -> Result<Identity> {
    let name = unique("somebody");
    let account = json!({ "metadata": { "name": name } });
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.admin()?, "default");
    accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "default" }],
    });
    let bindings: Api<ClusterRoleBinding> = Api::all(plane.admin()?);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    let identity = Identity::Token(plane.token_for("default", &name, &[], 3600).await?);
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(&identity)?, "default");
    until("the rights are in force", Duration::from_secs(20), async || {
        Ok(maps.list(&ListParams::default()).await.is_ok())
    })
    .await?;
    Ok(identity)
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

/// A judge that gives this verdict about the creation of a `ConfigMap`, and lets all else pass.
fn on_creation(verdict: impl Fn() -> Verdict + Send + 'static) -> impl FnMut(&Asked) -> Verdict + Send {
    move |asked| if asked.is_write() && asked.resource() == "configmaps" { verdict() } else { Verdict::Pass }
}

const REFUSALS: [(Refusal, u16, &str); 11] = [
    (Refusal::Conflict, 409, "Conflict"),
    (Refusal::AlreadyExists, 409, "AlreadyExists"),
    (Refusal::Invalid, 422, "Invalid"),
    (Refusal::OverQuota, 403, "Forbidden"),
    (Refusal::Forbidden, 403, "Forbidden"),
    (Refusal::Terminating, 403, "Forbidden"),
    (Refusal::Expired, 410, "Expired"),
    (Refusal::TooMany(7), 429, ""),
    (Refusal::Internal, 500, "InternalError"),
    (Refusal::Unavailable, 503, "ServiceUnavailable"),
    (Refusal::GatewayTimeout, 504, "Timeout"),
];

#[tokio::test]
async fn a_refusal_comes_as_the_api_server_would_write_it_and_nothing_is_done() -> Result<()> {
    let ends = ends().await?;
    for (refusal, code, reason) in REFUSALS {
        let name = unique("refused");
        ends.wire.judge(on_creation(move || Verdict::Instead(Fate::Refused(refusal))));
        match ends.through.create(&PostParams::default(), &config_map(&name)).await {
            Err(kube::Error::Api(status)) => {
                assert_eq!(status.code, code, "{refusal:?}");
                assert!(reason.is_empty() || status.reason == reason, "{refusal:?} gives the reason {}", status.reason);
            }
            other => panic!("{refusal:?} came as {other:?}"),
        }
        assert!(ends.straight.get_opt(&name).await?.is_none(), "{refusal:?} got through");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_is_lost_only_after_what_was_asked_is_done() -> Result<()> {
    let ends = ends().await?;
    for fate in [Fate::Refused(Refusal::GatewayTimeout), Fate::Reset] {
        let name = unique("done");
        let met = fate.clone();
        ends.wire.judge(on_creation(move || Verdict::Afterwards(met.clone())));
        assert!(ends.through.create(&PostParams::default(), &config_map(&name)).await.is_err(), "{fate:?}");
        assert!(ends.straight.get_opt(&name).await?.is_some(), "{fate:?} came before it was done");
    }
    Ok(())
}

#[tokio::test]
async fn a_reset_is_no_answer_and_silence_is_neither() -> Result<()> {
    let ends = ends().await?;
    let name = unique("reset");
    ends.wire.judge(on_creation(|| Verdict::Instead(Fate::Reset)));
    let outcome = ends.through.create(&PostParams::default(), &config_map(&name)).await;
    assert!(matches!(&outcome, Err(error) if !matches!(error, kube::Error::Api(_))), "{outcome:?}");
    ends.wire.judge(on_creation(|| Verdict::Instead(Fate::Silence)));
    let (params, made) = (PostParams::default(), config_map(&name));
    // Silence cannot be waited for to its end; a second of it is what is looked for.
    let waiting = tokio::time::timeout(Duration::from_secs(1), ends.through.create(&params, &made)).await;
    assert!(waiting.is_err(), "something came: {waiting:?}");
    assert!(ends.straight.get_opt(&name).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_is_held_gets_through_when_the_gate_opens() -> Result<()> {
    let ends = ends().await?;
    let (name, gate) = (unique("held"), Gate::default());
    let held = gate.clone();
    ends.wire.judge(on_creation(move || Verdict::Held(held.clone())));
    let (params, made) = (PostParams::default(), config_map(&name));
    let creating = ends.through.create(&params, &made);
    let opening = async {
        assert!(ends.straight.get_opt(&name).await?.is_none());
        gate.open();
        anyhow::Ok(())
    };
    let (created, opened) = tokio::join!(creating, opening);
    opened?;
    created?;
    assert!(ends.straight.get_opt(&name).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_stale_read_shows_what_was_there_when_the_answer_was_kept() -> Result<()> {
    let ends = ends().await?;
    let label = unique("stale");
    let mine = ListParams::default().labels(&format!("test={label}"));
    let make = async |name: &str| {
        let mut object = config_map(name);
        object.metadata.labels = Some([("test".to_owned(), label.clone())].into());
        ends.straight.create(&PostParams::default(), &object).await
    };
    let (first, second) = (unique("first"), unique("second"));
    make(&first).await?;
    ends.wire.judge(|_| Verdict::Kept);
    assert_eq!(ends.through.list(&mine).await?.items.len(), 1);
    make(&second).await?;
    ends.wire.judge(|_| Verdict::Stale);
    assert_eq!(ends.through.list(&mine).await?.items.len(), 1);
    assert!(ends.through.get_opt(&second).await?.is_some(), "what was never kept is read afresh");
    ends.wire.mend();
    assert_eq!(ends.through.list(&mine).await?.items.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_watch_goes_through_its_filter() -> Result<()> {
    let ends = ends().await?;
    let name = unique("watched");
    ends.wire.judge(|asked| if asked.is_watch() { Verdict::Through(filters::doubled()) } else { Verdict::Pass });
    let mine = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = ends.through.watch(&mine, "0").await?.boxed();
    ends.straight.create(&PostParams::default(), &config_map(&name)).await?;
    ends.straight.delete(&name, &DeleteParams::default()).await?;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match events.next().await.expect("the watch ended")? {
            WatchEvent::Added(_) => seen.push("added"),
            WatchEvent::Deleted(_) => seen.push("deleted"),
            WatchEvent::Bookmark(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["added", "added", "deleted", "deleted"]);
    drop(events);
    ends.wire.judge(
        |asked| {
            if asked.is_watch() { Verdict::Instead(Fate::Refused(Refusal::Expired)) } else { Verdict::Pass }
        },
    );
    let refused = ends.through.watch(&mine, "0").await.err().expect("it got through");
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 410), "{refused}");
    until("all else passes", Duration::from_secs(10), async || Ok(ends.through.get_opt(&name).await?.is_none())).await
}
