//! Breaks the operator at every request to the servers that hold keys and buckets. In: OpenBao, KES and MinIO, each behind a wire.
//! Out: for each request of a Tenant's life and each thing that can befall it, whether the end was as it should be.
//!
//! A fault-free life tells which requests there are. Then one more Tenant lives for each request and each fault: it must become
//! Ready and go, its key must have been made once, and nothing of it may be left. The memory world of the other stories breaks
//! within a call; here it is the connection that breaks, and what the real servers make of it is theirs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Error, Result, bail, ensure};
use api::{Tenant, TenantClass, Workspace};
use futures::{StreamExt as _, stream};
use http::StatusCode;
use operator::config::ProviderSource;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::json;
use uuid::Uuid;

use super::point::{Blow, Fault, WriteName};
use crate::install::{InProcess, Installation};
use crate::plane::{Plane, PlaneOptions, Tier};
use crate::servers::Servers;
use crate::story::{Manifest, Platform, class, tenant, workspace};
use crate::wire::{Asked, Fate, Verdict, Wire};

/// So many Tenants live at once.
const AT_ONCE: usize = 6;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    OpenBao,
    Kes,
    Store,
}

impl Server {
    /// As the names of its requests begin.
    fn name(self) -> &'static str {
        match self {
            Self::OpenBao => "openbao",
            Self::Kes => "kes",
            Self::Store => "store",
        }
    }

    /// What the caller gets instead of an answer, or instead of the answer to what was carried out.
    fn verdict(self, fault: Fault) -> Verdict {
        let answered = |code, retry_after, xml, json| {
            let body = if self == Self::Store { xml } else { json };
            Fate::Answered { code, retry_after, body }
        };
        let slow_down = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>";
        let broken = "<Error><Code>InternalError</Code><Message>We encountered an internal error</Message></Error>";
        match fault {
            Fault::ResetBefore => Verdict::Instead(Fate::Reset),
            Fault::ResetAfter => Verdict::Afterwards(Fate::Reset),
            Fault::Half => Verdict::Afterwards(answered(
                StatusCode::INTERNAL_SERVER_ERROR,
                None,
                broken,
                r#"{"errors":["broken"]}"#,
            )),
            Fault::Unavailable => {
                let sealed = r#"{"errors":["Vault is sealed"]}"#;
                Verdict::Instead(answered(StatusCode::SERVICE_UNAVAILABLE, None, broken, sealed))
            }
            Fault::TooMany => {
                // Stores say it with 503.
                let code =
                    if self == Self::Store { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::TOO_MANY_REQUESTS };
                Verdict::Instead(answered(code, Some(1), slow_down, r#"{"errors":["rate limit quota exceeded"]}"#))
            }
            _ => Verdict::Pass,
        }
    }
}

/// What befalls a request: nobody saw it and the connection is reset; it was carried out and the connection is reset; it was
/// carried out and the answer is 500; the server is not to be had; too many requests.
const FAULTS: [Fault; 5] = [Fault::ResetBefore, Fault::ResetAfter, Fault::Half, Fault::Unavailable, Fault::TooMany];

/// A request of a life, and what befalls it. Its text, such as `outside/store.put._.versioning.1/reset-after`, is all that is
/// needed to do it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsidePoint(Blow);

/// The name of the story of which these are the points.
const STORY: &str = "outside";

impl fmt::Display for OutsidePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORY}/{}", self.0)
    }
}

impl FromStr for OutsidePoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let blow: Blow = match text.split_once('/') {
            Some((STORY, blow)) => blow.parse()?,
            _ => bail!("{text:?} does not begin with {STORY}/"),
        };
        ensure!(FAULTS.contains(&blow.fault), "{text:?}: what befalls requests to these servers is none of {FAULTS:?}");
        Ok(Self(blow))
    }
}

/// Which points are walked.
#[derive(Clone, Debug)]
pub enum Outside {
    /// All of them.
    All,
    /// So many, drawn with a seed.
    Some(usize, u64),
    /// This one, again.
    One(OutsidePoint),
}

/// What is told of one Tenant.
#[derive(Debug, Default)]
struct Life {
    /// By these its requests are known: the names of its key and its bucket.
    marks: Vec<String>,
    requests: Vec<WriteName>,
    armed: Option<Blow>,
}

