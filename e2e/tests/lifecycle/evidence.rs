//! What is outside the cluster is looked at again and again; a look that fails is not the end of what was seen before.

use std::time::Duration;

use anyhow::{Context as _, Result};
use api::{Tenant, Workspace, conditions as names};
use e2e::story::{Manifest, Stage, Told, class, condition, tenant, workspace};
use e2e::{Tier, unique, wait::until};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::{WatchStreamExt as _, watcher};
use providers::memory::{Injection, Operation};

use super::{assert_tells, message, status};

/// How often there is a look; evidence counts for twice as long.
const RESYNC: Duration = Duration::from_secs(2);

/// Status and reason of a condition, each time they change, until it is `last`.
async fn history<K: Told>(
    stage: &Stage,
    of: &Manifest<K>,
    kind: &str,
    last: (&str, &str),
) -> Result<Vec<(String, String)>> {
    let mine = watcher::Config::default().fields(&format!("metadata.name={}", of.name()));
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut objects = watcher(of.api(&stage.platform.client), mine).applied_objects().boxed();
    while let Some(object) = objects.try_next().await? {
        let now = condition(&object, kind)
            .map(|it| (it.status.clone(), it.reason.clone()))
            .context("the condition is gone")?;
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        if seen.last().is_some_and(|(status, reason)| (status.as_str(), reason.as_str()) == last) {
            break;
        }
    }
    Ok(seen)
}

async fn until_looked_at_twice(looks: impl Fn() -> [u64; 2]) -> Result<()> {
    let before = looks();
    until("both were looked at twice", Duration::from_mins(1), async || {
        Ok(std::iter::zip(looks(), before).all(|(now, before)| now >= before + 2))
    })
    .await
}

#[tokio::test]
async fn one_failed_look_changes_nothing_and_many_make_the_condition_unknown() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.resync = RESYNC).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let acme: Manifest<Tenant> = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
    let finance: Manifest<Workspace> = platform.applied(workspace("finance").of_tenant(&acme)).await?;
    let identity =
        platform.until_ready(&acme).await?.status.and_then(|status| status.identity).context("no identity")?;
    let of_finance =
        platform.until_ready(&finance).await?.status.and_then(|status| status.identity).context("no identity")?;
    // Of these two alone: the class is looked at as well.
    let both = [(Operation::ObserveKey, &identity), (Operation::ObserveBucket, &of_finance)];
    let looks = || both.map(|(operation, identity)| stage.world.calls_for(operation, identity));

    // One look fails. There are others, and nothing shows in between.
    let watched = async {
        for (operation, identity) in both {
            stage.world.inject(Injection::on(operation).identity(identity).nth(1));
        }
        until_looked_at_twice(looks).await?;
        // Now for good.
        for (operation, identity) in both {
            stage.world.inject(Injection::on(operation).identity(identity));
        }
        anyhow::Ok(())
    };
    let unknown = ("Unknown", names::PROVIDER_UNAVAILABLE);
    let (key, bucket, ()) = tokio::try_join!(
        history(&stage, &acme, names::KEY_READY, unknown),
        history(&stage, &finance, names::BUCKET_READY, unknown),
        watched,
    )?;
    let expected = [("True", names::AVAILABLE), unknown].map(|(status, reason)| (status.to_owned(), reason.to_owned()));
    assert_eq!(key, expected);
    assert_eq!(bucket, expected);
    // However often it is looked at without an answer.
    until_looked_at_twice(looks).await?;
    for (what, seen) in [
        ("Tenant", status(&platform.get(&acme).await?, names::READY)),
        ("Workspace", status(&platform.get(&finance).await?, names::READY)),
    ] {
        assert_eq!(seen, "Unknown", "{what}");
    }
    assert_tells(&message(&platform.get(&acme).await?), &[&platform.key_of(&acme).await?]);

    stage.world.heal();
    platform.until_ready(&acme).await?;
    platform.until_ready(&finance).await?;

    // What somebody changes outside is found at the next look and put back.
    let (key, bucket) = (platform.key_of(&acme).await?, platform.bucket_of(&finance).await?);
    stage.world.tamper_key(&key, |key| key.rotation_period = Some(Duration::from_hours(1_000_000)));
    stage.world.tamper_bucket(&bucket, |bucket| bucket.settings.versioning = false);
    until("both are as they must be again", Duration::from_mins(1), async || {
        let days = stage.world.keys()[&key].rotation_period.map(|period| period.as_secs() / 86_400);
        Ok(days == Some(90) && stage.world.buckets()[&bucket].settings.versioning)
    })
    .await
}

#[tokio::test]
async fn a_server_that_never_answers_does_not_hold_up_anybody() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| {
        config.timings.reconcile = Duration::from_secs(2);
        config.workers = 2; // one may hang, one must remain
    })
    .await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let stricken = uuid::Uuid::new_v4().to_string();
    stage.world.inject(Injection::on(Operation::CreateKey).identity(&stricken).hangs());
    let acme = tenant(&unique("acme")).of_class(&onprem).with("identity", stricken.as_str());
    platform.apply(&acme).await?;
    let globex = platform.applied(tenant(&unique("globex")).of_class(&onprem)).await?;
    platform.until_ready(&globex).await?;
    let cut = platform.until_reason(&acme, names::DEADLINE).await?;
    assert_eq!((status(&cut, names::READY), status(&cut, names::RECONCILING)), ("False", "True"));
    stage.world.heal();
    platform.until_ready(&acme).await?;
    Ok(())
}
