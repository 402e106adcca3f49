//! What happens to watches does not happen to tenants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::Tier;
use e2e::story::{PATIENCE, Stage, class};
use e2e::wait::until;
use e2e::wire::{Asked, Fate, Filter, Gate, Refusal, Step, Verdict, filters};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::DeleteParams;

use super::{Counter, Customer};

/// What is stamped out, by what its watch asks for.
const CHILDREN: [&str; 5] = ["namespaces", "networkpolicies", "resourcequotas", "limitranges", "rolebindings"];
/// What users write.
const PARENTS: [&str; 3] = ["tenantclasses", "tenants", "workspaces"];

/// Writes to what stands in stacks: each is made once, and how often status is written depends on who is faster.
fn counts_child(counter: &Counter, asked: &Asked) {
    if asked.is_write() && asked.namespace().contains("-finance-") && asked.subresource().is_empty() {
        counter.count(format!("{}/{}", asked.resource(), asked.name()));
    }
}

/// A stage whose watches go through this from the first one on; `nth` is how often its kind was watched. Also counts writes to
/// children, lists and watches.
async fn watched(broken: impl Fn(&Asked, usize) -> Verdict + Send + 'static) -> Result<(Stage, Counter)> {
    let counter = Counter::default();
    let counting = counter.clone();
    let judge = move |asked: &Asked| {
        counts_child(&counting, asked);
        if asked.is_list() && asked.namespace().is_empty() {
            counting.count(format!("list {}", asked.resource()));
        }
        if !asked.is_watch() {
            return Verdict::Pass;
        }
        let nth = counting.count(format!("watch {}", asked.resource()));
        broken(asked, nth)
    };
    let (stage, wire) = Stage::wired(Tier::One, |_| {}, judge).await?;
    // It lives as long as the test: the stage goes through it.
    std::mem::forget(wire);
    Ok((stage, counter))
}

async fn told(stage: &Stage) -> Result<Customer> {
    let customer = Customer::new("acme", &stage.platform.applied(class("onprem")).await?);
    customer.apply(&stage.platform).await?;
    customer.until_ready(&stage.platform).await?;
    Ok(customer)
}

/// Each child was written once, and none is written again when more is wished: by then whatever the events caused has come.
async fn each_child_is_written_once(stage: &Stage, customer: &Customer, counter: &Counter) -> Result<()> {
    let viewer = serde_json::json!([{ "kind": "User", "name": "vera", "role": "viewer" }]);
    let more = customer.finance.clone().with("members", viewer);
    stage.platform.apply(&more).await?;
    stage.platform.until_ready(&more).await?;
    let children: Vec<_> = counter.all().into_iter().filter(|(name, _)| name.contains('/')).collect();
    ensure!(children.len() >= 8, "only {children:?} were written");
    // The namespace is made by a POST and then applied; who may look is what was wished.
    let twice = |name: &str| name.starts_with("namespaces/") || name == "rolebindings/steading-viewers";
    let again: Vec<_> = children.iter().filter(|(name, count)| !twice(name) && *count > 1).collect();
    ensure!(again.is_empty(), "written again: {again:?}");
    Ok(())
}

#[tokio::test]
async fn events_that_come_twice_cause_no_second_write() -> Result<()> {
    let (stage, counter) = watched(|_, _| Verdict::Through(filters::doubled())).await?;
    let customer = told(&stage).await?;
    each_child_is_written_once(&stage, &customer, &counter).await
}

#[tokio::test]
async fn what_is_stamped_out_is_known_though_no_watch_ever_showed_it() -> Result<()> {
    let (stage, counter) = watched(|asked, _| {
        let added = |event: &serde_json::Value| event["type"] == "ADDED";
        if CHILDREN.contains(&asked.resource()) { Verdict::Through(filters::without(added)) } else { Verdict::Pass }
    })
    .await?;
    let customer = told(&stage).await?;
    let more = customer.tenant.clone().with("owners", serde_json::json!([{ "kind": "User", "name": "olga" }]));
    stage.platform.apply(&more).await?;
    stage.platform.until_ready(&more).await?;
    let owned = |counter: &Counter| counter.of("rolebindings/steading-editors");
    until("the owner has rights", PATIENCE, async || Ok(owned(&counter) == 2)).await?;
    let written: Vec<_> = counter.all().into_iter().filter(|(name, _)| name.starts_with("networkpolicies/")).collect();
    assert!(written.iter().all(|(_, count)| *count == 1), "written again: {written:?}");
    Ok(())
}

