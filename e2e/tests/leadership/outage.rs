//! An API server, or its store, that is silent or gone while much is to be done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use api::{Tenant, Workspace, labels};
use e2e::install::InProcess;
use e2e::story::{Platform, class, tenant, workspace};
use e2e::wait::until;
use e2e::{Installation, Plane, PlaneOptions, Tier};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use providers::memory::{Operation, World};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{A_LEASE, LEADS, says};

const TENANTS: usize = 200;
/// How long all of them may take once nothing is wrong any more. Generous: other tests use the machine as well.
const PATIENCE: Duration = Duration::from_mins(4);

/// What goes wrong, and when: after so many Workspaces are Ready.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// Of etcd: the API server answers, mostly with errors.
    Store(Duration),
    /// Of the API server: nothing answers, and connections stay open.
    Silence(Duration),
    /// The API server is killed and started again.
    Restart,
}

const OUTAGES: [(usize, Outage); 4] = [
    (20, Outage::Silence(Duration::from_secs(20))),
    (60, Outage::Store(Duration::from_secs(20))),
    (100, Outage::Restart),
    (140, Outage::Silence(Duration::from_mins(2))),
];

/// The world of the story.
struct Site {
    plane: Plane,
    client: Client,
    world: World,
    replicas: [InProcess; 2],
}

impl Site {
    async fn set() -> Result<Self> {
        let plane = Plane::start(Tier::One, PlaneOptions::default()).await?;
        let installation = Installation::install(&plane, "story", &json!({})).await?;
        let world = World::new();
        let first = InProcess::start_on(&plane, &installation, world.clone(), |_| {}).await?;
        let second = InProcess::start_on(&plane, &installation, world.clone(), |_| {}).await?;
        Ok(Self { client: plane.admin()?, plane, world, replicas: [first, second] })
    }

    async fn break_down(&mut self, outage: Outage) -> Result<()> {
        match outage {
            Outage::Restart => self.plane.restart_api_server().await,
            Outage::Silence(lasts) => self.freeze("kube-apiserver", lasts).await,
            Outage::Store(lasts) => self.freeze("etcd", lasts).await,
        }
    }

    /// While it lasts, nobody would restart the replicas: neither ended, and the liveness probe is content.
    async fn freeze(&mut self, process: &str, lasts: Duration) -> Result<()> {
        self.plane.freeze(process)?;
        let begun = Instant::now();
        while begun.elapsed() < lasts {
            for replica in &self.replicas {
                ensure!(replica.is_running(), "a replica ended {} s into the outage", begun.elapsed().as_secs());
                let alive = reqwest::get(format!("{}/healthz", replica.http_url())).await?;
                ensure!(
                    alive.status().is_success(),
                    "the liveness probe would restart a replica {} s into the outage: {}",
                    begun.elapsed().as_secs(),
                    alive.text().await?
                );
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.plane.thaw(process)
    }

    /// Exactly one leads, again or still.
    async fn until_one_leads(&self) -> Result<()> {
        let urls = self.replicas.each_ref().map(InProcess::http_url);
        until("one of the replicas leads", A_LEASE * 2, async || {
            let leaders = [says(&urls[0], LEADS).await?, says(&urls[1], LEADS).await?];
            ensure!(leaders != [true, true], "both lead");
            Ok(leaders.contains(&true))
        })
        .await
    }

    /// Waits until so many Workspaces are Ready. Which they are, and everything of them, with the version of each object.
    async fn until_ready(&self, wanted: usize) -> Result<BTreeMap<String, String>> {
        let begun = Instant::now();
        loop {
            let all = Api::<Workspace>::all(self.client.clone()).list(&ListParams::default()).await?;
            let ready: Vec<&Workspace> = all.items.iter().filter(|workspace| is_ready(workspace)).collect();
            if ready.len() >= wanted {
                let tenants = ready.iter().filter_map(|workspace| workspace.namespace()).collect::<Vec<_>>();
                return self.finished(&tenants).await;
            }
            if begun.elapsed() > PATIENCE {
                let (ready, seconds) = (ready.len(), PATIENCE.as_secs());
                bail!(
                    "waited {seconds} s in vain until {wanted} Workspaces are Ready: {ready} of {} are",
                    all.items.len()
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn finished(&self, tenants: &[String]) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        self.collect::<Namespace>(tenants, &mut found).await?;
        self.collect::<NetworkPolicy>(tenants, &mut found).await?;
        self.collect::<ResourceQuota>(tenants, &mut found).await?;
        Ok(found)
    }

    async fn collect<K>(&self, tenants: &[String], into: &mut BTreeMap<String, String>) -> Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let ours = ListParams::default().labels(labels::TENANT);
        for object in Api::<K>::all(self.client.clone()).list_metadata(&ours).await? {
            if object.labels().get(labels::TENANT).is_some_and(|tenant| tenants.contains(tenant)) {
                let name = format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any());
                into.insert(name, object.resource_version().unwrap_or_default());
            }
        }
        Ok(())
    }
}

fn is_ready(workspace: &Workspace) -> bool {
    let conditions = workspace.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Applies what it can, and tries again what it could not: people do so too.
async fn apply_all(platform: &Platform, class: &str) -> Result<()> {
    let class = e2e::story::class(class);
    stream::iter(0..TENANTS)
        .map(async |number| {
            let tenant = tenant(&format!("acme-{number:03}")).of_class(&class).deleting_data();
            let finance = workspace("finance").of_tenant(&tenant);
            let begun = Instant::now();
            loop {
                let applied = async {
                    platform.apply(&tenant).await?;
                    platform.apply(&finance).await
                };
                match applied.await {
                    Ok(_) => return Ok(()),
                    Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                    Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            }
        })
        .buffer_unordered(4)
        .try_collect()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_while_two_hundred_tenants_are_made_lose_nothing_and_repeat_nothing() -> Result<()> {
    let mut site = Site::set().await?;
    let platform = Platform::new(site.plane.admin()?);
    platform.apply(&class("onprem")).await?;
    let applying = tokio::spawn(async move { apply_all(&platform, "onprem").await });
    let mut finished = BTreeMap::new();
    for (after, outage) in OUTAGES {
        finished.extend(site.until_ready(after).await?);
        site.break_down(outage).await.with_context(|| format!("{outage:?}"))?;
        site.until_one_leads().await.with_context(|| format!("after {outage:?}"))?;
        println!("{} objects stood when {outage:?} began", finished.len());
    }
    applying.await??;
    let end = site.until_ready(TENANTS).await?;

    let rewritten: Vec<_> = finished.iter().filter(|(name, version)| end.get(*name) != Some(*version)).collect();
    ensure!(rewritten.is_empty(), "what was finished was written again: {rewritten:?}");
    for operation in [Operation::CreateKey, Operation::CreateBucket] {
        let calls = site.world.log().into_iter().filter(|(called, _)| *called == operation).count();
        ensure!(calls == TENANTS, "{operation:?} was called {calls} times for {TENANTS} tenants");
    }
    ensure!(site.world.keys().len() == TENANTS && site.world.buckets().len() == TENANTS);
    let tenants: Vec<Tenant> = Api::all(site.client.clone()).list(&ListParams::default()).await?.items;
    let status = |tenant: &Tenant| json!(tenant.status)["conditions"][0]["status"].clone();
    ensure!(tenants.iter().all(|tenant| status(tenant) == "True"), "a Tenant is not Ready");
    let [first, second] = site.replicas;
    first.stop().await?;
    second.stop().await
}
