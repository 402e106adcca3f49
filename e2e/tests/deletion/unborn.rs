//! What never became Ready leaves nothing behind.

use anyhow::Result;
use api::conditions as names;
use e2e::story::{Stage, class, condition, tenant, workspace};
use e2e::{Tier, unique};
use kube::api::ListParams;
use operator::config::ProviderSource;
use providers::memory::{Injection, Operation};
use serde_json::json;
use uuid::Uuid;

use super::{assert_tells, message, namespaces};

async fn stacks_of(stage: &Stage, tenant: &str) -> Result<usize> {
    let mine = ListParams::default().labels(&format!("steading.dev/tenant={tenant}"));
    Ok(namespaces(stage).list_metadata(&mine).await?.items.len())
}

#[test]
fn a_workspace_that_waits_for_something_goes_at_once() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let onprem = class(&unique("onprem"));
        let acme = tenant(&unique("acme")).of_class(&onprem).with("quota", json!({ "cpu": "1" })).deleting_data();
        let finance = workspace("finance").of_tenant(&acme);

        let seen = platform.apply(&finance).await?;
        platform.until_reason(&finance, names::TENANT_NOT_FOUND).await?;
        platform.delete(&finance).await?;
        platform.until_gone(&finance, &seen).await?;

        platform.apply(&acme).await?;
        let seen = platform.apply(&finance).await?;
        platform.until_reason(&finance, names::CLASS_NOT_FOUND).await?;
        platform.delete(&finance).await?;
        platform.until_gone(&finance, &seen).await?;

        platform.apply(&onprem).await?;
        let seen = platform.apply(&finance).await?;
        platform.until_reason(&finance, names::QUOTA_REQUIRED).await?;
        platform.delete(&finance).await?;
        platform.until_gone(&finance, &seen).await?;
        assert_eq!(stacks_of(stage, acme.name()).await?, 0);
        Ok(())
    })
}

#[test]
fn a_workspace_whose_buckets_name_a_stranger_has_goes_and_leaves_him_his() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let identity = Uuid::new_v4().to_string();
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem).deleting_data()).await?;
        let finance = workspace("finance").of_tenant(&acme).with("identity", identity.as_str());
        let installation = providers::Installation::new(stage.installation.name())?;
        let bucket = providers::owner::bucket(&installation, &providers::Identity::new(&identity)?);
        stage.world.tamper_bucket(&bucket, |bucket| bucket.objects = 5);
        let theirs = stage.world.buckets()[&bucket].clone();
        let seen = platform.apply(&finance).await?;
        platform.until_reason(&finance, names::FOREIGN).await?;
        platform.delete(&finance).await?;
        platform.until_gone(&finance, &seen).await?;
        assert_eq!(stage.world.buckets()[&bucket], theirs);
        assert_eq!(stacks_of(stage, acme.name()).await?, 0);
        Ok(())
    })
}

#[tokio::test]
async fn what_no_server_ever_knew_of_goes_at_once() -> Result<()> {
    // The real providers, and a class whose servers do not exist and whose Secrets nobody made.
    let stage = Stage::set(Tier::Two, |config| config.providers = ProviderSource::Real).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class(&unique("onprem"))).await?;
    let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem).deleting_data()).await?;
    let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
    platform.until_condition(&acme, names::KEY_READY, "False", names::PROVIDER_UNAVAILABLE).await?;
    let seen = platform.until_condition(&finance, names::BUCKET_READY, "False", names::CREDENTIALS_NOT_FOUND).await?;
    let told = condition(&seen, names::BUCKET_READY).unwrap();
    assert_tells(&told.message, &["Secret steading-system/store", "create it with accessKeyID and secretAccessKey"]);
    let unusable = platform.until_condition(&onprem, names::BUCKETS_REACHABLE, "False", names::CREDENTIALS_NOT_FOUND);
    let unusable = unusable.await?;
    assert_tells(&condition(&unusable, names::BUCKETS_REACHABLE).unwrap().message, &["steading-system/store"]);
    assert_tells(&message(&unusable), &["https://bao.example:8200"]);

    platform.delete(&finance).await?;
    platform.until_gone(&finance, &seen).await?;
    let seen = platform.get(&acme).await?;
    platform.delete(&acme).await?;
    platform.until_gone(&acme, &seen).await?;
    let seen = platform.get(&onprem).await?;
    platform.delete(&onprem).await?;
    platform.until_gone(&onprem, &seen).await
}

#[test]
fn what_was_made_though_its_answer_never_came_is_removed_as_well() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let [of_tenant, of_finance] = [(); 2].map(|()| Uuid::new_v4().to_string());
        let acme = tenant(&unique("acme")).of_class(&onprem).with("identity", of_tenant.as_str()).deleting_data();
        let finance = workspace("finance").of_tenant(&acme).with("identity", of_finance.as_str());
        let installation = providers::Installation::new(stage.installation.name())?;
        let bucket = providers::owner::bucket(&installation, &providers::Identity::new(&of_finance)?);
        let key = providers::owner::transit_key(&installation, &providers::Identity::new(&of_tenant)?);
        // They are made, and nobody is ever told: the look before the intent and the one before the creation get their answers.
        stage.world.inject(Injection::on(Operation::CreateBucket).identity(&of_finance).after_commit());
        stage.world.inject(Injection::on(Operation::ObserveBucket).identity(&of_finance).nth(3));
        stage.world.inject(Injection::on(Operation::UpdateBucket).identity(&of_finance));
        stage.world.inject(Injection::on(Operation::CreateKey).identity(&of_tenant).after_commit());
        stage.world.inject(Injection::on(Operation::ObserveKey).identity(&of_tenant).nth(3));

        platform.apply(&acme).await?;
        let finance_seen = platform.apply(&finance).await?;
        platform.until_condition(&finance, names::BUCKET_READY, "False", names::PROVIDER_UNAVAILABLE).await?;
        assert!(stage.world.buckets().contains_key(&bucket));
        platform.delete(&finance).await?;
        platform.until_gone(&finance, &finance_seen).await?;
        assert!(!stage.world.buckets().contains_key(&bucket));
        assert_eq!(stacks_of(stage, acme.name()).await?, 0);

        let acme_seen = platform.get(&acme).await?;
        platform.delete(&acme).await?;
        platform.until_gone(&acme, &acme_seen).await?;
        assert!(!stage.world.keys()[&key].enabled);
        Ok(())
    })
}