#[tokio::test]
async fn kinds_may_overtake_each_other() -> Result<()> {
    // Nothing of what is stamped out shows before all of it is Ready.
    let gate = Gate::default();
    let held = gate.clone();
    let (stage, counter) = watched(move |asked, _| {
        if CHILDREN.contains(&asked.resource()) { Verdict::Through(filters::held(held.clone())) } else { Verdict::Pass }
    })
    .await?;
    let customer = told(&stage).await?;
    gate.open();
    let more = customer
        .finance
        .clone()
        .with("members", serde_json::json!([{ "kind": "User", "name": "vera", "role": "viewer" }]));
    stage.platform.apply(&more).await?;
    stage.platform.until_ready(&more).await?;
    let written: Vec<_> = counter.all().into_iter().filter(|(name, _)| name.starts_with("networkpolicies/")).collect();
    assert!(written.iter().all(|(_, count)| *count == 1), "written again: {written:?}");
    Ok(())
}

#[tokio::test]
async fn a_kind_that_freezes_while_wishes_change_twice_catches_up_with_the_last() -> Result<()> {
    let (gate, frozen) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let (held, freezes) = (gate.clone(), Arc::clone(&frozen));
    let (stage, _) = watched(move |asked, _| {
        if asked.resource() != "workspaces" {
            return Verdict::Pass;
        }
        let (held, freezes) = (held.clone(), Arc::clone(&freezes));
        let filter: Filter = Box::new(move |event| {
            let pause = freezes.load(Ordering::SeqCst).then(|| Step::Hold(held.clone()));
            pause.into_iter().chain([Step::Send(event)]).collect()
        });
        Verdict::Through(filter)
    })
    .await?;
    let customer = told(&stage).await?;
    let platform = &stage.platform;
    frozen.store(true, Ordering::SeqCst);
    platform.apply(&customer.finance.clone().with("quota.cpu", "3")).await?;
    platform.apply(&customer.finance.clone().with("quota.cpu", "4")).await?;
    // Another kind goes on meanwhile.
    let more = customer.tenant.clone().with("quota.cpu", "16");
    platform.apply(&more).await?;
    platform.until_ready(&more).await?;
    ensure!(platform.get(&customer.finance).await?.status.is_some_and(|status| status.observed_generation == 1));
    gate.open();
    platform.until_ready(&customer.finance).await?;
    let stack = platform.stack_of(&customer.finance).await?;
    let quota = Api::<ResourceQuota>::namespaced(platform.client.clone(), &stack).get("steading").await?;
    assert_eq!(quota.spec.unwrap().hard.unwrap()["requests.cpu"].0, "4");
    Ok(())
}

#[tokio::test]
async fn a_watch_that_closes_again_and_again_is_resumed_and_no_kind_is_listed_anew() -> Result<()> {
    let (stage, counter) = watched(|_, _| Verdict::Through(filters::closed_after(1))).await?;
    let customer = told(&stage).await?;
    for kind in PARENTS.into_iter().chain(CHILDREN) {
        let (lists, watches) = (counter.of(&format!("list {kind}")), counter.of(&format!("watch {kind}")));
        // When a definition's status changes, the API server forgets what came before: one more list of that kind.
        let most = if PARENTS.contains(&kind) { 2 } else { 1 };
        ensure!((1..=most).contains(&lists), "{kind} was listed {lists} times for {watches} watches");
    }
    ensure!(counter.of("watch workspaces") >= 3, "did any watch close? {:?}", counter.all());
    each_child_is_written_once(&stage, &customer, &counter).await
}

