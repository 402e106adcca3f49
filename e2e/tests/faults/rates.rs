//! What fails for ever costs little: at the API server and outside. How much is not guessed but follows from the operator's own policy
//! of pauses, of which many runs are drawn.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::Tier;
use e2e::story::{Stage, class};
use e2e::wire::{Asked, Fate, Refusal, Verdict};
use futures::future::try_join_all;
use operator::engine::backoff::Backoff;
use providers::memory::{Injection, Operation};
use uuid::Uuid;

use super::{Counter, Customer, is_about};

/// How long is counted.
const WINDOW: Duration = Duration::from_secs(25);
/// Rounds that are due to something having changed, and not to time: the first, and those that its own objects wake.
const WAKES: usize = 8;

/// What decides when the next round is due.
#[derive(Clone, Copy)]
enum Pace {
    /// The pauses that grow.
    Growing,
    /// So many seconds each time.
    Every(u64),
    /// Minutes: not within the window.
    Stalled,
}

impl Pace {
    /// The most rounds within this time; where pauses are drawn, over many draws.
    fn rounds(self, within: Duration) -> usize {
        match self {
            Self::Stalled => 0,
            Self::Every(seconds) => usize::try_from(within.as_secs() / seconds).unwrap() + 1,
            Self::Growing => (0..2_000).map(|seed| drawn(within, seed)).max().unwrap(),
        }
    }
}

/// The rounds that the policy of pauses gives one object, drawn with this seed.
fn drawn(within: Duration, seed: u64) -> usize {
    let backoff = Backoff::seeded(seed);
    let (mut at, mut rounds) = (Duration::ZERO, 0);
    while at < within {
        rounds += 1;
        at += backoff.failed("object");
    }
    rounds
}

/// One way to fail for ever: the name of its tenant, what fails, how, when the next round is due, and how often the client tries within
/// one round.
struct Way {
    name: &'static str,
    fails: fn(&Asked) -> bool,
    fate: Fate,
    pace: Pace,
    attempts: usize,
}

fn of_stack(asked: &Asked) -> bool {
    asked.is_write() && asked.resource() == "networkpolicies"
}

fn of_ledger(asked: &Asked) -> bool {
    asked.is_write() && asked.resource() == "tenants" && asked.subresource() == "status"
}

fn of_finalizer(asked: &Asked) -> bool {
    asked.is_write() && asked.resource() == "workspaces" && asked.subresource().is_empty()
}

