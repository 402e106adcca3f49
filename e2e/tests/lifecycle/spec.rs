//! What is changed in a spec is changed in what stands for it.

use anyhow::{Context as _, Result};
use api::{Tenant, conditions as names};
use e2e::story::{Manifest, Stage, class, condition, tenant, workspace};
use e2e::{Tier, unique};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use serde_json::json;

use super::{assert_tells, message};

/// Names of those whom a binding binds, sorted.
fn bound(binding: &RoleBinding) -> Vec<&str> {
    let mut bound: Vec<_> = binding.subjects.iter().flatten().map(|subject| subject.name.as_str()).collect();
    bound.sort_unstable();
    bound
}

/// A bound of a quota.
fn hard<'a>(quota: &'a ResourceQuota, resource: &str) -> Option<&'a str> {
    quota.spec.as_ref()?.hard.as_ref()?.get(resource).map(|quantity| quantity.0.as_str())
}

fn used_cpu(tenant: &Tenant) -> Option<&str> {
    tenant.status.as_ref()?.quota.as_ref()?.used.cpu.as_deref()
}

#[test]
fn members_and_owners_come_move_and_go() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let owner = |name: &str| json!([{ "kind": "Group", "name": name }]);
        let acme = tenant(&unique("acme")).of_class(&onprem).with("owners", owner("acme-admins"));
        platform.apply(&acme).await?;
        let member = |name: &str, role: &str| json!({ "kind": "User", "name": name, "role": role });
        let finance = workspace("finance").of_tenant(&acme);
        let finance = finance.with("members", json!([member("vera", "viewer"), member("edgar", "editor")]));
        platform.apply(&finance).await?;
        platform.until_ready(&finance).await?;
        let bindings: Api<RoleBinding> = Api::namespaced(platform.client.clone(), &platform.stack_of(&finance).await?);
        assert_eq!(bound(&bindings.get("steading-viewers").await?), ["vera"]);
        assert_eq!(bound(&bindings.get("steading-editors").await?), ["acme-admins", "edgar"]);

        // A viewer becomes an editor, an editor leaves.
        let finance = finance.with("members", json!([member("vera", "editor")]));
        platform.apply(&finance).await?;
        platform.until_ready(&finance).await?;
        assert_eq!(bound(&bindings.get("steading-viewers").await?), [""; 0]);
        assert_eq!(bound(&bindings.get("steading-editors").await?), ["acme-admins", "vera"]);

        // Owners are the Tenant's: nothing of the Workspace changes, and still it follows.
        let acme = acme.with("owners", owner("acme-directors"));
        platform.apply(&acme).await?;
        platform.until_ready(&acme).await?;
        let editors = platform.until_object(bindings, "steading-editors", "binds the new owners", |binding| {
            bound(binding) == ["acme-directors", "vera"]
        });
        editors.await?;
        Ok(())
    })
}

#[test]
fn a_quota_grows_and_shrinks_within_the_tenants_and_not_beyond() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = tenant(&unique("acme")).of_class(&onprem).with("quota", json!({ "cpu": "10", "memory": "8Gi" }));
        platform.apply(&acme).await?;
        let finance = workspace("finance").of_tenant(&acme).with("quota", json!({ "cpu": "4", "memory": "2Gi" }));
        platform.apply(&finance).await?;
        platform.until_ready(&finance).await?;
        let quotas: Api<ResourceQuota> = Api::namespaced(platform.client.clone(), &platform.stack_of(&finance).await?);
        let in_force = async |cpu: &str| {
            let what = format!("bounds cpu at {cpu}");
            platform
                .until_object(quotas.clone(), "steading", &what, |quota| {
                    hard(quota, "requests.cpu") == Some(cpu) && hard(quota, "limits.cpu") == Some(cpu)
                })
                .await
        };
        in_force("4").await?;

        for (cpu, what) in [("6", "up"), ("2", "down"), ("10", "up to all of it")] {
            platform.apply(&finance.clone().with("quota.cpu", cpu)).await.context(what)?;
            platform.until_ready(&finance).await.context(what)?;
            in_force(cpu).await.context(what)?;
            let books = platform.until(&acme, "counts it", |acme: &Tenant| used_cpu(acme) == Some(cpu)).await;
            books.context(what)?;
        }

        // More than there is: what was granted stays in force, and the message says how much is possible.
        platform.apply(&finance.clone().with("quota.cpu", "11")).await?;
        let refused = platform.until_reason(&finance, names::QUOTA_EXCEEDED).await?;
        assert_tells(&message(&refused), &["cpu", "11 asked", "10 possible"]);
        assert_eq!(condition(&refused, names::QUOTA_RESERVED).map(|part| part.status.as_str()), Some("False"));
        in_force("10").await?;

        // A resource that the Tenant limits must be named.
        platform.apply(&finance.clone().with("quota", json!({ "cpu": "4" }))).await?;
        let refused = platform.until_reason(&finance, names::QUOTA_REQUIRED).await?;
        assert_tells(&message(&refused), &["memory", "spec.quota"]);

        // The Tenant's limit goes up, and what was refused is granted without anybody touching the Workspace.
        platform.apply(&finance.clone().with("quota.cpu", "11")).await?;
        platform.until_reason(&finance, names::QUOTA_EXCEEDED).await?;
        platform.apply(&acme.clone().with("quota.cpu", "12")).await?;
        platform.until_ready(&finance).await?;
        in_force("11").await?;
        Ok(())
    })
}

#[test]
fn a_rotation_period_is_taken_within_the_bounds_of_the_class_and_refused_outside() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?; // 30d to 365d, 90d by default
        let acme = tenant(&unique("acme")).of_class(&onprem);
        let rotates = |tenant: &Tenant| {
            let key = tenant.status.as_ref().and_then(|status| status.key.clone());
            let key = key.context("no key").unwrap();
            let days = stage.world.keys()[&key.name].rotation_period.map(|period| period.as_secs() / 86_400);
            (key.rotation_period, days)
        };
        let ready_with = async |acme: &Manifest<Tenant>| {
            platform.apply(acme).await?;
            anyhow::Ok(rotates(&platform.until_ready(acme).await?))
        };
        assert_eq!(ready_with(&acme).await?, ("90d".to_owned(), Some(90)));
        assert_eq!(
            ready_with(&acme.clone().with("encryption.rotationPeriod", "30d")).await?,
            ("30d".to_owned(), Some(30))
        );

        for outside in ["29d", "366d"] {
            platform.apply(&acme.clone().with("encryption.rotationPeriod", outside)).await?;
            let stalled = platform.until_reason(&acme, names::ROTATION_OUT_OF_BOUNDS).await?;
            let told = condition(&stalled, names::KEY_READY).context("no KeyReady")?;
            assert_eq!((told.status.as_str(), told.reason.as_str()), ("False", names::ROTATION_OUT_OF_BOUNDS));
            assert_tells(&message(&stalled), &[outside, onprem.name(), "30d", "365d"]);
            assert_eq!(rotates(&stalled), ("30d".to_owned(), Some(30)), "the key goes on as it was");
        }
        assert_eq!(ready_with(&acme.with("encryption.rotationPeriod", "365d")).await?, ("365d".to_owned(), Some(365)));
        Ok(())
    })
}
