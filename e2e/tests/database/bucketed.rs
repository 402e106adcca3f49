//! What consumers of a bucket get and lose, at a store in memory. In: a plane. Out: credentials for the one bucket by consent, beside what
//! else a consumer has, and none that is good for anything without it, whatever the store does meanwhile.

use anyhow::{Context as _, Result, ensure};
use api::consumer::{BucketUse, ConsumerBucketStatus, EndingCredentials, Revocation};
use api::{Tenant, Workspace, conditions as names, labels};
use e2e::databases::install_kinds;
use e2e::story::{Manifest, Stage, class, condition, tenant, workspace};
use e2e::wait::until;
use e2e::{Tier, unique};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use providers::memory::{Injection, MemoryIdentity, Operation};
use serde_json::{Value, json};
use std::time::Duration;

use crate::told::{keeper_of, with_databases};

/// A Workspace with a consumer `billing` in a namespace of another team.
pub struct Shop {
    pub stage: Stage,
    pub acme: Manifest<Tenant>,
    pub finance: Manifest<Workspace>,
    /// The namespace of the consumer.
    pub namespace: String,
}

impl Shop {
    /// Where there are no databases, nor CloudNativePG.
    pub async fn open(tier: Tier, uses: &Value) -> Result<Self> {
        let stage = Stage::set(tier, |config| config.timings.stalled = Duration::from_secs(2)).await?;
        let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
        Self::open_on(stage, &onprem, uses).await
    }

    pub async fn open_on(stage: Stage, onprem: &Manifest<api::TenantClass>, uses: &Value) -> Result<Self> {
        let platform = &stage.platform;
        let acme = platform.applied(tenant(&unique("acme")).of_class(onprem)).await?;
        let namespace = unique("shop");
        platform.control_namespace(&namespace).await?;
        let finance = workspace("finance").of_tenant(&acme).with("consumers", listed(&namespace, uses));
        let finance = platform.applied(finance).await?;
        let shop = Self { stage, acme, finance, namespace };
        shop.consents(true).await?;
        Ok(shop)
    }

    /// Has the Workspace list its consumer with these uses.
    pub async fn lists(&self, uses: &Value) -> Result<()> {
        let finance = workspace("finance").of_tenant(&self.acme).with("consumers", listed(&self.namespace, uses));
        self.stage.platform.apply(&finance).await.map(drop)
    }

    pub async fn consents(&self, does: bool) -> Result<()> {
        let to = does.then(|| format!("{}/finance", self.acme.name()));
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { labels::CONSUMES: to } } }));
        let namespaces = Api::<Namespace>::all(self.stage.plane.admin()?);
        namespaces.patch(&self.namespace, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub fn secret(&self) -> String {
        format!("{}.finance.billing", self.acme.name())
    }

    pub fn secrets(&self) -> Result<Api<Secret>> {
        Ok(Api::namespaced(self.stage.plane.admin()?, &self.namespace))
    }

    /// Waits until status shows credentials that the Secret holds, and returns both.
    pub async fn served(&self, access: BucketUse) -> Result<(ConsumerBucketStatus, Secret)> {
        let has = |told: &Workspace| {
            bucket_of(told).is_some_and(|it| it.access == access && it.expires_at.is_some() && it.observed_at.is_some())
        };
        let seen = self.stage.platform.until(&self.finance, "has credentials", has).await?;
        let shown = bucket_of(&seen).context("no credentials are shown")?;
        let secret = self.secrets()?.get(&self.secret()).await?;
        let end = shown.expires_at.as_ref().map(|end| end.0.to_string()).unwrap_or_default();
        ensure!(entry(&secret, "bucket-expires-at") == end, "{} is not {end}", entry(&secret, "bucket-expires-at"));
        Ok((shown, secret))
    }

    /// What the store knows of these credentials.
    pub fn at_store(&self, secret: &Secret) -> Result<MemoryIdentity> {
        let key = entry(secret, "bucket-access-key-id");
        self.stage.world.identities().get(&key).cloned().with_context(|| format!("{key:?} was never issued"))
    }

    /// Waits until all that was issued for this session is revoked.
    pub async fn is_revoked(&self, session: &str) -> Result<()> {
        until("all of the session is revoked", e2e::story::PATIENCE, async || {
            let all = self.stage.world.identities();
            let mut of_session = all.values().filter(|it| it.revocable_as.as_deref() == Some(session)).peekable();
            Ok(of_session.peek().is_some() && of_session.all(|it| it.is_revoked))
        })
        .await
    }

    pub async fn secret_is_gone(&self) -> Result<()> {
        until("the Secret is gone", e2e::story::PATIENCE, async || {
            Ok(self.secrets()?.get_opt(&self.secret()).await?.is_none())
        })
        .await
    }
}

