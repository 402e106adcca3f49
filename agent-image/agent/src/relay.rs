//! Requests over the relay. In: where it is, whom to trust, and the file with the pod's token. Out: a transport for drivers elsewhere; the
//! pod itself listens nowhere.
//!
//! A connection lasts as long as the token that opened it. Whenever the kubelet has put a new token into the file, another connection is
//! made with it and takes the requests over before the old one is let go: so none is lost, and none is answered twice. An answer goes over
//! the newest connection, whichever its request came by.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_protocol::relay::{Event, PodUid};
use agent_protocol::{Answer, Outcome};
use anyhow::{Context as _, Result, bail, ensure};
use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Auth, AuthError, Client, ConnectOptions, Message, Request, ServerAddr, Subscriber};
use clap::Args;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::serve::{Asked, Transport};

/// Those who answer for one pod: its old connection and its new one.
const GROUP: &str = "agent";
/// How often the token's file is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The longest pause between two tries. The relay's doorkeeper lets a pod in twice a minute for as long as it likes.
const PAUSE: Duration = Duration::from_secs(30);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(20);
/// So many requests may lie here unread; the server is asked for no more.
const UNREAD: usize = 64;
/// How long an old connection may take to end.
const DRAIN: Duration = Duration::from_secs(5);
/// No token is longer.
const TOKEN_BYTES: usize = 16 * 1024;

/// Where the relay is, and how to come in.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Servers of the relay, as tls://host:port; without them requests come from this machine alone
    #[arg(id = "relay", long = "relay", env = "AGENT_RELAY", value_delimiter = ',', requires_all = ["relay_authority", "pod"])]
    servers: Vec<ServerAddr>,
    /// File with the certificates (PEM) of the authority that signed theirs
    #[arg(id = "relay_authority", long = "relay-authority", env = "AGENT_RELAY_AUTHORITY")]
    authority: Option<PathBuf>,
    /// File with the token by which the pod signs in; looked at again and again
    #[arg(long = "relay-token", env = "AGENT_RELAY_TOKEN", default_value = "/var/run/secrets/steading/relay/token")]
    token: PathBuf,
    /// The UID of the pod
    #[arg(long = "pod", env = "AGENT_POD")]
    pod: Option<PodUid>,
}

impl Settings {
    /// How to come in, if there is a relay.
    pub fn gate(&self) -> Option<Gate> {
        let (Some(authority), Some(pod)) = (self.authority.clone(), self.pod.clone()) else { return None };
        let (servers, token) = (self.servers.clone(), self.token.clone());
        (!servers.is_empty()).then(|| Gate::new(servers, authority, token, pod))
    }
}

/// How to come in.
#[derive(Clone, Debug)]
pub struct Gate {
    servers: Vec<ServerAddr>,
    authority: PathBuf,
    token: PathBuf,
    pod: PodUid,
}

/// The relay, as far as it is reached.
pub struct Relay(mpsc::Receiver<Asked>);

impl Transport for Relay {
    async fn next(&mut self) -> Option<Asked> {
        self.0.recv().await
    }
}

/// The newest connection.
type Newest = Arc<Mutex<Option<Client>>>;

impl Relay {
    /// Dials out, and does so for ever.
    pub fn dial(gate: Gate) -> Self {
        // Another one that is there already does as well.
        let _there = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (tell, asked) = mpsc::channel(1);
        tokio::spawn(stay(gate, tell));
        Self(asked)
    }
}

/// One connection after the other, each with the token of its time.
async fn stay(gate: Gate, tell: mpsc::Sender<Asked>) {
    let newest = Newest::default();
    let mut held: Option<Held> = None;
    let mut tries = 0;
    loop {
        match gate.connect().await {
            Ok((token, client, requests)) => {
                tries = 0;
                let before = newest.lock().unwrap_or_else(PoisonError::into_inner).replace(client.clone());
                if let (Some(held), Some(before)) = (held.take(), before) {
                    held.let_go(before);
                }
                let (stop, stopped) = oneshot::channel();
                tokio::spawn(take(gate.pod.clone(), requests, stopped, Arc::clone(&newest), tell.clone()));
                held = Some(Held(stop));
                gate.until_token_is_not(&token).await;
            }
            Err(error) => {
                eprintln!("desktop: the relay is not reached, and is tried again: {error:#}");
                sleep(pause(tries)).await;
                tries += 1;
            }
        }
        if tell.is_closed() {
            return;
        }
    }
}

/// A connection that takes requests until this is let go.
struct Held(oneshot::Sender<()>);

