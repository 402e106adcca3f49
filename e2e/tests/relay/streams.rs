//! What is kept of what pods tell.

use std::time::Duration;

use agent_protocol::relay::Event;
use e2e::relays::{Caller, next};
use e2e::wait::until;
use relay::limits::{EVENT, EVENTS_OF_POD, STREAM};
use serde_json::{Value, json};

use super::world::{Stack, World, world};

/// What the server answers; null if it does not, as servers that choose a new leader do not.
async fn ask(driver: &Caller, subject: &str, body: Value) -> Value {
    let answer = driver.ask(subject, "mine.1", body.to_string().as_bytes()).await;
    answer.map_or(Value::Null, |answer| serde_json::from_slice(&answer).unwrap())
}

async fn stream(driver: &Caller) -> Value {
    ask(driver, &format!("$JS.API.STREAM.INFO.{STREAM}"), json!({ "subjects_filter": ">" })).await
}

/// A driver of a tenant whose stream is there.
pub async fn driver(world: &World, stack: &Stack) -> Caller {
    let driver = world.relay.driver(stack.identity).await.unwrap();
    let made = async || Ok(stream(&driver).await["config"]["name"] == STREAM);
    until("the stream is there", Duration::from_secs(20), made).await.unwrap();
    driver
}

/// How many events are kept, if somebody says so.
pub async fn kept(driver: &Caller) -> Option<u64> {
    stream(driver).await["state"]["messages"].as_u64()
}

#[tokio::test]
async fn what_a_pod_tells_is_kept_in_its_tenants_stream_alone() {
    let world = world().await;
    let (stack, other) = (world.stack().await, world.stack().await);
    let (uid, pod) = world.signed_in(&stack).await;
    world.signed_in(&other).await;
    let (own, stranger) = (driver(world, &stack).await, driver(world, &other).await);
    for event in Event::ALL {
        pod.say(&uid.event(event), event.name()).await.unwrap();
    }
    until("three are kept", Duration::from_secs(20), async || Ok(kept(&own).await == Some(3))).await.unwrap();
    assert_eq!(kept(&stranger).await, Some(0));
    let config = stream(&own).await["config"].clone();
    assert_eq!((&config["discard"], &config["no_ack"]), (&json!("old"), &json!(true)), "{config}");
}

#[tokio::test]
async fn one_pod_that_tells_too_much_pushes_out_its_own_and_nobody_elses() {
    let world = world().await;
    let stack = world.stack().await;
    let ((loud, noise), (quiet, pod)) = (world.signed_in(&stack).await, world.signed_in(&stack).await);
    let driver = driver(world, &stack).await;
    pod.say(&quiet.event(Event::Log), "once").await.unwrap();
    for number in 0..EVENTS_OF_POD * 3 {
        noise.client.publish(loud.event(Event::Log), number.to_string().into()).await.unwrap();
    }
    noise.client.flush().await.unwrap();
    let expected = u64::from(EVENTS_OF_POD) + 1;
    let settled = async || Ok(stream(&driver).await["state"]["last_seq"] == EVENTS_OF_POD * 3 + 1);
    until("all of them have come", Duration::from_secs(20), settled).await.unwrap();
    let state = stream(&driver).await["state"].clone();
    assert_eq!(state["messages"], expected, "{state}");
    assert_eq!(state["subjects"][quiet.event(Event::Log)], 1, "{state}");
}

#[tokio::test]
async fn an_event_that_is_too_large_is_not_kept() {
    let world = world().await;
    let stack = world.stack().await;
    let (uid, pod) = world.signed_in(&stack).await;
    let driver = driver(world, &stack).await;
    pod.say(&uid.event(Event::Log), &"x".repeat(EVENT as usize + 1)).await.unwrap();
    pod.say(&uid.event(Event::Denied), "small").await.unwrap();
    until("the small one is kept", Duration::from_secs(20), async || Ok(kept(&driver).await > Some(0))).await.unwrap();
    assert_eq!(kept(&driver).await, Some(1));
}

#[tokio::test]
async fn the_stream_writes_nothing_where_an_events_sender_points() {
    let world = world().await;
    let stack = world.stack().await;
    let ((sly, pod), (other, neighbour)) = (world.signed_in(&stack).await, world.signed_in(&stack).await);
    let driver = driver(world, &stack).await;
    let mut heard = neighbour.listen(&other.requests()).await.unwrap();
    for words in ["x".repeat(EVENT as usize + 1), "x".to_owned()] {
        pod.client.publish_with_reply(sly.event(Event::Log), other.requests(), words.into()).await.unwrap();
    }
    pod.client.flush().await.unwrap();
    until("the event is kept", Duration::from_secs(20), async || Ok(kept(&driver).await == Some(1))).await.unwrap();
    driver.say(&other.requests(), "last").await.unwrap();
    assert_eq!(next(&mut heard).await.unwrap().payload, "last", "nobody acknowledged the event there");
}

#[tokio::test]
async fn a_tenant_can_make_no_further_stream() {
    let world = world().await;
    let stack = world.stack().await;
    world.signed_in(&stack).await;
    let driver = driver(world, &stack).await;
    let more = json!({ "name": "MORE", "subjects": ["more"], "max_bytes": 1000, "num_replicas": 1 });
    let answer = ask(&driver, "$JS.API.STREAM.CREATE.MORE", more).await;
    assert!(answer["error"]["description"].as_str().unwrap_or_default().contains("maximum"), "{answer}");
}
