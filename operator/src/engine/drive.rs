//! Driving: takes an object's turn, runs its story under a deadline, writes status on every path out, says when to come back.
//!
//! In: a [`Story`] for one kind, the [`Engine`] that all kinds share. Out: a running controller. A story decides; this file only
//! carries out what the class of its faults asks for.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Debug,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::{conditions as names, labels};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::{
        Controller,
        controller::Action,
        events::{Event, EventType, Recorder},
        reflector::ObjectRef,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    backoff::{self, Backoff},
    conditions::{self, Part, State},
    fault::{Class, Fault},
    finalize,
    gate::Gate,
    known::Known,
    lease::Leadership,
    round::Round,
};
use crate::{clock, http::Health, metrics::Metrics};

/// How long a refusal may be a matter of role bindings that are still spreading.
pub(crate) const FORBIDDEN_GRACE: Duration = Duration::from_secs(30);

/// What all controllers share.
pub struct Engine {
    /// Of the operator.
    pub client: Client,
    /// Writes are made only while it leads.
    pub leadership: Leadership,
    /// Hands out turns, tenant by tenant.
    pub gate: Gate,
    /// Delay after failures, object by object.
    pub backoff: Backoff<String>,
    /// Told of every round.
    pub metrics: Metrics,
    /// Told of every round, for the liveness probe.
    pub health: Health,
    /// For events on transitions.
    pub recorder: Recorder,
    /// How long one round may take.
    pub deadline: Duration,
    /// How often what only somebody else can mend is looked at again (± 20 %).
    pub stalled: Duration,
    /// Since when the API server refuses an object's requests.
    pub forbidden: Mutex<HashMap<String, Instant>>,
}

/// The story of one kind.
pub trait Story: Send + Sync + 'static {
    /// The kind.
    type Object: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What its report needs beside the parts.
    type Facts: Default + Send + Sync;
    /// Name of the controller in metrics and logs, such as `workspace`.
    const NAME: &'static str;

    /// The newest that is known of the kind.
    fn known(&self) -> &Known<Self::Object>;
    /// Whose turn a round of this object takes: the Tenant's name.
    fn turn(object: &Self::Object) -> String;
    /// Where the kind's objects live.
    fn api(client: &Client, object: &Self::Object) -> Api<Self::Object>;
    /// One round: looks, writes, and tells `round` what it found. Faults that belong to no part are returned.
    fn tell(
        &self,
        object: &Self::Object,
        round: &mut Round<Self::Facts>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Status as it should be, without conditions and observedGeneration. Pure.
    fn report(object: &Self::Object, round: &Round<Self::Facts>) -> Value;
    /// The object's conditions as they are.
    fn conditions(object: &Self::Object) -> &[Condition];
}

