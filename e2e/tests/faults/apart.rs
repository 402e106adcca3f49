//! What fails for one tenant, or for one kind, concerns nobody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use api::conditions as names;
use e2e::Tier;
use e2e::story::{PATIENCE, Stage, class, tenant};
use e2e::wait::until;
use e2e::wire::{Asked, Fate, Refusal, Verdict};
use futures::future::try_join_all;
use providers::memory::{Injection, Operation};
use uuid::Uuid;

use super::{Customer, is_about};

/// A judge that fails so what is about the Tenant `acme` and fits.
fn against_acme(
    fits: impl Fn(&Asked) -> bool + Send + 'static,
    verdict: impl Fn() -> Verdict + Send + 'static,
) -> impl FnMut(&Asked) -> Verdict + Send + 'static {
    move |asked| if is_about(asked, "acme") && fits(asked) { verdict() } else { Verdict::Pass }
}

#[tokio::test]
async fn whoever_is_asked_to_come_back_later_does_not_come_sooner_and_nobody_else_waits() -> Result<()> {
    // When each write of acme's stack was tried.
    let tries: Arc<Mutex<HashMap<String, Vec<Instant>>>> = Arc::default();
    let (seconds, noted) = (Arc::new(Mutex::new(60_u16)), Arc::clone(&tries));
    let asks_for = Arc::clone(&seconds);
    let (stage, _wire) = Stage::wired(
        Tier::One,
        |_| {},
        move |asked: &Asked| {
            if !is_about(asked, "acme") || asked.resource() != "networkpolicies" || !asked.is_write() {
                return Verdict::Pass;
            }
            let mut noted = noted.lock().unwrap();
            let tries = noted.entry(asked.name()).or_default();
            tries.push(Instant::now());
            let seconds = *asks_for.lock().unwrap();
            // A minute for ever, a second once for each object.
            let refused = seconds == 60 || tries.len() == 1;
            if refused { Verdict::Instead(Fate::Refused(Refusal::TooMany(seconds))) } else { Verdict::Pass }
        },
    )
    .await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let (acme, globex) = (Customer::new("acme", &onprem), Customer::new("globex", &onprem));
    acme.apply(platform).await?;
    let told = platform.until_reason(&acme.finance, names::THROTTLED).await?;
    globex.apply(platform).await?;
    globex.until_ready(platform).await?;
    // What changes elsewhere may bring it back; time alone may not. Twice as long as the first pause of a failure that names none.
    let attempts = || tries.lock().unwrap()["deny-all"].len();
    let before = attempts();
    tokio::time::sleep(Duration::from_secs(4)).await;
    ensure!(attempts() == before, "it came back {} times within a minute: {:?}", attempts() - before, told.status);

    tries.lock().unwrap().clear();
    *seconds.lock().unwrap() = 1;
    // A change of the Workspace is looked at at once.
    let acme = Customer { finance: acme.finance.with("quota.cpu", "1"), ..acme };
    platform.apply(&acme.finance).await?;
    acme.until_ready(platform).await?;
    let tries = tries.lock().unwrap();
    ensure!(tries.len() == 4, "{tries:?}");
    for (name, tries) in tries.iter() {
        let gap = tries[1] - tries[0];
        ensure!(gap >= Duration::from_secs(1), "{name} came back after {gap:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_kind_that_fails_holds_up_nothing_that_does_not_need_it_and_heals() -> Result<()> {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let (stage, _wire) = Stage::wired(
        Tier::One,
        |_| {},
        move |asked: &Asked| {
            let strikes = asked.resource() == "networkpolicies" && asked.is_write() && is_broken.load(Ordering::SeqCst);
            if strikes { Verdict::lost() } else { Verdict::Pass }
        },
    )
    .await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let customers: Vec<_> = ["acme", "globex", "initech"].map(|name| Customer::new(name, &onprem)).into();
    for customer in &customers {
        customer.apply(platform).await?;
    }
    for customer in &customers {
        platform.until_ready(&customer.tenant).await?;
        platform.until_condition(&customer.finance, names::ISOLATED, "False", names::API_UNAVAILABLE).await?;
    }
    ensure!(stage.world.buckets().is_empty(), "a bucket was made before isolation stood");
    broken.store(false, Ordering::SeqCst);
    for customer in &customers {
        customer.until_ready(platform).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_is_silent_about_one_tenant_leaves_workers_to_the_others() -> Result<()> {
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = Arc::clone(&silent);
    let fits = move |asked: &Asked| is_silent.load(Ordering::SeqCst) && asked.namespace().starts_with("acme-finance-");
    let (stage, _wire) = Stage::wired(
        Tier::One,
        |config| {
            config.timings.reconcile = Duration::from_secs(2);
            config.workers = 2; // one may hang, one must remain
        },
        against_acme(fits, || Verdict::Instead(Fate::Silence)),
    )
    .await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let (acme, globex) = (Customer::new("acme", &onprem), Customer::new("globex", &onprem));
    acme.apply(platform).await?;
    globex.apply(platform).await?;
    globex.until_ready(platform).await?;
    platform.until_reason(&acme.finance, names::DEADLINE).await?;
    silent.store(false, Ordering::SeqCst);
    acme.until_ready(platform).await
}

#[tokio::test]
async fn every_call_may_be_slow() -> Result<()> {
    let slow = |asked: &Asked| {
        // Leadership has a pace of its own, and lists come before everything.
        let passes = asked.is_of_leadership() || asked.is_watch() || asked.is_list();
        if passes { Verdict::Pass } else { Verdict::Late(Duration::from_millis(700)) }
    };
    let (stage, _wire) = Stage::wired(Tier::One, |_| {}, slow).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let customers: Vec<_> = ["acme", "globex"].map(|name| Customer::new(name, &onprem)).into();
    for customer in &customers {
        customer.apply(platform).await?;
    }
    try_join_all(customers.iter().map(|customer| customer.until_ready(platform))).await?;
    Ok(())
}

#[tokio::test]
async fn of_a_hundred_tenants_the_one_whose_key_is_denied_waits_alone() -> Result<()> {
    let stage = Stage::set(Tier::One, |_| {}).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let stricken = Uuid::new_v4().to_string();
    stage.world.inject(Injection::on(Operation::CreateKey).identity(&stricken).denied());
    let denied = platform.applied(tenant("denied").of_class(&onprem).with("identity", stricken.as_str())).await?;
    let mut others = Vec::new();
    for number in 1..100 {
        others.push(platform.applied(tenant(&format!("tenant-{number:02}")).of_class(&onprem)).await?);
    }
    for other in &others {
        platform.until_ready(other).await?;
    }
    platform.until_reason(&denied, names::DENIED).await?;
    until("it was denied and all else has a key", PATIENCE, async || Ok(stage.world.keys().len() == 99)).await?;
    ensure!(stage.world.calls(Operation::CreateKey) <= 110, "{} creations", stage.world.calls(Operation::CreateKey));
    Ok(())
}