impl Held {
    /// The requests that came by it are still done; then it ends.
    fn let_go(self, client: Client) {
        // It may have ended by itself.
        let _ended = self.0.send(());
        tokio::spawn(async move {
            sleep(DRAIN).await;
            let _late = timeout(DRAIN, client.drain()).await;
        });
    }
}

/// Takes requests off one connection.
async fn take(
    pod: PodUid,
    mut requests: Subscriber,
    mut stopped: oneshot::Receiver<()>,
    newest: Newest,
    tell: mpsc::Sender<Asked>,
) {
    loop {
        let request = tokio::select! {
            request = requests.next() => request,
            _ = &mut stopped => {
                // What has come by now is still in here.
                if requests.drain().await.is_err() { return }
                while let Some(request) = requests.next().await {
                    pass(&pod, request, &newest, &tell).await;
                }
                return;
            }
        };
        let Some(request) = request else { return };
        pass(&pod, request, &newest, &tell).await;
    }
}

/// Passes one request on, and its answer back.
async fn pass(pod: &PodUid, request: Message, newest: &Newest, tell: &mpsc::Sender<Asked>) {
    let Some(place) = request.reply.filter(|place| pod.may_answer_at(place)) else {
        eprintln!("desktop: a request names no place below {} for its answer and is not done", pod.replies());
        return;
    };
    let (reply, answer) = oneshot::channel();
    if tell.send((request.payload.to_vec(), reply)).await.is_err() {
        return;
    }
    let (newest, told) = (Arc::clone(newest), pod.event(Event::Screenshot));
    tokio::spawn(async move {
        let Ok(answer) = answer.await else { return };
        let client = newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(client) = client else { return };
        let event = picture_taken(&answer);
        let mut sent = client.publish(place, answer.into()).await;
        if let Some(event) = event {
            sent = sent.and(client.publish(told, event.into()).await);
        }
        if let Err(error) = sent {
            eprintln!("desktop: an answer could not be sent: {error}");
        }
    });
}

/// What is told of an answer with a picture: all of it but the picture itself.
fn picture_taken(answer: &[u8]) -> Option<Vec<u8>> {
    let (answer, _) = Answer::read(answer).ok()?;
    if matches!(answer.outcome, Outcome::Picture(_)) { serde_json::to_vec(&answer).ok() } else { None }
}

impl Gate {
    /// One of these servers, for this pod with the token in this file.
    pub fn new(servers: Vec<ServerAddr>, authority: PathBuf, token: PathBuf, pod: PodUid) -> Self {
        Self { servers, authority, token, pod }
    }

    async fn connect(&self) -> Result<(String, Client, Subscriber)> {
        let token = read(&self.token)?;
        let come = async {
            let client = self.options().connect(self.servers.clone()).await?;
            let requests = client.queue_subscribe(self.pod.requests(), GROUP.to_owned()).await?;
            self.is_in(&client).await?;
            anyhow::Ok((client, requests))
        };
        let in_time = timeout(CONNECT, come).await;
        let (client, requests) =
            in_time.with_context(|| format!("nothing came about in {} s", CONNECT.as_secs()))??;
        Ok((token, client, requests))
    }

    /// Returns once the server has let the pod in and has its subscription. Until then it may ask whether the client is there, which the client
    /// takes for a welcome. So the pod says something to which nobody listens, and the server says so.
    async fn is_in(&self, client: &Client) -> Result<()> {
        let part = RandomState::new().build_hasher().finish();
        let inbox = format!("{}.{part}", self.pod.hears().trim_end_matches(".>"));
        let question = Request::new().inbox(inbox).timeout(Some(CONNECT / 2));
        match client.send_request(format!("{}.{part}", self.pod.replies()), question).await {
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
            // Somebody listens to all answers and says nothing, which is his right.
            _ if client.connection_state() == State::Connected => Ok(()),
            _ => bail!("the relay did not let the pod in"),
        }
    }

    fn options(&self) -> ConnectOptions {
        let file = self.token.clone();
        // Each time that it connects again, too, it shows what is in the file then.
        ConnectOptions::with_auth_callback(move |_| {
            let token = read(&file);
            async move {
                let mut auth = Auth::new();
                auth.token = Some(token.map_err(AuthError::new)?);
                Ok(auth)
            }
        })
        .name("steading-agent")
        .add_root_certificates(self.authority.clone())
        .require_tls(true)
        .tls_first()
        .ignore_discovered_servers()
        .subscription_capacity(UNREAD)
        .ping_interval(Duration::from_secs(20))
        .reconnect_delay_callback(|tries| if tries <= 1 { Duration::ZERO } else { pause(tries) })
    }

