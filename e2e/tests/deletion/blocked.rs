//! What holds up a deletion is named, and when it lets go, deletion goes on by itself.

use anyhow::Result;
use api::conditions as names;
use e2e::Tier;
use e2e::story::{Stage, condition};

use super::{Customer, Hold, OBJECTS, assert_tells, calls, message};
use providers::memory::Operation;

#[test]
fn what_is_left_in_the_stack_with_a_finalizer_of_somebody_else_is_named() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Delete").await?;
        let hold = Hold::of(stage, &customer.stack).await?;
        platform.delete(&customer.finance).await?;
        let waiting = platform.until_reason(&customer.finance, names::NAMESPACE_TERMINATING).await?;
        assert_tells(&message(&waiting), &[&customer.stack, "example.com/hold", "configmaps"]);
        let reconciling = condition(&waiting, names::RECONCILING).map(|it| it.status.as_str());
        assert_eq!(reconciling, Some("True"));
        hold.release().await?;
        platform.until_gone(&customer.finance, &customer.finance_seen).await
    })
}

#[test]
fn locked_objects_keep_the_bucket_and_the_workspace_and_say_so() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Delete").await?;
        let Customer { finance, bucket, .. } = &customer;
        stage.world.tamper_bucket(bucket, |bucket| bucket.locked = 3);
        platform.delete(finance).await?;
        let stalled = platform.until_reason(finance, names::BUCKET_NOT_EMPTY).await?;
        assert_tells(&message(&stalled), &[bucket, "locks"]);
        assert_eq!(condition(&stalled, names::STALLED).map(|it| it.status.as_str()), Some("True"));
        assert_eq!(stage.world.buckets()[bucket].objects, 3);
        // The way out that the message names: keep the bucket after all.
        platform.apply(&customer.tenant.clone().with("deletionPolicy", "Retain")).await?;
        platform.until_gone(finance, &customer.finance_seen).await?;
        assert_eq!(stage.world.buckets()[bucket].objects, 3);
        Ok(())
    })
}

#[test]
fn what_is_paused_is_not_deleted_until_it_is_resumed() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Delete").await?;
        let Customer { finance, tenant, bucket, .. } = &customer;
        platform.apply(&tenant.clone().with("paused", true)).await?;
        platform.until_reason(finance, names::PAUSED).await?;
        platform.delete(finance).await?;
        platform.delete(tenant).await?;
        let deleting = |object: &api::Workspace| {
            object.metadata.deletion_timestamp.is_some()
                && object.status.as_ref().map(|status| status.observed_generation) == object.metadata.generation
        };
        let held = platform.until(finance, "was seen to be deleted", deleting).await?;
        assert_eq!(condition(&held, names::READY).map(|it| it.reason.as_str()), Some(names::PAUSED));
        platform.until_reason(tenant, names::PAUSED).await?;
        assert_eq!(
            (stage.world.buckets()[bucket].objects, calls(stage, Operation::DeleteBucket, bucket)),
            (OBJECTS, 0)
        );

        platform.apply(&tenant.clone().with("paused", false)).await?;
        platform.until_gone(finance, &customer.finance_seen).await?;
        platform.until_gone(tenant, &customer.tenant_seen).await?;
        assert!(!stage.world.buckets().contains_key(bucket));
        Ok(())
    })
}
