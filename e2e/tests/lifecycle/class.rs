//! What a class decides, and when it can go.

use std::time::Duration;

use anyhow::{Context as _, Result};
use api::{Tenant, TenantClass, conditions as names, status::KeyOwner};
use e2e::story::{Manifest, PATIENCE, Stage, class, condition, tenant, workspace};
use e2e::{Tier, unique, wait::until};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use providers::memory::{Injection, Operation};
use serde_json::{Value, json};

use super::{assert_tells, message, status};

#[test]
fn a_class_in_use_does_not_go_and_names_its_tenants() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let globex = platform.applied(tenant(&unique("globex")).of_class(&onprem)).await?;
        let [acme_seen, globex_seen] = [platform.until_ready(&acme).await?, platform.until_ready(&globex).await?];
        let counted = |class: &TenantClass| class.status.as_ref().and_then(|status| status.tenants) == Some(2);
        let onprem_seen = platform.until(&onprem, "counts two Tenants", counted).await?;

        platform.delete(&onprem).await?;
        let waiting = platform.until_reason(&onprem, names::TENANTS_REMAIN).await?;
        assert_tells(&message(&waiting), &[acme.name(), globex.name(), "delete"]);

        platform.delete(&globex).await?;
        platform.until_gone(&globex, &globex_seen).await?;
        let alone = |class: &TenantClass| {
            let told = message(class);
            told.contains(acme.name()) && !told.contains(globex.name())
        };
        platform.until(&onprem, "names only the one that is left", alone).await?;

        platform.delete(&acme).await?;
        platform.until_gone(&acme, &acme_seen).await?;
        platform.until_gone(&onprem, &onprem_seen).await
    })
}

#[test]
fn where_enforcement_must_be_proven_and_no_probe_runs_a_complete_stack_is_still_not_ready() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let strict = class(&unique("strict")).with("network.enforcement", "Required");
        platform.apply(&strict).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&strict)).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        let waiting = platform.until_reason(&finance, names::ENFORCEMENT_UNPROVEN).await?;
        assert_eq!((status(&waiting, "Ready"), status(&waiting, "Reconciling")), ("False", "True"));
        let isolated = condition(&waiting, names::ISOLATED).context("no condition Isolated")?;
        assert_eq!((isolated.status.as_str(), isolated.reason.as_str()), ("False", names::ENFORCEMENT_UNPROVEN));
        assert_tells(&isolated.message, &[strict.name(), "Assumed"]);
        let stack = platform.stack_of(&finance).await?;
        let policies: Api<NetworkPolicy> = Api::namespaced(platform.client.clone(), &stack);
        policies.get("deny-all").await?;
        assert_tells(&message(&waiting), &[&stack]);
        platform.until_reason(&strict, names::ENFORCEMENT_UNPROVEN).await?;
        Ok(())
    })
}

fn without_key_server(name: &str) -> Manifest<TenantClass> {
    class(&unique(name)).with("buckets.s3.keyServer", Value::Null)
}

#[test]
fn a_class_that_consents_to_the_stores_own_key_gets_it_and_status_says_so() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let refused = platform.apply(&without_key_server("silent")).await.unwrap_err();
        assert_tells(&format!("{refused:#}"), &["keyServer", "allowProviderManagedEncryption"]);

        let consenting = without_key_server("consenting").with("buckets.s3.allowProviderManagedEncryption", true);
        platform.apply(&consenting).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&consenting)).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        let ready = platform.until_ready(&finance).await?;
        let places = ready.status.map(|status| status.encryption).unwrap_or_default();
        let bucket = places.iter().find(|place| place.place == "bucket").context("no place bucket")?;
        assert_eq!((bucket.owner, bucket.key.as_deref()), (KeyOwner::Provider, None));
        Ok(())
    })
}

