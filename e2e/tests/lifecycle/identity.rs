//! What everything of an object is named after.

use anyhow::{Context as _, Result};
use api::conditions as names;
use e2e::story::{Stage, class, stack_namespace, tenant, workspace};
use e2e::{Tier, unique};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use uuid::Uuid;

use super::{assert_tells, message, status};

#[test]
fn without_a_wish_the_uid_is_the_identity() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        let ready = platform.until_ready(&acme).await?;
        assert_eq!(ready.status.as_ref().and_then(|status| status.identity.clone()), ready.uid());
        assert_tells(&platform.key_of(&acme).await?, &[&ready.uid().context("no uid")?]);
        let ready = platform.until_ready(&finance).await?;
        assert_eq!(ready.status.as_ref().and_then(|status| status.identity.clone()), ready.uid());
        let named = stack_namespace(&finance, &ready.uid().context("no uid")?.parse()?)?;
        assert_eq!(platform.stack_of(&finance).await?, named);
        Ok(())
    })
}

#[test]
fn with_a_wish_that_is_the_identity_whatever_the_uid() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let [of_tenant, of_workspace] = [(); 2].map(|()| Uuid::new_v4().to_string());
        let acme = tenant(&unique("acme")).of_class(&onprem).with("identity", of_tenant.as_str());
        let finance = workspace("finance").of_tenant(&acme).with("identity", of_workspace.as_str());
        platform.apply(&acme).await?;
        platform.apply(&finance).await?;
        platform.until_ready(&acme).await?;
        let ready = platform.until_ready(&finance).await?;
        assert_tells(&platform.key_of(&acme).await?, &[&of_tenant]);
        assert_eq!(platform.stack_of(&finance).await?, stack_namespace(&finance, &of_workspace.parse()?)?);
        assert_eq!(ready.status.and_then(|status| status.identity), Some(of_workspace));
        Ok(())
    })
}

#[test]
fn an_identity_that_somebody_holds_is_given_to_nobody_else_until_it_is_free() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let holder = platform.applied(tenant(&unique("holder")).of_class(&onprem)).await?;
        let held = platform.until_ready(&holder).await?;
        let identity = held.uid().context("no uid")?;

        let taker = tenant(&unique("taker")).of_class(&onprem).with("identity", identity.as_str());
        platform.apply(&taker).await?;
        let stalled = platform.until_reason(&taker, names::IDENTITY_TAKEN).await?;
        assert_tells(&message(&stalled), &[&identity, holder.name()]);
        assert_eq!(status(&stalled, "Stalled"), "True");
        assert_eq!(stalled.status.and_then(|status| status.key), None);
        platform.until_ready(&holder).await?;

        platform.delete(&holder).await?;
        platform.until_gone(&holder, &held).await?;
        platform.until_ready(&taker).await?;
        Ok(())
    })
}

#[test]
fn of_two_workspaces_with_one_identity_one_has_the_stack() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let identity = Uuid::new_v4().to_string();
        let first = workspace("first").of_tenant(&acme).with("identity", identity.as_str());
        let second = workspace("second").of_tenant(&acme).with("identity", identity.as_str());
        platform.apply(&first).await?;
        platform.until_ready(&first).await?;
        platform.apply(&second).await?;
        let stalled = platform.until_reason(&second, names::IDENTITY_TAKEN).await?;
        assert_tells(&message(&stalled), &[&identity, acme.name(), "first"]);
        assert_eq!(stalled.status.and_then(|status| status.namespace), None);
        platform.until_ready(&first).await?;
        Ok(())
    })
}

#[test]
fn a_tenant_that_is_not_named_like_its_namespace_is_refused_by_the_fence() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let (home, name) = (unique("home"), unique("visitor"));
        platform.control_namespace(&home).await?;
        let visitor = json!({ "apiVersion": "steading.dev/v1alpha1", "kind": "Tenant",
                              "metadata": { "name": name, "namespace": home }, "spec": { "class": "onprem" } });
        let tenants: Api<api::Tenant> = Api::namespaced(platform.client.clone(), &home);
        let refused = tenants.patch(&name, &PatchParams::apply("platform"), &Patch::Apply(visitor)).await.unwrap_err();
        assert_tells(&refused.to_string(), &["steading: a Tenant is named like its namespace", &home, &name]);
        Ok(())
    })
}
