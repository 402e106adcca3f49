//! What somebody reaches who is in.

use agent_protocol::relay::{Event, PodUid};
use e2e::relays::{Caller, Raw, Relay, SUBSCRIPTIONS, next};
use futures::StreamExt as _;
use relay::jwt::{Claims, sign};
use relay::limits::MESSAGE;
use relay::nkey::{Role, Signer};
use relay::root::Owner;
use serde_json::json;

use super::world::world;

/// Answers every request with these words, at the place that it names.
fn answering(pod: &Caller, mut requests: async_nats::Subscriber, words: &'static str) {
    let client = pod.client.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let Some(reply) = request.reply else { continue };
            client.publish(reply, words.into()).await.unwrap();
            client.flush().await.unwrap();
        }
    });
}

/// A place for an answer of this pod.
pub fn inbox(pod: &PodUid) -> String {
    format!("{}.{}", pod.replies(), uuid::Uuid::new_v4().simple())
}

async fn driver(relay: &Relay, stack: &super::world::Stack) -> Caller {
    relay.driver(stack.identity).await.unwrap()
}

#[tokio::test]
async fn a_driver_asks_a_pod_and_gets_its_answer() {
    let world = world().await;
    let stack = world.stack().await;
    let (uid, pod) = world.signed_in(&stack).await;
    answering(&pod, pod.listen(&uid.requests()).await.unwrap(), "here");
    let driver = driver(&world.relay, &stack).await;
    assert_eq!(driver.ask(&uid.requests(), &inbox(&uid), b"where").await.unwrap(), b"here");
    assert_eq!(pod.complaints(), [""; 0]);
}

#[tokio::test]
async fn a_pod_hears_nothing_but_what_is_meant_for_it() {
    let world = world().await;
    let stack = world.stack().await;
    let (own, pod) = world.signed_in(&stack).await;
    let (other, _neighbour) = world.signed_in(&stack).await;
    let fixed =
        [">", "*", "*.>", "pod.>", "pod.*.in.>", "pod.*.in.request", "_INBOX.>", "_INBOX_RELAY.>", "$SYS.>", "$JS.>"];
    let subjects = fixed.map(str::to_owned).into_iter().chain([
        other.requests(),
        other.hears(),
        inbox(&other),
        format!("{}.>", other.replies()),
        other.event(Event::Log),
        inbox(&own),
        format!("pod.{own}.>"),
        own.event(Event::Log),
        "$SYS.REQ.USER.AUTH".to_owned(),
    ]);
    for subject in subjects {
        pod.listen(&subject).await.unwrap();
        pod.hears_complaint(&format!("permissions violation for subscription to \"{}\"", subject.to_lowercase()))
            .await
            .unwrap();
    }
    // What it may hear still comes.
    let mut heard = pod.listen(&own.requests()).await.unwrap();
    driver(&world.relay, &stack).await.say(&own.requests(), "hello").await.unwrap();
    assert_eq!(next(&mut heard).await.unwrap().payload, "hello");
}

#[tokio::test]
async fn a_pod_says_nothing_but_its_answers_and_events() {
    let world = world().await;
    let stack = world.stack().await;
    let (own, pod) = world.signed_in(&stack).await;
    let (other, neighbour) = world.signed_in(&stack).await;
    let mut heard = neighbour.listen(&other.requests()).await.unwrap();
    let fixed = [
        "_INBOX.x",
        "$JS.API.INFO",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.PURGE.EVENTS",
        "$JS.API.STREAM.MSG.GET.EVENTS",
        "$JS.API.CONSUMER.CREATE.EVENTS",
        "$JS.ACK.EVENTS.x.1.1.1.1.1",
        "$SYS.REQ.USER.INFO",
        "$SYS.REQ.USER.AUTH",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.ACCOUNT.PING.CONNZ",
        "$SYS.REQ.CLAIMS.UPDATE",
    ];
    let subjects = fixed.map(str::to_owned).into_iter().chain([
        other.requests(),
        inbox(&other),
        other.event(Event::Log),
        own.requests(),
        format!("pod.{own}.in.x"),
        format!("pod.{own}.out.event.other"),
        format!("{}.a.b", own.replies()),
    ]);
    for subject in subjects {
        pod.say(&subject, "x").await.unwrap();
        pod.hears_complaint(&format!("permissions violation for publish to \"{}\"", subject.to_lowercase()))
            .await
            .unwrap();
    }
    driver(&world.relay, &stack).await.say(&other.requests(), "last").await.unwrap();
    assert_eq!(next(&mut heard).await.unwrap().payload, "last", "nothing came before it");
}