/// Every kind is listed once more, and nothing that stands is written again.
async fn listed_once_more(stage: &Stage, counter: &Counter) -> Result<()> {
    let customer = told(stage).await?;
    until("every kind was listed twice", PATIENCE, async || {
        Ok(PARENTS.iter().chain(&CHILDREN).all(|kind| counter.of(&format!("list {kind}")) >= 2))
    })
    .await
    .with_context(|| format!("asked so far: {:?}", counter.all()))?;
    for kind in PARENTS.into_iter().chain(CHILDREN) {
        let lists = counter.of(&format!("list {kind}"));
        ensure!(lists == 2, "{kind} was listed {lists} times");
    }
    each_child_is_written_once(stage, &customer, counter).await
}

#[tokio::test]
async fn a_watch_that_says_in_its_stream_that_it_expired_costs_one_list_and_no_write() -> Result<()> {
    // The first of a kind may end before it showed anything: API servers close it when a definition's status changes.
    let telling = Counter::default();
    let (stage, counter) = watched(move |asked, _| {
        let (telling, kind, mut expired) = (telling.clone(), asked.resource().to_owned(), filters::expired_after(1));
        let mut broken = false;
        Verdict::Through(Box::new(move |event| {
            broken = broken || telling.count(kind.clone()) == 1;
            if broken { expired(event) } else { vec![Step::Send(event)] }
        }))
    })
    .await?;
    listed_once_more(&stage, &counter).await
}

#[tokio::test]
async fn a_watch_that_cannot_be_resumed_costs_one_list_and_no_write() -> Result<()> {
    let (stage, counter) = watched(|_, nth| match nth {
        1 => Verdict::Through(filters::closed_after(1)),
        2 => Verdict::Instead(Fate::Refused(Refusal::Expired)),
        _ => Verdict::Pass,
    })
    .await?;
    listed_once_more(&stage, &counter).await
}

/// Deletes a policy as an emergency would, and waits until it is there again.
async fn put_back(stage: &Stage, customer: &Customer, within: Duration) -> Result<()> {
    let stack = stage.platform.stack_of(&customer.finance).await?;
    let policies: Api<NetworkPolicy> = Api::namespaced(stage.break_glass()?, &stack);
    policies.delete("deny-all", &DeleteParams::default()).await?;
    until("the policy is put back", within, async || Ok(policies.get_opt("deny-all").await?.is_some())).await
}

#[tokio::test]
async fn a_deletion_that_no_watch_showed_is_found_at_the_next_list() -> Result<()> {
    let (stage, _) = watched(|asked, nth| match (asked.resource(), nth) {
        // The event is lost, and with it the watch.
        ("networkpolicies", 1) => Verdict::Through(Box::new(|event| match event["type"].as_str() {
            Some("DELETED") => vec![Step::Close],
            _ => vec![Step::Send(event)],
        })),
        ("networkpolicies", 2) => Verdict::Instead(Fate::Refused(Refusal::Expired)),
        _ => Verdict::Pass,
    })
    .await?;
    let customer = told(&stage).await?;
    put_back(&stage, &customer, PATIENCE).await
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_opened_again_though_its_connection_stays_open() -> Result<()> {
    let silent = Arc::new(AtomicBool::new(false));
    let falls = Arc::clone(&silent);
    let (stage, counter) =
        watched(move |asked, _| {
            if asked.resource() != "networkpolicies" {
                return Verdict::Pass;
            }
            let falls = Arc::clone(&falls);
            let filter: Filter = Box::new(move |event| {
                if falls.swap(false, Ordering::SeqCst) { vec![Step::Silence] } else { vec![Step::Send(event)] }
            });
            Verdict::Through(filter)
        })
        .await?;
    let customer = told(&stage).await?;
    silent.store(true, Ordering::SeqCst);
    // Nothing may be silent for longer than two minutes.
    put_back(&stage, &customer, operator::client::SILENCE + PATIENCE).await?;
    ensure!(!silent.load(Ordering::SeqCst) && counter.of("watch networkpolicies") >= 2, "it never fell silent");
    Ok(())
}