#[tokio::test]
async fn without_consent_nothing_is_made_even_where_admission_let_the_class_pass() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    let platform = &stage.platform;
    // As under a CustomResourceDefinition of another version.
    let definitions: Api<CustomResourceDefinition> = Api::all(platform.client.clone());
    let rules = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/buckets/properties/s3/x-kubernetes-validations";
    let lenient = serde_json::from_value(json!([{ "op": "remove", "path": rules }]))?;
    definitions.patch("tenantclasses.steading.dev", &PatchParams::default(), &Patch::<()>::Json(lenient)).await?;
    let silent = without_key_server("silent");
    until("the class is let pass", PATIENCE, async || Ok(platform.apply(&silent).await.is_ok())).await?;

    let acme = platform.applied(tenant(&unique("acme")).of_class(&silent)).await?;
    let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
    let stalled = platform.until_reason(&finance, names::ENCRYPTION_CONSENT_REQUIRED).await?;
    assert_eq!((status(&stalled, names::ISOLATED), status(&stalled, names::BUCKET_READY)), ("True", "False"));
    assert_eq!(status(&stalled, names::STALLED), "True");
    assert_tells(&message(&stalled), &["allowProviderManagedEncryption"]);
    assert_eq!(stage.world.buckets().len(), 0);
    Ok(())
}

/// An identity that no object has: with it the class's servers are looked at.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

#[tokio::test]
async fn a_class_says_whether_its_servers_can_be_used() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    let platform = &stage.platform;
    stage.world.inject(Injection::on(Operation::ObserveKey).identity(NOBODY).denied());
    let onprem = platform.applied(class("onprem")).await?;
    let seen = platform.until_condition(&onprem, names::KEYS_REACHABLE, "False", names::DENIED).await?;
    assert_eq!((status(&seen, names::READY), status(&seen, names::BUCKETS_REACHABLE)), ("False", "True"));
    let is_stalled = |class: &TenantClass| condition(class, names::STALLED).is_some_and(|it| it.status == "True");
    platform.until(&onprem, "is stalled, since that lasts", is_stalled).await?;
    // It says so and holds nobody up.
    let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
    platform.until_ready(&acme).await?;

    stage.world.heal();
    // It would look again by itself within six minutes; any change is sooner, a note to oneself too.
    platform.apply(&onprem.clone().annotated("example.com/rights", "granted")).await?;
    let ready = platform.until_ready(&onprem).await?;
    let observed = ready.status.as_ref().and_then(|status| status.observed_at.as_ref());
    assert!(observed.is_some(), "{:?}", ready.status);
    Ok(())
}

/// Rights that were just given take a moment to spread at most providers.
#[tokio::test]
async fn a_class_whose_servers_refuse_for_a_moment_becomes_ready_by_itself() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    let platform = &stage.platform;
    stage.world.inject(Injection::on(Operation::ObserveBucket).identity(NOBODY).denied());
    let onprem = platform.applied(class("onprem")).await?;
    let refused = platform.until_condition(&onprem, names::BUCKETS_REACHABLE, "False", names::DENIED).await?;
    assert_eq!(status(&refused, names::RECONCILING), "True");
    stage.world.heal();
    platform.until_ready(&onprem).await?;
    Ok(())
}

#[test]
fn changed_bounds_of_a_class_concern_its_tenants_at_once() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let globex = tenant(&unique("globex")).of_class(&onprem).with("encryption.rotationPeriod", "45d");
        platform.apply(&globex).await?;
        platform.until_ready(&acme).await?;
        platform.until_ready(&globex).await?;

        let rotation = json!({ "default": "120d", "min": "60d", "max": "365d" });
        platform.apply(&onprem.clone().with("keys.openbao.rotationPeriod", rotation)).await?;
        let rotates = |acme: &Tenant| {
            let key = acme.status.as_ref().and_then(|status| status.key.as_ref());
            key.is_some_and(|key| key.rotation_period == "120d")
        };
        platform.until(&acme, "rotates as the class now says", rotates).await?;
        let key = platform.key_of(&acme).await?;
        assert_eq!(stage.world.keys()[&key].rotation_period, Some(Duration::from_hours(120 * 24)));
        let outside = platform.until_reason(&globex, names::ROTATION_OUT_OF_BOUNDS).await?;
        assert_tells(&message(&outside), &["45d", onprem.name(), "from 60d to 365d"]);
        Ok(())
    })
}
