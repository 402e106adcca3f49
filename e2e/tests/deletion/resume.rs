//! Deletion goes on wherever it was cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use e2e::Tier;
use e2e::story::{PATIENCE, Stage, class, tenant, workspace};
use e2e::wait::until;
use e2e::wire::{Asked, Verdict, Wire};
use kube::ResourceExt as _;
use providers::memory::{Injection, Operation};

use super::{Customer, namespaces};

/// Lives that the deletion may take. It has about ten writes, and each is lost once before and once after it was carried out.
const LIVES_MAX: usize = 60;

/// From the first write on, which ends so, nothing but what is about Leases gets through: as if the process were dead by then, but
/// for its successor not having to wait until its Lease runs out.
fn dying_at_its_first_write(
    first: fn() -> Verdict,
    dead: &Arc<AtomicBool>,
) -> impl FnMut(&Asked) -> Verdict + Send + 'static {
    let dead = Arc::clone(dead);
    move |request| {
        if dead.load(Ordering::SeqCst) && !request.is_of_leadership() {
            return Verdict::lost();
        }
        if request.is_write() {
            dead.store(true, Ordering::SeqCst);
            return first();
        }
        Verdict::Pass
    }
}

#[tokio::test]
async fn an_operator_that_dies_at_every_single_write_still_gets_everything_away() -> Result<()> {
    let stage = Stage::set(Tier::Two, |_| {}).await?;
    let platform = stage.platform.clone();
    let onprem = platform.applied(class("onprem")).await?;
    let acme = platform.applied(tenant("acme").of_class(&onprem).deleting_data()).await?;
    let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
    let finance_seen = platform.until_ready(&finance).await?;
    platform.until_ready(&acme).await?;
    let (bucket, stack) = (platform.bucket_of(&finance).await?, platform.stack_of(&finance).await?);
    stage.world.tamper_bucket(&bucket, |bucket| bucket.objects = 2_500);
    let wire = Wire::to(&stage.plane).await?;

    let mut stage = stage;
    let mut lives = 0;
    loop {
        let dead = Arc::new(AtomicBool::new(false));
        let first = if lives % 2 == 0 { Verdict::lost } else { Verdict::answer_lost };
        stage = stage
            .restarted(
                |config| wire.lead(config),
                async |platform| {
                    wire.judge(dying_at_its_first_write(first, &dead));
                    if lives == 0 {
                        platform.delete(&finance).await?;
                        platform.delete(&acme).await?;
                    }
                    Ok(())
                },
            )
            .await?;
        lives += 1;
        ensure!(lives <= LIVES_MAX, "not gone after {lives} lives: {:#?}", platform.get(&finance).await);
        until("it dies, or has nothing left to do", PATIENCE, async || {
            let gone = acme.api(&platform.client).get_opt(acme.name()).await?.is_none();
            Ok(gone || dead.load(Ordering::SeqCst))
        })
        .await?;
        if acme.api(&platform.client).get_opt(acme.name()).await?.is_none() {
            break;
        }
    }
    println!("gone after {lives} lives");
    assert!(lives > 6, "only {lives} lives: were its writes seen at all?");
    platform.until_gone(&finance, &finance_seen).await?;
    assert!(namespaces(&stage).get_opt(&stack).await?.is_none());
    assert_eq!(stage.world.buckets().len(), 0);
    assert!(stage.world.keys().values().all(|key| !key.enabled));
    Ok(())
}

#[test]
fn a_provider_that_fails_at_any_step_of_a_deletion_only_delays_it() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let tell = async |policy: &str, operations: [Operation; 2], fault: fn(Injection) -> Injection| {
            let customer = Customer::of_policy(stage, policy).await?;
            let identities = [customer.finance_seen.uid(), customer.tenant_seen.uid()].map(Option::unwrap_or_default);
            for (operation, identity) in operations.into_iter().zip(&identities) {
                stage.world.inject(fault(Injection::on(operation).identity(identity)));
            }
            platform.delete(&customer.finance).await?;
            platform.delete(&customer.tenant).await?;
            platform.until_gone(&customer.finance, &customer.finance_seen).await?;
            platform.until_gone(&customer.tenant, &customer.tenant_seen).await?;
            let kept = stage.world.buckets().contains_key(&customer.bucket);
            assert_eq!(kept, policy == "Retain");
            assert_eq!(stage.world.keys()[&customer.key].enabled, policy == "Retain");
            assert_eq!(stage.world.keys()[&customer.key].rotation_period, None);
            anyhow::Ok(())
        };
        let deleted = [Operation::DeleteBucket, Operation::DeleteKey];
        let released = [Operation::ReleaseBucket, Operation::ReleaseKey];
        let before: fn(Injection) -> Injection = |fault| fault.first(2);
        let half: fn(Injection) -> Injection = |fault| fault.nth(1).after_steps(1);
        let after: fn(Injection) -> Injection = |fault| fault.nth(1).after_commit();
        tokio::try_join!(
            tell("Delete", deleted, before),
            tell("Delete", deleted, half),
            tell("Delete", deleted, after),
            tell("Retain", released, before),
            tell("Retain", released, after),
        )?;
        Ok(())
    })
}
