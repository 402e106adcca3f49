//! A rotation on request happens once for each value of the annotation, whatever fails or restarts in between.

use std::time::Duration;

use anyhow::Result;
use api::{Tenant, conditions as names, labels::ROTATE_REQUESTED_AT};
use e2e::story::{Platform, Stage, class, tenant};
use e2e::{Tier, unique, wait::until};
use providers::memory::{Injection, Operation};
use serde_json::json;

fn version(tenant: &Tenant) -> Option<i64> {
    tenant.status.as_ref()?.key.as_ref().map(|key| key.version)
}

/// The request that was carried out last.
fn served(tenant: &Tenant) -> Option<&str> {
    let key = tenant.status.as_ref()?.key.as_ref()?;
    key.rotation.as_ref().filter(|rotation| key.version > rotation.from_version).map(|it| it.requested.as_str())
}

#[test]
fn each_value_rotates_once_however_often_it_is_looked_at() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        assert_eq!(version(&platform.until_ready(&acme).await?), Some(1));
        for (asked, expected) in [("2026-11-21", 2), ("2026-11-22", 3)] {
            let asking = acme.clone().annotated(ROTATE_REQUESTED_AT, asked);
            platform.apply(&asking).await?;
            platform.until(&acme, "has rotated", |acme: &Tenant| served(acme) == Some(asked)).await?;
            assert_eq!(version(&platform.until_ready(&acme).await?), Some(expected));
            // Other rounds come and see the same value.
            for owner in ["olga", "oscar"] {
                platform.apply(&asking.clone().with("owners", json!([{ "kind": "User", "name": owner }]))).await?;
                assert_eq!(version(&platform.until_ready(&acme).await?), Some(expected));
            }
        }
        let key = platform.key_of(&acme).await?;
        let log = stage.world.log();
        let rotations = log.iter().filter(|(operation, on)| *operation == Operation::UpdateKey && *on == key).count();
        assert_eq!(rotations, 2);
        Ok(())
    })
}

#[tokio::test]
async fn a_restart_in_the_middle_neither_repeats_nor_forgets_a_rotation() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    let platform = stage.platform.clone();
    let onprem = platform.applied(class("onprem")).await?;
    let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
    platform.until_ready(&acme).await?;
    let key = platform.key_of(&acme).await?;
    let asking = |value: &str| acme.clone().annotated(ROTATE_REQUESTED_AT, value);

    // The key was rotated, and the operator ends before it hears of it.
    stage.world.inject(Injection::on(Operation::UpdateKey).after_commit());
    platform.apply(&asking("answer-lost")).await?;
    until("the key is rotated", Duration::from_mins(1), async || Ok(stage.world.keys()[&key].latest_version == 2))
        .await?;
    let world = stage.world.clone();
    let healed = async |_: &Platform| {
        world.heal();
        Ok(())
    };
    let stage = stage.restarted(|_| {}, &healed).await?;
    platform.until(&acme, "has rotated", |acme: &Tenant| served(acme) == Some("answer-lost")).await?;
    assert_eq!(version(&platform.until_ready(&acme).await?), Some(2));

    // The request was written down, and the operator ends before the key was touched.
    stage.world.inject(Injection::on(Operation::UpdateKey));
    platform.apply(&asking("not-begun")).await?;
    platform.until_reason(&acme, names::PROVIDER_UNAVAILABLE).await.ok();
    let stage = stage.restarted(|_| {}, &healed).await?;
    platform.until(&acme, "has rotated", |acme: &Tenant| served(acme) == Some("not-begun")).await?;
    assert_eq!(version(&platform.until_ready(&acme).await?), Some(3));

    // It was asked for while nobody was there, and the operator starts again after it was done.
    let stage =
        stage.restarted(|_| {}, async |platform| platform.apply(&asking("nobody-there")).await.map(drop)).await?;
    platform.until(&acme, "has rotated", |acme: &Tenant| served(acme) == Some("nobody-there")).await?;
    let stage = stage.restarted(|_| {}, async |_| Ok(())).await?;
    let globex = platform.applied(tenant(&unique("globex")).of_class(&onprem)).await?;
    platform.until_ready(&globex).await?;
    platform.until_ready(&acme).await?;
    assert_eq!(stage.world.keys()[&key].latest_version, 4);
    Ok(())
}
