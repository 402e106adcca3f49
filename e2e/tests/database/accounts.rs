//! What consumers of a bucket have when the class names another account at the store. In: a plane, a store in memory that knows who issued
//! what. Out: what another account issued is never taken for ended, and status says until when it lives.

use std::time::Duration;

use anyhow::{Result, ensure};
use api::consumer::{BucketUse, Revocation};
use api::{Workspace, conditions as names};
use e2e::story::{Stage, class, condition};
use e2e::{Tier, unique};
use serde_json::json;

use crate::bucketed::{Shop, ending};

async fn shop(tier: Tier) -> Result<Shop> {
    let stage = Stage::set(tier, |config| config.timings.resync = Duration::from_secs(3)).await?;
    let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
    Shop::open_on(stage, &onprem, &json!({ "bucket": "read" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_issues_others_and_those_before_have_their_time() -> Result<()> {
    let shop = shop(Tier::One).await?;
    let (first, before) = shop.served(BucketUse::Read).await?;
    shop.stage.world.signs_in_as("another");
    let has_other = |told: &Workspace| ending(told).iter().any(|it| it.session == first.session);
    let told = shop.stage.platform.until(&shop.finance, "begins another session", has_other).await?;
    let outlived = ending(&told).into_iter().find(|it| it.session == first.session);
    ensure!(
        outlived.as_ref().is_some_and(|it| it.revocation == Some(Revocation::ByExpiry) && it.issuer == first.issuer),
        "{outlived:?}"
    );
    let (second, after) = shop.served(BucketUse::Read).await?;
    ensure!(second.session != first.session && second.issuer != first.issuer, "{second:?}");
    ensure!(shop.at_store(&after)?.issuer == "another" && !shop.at_store(&before)?.is_revoked, "what it had is dead");
    shop.stage.platform.until_ready(&shop.finance).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_account_issued_is_not_taken_for_ended_and_a_workspace_that_goes_does_not_wait_for_it()
-> Result<()> {
    let shop = shop(Tier::Two).await?;
    let platform = &shop.stage.platform;
    let (first, secret) = shop.served(BucketUse::Read).await?;
    shop.stage.world.signs_in_as("another");
    shop.consents(false).await?;
    shop.secret_is_gone().await?;
    let says = |told: &Workspace| {
        let lives_on = |it: &api::consumer::EndingCredentials| {
            let end = it.ends_at.0.to_string();
            let message = condition(told, names::CONSUMERS_READY).map(|it| it.message.clone()).unwrap_or_default();
            it.session == first.session && it.revoked_at.is_none() && message.contains(&end)
        };
        ending(told).iter().any(lives_on)
    };
    let told = platform.until(&shop.finance, "says until when it lives", says).await?;
    let message = condition(&told, names::CONSUMERS_READY).map(|it| it.message.as_str()).unwrap_or_default();
    ensure!(message.contains("issued by another account"), "{message}");
    ensure!(!shop.at_store(&secret)?.is_revoked, "another account ended it");

    // Named in the class again, it ends what it issued.
    shop.stage.world.signs_in_as("steading");
    shop.consents(true).await?;
    shop.is_revoked(&first.session).await?;
    let (_, secret) = shop.served(BucketUse::Read).await?;

    shop.stage.world.signs_in_as("another");
    let before = platform.get(&shop.finance).await?;
    platform.delete(&shop.finance).await?;
    platform.until_gone(&shop.finance, &before).await?;
    ensure!(!shop.at_store(&secret)?.is_revoked, "another account ended it");
    Ok(())
}
