//! A gateway with a pool, sessions, and a world in which every name and address is what the test says.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use data_encoding::BASE64;
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    Clock, Gateway,
    allow::AllowList,
    host::Name,
    metrics::Metrics,
    policy::{Limits, Policies, Pool, SessionState},
    proxy::Bounds,
    reach::{Dialler, NoAddress, Resolver, Stream},
    reason::Reason,
    route::Router,
    server::{self, Places},
    token::Signer,
    upstream::UpstreamProxy,
};

pub const NOW: u64 = 1_800_000_000;
/// Where `api.example.com` is.
pub const API: &str = "93.184.215.14";
/// In tests with real sockets nothing takes so long unless it never comes.
pub const SOON: Duration = Duration::from_mins(1);

pub fn uid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// What names mean, who listens where, and what was asked of the world.
#[derive(Default)]
pub struct World {
    names: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    hosts: Mutex<HashMap<SocketAddr, Place>>,
    pub asked: Mutex<Vec<String>>,
    pub dialled: Mutex<Vec<SocketAddr>>,
}

#[derive(Clone)]
enum Place {
    Socket(SocketAddr),
    Pipe(mpsc::UnboundedSender<DuplexStream>),
}

impl World {
    /// From now on `name` has these addresses; if there are several answers, one after the other, and the last for ever.
    pub fn name(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        self.names.lock().unwrap().insert(name.to_owned(), answers);
    }

    /// From now on nobody says what `name` means.
    pub fn silence(&self, name: &str) {
        self.names.lock().unwrap().insert(name.to_owned(), Vec::new());
    }