impl Life {
    fn judge(&mut self, server: Server, asked: &Asked) -> Verdict {
        let what = self.what(server, asked);
        let nth = 1 + self.requests.iter().filter(|past| past.what == what).count();
        let request = WriteName { what, nth };
        self.requests.push(request.clone());
        self.armed.take_if(|blow| blow.write == request).map_or(Verdict::Pass, |blow| server.verdict(blow.fault))
    }

    /// Server, method, path and the names in the query, with dots between, and `_` for what differs between Tenants.
    fn what(&self, server: Server, asked: &Asked) -> String {
        let path = self.marks.iter().fold(asked.uri.path().to_owned(), |path, mark| path.replace(mark, "_"));
        let names = asked.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split('=').next());
        let method = asked.method.as_str().to_lowercase();
        let parts = [server.name(), &method].into_iter().chain(path.split('/')).chain(names);
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }
}

/// How a walk ended.
#[derive(Debug, Default)]
pub struct OutsideTally {
    /// Requests of one life.
    pub requests: usize,
    /// Lives with a fault.
    pub points: usize,
    /// Of these, those in which the request never came.
    pub missed: usize,
    /// Each that failed, with why.
    pub failed: Vec<(OutsidePoint, String)>,
}

impl fmt::Display for OutsideTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, points, missed, failed } = self;
        write!(f, "outside: requests={requests} points={points} failed={} missed={missed}", failed.len())
    }
}

type Lives = Arc<Mutex<BTreeMap<String, Life>>>;

struct Ground {
    // In the order in which they end.
    operator: InProcess,
    class: Manifest<TenantClass>,
    lives: Lives,
    platform: Platform,
    installation: providers::Installation,
    servers: Servers,
    _wires: [Wire; 3],
    _chart: Installation,
    plane: Plane,
}

impl Ground {
    async fn set() -> Result<Self> {
        let plane = Plane::start(Tier::Two, PlaneOptions { nodes: 1 }).await?;
        let servers = Servers::start(&plane).await?;
        let chart = Installation::install(&plane, "outside", &json!({})).await?;
        let wires = [
            Wire::before(&plane, &servers.openbao.address(), None).await?,
            Wire::before(&plane, &servers.kes.endpoint(), Some(servers.kes.stand_in())).await?,
            Wire::before(&plane, &servers.minio.endpoint(), None).await?,
        ];
        let lives = Lives::default();
        for (wire, server) in wires.iter().zip([Server::OpenBao, Server::Kes, Server::Store]) {
            let lives = Arc::clone(&lives);
            wire.judge(move |asked| judge(&lives, server, asked));
        }
        let operator = InProcess::start_on(&plane, &chart, providers::memory::World::new(), |config| {
            config.providers = ProviderSource::Real;
        })
        .await?;
        let platform = Platform::new(plane.admin()?);
        let mut spec = servers.class_spec(&plane, "Assumed");
        let [bao, kes, store] = wires.each_ref().map(|wire| json!(wire.url()));
        for (pointer, url) in [
            ("/keys/openbao/address", bao),
            ("/buckets/s3/keyServer/kes/endpoint", kes),
            ("/buckets/s3/endpoint", store),
        ] {
            *spec.pointer_mut(pointer).with_context(|| format!("the class has no {pointer}"))? = url;
        }
        let class = ["residency", "keys", "buckets", "network"]
            .into_iter()
            .fold(class("wired"), |class, field| class.with(field, spec[field].clone()));
        let class = platform.applied(class).await?;
        platform.until_ready(&class).await?;
        let installation = providers::Installation::new("outside")?;
        Ok(Self { operator, class, lives, platform, installation, servers, _wires: wires, _chart: chart, plane })
    }

    /// One Tenant with one Workspace comes and goes.
    async fn live(&self, name: &str, point: Option<&OutsidePoint>) -> Result<Life> {
        let [owner, identity] = [Uuid::new_v4().to_string(), Uuid::new_v4().to_string()];
        let bucket = providers::owner::bucket(&self.installation, &providers::Identity::new(&identity)?);
        let life = Life {
            marks: vec![owner.clone(), bucket.clone()],
            armed: point.map(|point| point.0.clone()),
            ..Life::default()
        };
        lock(&self.lives).insert(name.to_owned(), life);
        let tenant = tenant(name).of_class(&self.class).with("identity", owner.as_str()).deleting_data();
        let workspace = workspace("finance").of_tenant(&tenant).with("identity", identity.as_str());
        let told = self.tell(&tenant, &workspace, &owner, &bucket).await;
        let life = lock(&self.lives).remove(name).unwrap_or_default();
        told.map(|()| life)
    }

