//! All of a customer at once.

use anyhow::Result;
use e2e::Tier;
use e2e::story::{Stage, workspace};
use kube::api::DeleteParams;

use super::{Customer, namespaces, until_namespace_is_gone};

#[test]
fn with_the_control_namespace_everything_goes() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Delete").await?;
        let sales = platform.applied(workspace("sales").of_tenant(&customer.tenant)).await?;
        platform.until_ready(&sales).await?;
        let (stack, bucket) = (platform.stack_of(&sales).await?, platform.bucket_of(&sales).await?);

        namespaces(stage).delete(customer.tenant.name(), &DeleteParams::default()).await?;
        until_namespace_is_gone(stage, customer.tenant.name()).await?;
        for gone in [&stack, &customer.stack] {
            assert!(namespaces(stage).get_opt(gone).await?.is_none(), "{gone}");
        }
        for gone in [&bucket, &customer.bucket] {
            assert!(!stage.world.buckets().contains_key(gone), "{gone}");
        }
        assert!(!stage.world.keys()[&customer.key].enabled);
        Ok(())
    })
}

#[test]
fn a_tenant_and_its_workspaces_deleted_in_any_order_all_go_and_then_the_class() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Retain").await?;
        let class_seen = platform.get(&customer.class).await?;
        platform.delete(&customer.class).await?;
        platform.delete(&customer.tenant).await?;
        platform.delete(&customer.finance).await?;
        platform.until_gone(&customer.finance, &customer.finance_seen).await?;
        platform.until_gone(&customer.tenant, &customer.tenant_seen).await?;
        platform.until_gone(&customer.class, &class_seen).await
    })
}
