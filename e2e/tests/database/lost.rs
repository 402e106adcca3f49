//! What consumers of a bucket have when what Steading notes of it is lost. In: a plane whose status writes fail, a store in memory. Out: nobody
//! is left with credentials that are dead, and none lives that nobody knows of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use api::Workspace;
use api::consumer::{BucketUse, Revocation};
use e2e::story::{PATIENCE, Stage, class};
use e2e::wait::until;
use e2e::wire::{Asked, Fate, Refusal, Verdict};
use e2e::{Tier, unique};
use providers::memory::{Injection, Operation};
use serde_json::json;

use crate::bucketed::{Shop, bucket_of};

/// Loses what is written into the status of Workspaces, while it is asked to, and counts that.
#[derive(Clone, Default)]
struct Loser {
    loses: Arc<AtomicBool>,
    lost: Arc<AtomicUsize>,
}

impl Loser {
    fn judge(&self, asked: &Asked) -> Verdict {
        let is_status = asked.is_write() && asked.resource() == "workspaces" && asked.subresource() == "status";
        if !is_status || !self.loses.load(Ordering::SeqCst) {
            return Verdict::Pass;
        }
        self.lost.fetch_add(1, Ordering::SeqCst);
        Verdict::Instead(Fate::Refused(Refusal::Unavailable))
    }

    fn loses(&self, does: bool) {
        self.loses.store(does, Ordering::SeqCst);
    }

    async fn has_lost_two(&self) -> Result<()> {
        let before = self.lost.load(Ordering::SeqCst);
        until(
            "two more writes of status are lost",
            PATIENCE,
            async || Ok(self.lost.load(Ordering::SeqCst) > before + 1),
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_issued_before_status_says_how_it_ends() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    stage.world.inject(Injection::on(Operation::IssueIdentity));
    let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
    let shop = Shop::open_on(stage, &onprem, &json!({ "bucket": "readWrite" })).await?;
    let says = |told: &Workspace| bucket_of(told).is_some_and(|it| it.revocation == Some(Revocation::Immediate));
    let told = shop.stage.platform.until(&shop.finance, "says how credentials end", says).await?;
    ensure!(bucket_of(&told).is_some_and(|it| it.expires_at.is_none()), "{:?}", bucket_of(&told));
    ensure!(shop.stage.world.identities().is_empty(), "{:?}", shop.stage.world.identities());
    shop.stage.world.heal();
    shop.served(BucketUse::ReadWrite).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_let_in_again_after_a_lost_note_has_credentials_that_live() -> Result<()> {
    let loser = Loser::default();
    let judge = loser.clone();
    let (stage, _wire) = Stage::wired(Tier::One, |_| {}, move |asked: &Asked| judge.judge(asked)).await?;
    let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
    let shop = Shop::open_on(stage, &onprem, &json!({ "bucket": "readWrite" })).await?;
    let (_, secret) = shop.served(BucketUse::ReadWrite).await?;
    shop.stage.platform.until_ready(&shop.finance).await?;

    loser.loses(true);
    shop.consents(false).await?;
    loser.has_lost_two().await?;
    ensure!(!shop.at_store(&secret)?.is_revoked, "the store was told before status was");
    shop.consents(true).await?;
    loser.loses(false);
    lives(&shop).await?;

    // Where that was noted, and what came after it is lost, all of it ends, and others are issued.
    shop.consents(false).await?;
    shop.secret_is_gone().await?;
    loser.loses(true);
    shop.consents(true).await?;
    loser.has_lost_two().await?;
    loser.loses(false);
    lives(&shop).await
}

async fn lives(shop: &Shop) -> Result<()> {
    until("the Secret holds credentials that live", PATIENCE, async || {
        let secret = shop.secrets()?.get_opt(&shop.secret()).await?;
        secret.map_or(Ok(false), |secret| Ok(!shop.at_store(&secret)?.is_revoked))
    })
    .await
}
