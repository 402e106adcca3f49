//! What happens when a part of the relay is gone for a while.

use std::time::Duration;

use agent_protocol::relay::{Event, PodUid};
use e2e::relays::Caller;
use e2e::wait::until;

use super::streams::{driver, kept};
use super::world::{new_world, world_of_several};

const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn who_is_in_stays_in_without_the_doorkeeper_and_who_is_not_comes_in_when_it_is_back() {
    let world = new_world().await;
    let stack = world.stack().await;
    let (uid, pod) = world.signed_in(&stack).await;
    let mut heard = pod.listen(&uid.requests()).await.unwrap();
    world.relay.stop_doorkeeper().unwrap();
    // One who shows what the secret signed needs nobody to let him in.
    let driver = world.relay.driver(stack.identity).await.unwrap();
    driver.say(&uid.requests(), "still there").await.unwrap();
    assert_eq!(e2e::relays::next(&mut heard).await.unwrap().payload, "still there");
    let (another, token) = {
        let another = stack.pod().await;
        let token = stack.token(&another).await;
        (another, token)
    };
    assert!(Caller::with_token(&world.relay, Some(&token)).await.is_err(), "nobody vouches for {}", another.name);
    world.relay.start_doorkeeper().await.unwrap();
    world.admitted(&token).await;
}

#[tokio::test]
async fn a_server_that_lost_all_that_it_knew_learns_of_accounts_again() {
    let world = new_world().await;
    let stack = world.stack().await;
    world.signed_in(&stack).await;
    world.relay.kill_nats(0).unwrap();
    world.relay.forget().unwrap();
    world.relay.start_nats().await.unwrap();
    let pod = stack.pod().await;
    let token = stack.token(&pod).await;
    let back = async || Ok(Caller::with_token(&world.relay, Some(&token)).await.is_ok());
    until("a pod is let in again", PATIENCE, back).await.unwrap();
}

#[tokio::test]
async fn three_servers_go_on_when_one_is_lost_with_the_events_that_they_kept() {
    let world = world_of_several(3).await;
    let stack = world.stack().await;
    let (uid, pod) = world.signed_in(&stack).await;
    let before = driver(&world, &stack).await;
    tells_until_kept(&pod, &uid, &before, 1).await;
    world.relay.kill_nats(0).unwrap();
    let another = stack.pod().await;
    let token = stack.token(&another).await;
    let back = async || Ok(Caller::with_token(&world.relay, Some(&token)).await.is_ok());
    until("a pod is let in again", PATIENCE, back).await.unwrap();
    let (uid, pod) = world.signed_in(&stack).await;
    let after = driver(&world, &stack).await;
    until("the events are there", PATIENCE, async || Ok(kept(&after).await >= Some(1))).await.unwrap();
    let more = kept(&after).await.unwrap() + 1;
    tells_until_kept(&pod, &uid, &after, more).await;
}

/// An event is told once, and until all servers know of the stream it may be lost.
async fn tells_until_kept(pod: &Caller, uid: &PodUid, driver: &Caller, least: u64) {
    let told = async || {
        pod.say(&uid.event(Event::Log), "again").await?;
        Ok(kept(driver).await >= Some(least))
    };
    until("an event is kept", PATIENCE, told).await.unwrap();
}
