//! Following the probes. In: watches of their `DaemonSet`s and pods. Out: a note and a wake whenever they show something else.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::LogParams,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{WatchStreamExt, reflector::Store, watcher},
};
use probe::Verdict;
use serde::de::DeserializeOwned;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    Enforcement, GRACE, Seen,
    judge::{Probe, judge},
};
use crate::{
    client, clock,
    engine::watches::{self, Reflected},
    wakes::Wakes,
};

/// The probes that try what policies forbid; the controls show nothing by themselves.
const SELECTOR: &str = "app.kubernetes.io/name=steading-probe,app.kubernetes.io/component=isolated";

/// How long changes are gathered: a rollout brings many.
const GATHER: Duration = Duration::from_secs(1);

/// How often probes that are not ready are read again: what they log changes without a change of the pod.
const RETRY: Duration = Duration::from_secs(10);

/// How many of them are read, and how long one may take.
const READ: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of the end of a log is read, in lines and bytes. The last lines may be none with a verdict.
const LINES: i64 = 8;
const BYTES: i64 = 16 * 1024;

/// Follows the probes in `namespace`, and wakes whoever depends on them, until the future is dropped.
pub async fn follow(enforcement: Enforcement, client: Client, namespace: String, wakes: Wakes) {
    let changed = Notify::new();
    let ((sets, known_sets), (pods, known_pods)) = (Reflected::<DaemonSet>::new(), Reflected::<Pod>::new());
    let judging = async {
        // An error means that the other side of the store is gone, and with it this future.
        if known_sets.wait_until_ready().await.is_err() || known_pods.wait_until_ready().await.is_err() {
            return;
        }
        loop {
            let before = enforcement.seen();
            let (seen, is_settled) = look(&client, &namespace, &known_sets, &known_pods).await;
            let is_new = enforcement.note(seen);
            let seen = enforcement.seen();
            if is_new {
                tracing::info!(?before, ?seen, "the probes show something else");
                wakes.enforcement_changed();
            }
            rest(&seen, is_settled, &changed, &wakes).await;
        }
    };
    tokio::join!(
        mirror("DaemonSet", &client, &namespace, sets, &changed),
        mirror("Pod", &client, &namespace, pods, &changed),
        judging
    );
}

/// Until there is something new to judge. What is not as it should be is looked at again by itself.
async fn rest(seen: &Seen, is_settled: bool, changed: &Notify, wakes: &Wakes) {
    let again = async {
        match seen {
            Seen::Enforced { .. } if is_settled => std::future::pending().await,
            Seen::Enforced { .. } | Seen::Leaks(_) => sleep(RETRY).await,
            Seen::Unknown { since, .. } => {
                let left = GRACE.checked_sub(since.elapsed());
                sleep(left.unwrap_or(RETRY).min(RETRY)).await;
                if left.is_some_and(|left| left <= RETRY) {
                    // What was shown before no longer counts.
                    wakes.enforcement_changed();
                }
            }
        }
    };
    tokio::select! {
        () = again => {}
        () = changed.notified() => sleep(GATHER).await,
    }
}

/// What is shown, and whether by every probe.
async fn look(client: &Client, namespace: &str, sets: &Store<DaemonSet>, pods: &Store<Pod>) -> (Seen, bool) {
    let pods = pods.state();
    let probes: Vec<Probe<'_>> = pods.iter().map(|pod| Probe(pod)).filter(|probe| !probe.is_leaving()).collect();
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let unshown = probes.iter().filter(|probe| !probe.is_shown()).take(READ);
    let logged =
        join_all(unshown.map(async |probe| Some((probe.name(), last_verdict(&api, &probe.name()).await?)))).await;
    let logged: BTreeMap<String, Verdict> = logged.into_iter().flatten().collect();
    let sets: Vec<DaemonSet> = sets.state().iter().map(|set| DaemonSet::clone(set)).collect();
    let seen = judge(namespace, &sets, &probes, &logged, clock::now());
    (seen, probes.iter().all(Probe::is_shown))
}

/// The verdict that a probe logged last, if its log can be read.
async fn last_verdict(pods: &Api<Pod>, name: &str) -> Option<Verdict> {
    let parameters = LogParams { tail_lines: Some(LINES), limit_bytes: Some(BYTES), ..LogParams::default() };
    let text = timeout(PATIENCE, pods.logs(name, &parameters)).await.ok()?.ok()?;
    text.lines().rev().find_map(|line| serde_json::from_str(line).ok())
}

async fn mirror<K>(what: &'static str, client: &Client, namespace: &str, mirror: Reflected<K>, changed: &Notify)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api = Api::<DeserializeGuard<K>>::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().labels(SELECTOR).timeout(client::WATCH_SECONDS);
    let stream = watcher(api, config).default_backoff().modify(|object| {
        if let Ok(object) = &mut object.0 {
            object.managed_fields_mut().clear();
        }
    });
    watches::follow(what, stream, mirror, |_| changed.notify_one(), || changed.notify_one()).await;
}