    /// Returns once there is another token in the file.
    async fn until_token_is_not(&self, token: &str) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A file that cannot be read now can be in a moment: the kubelet swaps a link.
            if read(&self.token).is_ok_and(|now| now != token) {
                return;
            }
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let what = || format!("the pod's token cannot be read from {}", path.display());
    let token = std::fs::read_to_string(path).with_context(what)?;
    let token = token.trim_ascii();
    ensure!(!token.is_empty() && token.len() <= TOKEN_BYTES, "there is no token in {}", path.display());
    Ok(token.to_owned())
}

/// How long to wait after so many tries: ever longer, and never the same for all pods of a node.
fn pause(tries: usize) -> Duration {
    let doubled = u32::try_from(tries).ok().and_then(|tries| 2_u32.checked_pow(tries)).unwrap_or(u32::MAX);
    let most = Duration::from_millis(500).saturating_mul(doubled).min(PAUSE);
    let share = u32::try_from(RandomState::new().build_hasher().finish() % 100).unwrap_or(0);
    most / 2 + most * share / 200
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const POD: &str = "0d6f1f0e-5c1b-4a57-9d3c-2f0a6f4f7a10";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn gate(given: &[&str]) -> Result<Option<Gate>, clap::Error> {
        Line::try_parse_from(["agent"].iter().chain(given)).map(|line| line.settings.gate())
    }

    #[test]
    fn there_is_no_relay_unless_it_is_named_and_then_it_is_known_whom_to_trust() {
        assert!(gate(&[]).unwrap().is_none());
        assert!(gate(&["--relay", "tls://relay:4222"]).is_err());
        assert!(gate(&["--relay", "tls://relay:4222", "--relay-authority", "/ca", "--pod", "*"]).is_err());
        let whole = gate(&["--relay", "tls://relay:4222", "--relay-authority", "/ca", "--pod", POD]).unwrap().unwrap();
        assert_eq!(whole.pod.to_string(), POD);
    }

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ() {
        for (tries, most) in [(0, 500), (1, 1000), (3, 4000), (10, 30_000), (100, 30_000)] {
            let most = Duration::from_millis(most);
            let pauses: Vec<Duration> = (0..20).map(|_| pause(tries)).collect();
            assert!(pauses.iter().all(|pause| *pause >= most / 2 && *pause <= most), "{tries}: {pauses:?}");
            assert!(pauses.iter().any(|pause| Some(pause) != pauses.first()), "{tries}");
        }
    }

    #[test]
    fn a_token_is_read_without_what_stands_around_it() {
        let path = std::env::temp_dir().join(format!("steading-agent-token-{}", std::process::id()));
        std::fs::write(&path, "a.b.c\n").unwrap();
        assert_eq!(read(&path).unwrap(), "a.b.c");
        std::fs::write(&path, "\n").unwrap();
        assert!(read(&path).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("steading-agent-token"));
    }

    #[tokio::test]
    async fn an_answer_goes_nowhere_but_below_the_pods_own_replies() {
        let (pod, newest) = (POD.parse::<PodUid>().unwrap(), Newest::default());
        let (tell, mut asked) = mpsc::channel(8);
        for place in [None, Some("_INBOX.x"), Some("pod.other.out.reply.x"), Some("pod.*.out.reply.x")] {
            pass(&pod, request(place), &newest, &tell).await;
        }
        assert!(asked.try_recv().is_err(), "nothing of it is done");
        pass(&pod, request(Some(&format!("pod.{POD}.out.reply.x1"))), &newest, &tell).await;
        assert_eq!(asked.try_recv().unwrap().0, b"what");
    }

    #[test]
    fn of_a_picture_is_told_that_it_was_taken_and_not_what_is_on_it() {
        let size = agent_protocol::Size {
            width: agent_protocol::Extent::nearest(1),
            height: agent_protocol::Extent::nearest(1),
        };
        let picture = agent_protocol::Picture {
            format: agent_protocol::PictureFormat::Png,
            bytes: agent_protocol::Whole::nearest(4),
            size,
            region: crate::verbs::region([0, 0, 1, 1]),
            screen: size,
        };
        let taken = Answer::new(None, Outcome::Picture(picture)).write(b"\x89PNG").unwrap();
        let told = picture_taken(&taken).unwrap();
        assert!(told.starts_with(b"{") && !told.windows(4).any(|bytes| bytes == b"\x89PNG"));
        let done = Answer::new(None, Outcome::Done(agent_protocol::Nothing {})).write(&[]).unwrap();
        assert_eq!(picture_taken(&done), None);
    }

    fn request(place: Option<&str>) -> Message {
        Message {
            subject: "pod".into(),
            reply: place.map(Into::into),
            payload: "what".into(),
            headers: None,
            status: None,
            description: None,
            length: 4,
        }
    }
}