fn ways() -> Vec<Way> {
    use Pace::{Every, Growing, Stalled};
    let refused =
        |name, refusal, pace, attempts| Way { name, fails: of_stack, fate: Fate::Refused(refusal), pace, attempts };
    let of = |way: Way, fails| Way { fails, ..way };
    vec![
        refused("conflict", Refusal::Conflict, Growing, 1),
        refused("exists", Refusal::AlreadyExists, Growing, 1),
        refused("invalid", Refusal::Invalid, Stalled, 1),
        // It may be of roles that still spread: every five seconds at first.
        refused("forbidden", Refusal::Forbidden, Every(5), 1),
        refused("quota", Refusal::OverQuota, Every(5), 1),
        refused("terminating", Refusal::Terminating, Every(2), 1),
        refused("too-many", Refusal::TooMany(2), Every(2), 1),
        refused("internal", Refusal::Internal, Growing, 1),
        refused("unavailable", Refusal::Unavailable, Growing, 3),
        refused("timeout", Refusal::GatewayTimeout, Growing, 3),
        Way { fate: Fate::Reset, ..refused("reset", Refusal::Internal, Growing, 3) },
        Way { fate: Fate::Silence, ..refused("silence", Refusal::Internal, Growing, 3) },
        of(refused("ledger-conflict", Refusal::Conflict, Growing, 1), of_ledger),
        of(refused("ledger-internal", Refusal::Internal, Growing, 1), of_ledger),
        of(refused("finalizer-internal", Refusal::Internal, Growing, 1), of_finalizer),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_for_ever_is_tried_no_more_often_than_the_pauses_allow() -> Result<()> {
    let (counter, seen) = (Counter::default(), Counter::default());
    let (counting, seeing, all) = (counter.clone(), seen.clone(), ways());
    let judge = move |asked: &Asked| {
        let Some(way) = all.iter().find(|way| is_about(asked, way.name)) else { return Verdict::Pass };
        if asked.is_watch() {
            return Verdict::Pass;
        }
        seeing.count(way.name);
        if asked.is_write() && asked.subresource() == "status" {
            seeing.count(format!("{} status of {}", way.name, asked.resource()));
        }
        if !(way.fails)(asked) {
            return Verdict::Pass;
        }
        counting.count(way.name);
        Verdict::Instead(way.fate.clone())
    };
    let (stage, _wire) = Stage::wired(Tier::One, |_| {}, judge).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let bystander = Customer::new("bystander", &onprem);
    let customers: Vec<_> = ways().iter().map(|way| Customer::new(way.name, &onprem)).collect();
    let begun = Instant::now();
    try_join_all(customers.iter().map(|customer| customer.apply(platform))).await?;
    bystander.apply(platform).await?;
    bystander.until_ready(platform).await?;
    tokio::time::sleep(WINDOW / 2).await; // half of the window: what says something new has been said by then
    let said = seen.all();
    tokio::time::sleep(WINDOW / 2).await; // the other half

    let (mut lines, within) = (Vec::new(), begun.elapsed());
    for way in ways() {
        let (tries, requests) = (counter.of(way.name), seen.of(way.name));
        // Beside what fails, a round reads a few things, and what it did before it failed is written once.
        let most_tries = way.attempts * (way.pace.rounds(within) + WAKES);
        let most_requests = 2 * most_tries + 20;
        lines.push(format!("{}: {tries} tries (at most {most_tries}), {requests} requests", way.name));
        ensure!(tries > 0, "{} was never tried", way.name);
        ensure!(tries <= most_tries, "{} was tried {tries} times, {most_tries} are allowed", way.name);
        ensure!(requests <= most_requests, "{}: {requests} requests, {most_requests} are allowed", way.name);
        if !way.name.starts_with("ledger") {
            let status = |counts: &std::collections::BTreeMap<String, usize>| {
                let of_way = counts.iter().filter(|(name, _)| name.starts_with(&format!("{} status", way.name)));
                of_way.map(|(_, count)| count).sum::<usize>()
            };
            let (then, now) = (status(&said), status(&seen.all()));
            ensure!(now <= then + 1, "{}: status was written {then} times and then {} more", way.name, now - then);
        }
    }
    println!("{}", lines.join("\n"));
    Ok(())
}

/// One way in which a call outside the cluster fails for ever, and when the next round is due.
type Outside = (&'static str, fn(Injection) -> Injection, Pace);

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_for_ever_is_asked_no_more_often_than_the_pauses_allow() -> Result<()> {
    let stage = Stage::set(Tier::One, |config| config.timings.reconcile = Duration::from_secs(3)).await?;
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let begun = Instant::now();
    let ways: [Outside; 4] = [
        ("denied", Injection::denied, Pace::Stalled),
        ("transient", |fault| fault, Pace::Growing),
        ("throttled", |fault| fault.throttled(Duration::from_secs(2)), Pace::Every(2)),
        ("hanging", Injection::hangs, Pace::Growing),
    ];
    let mut told = Vec::new();
    for (name, fault, pace) in ways {
        let [of_key, of_bucket] = [(); 2].map(|()| Uuid::new_v4().to_string());
        for (operation, identity) in [(Operation::CreateKey, &of_key), (Operation::CreateBucket, &of_bucket)] {
            stage.world.inject(fault(Injection::on(operation).identity(identity)));
        }
        // One whose key fails, and one whose bucket does.
        let (mut keyless, mut bucketless) =
            (Customer::new(&format!("{name}-key"), &onprem), Customer::new(&format!("{name}-bucket"), &onprem));
        keyless.tenant = keyless.tenant.with("identity", of_key.as_str());
        bucketless.finance = bucketless.finance.with("identity", of_bucket.as_str());
        keyless.apply(platform).await?;
        bucketless.apply(platform).await?;
        told.push((name, of_key, of_bucket, pace));
    }
    tokio::time::sleep(WINDOW).await; // the window itself
    let within = begun.elapsed();
    for (name, of_key, of_bucket, pace) in told {
        let most = u64::try_from(pace.rounds(within) + WAKES)?;
        for (made, looked, identity) in [
            (Operation::CreateKey, Operation::ObserveKey, &of_key),
            (Operation::CreateBucket, Operation::ObserveBucket, &of_bucket),
        ] {
            let (tries, looks) = (stage.world.calls_for(made, identity), stage.world.calls_for(looked, identity));
            println!("{name}: {made:?} {tries} times (at most {most}), looked at {looks} times");
            ensure!(tries > 0, "{name}: {made:?} was never tried");
            ensure!(
                tries <= most && looks <= most,
                "{name}: {made:?} {tries} times, looked {looks} times, {most} allowed"
            );
        }
    }
    Ok(())
}
