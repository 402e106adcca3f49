//! The agent of a desktop at the relay: its transport, and what answers behind it, with a desktop that has not started.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::desktop::Desktop;
use agent::relay::{Gate, Relay};
use agent::serve::Server;
use agent_protocol::relay::PodUid;
use agent_protocol::{Answer, Id, Nothing, Outcome, Request, State, Verb};
use e2e::relays::Caller;
use e2e::wait::until;
use futures::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};

use super::doors::{ending, now};
use super::walls::inbox;
use super::world::{World, world};

/// A file with a token, which goes with the test.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        Self(std::env::temp_dir().join(e2e::unique("steading-relay-token")))
    }

    /// As the kubelet does it: the new one takes the place of the old one at once.
    fn write(&self, token: &SecretString) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, token.expose_secret()).unwrap();
        std::fs::rename(&new, &self.0).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn begin(world: &World, pod: &PodUid, token: &Path) {
    let servers = world.relay.addresses().iter().map(|address| address.parse().unwrap()).collect();
    let gate = Gate::new(servers, world.relay.authority().to_owned(), token.to_owned(), pod.clone());
    let desktop = Arc::new(Desktop::new((1280, 800), "unix:path=/nowhere"));
    tokio::spawn(Server::new(desktop).serve(Relay::dial(gate)));
}

/// What the agent says of its desktop.
async fn status(driver: &Caller, pod: &PodUid) -> anyhow::Result<State> {
    let request = Request::new(Id::try_from("1").unwrap(), Verb::Status(Nothing {})).write().unwrap();
    let answer = driver.ask(&pod.requests(), &inbox(pod), &request).await?;
    match Answer::read(&answer)?.0.outcome {
        Outcome::Status(status) => Ok(status.state),
        other => anyhow::bail!("{other:?}"),
    }
}

async fn is_there(driver: &Caller, pod: &PodUid) {
    let there = async || Ok(status(driver, pod).await.is_ok());
    until("the agent answers", Duration::from_secs(40), there).await.unwrap();
}

#[tokio::test]
async fn an_agent_does_verbs_for_a_driver_elsewhere() {
    let world = world().await;
    let stack = world.stack().await;
    let (pod, file) = (stack.pod().await, File::new());
    file.write(&stack.token(&pod).await);
    begin(world, &pod.uid, &file.0);
    // The account is made when the first pod signs in.
    let known = async || Ok(world.relay.driver(stack.identity).await.is_ok());
    until("the account is there", Duration::from_secs(20), known).await.unwrap();
    let driver = world.relay.driver(stack.identity).await.unwrap();
    is_there(&driver, &pod.uid).await;
    assert_eq!(status(&driver, &pod.uid).await.unwrap(), State::Starting);
    let nonsense = driver.ask(&pod.uid.requests(), &inbox(&pod.uid), b"nonsense").await.unwrap();
    assert!(matches!(Answer::read(&nonsense).unwrap().0.outcome, Outcome::Error(_)));
}

#[tokio::test]
async fn no_request_is_lost_while_an_agent_changes_to_its_next_token() {
    let world = world().await;
    let stack = world.stack().await;
    let (pod, file) = (stack.pod().await, File::new());
    let first = now() + 25;
    file.write(&ending(world, &stack, &pod, first).await);
    world.signed_in(&stack).await;
    let driver = world.relay.driver(stack.identity).await.unwrap();
    begin(world, &pod.uid, &file.0);
    is_there(&driver, &pod.uid).await;
    assert!(now() + 8 < first, "the machine is too slow for this test");
    file.write(&stack.token(&pod).await);
    // So many that some are under way at any moment.
    let asking = (0..8).map(async |_| {
        let mut answered = 0;
        while now() < first + 5 {
            let left = first.cast_signed() - now().cast_signed();
            let told = status(&driver, &pod.uid).await;
            told.unwrap_or_else(|error| panic!("{left} s before the first token ends: {error:#}"));
            answered += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        answered
    });
    let answered: u32 = join_all(asking).await.into_iter().sum();
    e2e::show(&format!("relay: {answered} requests were answered while the token was changed"));
}

#[tokio::test]
async fn an_agent_without_a_token_comes_as_soon_as_it_has_one() {
    let world = world().await;
    let stack = world.stack().await;
    let (pod, file) = (stack.pod().await, File::new());
    begin(world, &pod.uid, &file.0);
    world.signed_in(&stack).await;
    let driver = world.relay.driver(stack.identity).await.unwrap();
    assert!(status(&driver, &pod.uid).await.is_err());
    file.write(&stack.token(&pod).await);
    is_there(&driver, &pod.uid).await;
}
