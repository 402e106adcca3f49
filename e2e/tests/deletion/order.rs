//! Stack first, data second, key last.

use anyhow::Result;
use api::conditions as names;
use e2e::Tier;
use e2e::story::{Stage, workspace};
use kube::ResourceExt as _;
use providers::memory::{Injection, Operation};
use serde_json::json;

use super::{Customer, Hold, OBJECTS, assert_tells, calls, message, namespaces, until_namespace_is_gone};

#[test]
fn nothing_goes_before_what_stands_on_it() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Delete").await?;
        let Customer { tenant, finance, stack, bucket, key, .. } = &customer;
        let identity = customer.finance_seen.uid().unwrap_or_default();
        let hold = Hold::of(stage, stack).await?;
        stage.world.inject(Injection::on(Operation::DeleteBucket).identity(&identity).denied());

        // The Tenant goes last, whoever is asked first.
        platform.delete(tenant).await?;
        let waiting = platform.until_reason(tenant, names::WORKSPACES_REMAIN).await?;
        assert_tells(&message(&waiting), &[tenant.name(), "finance", "delete them"]);

        // As long as the stack is there, nothing of the data is touched.
        platform.delete(finance).await?;
        platform.until_reason(finance, names::NAMESPACE_TERMINATING).await?;
        assert_eq!(calls(stage, Operation::DeleteBucket, bucket), 0);
        assert_eq!(stage.world.buckets()[bucket].objects, OBJECTS);

        // The stack is gone, the data is not: the finalizer stays, and with it the Tenant and its key.
        hold.release().await?;
        until_namespace_is_gone(stage, stack).await?;
        let stalled = platform.until_reason(finance, names::DENIED).await?;
        assert_tells(&message(&stalled), &[bucket]);
        assert_eq!(stalled.finalizers(), ["steading.dev/cleanup"]);
        let waiting = platform.until_reason(tenant, names::WORKSPACES_REMAIN).await?;
        assert_tells(&message(&waiting), &["finance"]);
        assert!(stage.world.keys()[key].enabled);

        // Now the data goes, then the key is disabled, which is not destroyed.
        stage.world.heal_only(&identity);
        let members = json!([{ "kind": "User", "name": "vera", "role": "viewer" }]);
        platform.apply(&finance.clone().with("members", members)).await?; // any change is looked at at once
        platform.until_gone(finance, &customer.finance_seen).await?;
        platform.until_gone(tenant, &customer.tenant_seen).await?;
        assert!(!stage.world.buckets().contains_key(bucket));
        let left = &stage.world.keys()[key];
        assert_eq!((left.enabled, left.rotation_period), (false, None));
        assert_eq!(calls(stage, Operation::DeleteKey, key), 1);
        Ok(())
    })
}

#[test]
fn a_workspace_goes_alone() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Delete").await?;
        let sales = platform.applied(workspace("sales").of_tenant(&customer.tenant)).await?;
        platform.until_ready(&sales).await?;
        let (stack, bucket) = (platform.stack_of(&sales).await?, platform.bucket_of(&sales).await?);
        stage.world.tamper_bucket(&bucket, |bucket| bucket.objects = 7);
        let outside = (stage.world.keys()[&customer.key].clone(), stage.world.buckets()[&bucket].clone());
        let inside = namespaces(stage).get(&stack).await?.resource_version();

        platform.delete(&customer.finance).await?;
        platform.until_gone(&customer.finance, &customer.finance_seen).await?;
        assert!(namespaces(stage).get_opt(&customer.stack).await?.is_none());
        assert!(!stage.world.buckets().contains_key(&customer.bucket));

        platform.until_ready(&sales).await?;
        platform.until_ready(&customer.tenant).await?;
        assert_eq!((stage.world.keys()[&customer.key].clone(), stage.world.buckets()[&bucket].clone()), outside);
        assert_eq!(namespaces(stage).get(&stack).await?.resource_version(), inside);
        let booked = |tenant: &api::Tenant| {
            tenant.status.as_ref().and_then(|it| it.quota.as_ref()).is_some_and(|quota| quota.used.workspaces == 1)
        };
        platform.until(&customer.tenant, "has one Workspace less in its books", booked).await?;
        Ok(())
    })
}
