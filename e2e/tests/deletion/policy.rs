//! What remains, and who gets it.

use anyhow::{Context as _, Result};
use e2e::story::{Stage, class, openfga, openfga_with_access_control, tenant, workspace};
use e2e::{Tier, unique};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use providers::memory::Operation;
use providers::owner::tags;
use serde_json::json;

use super::{Customer, OBJECTS, calls, namespaces, until_namespace_is_gone};

#[test]
fn retained_data_is_marked_kept_and_handed_only_to_whoever_asks_for_its_identity() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Retain").await?;
        let Customer { finance, bucket, key, stack, .. } = &customer;
        let asking = customer.tenant.clone().annotated(api::labels::ROTATE_REQUESTED_AT, "before-leaving");
        platform.apply(&asking).await?;
        let rotated =
            |acme: &api::Tenant| acme.status.as_ref().and_then(|it| it.key.as_ref()).is_some_and(|it| it.version == 2);
        platform.until(&customer.tenant, "has rotated", rotated).await?;

        platform.delete(finance).await?;
        platform.until_gone(finance, &customer.finance_seen).await?;
        assert!(namespaces(stage).get_opt(stack).await?.is_none());
        let kept = stage.world.buckets()[bucket].clone();
        assert_eq!((kept.objects, kept.tags.get(tags::RELEASED).map(String::as_str)), (OBJECTS, Some("true")));
        assert!(stage.world.keys()[key].rotation_period.is_some(), "the key still serves the Tenant");

        // A namesake is somebody else.
        let namesake_seen = platform.apply(finance).await?;
        platform.until_ready(finance).await?;
        assert_ne!(platform.bucket_of(finance).await?, *bucket);
        assert_ne!(platform.stack_of(finance).await?, *stack);
        assert_eq!(stage.world.buckets()[bucket], kept);
        platform.delete(finance).await?;
        platform.until_gone(finance, &namesake_seen).await?;

        platform.delete(&customer.tenant).await?;
        platform.until_gone(&customer.tenant, &customer.tenant_seen).await?;
        let left = stage.world.keys()[key].clone();
        assert_eq!(
            (left.enabled, left.rotation_period, left.latest_version),
            (true, None, 2),
            "released, not disabled"
        );

        // Whoever asks for the identities, and may, gets all of it back as it was.
        let identity = |uid: Option<String>| uid.context("no uid");
        let (of_tenant, of_finance) = (identity(customer.tenant_seen.uid())?, identity(customer.finance_seen.uid())?);
        let heir = tenant(customer.tenant.name()).of_class(&customer.class).with("identity", of_tenant);
        platform.apply(&heir).await?;
        let books = platform.applied(workspace("books").of_tenant(&heir).with("identity", of_finance)).await?;
        platform.until_ready(&heir).await?;
        platform.until_ready(&books).await?;
        assert_eq!((&platform.key_of(&heir).await?, &platform.bucket_of(&books).await?), (key, bucket));
        let back = stage.world.buckets()[bucket].clone();
        assert_eq!((back.objects, back.tags.contains_key(tags::RELEASED)), (OBJECTS, false));
        let key_back = stage.world.keys()[key].clone();
        assert_eq!((key_back.latest_version, key_back.rotation_period.is_some()), (2, true));
        assert_eq!(calls(stage, Operation::CreateBucket, bucket), 1);
        Ok(())
    })
}

#[test]
fn the_policy_that_counts_is_the_one_at_the_time_of_deletion() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Delete").await?;
        platform.apply(&customer.tenant.clone().with("deletionPolicy", "Retain")).await?;
        platform.until_ready(&customer.tenant).await?;
        platform.delete(&customer.finance).await?;
        platform.until_gone(&customer.finance, &customer.finance_seen).await?;
        assert_eq!(stage.world.buckets()[&customer.bucket].objects, OBJECTS);
        Ok(())
    })
}

#[test]
fn rights_of_members_end_with_their_workspace_whatever_is_kept_of_it() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem")).with("authorization", openfga())).await?;
        let acme =
            tenant(&unique("acme")).of_class(&onprem).with("owners", json!([{ "kind": "User", "name": "anna" }]));
        platform.apply(&acme).await?;
        let ben = json!([{ "kind": "User", "name": "ben", "role": "editor" }]);
        let finance = platform.applied(workspace("finance").of_tenant(&acme).with("members", ben)).await?;
        let seen = platform.until_ready(&finance).await?;
        let told = platform.until_ready(&acme).await?.status.and_then(|status| status.authorization);
        let id = told.and_then(|store| store.store_id).context("no store")?;
        let users = || stage.world.stores()[&id].tuples.keys().map(|tuple| tuple.user.clone()).collect::<Vec<_>>();
        assert!(users().contains(&"user:ben".to_owned()), "{:?}", users());
        platform.delete(&finance).await?;
        platform.until_gone(&finance, &seen).await?;
        assert_eq!(users(), ["user:anna"], "the Tenant's owner alone");
        Ok(())
    })
}

#[test]
fn rights_end_with_a_workspace_also_where_its_stack_and_what_status_knew_are_gone_already() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let (platform, access) = (&stage.platform, "01JZ8Q5W3N8M4T6R2V9X7B1C0D");
        let place = openfga_with_access_control(access);
        let onprem = platform.applied(class(&unique("onprem")).with("authorization", place)).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let shop = unique("shop");
        platform.control_namespace(&shop).await?;
        let consent =
            json!({ "metadata": { "annotations": { api::labels::CONSUMES: format!("{}/finance", acme.name()) } } });
        namespaces(stage).patch(&shop, &PatchParams::default(), &Patch::Merge(consent)).await?;
        let billing = json!([{ "namespace": shop, "serviceAccount": "billing", "authorization": "readWrite" }]);
        let ben = json!([{ "kind": "User", "name": "ben", "role": "editor" }]);
        let finance = workspace("finance").of_tenant(&acme).with("members", ben).with("consumers", billing);
        let seen = platform.until_ready(&platform.applied(finance.clone()).await?).await?;
        let told = seen.status.clone().and_then(|status| status.authorization).context("no store")?;
        let about = |store: &str| {
            let about = |it: &&providers::authorization::Tuple| it.object == told.object || it.user == told.object;
            stage.world.all_stores()[store].tuples.keys().filter(about).count()
        };
        assert_eq!(
            (about(access), about(&told.store_id)),
            (2, 2),
            "an application and its way; a member and the Tenant"
        );

        let stack = platform.stack_of(&finance).await?;
        platform.apply(&finance.clone().with("paused", true)).await?;
        platform.until_reason(&finance, api::conditions::PAUSED).await?;
        let glass = stage.break_glass()?;
        kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(glass.clone())
            .delete(&stack, &DeleteParams::default())
            .await?;
        until_namespace_is_gone(stage, &stack).await?;
        let forgotten = Patch::Merge(json!({ "status": { "authorization": null } }));
        let steading = stage.plane.service_account_client("steading-system", "steading").await?;
        finance.api(&steading).patch_status(finance.name(), &PatchParams::default(), &forgotten).await?;
        platform.delete(&finance).await?;
        platform.apply(&finance.clone().with("paused", false)).await?;
        platform.until_gone(&finance, &seen).await?;
        assert_eq!((about(access), about(&told.store_id)), (0, 0));
        Ok(())
    })
}