/// Runs the controller of one kind until `stop` resolves; rounds under way are finished.
pub async fn run<S: Story>(
    story: Arc<S>,
    engine: Arc<Engine>,
    wakes: impl Stream<Item = ObjectRef<S::Object>> + Send + 'static,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) where
    <S::Object as Resource>::DynamicType: Debug + Eq + Hash + Unpin + Clone,
{
    // Wakes come from our own watches, which lose no deletion; the controller's own trigger stays silent.
    Controller::for_stream(stream::pending(), story.known().store())
        .reconcile_on(wakes)
        .graceful_shutdown_on(stop)
        .run(
            move |object, engine: Arc<Engine>| {
                let story = Arc::clone(&story);
                async move {
                    let reference = ObjectRef::from_obj(object.as_ref());
                    let again = turn(story.as_ref(), &engine, &reference, object.as_ref()).await;
                    Ok::<_, Infallible>(again.map_or_else(Action::await_change, Action::requeue))
                }
            },
            |_, _, _| Action::await_change(),
            engine,
        )
        .for_each(|_| futures::future::ready(()))
        .await;
}

/// One turn of one object: waits for it, then runs a round on the newest that is known. When to come back, if not only on a change.
pub(crate) async fn turn<S: Story>(
    story: &S,
    engine: &Engine,
    reference: &ObjectRef<S::Object>,
    seen: &S::Object,
) -> Option<Duration> {
    let queued = engine.metrics.queued(S::NAME);
    if engine.backoff.failures(&seen.uid().unwrap_or_default()) > 0 {
        engine.metrics.retried(S::NAME);
    }
    let _slot = engine.gate.acquire(&S::turn(seen)).await;
    let object = story.known().get(reference)?;
    if !engine.leadership.leads() {
        return None; // whoever takes the lead wakes every object
    }
    let running = queued.start();
    let _alive = engine.health.begin(&format!("{} {reference}", S::NAME));
    let mut round = Round::default();
    match tokio::time::timeout(engine.deadline, story.tell(&object, &mut round)).await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => round.parts.push(Part::of_whole(fault)),
        Err(_) => {
            let message = format!(
                "the round took longer than {} s and was cut off; what was done stays done",
                engine.deadline.as_secs()
            );
            round.parts.push(Part::of_whole(Fault::transient(names::DEADLINE, message)));
        }
    }
    let id = object.uid().unwrap_or_default();
    settle_refusals(engine, &id, &mut round.parts);
    // The story may have written to the object itself; what it says still speaks of the generation that it looked at.
    let newest = story.known().get(reference).filter(|newest| same_generation(newest.as_ref(), &object));
    let newest = newest.unwrap_or_else(|| Arc::clone(&object));
    if round.over {
        story.known().forget(reference);
        engine.backoff.forget(&id);
        engine.forbidden.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    } else if let Err(fault) = write_status(story, engine, &object, &newest, &round).await {
        tracing::info!(controller = S::NAME, object = %reference, %fault, "status was not written");
        round.parts.push(Part::of_whole(fault));
    }
    let (after, ended) = round.next(backoff::around(engine.stalled), || engine.backoff.failed(id.clone()));
    if !round.fails() {
        engine.backoff.succeeded(&id);
    }
    running.end(ended);
    after
}

fn same_generation<K: ResourceExt>(a: &K, b: &K) -> bool {
    a.uid() == b.uid() && a.meta().generation == b.meta().generation
}

/// Fresh role bindings take a moment to spread: a refusal is waited for first, and stalls only if it lasts.
fn settle_refusals(engine: &Engine, id: &str, parts: &mut [Part]) {
    let mut since = engine.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
    let refused = parts.iter().any(|part| part.fault().is_some_and(|fault| fault.class == Class::Forbidden));
    if !refused {
        since.remove(id);
        return;
    }
    let lasts = since.entry(id.to_owned()).or_insert_with(Instant::now).elapsed() >= FORBIDDEN_GRACE;
    for part in parts {
        if let State::Faulty(fault) | State::Unknown(fault) = &mut part.state
            && fault.class == Class::Forbidden
        {
            fault.class = if lasts { Class::Stalled } else { Class::Waiting(Duration::from_secs(5)) };
        }
    }
}

/// Writes status if it says something new, and tells of transitions. `begun` is the object as the round found it, `object` the newest.
async fn write_status<S: Story>(
    story: &S,
    engine: &Engine,
    begun: &S::Object,
    object: &S::Object,
    round: &Round<S::Facts>,
) -> Result<(), Fault> {
    let good = round.parts.iter().all(|part| part.fault().is_none());
    if good && !conditions::are_of_one_moment(&round.parts, S::conditions(begun), S::conditions(object)) {
        return Err(Fault::transient(
            names::CONFLICT,
            "somebody else wrote its status meanwhile; it is looked at again",
        ));
    }
    let (status, conditions) = status_of::<S>(object, round, &round.parts);
    let current = serde_json::to_value(object).ok().and_then(|object| object.get("status").cloned());
    if current.as_ref() == Some(&status) {
        return Ok(());
    }
    if !engine.leadership.leads() {
        return Err(Fault::transient(names::CONFLICT, "another replica leads by now"));
    }
    let name = object.name_any();
    let answer = patch_status::<S>(engine, object, &name, &status).await?;
    story.known().wrote(answer);
    tell_of_transition(engine, object, S::conditions(object), &conditions).await;
    Ok(())
}