pub fn listed(namespace: &str, uses: &Value) -> Value {
    let mut consumer = json!({ "namespace": namespace, "serviceAccount": "billing" });
    for (what, right) in uses.as_object().into_iter().flatten() {
        consumer[what] = right.clone();
    }
    json!([consumer])
}

pub fn bucket_of(told: &Workspace) -> Option<ConsumerBucketStatus> {
    told.status.as_ref()?.consumers.first()?.bucket.clone()
}

pub fn ending(told: &Workspace) -> Vec<EndingCredentials> {
    told.status.as_ref().map(|status| status.ending_credentials.clone()).unwrap_or_default()
}

pub fn entry(secret: &Secret, name: &str) -> String {
    let content = secret.data.as_ref().and_then(|data| data.get(name)).map(|content| content.0.clone());
    String::from_utf8(content.unwrap_or_default()).unwrap()
}

fn entries(secret: &Secret) -> Vec<&str> {
    secret.data.iter().flatten().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_a_bucket_alone_has_credentials_for_it_by_consent_and_none_that_lives_without() -> Result<()> {
    let shop = Shop::open(Tier::One, &json!({ "bucket": "readWrite" })).await?;
    let platform = &shop.stage.platform;
    let (first, secret) = shop.served(BucketUse::ReadWrite).await?;
    platform.until_ready(&shop.finance).await?;
    let own = platform.bucket_of(&shop.finance).await?;
    ensure!(entry(&secret, "bucket") == own && shop.at_store(&secret)?.bucket == own, "it is for another bucket");
    let expected = [
        "bucket",
        "bucket-access-key-id",
        "bucket-endpoint",
        "bucket-expires-at",
        "bucket-region",
        "bucket-secret-access-key",
        "bucket-session-token",
    ];
    ensure!(entries(&secret).iter().filter(|name| **name != "bucket-ca.crt").eq(&expected), "{:?}", entries(&secret));
    ensure!(first.revocation == Some(Revocation::Immediate), "{first:?}");
    let left = first.expires_at.as_ref().context("no end")?.0.duration_since(Timestamp::now());
    ensure!((23 * 3600..=24 * 3600).contains(&left.as_secs()), "{left:?}");
    no_secret_is_told(&shop, &secret).await?;

    // Without consent all of it is dead at once, and status says that it was.
    shop.consents(false).await?;
    shop.is_revoked(&first.session).await?;
    shop.secret_is_gone().await?;
    let is_told =
        |told: &Workspace| ending(told).iter().any(|it| it.session == first.session && it.revoked_at.is_some());
    platform.until(&shop.finance, "says what was revoked", is_told).await?;
    let bindings = Api::<RoleBinding>::namespaced(shop.stage.plane.admin()?, &shop.namespace);
    until("the right to write there is given back", e2e::story::PATIENCE, async || {
        Ok(bindings.get_opt(&platform.stack_of(&shop.finance).await?).await?.is_none())
    })
    .await?;

    // With consent again there are others, which what is told of the first once more does not end.
    shop.consents(true).await?;
    let (second, secret) = shop.served(BucketUse::ReadWrite).await?;
    ensure!(second.session != first.session && !shop.at_store(&secret)?.is_revoked, "what was revoked came back");
    platform.apply(&workspace("finance").of_tenant(&shop.acme).with("consumers", json!([]))).await?;
    shop.is_revoked(&second.session).await?;
    shop.secret_is_gone().await
}

async fn no_secret_is_told(shop: &Shop, secret: &Secret) -> Result<()> {
    let mut told = serde_json::to_string(&shop.stage.platform.get(&shop.finance).await?)?;
    for event in Api::<Event>::all(shop.stage.plane.admin()?).list(&ListParams::default()).await?.items {
        told.push_str(&serde_json::to_string(&event)?);
    }
    for name in ["bucket-secret-access-key", "bucket-session-token"] {
        let hidden = entry(secret, name);
        ensure!(!hidden.is_empty() && !told.contains(&hidden), "{name} is told");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_holds_up_the_bucket_of_a_consumer_and_neither_its_database_nor_anybody_elses()
-> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.stalled = Duration::from_secs(2)).await?;
    install_kinds(&stage.plane).await?;
    let onprem = stage.platform.applied(with_databases()).await?;
    let shop = Shop::open_on(stage, &onprem, &json!({ "database": "readWrite" })).await?;
    let platform = &shop.stage.platform;
    platform.until_condition(&shop.finance, names::DATABASE_READY, "False", names::PROGRESSING).await?;
    let keeper = keeper_of(&shop.stage, &shop.finance).await?;
    let role = format!("database-consumer-{}.billing", shop.namespace);
    platform.until_object(keeper.roles(), &role, "may sign in", |it| it.data["spec"]["login"] == true).await?;
    let of_database = |secret: &Secret, certificate: &str| {
        entry(secret, "tls.crt") == certificate && !entry(secret, "host").is_empty()
    };

    shop.stage.world.inject(Injection::on(Operation::IssueIdentity));
    shop.lists(&json!({ "database": "readWrite", "bucket": "read" })).await?;
    keeper.has_role(&role, "first", "2027-01-01T00:00:00Z").await?;
    let secret = platform
        .until_object(shop.secrets()?, &shop.secret(), "says of the database", |it| of_database(it, "first"))
        .await?;
    ensure!(entry(&secret, "bucket").is_empty(), "{:?}", entries(&secret));
    let named = |told: &Workspace| {
        condition(told, names::CONSUMERS_READY).is_some_and(|it| it.reason == names::PROVIDER_UNAVAILABLE)
    };
    platform.until(&shop.finance, "says that the store is down", named).await?;

    shop.stage.world.heal();
    let (first, secret) = shop.served(BucketUse::Read).await?;
    ensure!(of_database(&secret, "first"), "what was said of the database is gone: {:?}", entries(&secret));

    // Neither of the two who write takes away what the other wrote.
    keeper.has_role(&role, "second", "2027-06-01T00:00:00Z").await?;
    let both = |it: &Secret| of_database(it, "second") && !entry(it, "bucket-session-token").is_empty();
    platform.until_object(shop.secrets()?, &shop.secret(), "says of both", both).await?;

    // More is given under the same session, less under another.
    shop.lists(&json!({ "database": "readWrite", "bucket": "readWrite" })).await?;
    let (more, secret) = shop.served(BucketUse::ReadWrite).await?;
    ensure!(more.session == first.session, "there was no need to end what it had");
    shop.lists(&json!({ "database": "readWrite", "bucket": "read" })).await?;
    shop.is_revoked(&first.session).await?;
    ensure!(shop.at_store(&secret)?.is_revoked, "it still writes");
    let (less, _) = shop.served(BucketUse::Read).await?;
    ensure!(less.session != first.session, "it could still write");

    // One of the two is taken back, and the other stays.
    shop.lists(&json!({ "database": "readWrite" })).await?;
    shop.is_revoked(&less.session).await?;
    let database_alone =
        |it: &Secret| of_database(it, "second") && !entries(it).iter().any(|name| name.starts_with("bucket"));
    platform.until_object(shop.secrets()?, &shop.secret(), "says of the database alone", database_alone).await?;
    shop.lists(&json!({ "database": "readWrite", "bucket": "read" })).await?;
    shop.served(BucketUse::Read).await?;
    shop.lists(&json!({ "bucket": "read" })).await?;
    platform.until_object(keeper.roles(), &role, "may not sign in", |it| it.data["spec"]["login"] == false).await?;
    let bucket_alone = |it: &Secret| entry(it, "tls.key").is_empty() && !entry(it, "bucket-session-token").is_empty();
    platform.until_object(shop.secrets()?, &shop.secret(), "says of the bucket alone", bucket_alone).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_issued_and_forgotten_is_revoked_with_the_rest_and_a_workspace_waits_for_that() -> Result<()> {
    let shop = Shop::open(Tier::Two, &json!({ "bucket": "readWrite" })).await?;
    let platform = &shop.stage.platform;
    let (first, _) = shop.served(BucketUse::ReadWrite).await?;
    shop.consents(false).await?;
    shop.is_revoked(&first.session).await?;
    // The store issues, and its answer is lost on the way: nobody knows of these, and the session is theirs too.
    shop.stage.world.inject(Injection::on(Operation::IssueIdentity).after_commit().first(2));
    shop.consents(true).await?;
    let (second, _) = shop.served(BucketUse::ReadWrite).await?;
    let issued = shop.stage.world.identities().into_values();
    let of_second = issued.filter(|it| it.revocable_as.as_deref() == Some(second.session.as_str())).count();
    ensure!(of_second >= 2, "nothing was forgotten");

    shop.stage.world.inject(Injection::on(Operation::RevokeIdentities));
    let before = platform.get(&shop.finance).await?;
    platform.delete(&shop.finance).await?;
    let waits = |told: &Workspace| {
        condition(told, names::READY).is_some_and(|it| {
            let latest = ending(told).iter().map(|it| it.ends_at.0.to_string()).max().unwrap_or_default();
            it.reason == names::PROVIDER_UNAVAILABLE
                && it.message.contains(&format!("{}/billing", shop.namespace))
                && it.message.contains(&format!("goes on without it, at {latest}"))
        })
    };
    platform.until(&shop.finance, "says what it waits for", waits).await?;
    shop.secret_is_gone().await?;
    shop.stage.world.heal();
    platform.until_gone(&shop.finance, &before).await?;
    shop.is_revoked(&second.session).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_revoke_issues_for_an_hour_and_status_says_when_it_is_over() -> Result<()> {
    let stage = Stage::set(Tier::Two, |_| {}).await?;
    stage.world.revokes(providers::Revocation::ByExpiry);
    let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
    let shop = Shop::open_on(stage, &onprem, &json!({ "bucket": "read" })).await?;
    let (first, secret) = shop.served(BucketUse::Read).await?;
    ensure!(first.revocation == Some(Revocation::ByExpiry), "{first:?}");
    let end = first.expires_at.context("no end")?.0;
    ensure!((55 * 60..=60 * 60).contains(&end.duration_since(Timestamp::now()).as_secs()), "{end}");
    shop.consents(false).await?;
    shop.secret_is_gone().await?;
    let says = |told: &Workspace| {
        ending(told)
            .iter()
            .any(|it| it.revocation == Some(Revocation::ByExpiry) && it.ends_at.0 >= end && it.revoked_at.is_none())
    };
    shop.stage.platform.until(&shop.finance, "says when it ends", says).await?;
    ensure!(!shop.at_store(&secret)?.is_revoked, "nobody can have revoked it");
    // Deleting does not wait for an hour.
    let before = shop.stage.platform.get(&shop.finance).await?;
    shop.stage.platform.delete(&shop.finance).await?;
    shop.stage.platform.until_gone(&shop.finance, &before).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_somebody_deletes_is_there_again_with_credentials_that_live() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.resync = Duration::from_secs(3)).await?;
    let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
    let shop = Shop::open_on(stage, &onprem, &json!({ "bucket": "read" })).await?;
    let (first, secret) = shop.served(BucketUse::Read).await?;
    // Looked at again and again, it is left as it is.
    let looked = |told: &Workspace| bucket_of(told).is_some_and(|it| it.observed_at > first.observed_at);
    shop.stage.platform.until(&shop.finance, "is looked at again", looked).await?;
    ensure!(shop.stage.world.identities().len() == 1, "credentials were issued anew for nothing");
    shop.secrets()?.delete(&shop.secret(), &DeleteParams::default()).await?;
    let other = |it: &Secret| {
        let key = entry(it, "bucket-access-key-id");
        !key.is_empty() && key != entry(&secret, "bucket-access-key-id")
    };
    let secret = shop.stage.platform.until_object(shop.secrets()?, &shop.secret(), "is there again", other).await?;
    let stands = shop.at_store(&secret)?;
    ensure!(!stands.is_revoked && stands.revocable_as == Some(first.session), "{stands:?}");
    ensure!(secret.labels().get(labels::TENANT).is_some_and(|it| it == shop.acme.name()), "{:?}", secret.labels());
    Ok(())
}
