//! Quota and fairness: Workspaces never exceed what their Tenant may use, and no Tenant holds up another.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use api::{Tenant, Workspace, conditions as names};
use e2e::{
    Tier,
    story::{Manifest, Stage, class, condition, tenant, workspace},
    unique,
    wait::until,
};
use futures::{StreamExt, TryStreamExt, future::try_join_all};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{
    Api, Client,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use providers::memory::{Injection, Operation};

const SOON: Duration = Duration::from_secs(90);

/// The sum of what the quotas of a Tenant allow, in millicores, and the most that it ever was.
#[derive(Clone, Default)]
struct Allowed(Arc<Mutex<(BTreeMap<String, u64>, u64)>>);

impl Allowed {
    /// Follows the quotas of a Tenant. The watch tells every state that ever was.
    fn follow(client: Client, tenant: &str) -> (Self, tokio::task::JoinHandle<()>) {
        let allowed = Self::default();
        let told = allowed.clone();
        let config = watcher::Config::default().labels(&format!("steading.dev/tenant={tenant}"));
        let quotas = watcher(Api::<ResourceQuota>::all(client), config).default_backoff().applied_objects();
        let following = quotas.into_stream().for_each(move |quota| {
            if let Ok(quota) = quota {
                let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()?.get("limits.cpu").cloned());
                let cpu = hard.map_or(0, |cpu| millicores(&cpu.0));
                let mut state = told.0.lock().unwrap_or_else(PoisonError::into_inner);
                state.0.insert(quota.metadata.namespace.unwrap_or_default(), cpu);
                state.1 = state.1.max(state.0.values().sum());
            }
            futures::future::ready(())
        });
        (allowed, tokio::spawn(following))
    }

    fn now(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.values().sum()
    }

    fn most(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

fn millicores(text: &str) -> u64 {
    text.strip_suffix('m')
        .map_or_else(|| text.parse::<u64>().unwrap_or(0) * 1_000, |number| number.parse().unwrap_or(0))
}

async fn count(stage: &Stage, workspaces: &[Manifest<Workspace>], fits: impl Fn(&Workspace) -> bool) -> Result<usize> {
    let mut number = 0;
    for workspace in workspaces {
        number += usize::from(fits(&stage.platform.get(workspace).await?));
    }
    Ok(number)
}

fn is_ready(workspace: &Workspace) -> bool {
    condition(workspace, names::READY).is_some_and(|ready| ready.status == "True")
}

fn is_refused(workspace: &Workspace) -> bool {
    condition(workspace, names::STALLED).is_some_and(|stalled| stalled.reason == names::QUOTA_EXCEEDED)
}

#[test]
fn twenty_clients_at_once_never_get_more_than_the_tenant_may_use() {
    Stage::shared(Tier::One, async |stage| {
        let class = stage.platform.applied(class(&unique("onprem"))).await?;
        let tenant: Manifest<Tenant> = tenant(&unique("acme")).of_class(&class).with("quota.cpu", "8");
        let tenant = stage.platform.applied(tenant).await?;
        let (allowed, following) = Allowed::follow(stage.plane.admin()?, tenant.name());

        let asked: Vec<_> = (0..20)
            .map(|number| workspace(&format!("space-{number:02}")).of_tenant(&tenant).with("quota.cpu", "1"))
            .collect();
        let clients = (0..20)
            .map(|number| stage.plane.client_for(&format!("client-{number:02}"), &["system:masters"]))
            .collect::<Result<Vec<_>>>()?;
        try_join_all(asked.iter().zip(clients).map(async |(workspace, client)| {
            let object: Workspace = serde_json::from_value(workspace.object())?;
            workspace.api(&client).create(&PostParams::default(), &object).await.context("create")
        }))
        .await?;
        until("8 are Ready and 12 refused", SOON, async || {
            Ok(count(stage, &asked, is_ready).await? == 8 && count(stage, &asked, is_refused).await? == 12)
        })
        .await?;
        ensure!(allowed.now() == 8_000, "8 cores are in use: {}", allowed.now());

        // Two shrink to a half: one more fits, and only one.
        let mut ready = Vec::new();
        for workspace in &asked {
            if is_ready(&stage.platform.get(workspace).await?) {
                ready.push(workspace.clone());
            }
        }
        try_join_all(
            ready
                .iter()
                .take(2)
                .map(async |workspace| stage.platform.apply(&workspace.clone().with("quota.cpu", "500m")).await),
        )
        .await?;
        until("9 are Ready and 11 refused", SOON, async || {
            Ok(count(stage, &asked, is_ready).await? == 9 && count(stage, &asked, is_refused).await? == 11)
        })
        .await?;
        // Growing back is refused, because another has the room by now.
        stage.platform.apply(&ready[0].clone().with("quota.cpu", "1")).await?;
        let refused = stage.platform.until_reason(&ready[0], names::QUOTA_EXCEEDED).await?;
        println!("{}", condition(&refused, names::STALLED).map(|stalled| stalled.message.clone()).unwrap_or_default());
        println!("most that was ever allowed: {} millicores of 8000", allowed.most());
        ensure!(allowed.most() == 8_000, "the quota was exceeded: {} millicores", allowed.most());
        following.abort();
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_resource_that_the_tenant_limits_must_be_named() {
    Stage::shared(Tier::One, async |stage| {
        let class = stage.platform.applied(class(&unique("onprem"))).await?;
        let tenant =
            stage.platform.applied(tenant(&unique("acme")).of_class(&class).with("quota.memory", "16Gi")).await?;
        let silent = stage.platform.applied(workspace("silent").of_tenant(&tenant).with("quota.cpu", "2")).await?;
        let stalled = stage.platform.until_reason(&silent, names::QUOTA_REQUIRED).await?;
        let message = condition(&stalled, names::STALLED).map(|stalled| stalled.message.clone()).unwrap_or_default();
        ensure!(message.contains("memory"), "{message}");
        ensure!(
            stalled.status.is_some_and(|status| status.namespace.is_none()),
            "a stack was made without a reservation"
        );
        stage.platform.apply(&silent.clone().with("quota.memory", "4Gi")).await?;
        stage.platform.until_ready(&silent).await?;
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_tenant_that_fails_for_ever_does_not_hold_up_the_others() {
    Stage::shared(Tier::One, async |stage| {
        let class = stage.platform.applied(class(&unique("onprem"))).await?;
        let failing = tenant(&unique("failing")).of_class(&class);
        let identity = stage.platform.apply(&failing).await?.metadata.uid.context("uid")?;
        stage.world.inject(Injection::on(Operation::ObserveKey).identity(identity));
        let broken: Vec<_> =
            (0..40).map(|number| workspace(&format!("space-{number:02}")).of_tenant(&failing)).collect();
        for workspace in &broken {
            let uid = stage.platform.apply(workspace).await?.metadata.uid.context("uid")?;
            stage.world.inject(Injection::on(Operation::ObserveBucket).identity(uid));
        }
        stage.platform.until_reason(&failing, names::PROVIDER_UNAVAILABLE).await?;

        let healthy = stage.platform.applied(tenant(&unique("healthy")).of_class(&class)).await?;
        let others: Vec<_> =
            (0..5).map(|number| workspace(&format!("space-{number:02}")).of_tenant(&healthy)).collect();
        for workspace in &others {
            stage.platform.apply(workspace).await?;
        }
        for workspace in &others {
            stage.platform.until_ready(workspace).await?;
        }
        ensure!(count(stage, &broken, is_ready).await? == 0, "what must fail for ever became Ready");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_limit_is_given_and_taken_back_and_status_follows() {
    Stage::shared(Tier::One, async |stage| {
        let class = stage.platform.applied(class(&unique("onprem"))).await?;
        let acme: Manifest<Tenant> = stage.platform.applied(tenant(&unique("acme")).of_class(&class)).await?;
        let limited = workspace("finance").of_tenant(&acme).with("quota.cpu", "1");
        let limited = stage.platform.applied(limited).await?;
        let cpu =
            |told: &Workspace| told.status.as_ref().and_then(|it| it.quota.as_ref()).and_then(|it| it.cpu.clone());
        stage.platform.until(&limited, "is granted a core", |told| cpu(told).as_deref() == Some("1")).await?;
        stage.platform.until_ready(&limited).await?;
        stage.platform.apply(&workspace("finance").of_tenant(&acme)).await?;
        stage.platform.until(&limited, "is granted no limit", |told| cpu(told).is_none()).await?;
        stage.platform.until_ready(&limited).await.map(drop)
    })
    .unwrap();
}