#[tokio::test]
async fn a_place_for_the_answer_gives_a_pod_no_right_to_speak_there() {
    let world = world().await;
    let stack = world.stack().await;
    let (uid, pod) = world.signed_in(&stack).await;
    let (other, neighbour) = world.signed_in(&stack).await;
    let mut heard = neighbour.listen(&other.requests()).await.unwrap();
    answering(&pod, pod.listen(&uid.requests()).await.unwrap(), "x");
    let driver = driver(&world.relay, &stack).await;
    driver.client.publish_with_reply(uid.requests(), other.requests(), "go".into()).await.unwrap();
    pod.hears_complaint(&format!("permissions violation for publish to \"{}\"", other.requests())).await.unwrap();
    driver.say(&other.requests(), "last").await.unwrap();
    assert_eq!(next(&mut heard).await.unwrap().payload, "last");
}

#[tokio::test]
async fn a_tenant_hears_and_reaches_nothing_of_another() {
    let world = world().await;
    let (stack, other) = (world.stack().await, world.stack().await);
    let (uid, pod) = world.signed_in(&stack).await;
    let mut asked = pod.listen(&uid.requests()).await.unwrap();
    // Whoever may do everything in the other tenant's account, and knows the UID.
    world.signed_in(&other).await;
    let (stranger, own) = (driver(&world.relay, &other).await, driver(&world.relay, &stack).await);
    let mut all = stranger.listen("pod.>").await.unwrap();
    stranger.say(&uid.requests(), "from outside").await.unwrap();
    assert_eq!(next(&mut all).await.unwrap().payload, "from outside");
    own.say(&uid.requests(), "from inside").await.unwrap();
    assert_eq!(next(&mut asked).await.unwrap().payload, "from inside");
    pod.say(&uid.event(Event::Log), "mine").await.unwrap();
    stranger.say("pod.marker", "last").await.unwrap();
    assert_eq!(next(&mut all).await.unwrap().payload, "last", "the pod's event stayed in its account");
}

#[tokio::test]
async fn a_tenant_neither_sees_the_servers_nor_commands_them() {
    let world = world().await;
    let stack = world.stack().await;
    world.signed_in(&stack).await;
    let driver = driver(&world.relay, &stack).await;
    for subject in ["$SYS.REQ.SERVER.PING", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.USER.AUTH"] {
        let refused = driver.ask(subject, "mine.1", b"{}").await.unwrap_err();
        assert!(format!("{refused:#}").contains("no responders"), "{subject}: {refused:#}");
    }
}

#[tokio::test]
async fn a_user_that_somebody_signed_for_himself_is_refused() {
    let world = world().await;
    let stack = world.stack().await;
    world.signed_in(&stack).await;
    let key = Signer::new(Role::Account, &[7; 32]).unwrap();
    let user = Signer::new(Role::User, &[7; 32]).unwrap().public().to_string();
    // Of an account of his own, and in the name of the tenant's.
    for account in [None, Some(world.relay.called(Owner::TenantAccount(stack.identity)).unwrap().to_string())] {
        let nats = json!({
            "pub": { "allow": [">"] }, "sub": { "allow": [">"] }, "subs": -1, "data": -1, "payload": -1,
            "bearer_token": true, "issuer_account": account, "type": "user", "version": 2,
        });
        let claims = Claims { aud: None, exp: None, name: "me".to_owned(), sub: user.clone(), nats };
        let refused = Caller::with_jwt(&world.relay, sign(&claims, &key, 5).unwrap()).await;
        let refusal = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(refusal.contains("authorization violation"), "{account:?}: {refusal}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_its_connection() {
    let world = world().await;
    let stack = world.stack().await;
    let pod = stack.pod().await;
    let mut raw = Raw::signed_in(&world.relay, world.plane, &stack.token(&pod).await).await.unwrap();
    raw.send(format!("PUB {} {}\r\n", inbox(&pod.uid), MESSAGE + 1).as_bytes()).await.unwrap();
    let complaint = raw.line_with("-ERR").await.unwrap();
    assert!(complaint.contains("Maximum Payload"), "{complaint}");
    raw.rest().await.unwrap();
}

#[tokio::test]
async fn a_pod_has_so_many_subscriptions_and_no_more() {
    let world = world().await;
    let stack = world.stack().await;
    let (uid, pod) = world.signed_in(&stack).await;
    let mut open = Vec::new();
    for number in 0..=SUBSCRIPTIONS {
        open.push(pod.client.subscribe(format!("pod.{uid}.in.{number}")).await.unwrap());
    }
    pod.hears_complaint("maximum subscriptions exceeded").await.unwrap();
}