    async fn tell(
        &self,
        tenant: &Manifest<Tenant>,
        workspace: &Manifest<Workspace>,
        owner: &str,
        bucket: &str,
    ) -> Result<()> {
        let (seen_tenant, seen) = (self.platform.apply(tenant).await?, self.platform.apply(workspace).await?);
        self.platform.until_ready(tenant).await?;
        self.platform.until_ready(workspace).await?;
        let key = providers::owner::transit_key(&self.installation, &providers::Identity::new(owner)?);
        let path = format!("transit/keys/{key}");
        let found = self.servers.openbao.read(&path).await?.context("the key is not there")?;
        ensure!(found["data"]["latest_version"] == 1, "the key was made or rotated more than once: {}", found["data"]);
        ensure!(self.buckets().await?.contains(&bucket.to_owned()), "the bucket is not there");

        self.platform.delete(workspace).await?;
        self.platform.until_gone(workspace, &seen).await?;
        self.platform.delete(tenant).await?;
        self.platform.until_gone(tenant, &seen_tenant).await?;
        ensure!(!self.buckets().await?.contains(&bucket.to_owned()), "the bucket is left over");
        let left = self.servers.openbao.read(&path).await?.context("the key was destroyed")?;
        ensure!(left["data"]["soft_deleted"] == true, "the key is left in use: {}", left["data"]);
        Ok(())
    }

    async fn buckets(&self) -> Result<Vec<String>> {
        let root = self.servers.minio.root_account().credentials();
        let client = crate::servers::Minio::client(self.plane.authority(), &self.servers.minio.endpoint(), root)?;
        let listed = client.list_buckets().send().await.context("list buckets")?;
        Ok(listed.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned)).collect())
    }
}

fn judge(lives: &Lives, server: Server, asked: &Asked) -> Verdict {
    let path = asked.uri.path();
    let mut lives = lock(lives);
    let life = lives.values_mut().find(|life| life.marks.iter().any(|mark| path.contains(mark)));
    // Signing in, and what a class is looked at by, is nobody's.
    life.map_or(Verdict::Pass, |life| life.judge(server, asked))
}

/// Walks these points; `say` is told of progress.
pub async fn walk_outside(which: &Outside, say: fn(&str)) -> Result<OutsideTally> {
    let ground = Ground::set().await?;
    let learned = ground.live("learned", None).await.context("a life without any fault")?.requests;
    let mut points: Vec<OutsidePoint> = learned
        .iter()
        .flat_map(|write| FAULTS.map(|fault| OutsidePoint(Blow { write: write.clone(), fault })))
        .collect();
    match which {
        Outside::All => {}
        Outside::Some(most, seed) => {
            points.shuffle(&mut StdRng::seed_from_u64(*seed));
            points.truncate(*most);
        }
        Outside::One(point) => points = vec![point.clone()],
    }
    say(&format!("outside: {} requests in a life, {} points", learned.len(), points.len()));
    let (told, total) = (AtomicUsize::new(0), points.len());
    let ended: Vec<(OutsidePoint, Result<Life>)> = stream::iter(points.into_iter().enumerate())
        .map(async |(number, point)| {
            let life = ground.live(&format!("o{number}"), Some(&point)).await;
            let told = told.fetch_add(1, Ordering::Relaxed) + 1;
            if told % 25 == 0 {
                say(&format!("outside: {told} of {total} points"));
            }
            (point, life)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut tally = OutsideTally { requests: learned.len(), points: total, ..OutsideTally::default() };
    for (point, life) in ended {
        match life {
            Ok(life) => tally.missed += usize::from(life.armed.is_some()),
            Err(error) => {
                say(&format!("FAILED {point}\n  {error:#}\n  again: make faults SEED={point}"));
                tally.failed.push((point, format!("{error:#}")));
            }
        }
    }
    ensure!(ground.operator.is_running(), "the operator ended by itself");
    ground.operator.stop().await?;
    Ok(tally)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_what_its_text_says() {
        for text in ["outside/store.put._.versioning.1/reset-after", "outside/openbao.post.v1.transit.keys._.2/half"] {
            assert_eq!(text.parse::<OutsidePoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_point_is_refused() {
        for text in ["", "create/store.put._.1/half", "outside/store.put._/half", "outside/store.put._.1/conflict"] {
            assert!(text.parse::<OutsidePoint>().is_err(), "{text}");
        }
    }
}
