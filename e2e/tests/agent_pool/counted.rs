//! Never more than asked for, whatever becomes of the operator.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::Tier;
use e2e::story::{PATIENCE, Stage};
use e2e::wait::until;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};

use super::scene::{Scene, is_claimed, is_ready};

/// The most desktops that there ever were at one time, and the fewest that could be used since it was asked to count them.
#[derive(Clone, Default)]
pub struct Counted(Arc<Mutex<Count>>);

#[derive(Default)]
struct Count {
    warm: HashMap<String, bool>,
    most: usize,
    fewest: Option<usize>,
}

impl Counted {
    /// Follows the pods of a stack that are not claimed, those on their way out included. The watch tells every state that ever was.
    pub fn follow(client: Client, stack: &str) -> (Self, tokio::task::JoinHandle<()>) {
        let counted = Self::default();
        let told = counted.clone();
        let config = watcher::Config::default().labels("steading.dev/pool");
        let pods = watcher(Api::<Pod>::namespaced(client, stack), config).default_backoff();
        let following = pods.for_each(move |event| {
            let mut count = told.count();
            match event {
                Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) if is_claimed(&pod) => {
                    count.warm.remove(&pod.uid().unwrap_or_default());
                }
                Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                    count.warm.insert(pod.uid().unwrap_or_default(), is_ready(&pod));
                }
                Ok(watcher::Event::Delete(pod)) => {
                    count.warm.remove(&pod.uid().unwrap_or_default());
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
            }
            count.most = count.most.max(count.warm.len());
            let usable = count.warm.values().filter(|ready| **ready).count();
            count.fewest = count.fewest.map(|fewest| fewest.min(usable));
            futures::future::ready(())
        });
        (counted, tokio::spawn(following))
    }

    /// From now on.
    pub fn anew(&self) {
        let mut count = self.count();
        count.most = count.warm.len();
        count.fewest = Some(count.warm.values().filter(|ready| **ready).count());
    }

    pub fn most(&self) -> usize {
        self.count().most
    }

    pub fn fewest(&self) -> usize {
        self.count().fewest.unwrap_or_default()
    }

    fn count(&self) -> std::sync::MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_never_more_than_asked_for_though_the_operator_dies_again_and_again() -> Result<()> {
    // Whoever dies keeps the Lease, and nobody waits long for it.
    let brief = |config: &mut operator::Config| {
        config.timings.lease_duration = Duration::from_secs(3);
        config.timings.lease_renew = Duration::from_secs(1);
        config.timings.lease_retry = Duration::from_millis(500);
    };
    let mut stage = Stage::set(Tier::Two, brief).await?;
    let (pool, stack, counted, following) = {
        let scene = Scene::set(&stage).await?;
        let (counted, following) = Counted::follow(stage.plane.admin()?, &scene.stack);
        let pool = scene.pool("desktops").await?;
        stage.platform.until_ready(&pool).await?;
        (pool, scene.stack.clone(), counted, following)
    };
    // One more than asked for may be there while they are replaced.
    ensure!(counted.most() <= 4, "there were {}", counted.most());
    for (round, replicas) in [(0, 12), (1, 2), (2, 9), (3, 4)] {
        let wanted = pool.clone().with("replicas", replicas);
        stage.platform.apply(&wanted).await?;
        // It dies at some moment of its work, and each time at another.
        tokio::time::sleep(Duration::from_millis(150 * round)).await;
        stage.crash().await;
        if replicas > 4 {
            counted.anew();
        }
        stage.resume(brief).await?;
        stage.platform.until_ready(&wanted).await?;
        stage
            .platform
            .until(&wanted, "has all", |pool| {
                let status = pool.status.clone().unwrap_or_default();
                (status.replicas, status.ready) == (Some(replicas), Some(replicas))
            })
            .await?;
        let bound = usize::try_from(replicas)? + 1;
        ensure!(replicas <= 4 || counted.most() <= bound, "there were {} of {bound}", counted.most());
        let pods: Api<Pod> = Api::namespaced(stage.plane.admin()?, &stack);
        let all = ListParams::default().labels("steading.dev/pool=desktops");
        until("those that are too many are gone", PATIENCE, async || {
            Ok(pods.list(&all).await?.items.len() == usize::try_from(replicas)?)
        })
        .await?;
    }
    following.abort();
    Ok(())
}