    /// Somebody listens at `address`: a real socket.
    pub async fn listen(&self, address: &str) -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::Socket(listener.local_addr().unwrap());
        self.hosts.lock().unwrap().insert(address.parse().unwrap(), place);
        listener
    }

    /// Somebody listens at `address`: in memory, so that time can be stopped.
    pub fn pipe(&self, address: &str) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.hosts.lock().unwrap().insert(address.parse().unwrap(), Place::Pipe(sender));
        receiver
    }

    pub fn dialled(&self) -> Vec<String> {
        self.dialled.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

#[async_trait]
impl Resolver for World {
    async fn addresses(&self, name: &Name) -> Result<Vec<IpAddr>, NoAddress> {
        self.asked.lock().unwrap().push(name.as_str().to_owned());
        let answer = match self.names.lock().unwrap().get_mut(name.as_str()) {
            None => return Err(NoAddress::NotFound),
            Some(answers) if answers.len() > 1 => Some(answers.remove(0)),
            Some(answers) => answers.first().cloned(),
        };
        match answer {
            Some(answer) => Ok(answer),
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Dialler for World {
    async fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        self.dialled.lock().unwrap().push(address);
        let place = self.hosts.lock().unwrap().get(&address).cloned();
        match place {
            Some(Place::Socket(local)) => Ok(Box::new(TcpStream::connect(local).await?)),
            Some(Place::Pipe(sender)) => {
                let (ours, theirs) = duplex(64 * 1024);
                sender.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Ok(Box::new(ours))
            }
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// A gateway, and everything around it that a test may change.
pub struct Stage {
    pub gateway: Gateway,
    pub world: Arc<World>,
    pub signer: Signer,
    pub now: Arc<AtomicU64>,
    pub changes: watch::Sender<Arc<Policies>>,
    address: SocketAddr,
}

pub fn pool() -> Pool {
    let entries = [
        "api.example.com",
        "api.example.com:80",
        "*.apps.example.com",
        "inner.example.com",
        "93.184.215.20",
        "10.1.2.3",
    ];
    Pool {
        uid: uid(2).into(),
        name: "acme/desktops".into(),
        tenant: uid(3).into(),
        allow: AllowList::new(entries.iter().map(|entry| entry.parse().unwrap()).collect()),
        addresses: vec!["10.20.0.0/16".parse().unwrap()],
        limits: Limits::default(),
        sessions: [
            (uid(1).into(), SessionState::Active),
            (uid(4).into(), SessionState::Active),
            (uid(9).into(), SessionState::Ended),
        ]
        .into(),
    }
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(None).await
    }

    pub async fn with(upstream: Option<UpstreamProxy>) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let signer = Signer::from_pkcs8(&pair.serialize_der()).unwrap();
        let world = Arc::new(World::default());
        world.name("api.example.com", &[&[API]]);
        let pool = pool();
        let policies = Policies { keys: (&signer).into(), pools: [(pool.uid, Arc::new(pool))].into() };
        let (changes, policies) = watch::channel(Arc::new(policies));
        let router = Router {
            resolver: Arc::clone(&world) as Arc<dyn Resolver>,
            dialler: Arc::clone(&world) as Arc<dyn Dialler>,
            upstream,
            cluster: ["10.0.0.0/8", "93.184.216.0/24"].map(|range| range.parse().unwrap()).into(),
            resolve_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
        };
        let now = Arc::new(AtomicU64::new(NOW));
        let reading = Arc::clone(&now);
        let clock = Clock::of(move || reading.load(Ordering::Relaxed));
        let gateway = Gateway::new(policies, router, Bounds::default(), Metrics::new().unwrap(), clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = gateway.clone();
        let places = Places { all: 1000, of_one: 1000 };
        tokio::spawn(async move { server::serve(&serving, listener, places, None, std::future::pending()).await });
        Self { gateway, world, signer, now, changes, address }
    }

    /// Changes what is allowed, as a new file would.
    pub fn change(&self, change: impl FnOnce(&mut Policies)) {
        self.changes.send_modify(|policies| change(Arc::make_mut(policies)));
    }

    /// Changes the pool.
    pub fn change_pool(&self, change: impl FnOnce(&mut Pool)) {
        self.change(|policies| change(Arc::make_mut(policies.pools.get_mut(&uid(2).into()).unwrap())));
    }

    /// The header field of session `number`, with a token that is over in an hour.
    pub fn shows(&self, number: u128) -> String {
        self.shows_until(number, NOW + 3600)
    }

    pub fn shows_until(&self, number: u128, expires: u64) -> String {
        let token = self.signer.sign(uid(number).into(), uid(2).into(), uid(3).into(), expires);
        basic(&uid(number).to_string(), token.expose_secret())
    }

    pub async fn agent(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// An agent in memory.
    pub fn near_agent(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        let gateway = self.gateway.clone();
        tokio::spawn(async move { gateway.serve(theirs).await });
        ours
    }

    /// The answer to a request whose head stands here with `\n` at the end of lines and without credentials.
    pub async fn ask(&self, head: &str) -> Answer {
        let mut agent = self.agent().await;
        send(&mut agent, &self.head(head)).await;
        Answer::read(&mut agent).await
    }

    pub fn head(&self, head: &str) -> String {
        let head = head.replace('\n', "\r\n");
        let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        format!("{first}\r\n{}\r\n{rest}\r\n", self.shows(1))
    }

    /// A tunnel that is open to `target`, before its first byte.
    pub async fn tunnel(&self, target: &str) -> TcpStream {
        let mut agent = self.agent().await;
        self.open(&mut agent, target).await;
        agent
    }

    pub async fn open(&self, agent: &mut (impl AsyncRead + AsyncWrite + Unpin), target: &str) {
        send(agent, &self.head(&format!("CONNECT {target} HTTP/1.1\n"))).await;
        let answer = Answer::read(agent).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// How often the metrics have this line, whose value it is.
    pub fn counted(&self, series: &str) -> u64 {
        let text = self.gateway.metrics().encode().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap_or("0");
        line.parse().unwrap()
    }

    pub fn denials(&self, reason: Reason) -> u64 {
        self.counted(&format!(
            r#"steading_egress_requests_total{{decision="denied",pool="acme/desktops",reason="{reason}"}}"#
        ))
    }

    /// Waits until `condition` holds; other tasks run meanwhile.
    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let holds = async {
            while !condition(self) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, holds).await.unwrap_or_else(|_| panic!("{what} does not come"));
    }
}

pub fn basic(user: &str, password: &str) -> String {
    format!("Proxy-Authorization: Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

pub async fn send(to: &mut (impl AsyncWrite + Unpin), text: &str) {
    to.write_all(text.as_bytes()).await.unwrap();
}

/// What the gateway answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Self {
        let head = until(from, "\r\n\r\n").await;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let length =
            head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        timeout(SOON, from.read_exact(&mut body)).await.expect("the body does not come").unwrap();
        Self { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// Refused for this reason, which stands in the answer unless the head itself could not be read.
    pub fn is(&self, reason: Reason) -> bool {
        self.status == reason.status().as_u16() && (self.body.is_empty() || self.body.contains(&format!("({reason});")))
    }
}

/// Reads until `end` has come, or the stream ends.
pub async fn until(from: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !text.ends_with(end.as_bytes()) {
            match from.read_u8().await {
                Ok(byte) => text.push(byte),
                Err(_) => break,
            }
        }
    };
    timeout(SOON, read).await.expect("the end does not come");
    String::from_utf8_lossy(&text).into_owned()
}

/// Everything until the stream ends, however it ends.
pub async fn rest(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that is reset has ended too.
    let _ = timeout(SOON, from.read_to_end(&mut bytes)).await.expect("it stays open");
    bytes
}

/// The next connection to `listener`.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(SOON, listener.accept()).await.expect("nobody connects").unwrap().0
}

pub async fn read_exactly(from: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(SOON, from.read_exact(&mut bytes)).await.expect("the bytes do not come").unwrap();
    bytes
}