/// Status with these parts, and the conditions in it.
fn status_of<S: Story>(object: &S::Object, round: &Round<S::Facts>, parts: &[Part]) -> (Value, Vec<Condition>) {
    let generation = object.meta().generation.unwrap_or_default();
    let conditions = conditions::of(&round.phase, parts, generation, S::conditions(object), clock::now());
    let mut status = S::report(object, round);
    if let Some(fields) = status.as_object_mut() {
        fields.insert("observedGeneration".into(), generation.into());
        fields.insert("conditions".into(), json!(conditions));
    }
    (status, conditions)
}

/// Writes into status what is about to be made outside the cluster, before it is made: after a crash at any point, an object whose
/// status names nothing has made nothing. `round` holds what is to be made, `part` is the condition that will speak of it.
pub async fn intend<S: Story>(
    known: &Known<S::Object>,
    engine: &Engine,
    object: &S::Object,
    round: &Round<S::Facts>,
    part: &'static str,
    making: String,
) -> Result<(), Fault> {
    let newest = known.get(&ObjectRef::from_obj(object)).filter(|newest| same_generation(newest.as_ref(), object));
    let object = newest.as_deref().unwrap_or(object);
    let mut parts = round.parts.clone();
    parts.push(Part::faulty(part, Fault::waiting(Duration::ZERO, names::PROGRESSING, making)));
    let (status, _) = status_of::<S>(object, round, &parts);
    known.wrote(patch_status::<S>(engine, object, &object.name_any(), &status).await?);
    Ok(())
}

async fn patch_status<S: Story>(
    engine: &Engine,
    object: &S::Object,
    name: &str,
    status: &Value,
) -> Result<S::Object, Fault> {
    // Of two writers that read the same, only one may win: the other knows less by now, and would take back what was found out.
    let metadata = json!({ "name": name, "uid": object.uid(), "resourceVersion": object.resource_version() });
    let patch = json!({
        "apiVersion": S::Object::api_version(&()), "kind": S::Object::kind(&()), "metadata": metadata, "status": status,
    });
    let params = PatchParams::apply(labels::MANAGER_STATUS).force();
    let answer = S::api(&engine.client, object).patch_status(name, &params, &Patch::Apply(patch)).await;
    answer.map_err(|error| Fault::api(&error, &format!("write the status of {} {name}", S::Object::kind(&()))))
}

/// One event for each change of what Ready says. An event that cannot be written is only logged: it decides nothing.
async fn tell_of_transition<K>(engine: &Engine, object: &K, before: &[Condition], now: &[Condition])
where
    K: Resource<DynamicType = ()>,
{
    let essence = |conditions: &[Condition]| {
        let ready = conditions.iter().find(|condition| condition.type_ == names::READY);
        ready.map(|ready| (ready.status.clone(), ready.reason.clone()))
    };
    let Some(ready) = now.iter().find(|condition| condition.type_ == names::READY) else { return };
    if essence(before) == essence(now) {
        return;
    }
    let stalled = now.iter().any(|condition| condition.type_ == names::STALLED);
    let event = Event {
        type_: if stalled { EventType::Warning } else { EventType::Normal },
        reason: ready.reason.clone(),
        note: Some(ready.message.chars().take(900).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = engine.recorder.publish(&event, &object.object_ref(&())).await {
        tracing::debug!(%error, "an event was not written");
    }
}

/// Puts the finalizer on if it is missing: the object as it is then, or `None` if it was there.
pub async fn held<S: Story>(story: &S, client: &Client, object: &S::Object) -> Result<Option<S::Object>, Fault> {
    if finalize::is_held(object) {
        return Ok(None);
    }
    let held = finalize::hold(&S::api(client, object), object).await?;
    story.known().wrote(held.clone());
    Ok(Some(held))
}

/// An [`Api`] for a kind that lives in a namespace.
pub fn namespaced<K>(client: &Client, object: &K) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}
