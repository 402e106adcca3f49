//! An operator that begins on an outdated copy of the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use anyhow::{Result, ensure};
use e2e::Tier;
use e2e::faults::Undertaker;
use e2e::story::{BREAK_GLASS, PATIENCE, Stage, class, tenant, workspace};
use e2e::wait::until;
use e2e::wire::{Fate, Gate, Verdict, filters};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use uuid::Uuid;

/// How lists are answered.
const AS_THEY_ARE: u8 = 0;
const KEPT: u8 = 1;
const AS_KEPT: u8 = 2;

#[tokio::test]
async fn who_sees_the_deletion_of_a_predecessor_again_leaves_its_heir_alone() -> Result<()> {
    let (mode, gate, looked) =
        (Arc::new(AtomicU8::new(AS_THEY_ARE)), Gate::default(), Arc::new(AtomicBool::new(false)));
    let (lists, held, looks) = (Arc::clone(&mode), gate.clone(), Arc::clone(&looked));
    let (stage, wire) = Stage::wired(
        Tier::One,
        |_| {},
        move |asked| match lists.load(Ordering::SeqCst) {
            KEPT if asked.is_list() && asked.namespace().is_empty() => Verdict::Kept,
            // It may look, and nothing else: what it does is not the point yet.
            KEPT if asked.is_write() => Verdict::Instead(Fate::Reset),
            AS_KEPT if asked.is_list() && asked.namespace().is_empty() => Verdict::Stale,
            AS_KEPT if asked.is_watch() => Verdict::Through(filters::held(held.clone())),
            AS_KEPT if asked.namespace().starts_with("acme") => {
                looks.store(true, Ordering::SeqCst);
                Verdict::Pass
            }
            _ => Verdict::Pass,
        },
    )
    .await?;
    let platform = stage.platform.clone();
    let _undertaker = Undertaker::start(stage.plane.client_for("bettina", &["system:masters", BREAK_GLASS])?);
    let onprem = platform.applied(class("onprem")).await?;
    let [of_tenant, of_finance] = [(); 2].map(|()| Uuid::new_v4().to_string());
    let acme = tenant("acme").of_class(&onprem).deleting_data().with("identity", of_tenant.as_str());
    let finance = workspace("finance").of_tenant(&acme).with("identity", of_finance.as_str());
    platform.apply(&acme).await?;
    platform.apply(&finance).await?;
    let (first, first_tenant) = (platform.until_ready(&finance).await?, platform.until_ready(&acme).await?);

    // The copy is from when both were on their way out.
    let stage = stage
        .restarted(
            |config| wire.lead(config),
            async |platform| {
                mode.store(KEPT, Ordering::SeqCst);
                platform.delete(&finance).await?;
                platform.delete(&acme).await
            },
        )
        .await?;
    let stage = stage
        .restarted(
            |config| wire.lead(config),
            async |_| {
                mode.store(AS_THEY_ARE, Ordering::SeqCst);
                Ok(())
            },
        )
        .await?;
    platform.until_gone(&finance, &first).await?;
    platform.until_gone(&acme, &first_tenant).await?;

    // The heir has the same names and identities, and data of its own.
    platform.apply(&acme).await?;
    platform.apply(&finance).await?;
    platform.until_ready(&finance).await?;
    platform.until_ready(&acme).await?;
    let (stack, bucket) = (platform.stack_of(&finance).await?, platform.bucket_of(&finance).await?);
    let key = platform.key_of(&acme).await?;
    stage.world.tamper_bucket(&bucket, |bucket| bucket.objects = 7);
    let namespaces: Api<Namespace> = Api::all(platform.client.clone());
    let before = namespaces.get(&stack).await?;

    let stage = stage
        .restarted(
            |config| wire.lead(config),
            async |_| {
                mode.store(AS_KEPT, Ordering::SeqCst);
                Ok(())
            },
        )
        .await?;
    until("it looked at what it takes for the deleted ones", PATIENCE, async || Ok(looked.load(Ordering::SeqCst)))
        .await?;
    mode.store(AS_THEY_ARE, Ordering::SeqCst);
    gate.open();
    // A change that only somebody who has caught up can answer.
    platform.apply(&finance.clone().with("quota.cpu", "1")).await?;
    platform.until_ready(&finance).await?;
    platform.until_ready(&acme).await?;
    let after = namespaces.get(&stack).await?;
    ensure!(after.metadata.uid == before.metadata.uid && after.metadata.deletion_timestamp.is_none(), "the stack went");
    ensure!(stage.world.buckets().get(&bucket).is_some_and(|bucket| bucket.objects == 7), "the data went");
    ensure!(stage.world.keys()[&key].enabled, "the key went");
    Ok(())
}
