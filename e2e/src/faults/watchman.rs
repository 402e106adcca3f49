//! Stands at the wire. In: the casts of all stories, and what is to befall whose write. Out: verdicts, the names of the writes in order,
//! and complaints about writes that should never have been sent.
//!
//! What it complains about, whatever else happens:
//!
//! - a write to something that belongs to no cast, or to one whose story is over;
//! - a deletion that does not name the very object it means;
//! - a part of the isolation that is first written when the bucket is there already, or after rights were given or anything was run;
//! - a stack that goes before its database was told to stop, or after what it writes to was given up;
//! - anything but a Secret and a right to write it where an application is at home;
//! - the operator's own token in a body, or what a Secret hides in the body of anything else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use providers::memory::{Injection, World};
use providers::owner::tags;
use serde_json::Value;

use super::cast::Cast;
use super::hidden::Hidden;
use super::point::{Blow, Fault, WriteName};
use crate::wire::{Asked, Fate, Gate, Refusal, Verdict};

/// How long a write is held up that comes late.
const LATE: Duration = Duration::from_millis(300);
/// After how many seconds a write may come again that is throttled. Whoever is asked to wait may wait half as long again.
const AGAIN: u16 = 1;
const AGAIN_AT_LAST: Duration = Duration::from_millis(1_500);
/// What must stand before anybody gets rights in a stack.
const ISOLATION: [&str; 6] = [
    "networkpolicies/deny-all",
    "networkpolicies/allow-parts-ingress",
    "networkpolicies/allow-parts-egress",
    "networkpolicies/allow-dns",
    "resourcequotas/steading",
    "limitranges/steading",
];

/// A Workspace's database.
const DATABASE: &str = "clusters/database";
/// What gives rights in a stack, or runs there.
const RUNS: [&str; 4] = ["rolebindings", "clusters", "deployments", "jobs"];

/// See the module. Clones are the same.
#[derive(Clone)]
pub(super) struct Watchman(Arc<Mutex<State>>);

struct State {
    world: World,
    /// Which cast a namespace belongs to.
    whose: HashMap<String, String>,
    casts: HashMap<String, Watched>,
    /// The operator counts as dead: nothing of it gets through.
    dead: bool,
    /// With the cast that each is about, if it is about one.
    complaints: Vec<(Option<String>, String)>,
}

/// What is known of one cast.
struct Watched {
    name: String,
    stack: String,
    shop: Option<String>,
    bucket: String,
    backups: String,
    /// Whether its database was told to stop.
    rests: bool,
    hidden: Hidden,
    counts: BTreeMap<String, usize>,
    order: Vec<WriteName>,
    armed: Option<(Blow, Gate)>,
    /// What was let through at least once.
    stands: BTreeSet<String>,
    last: Instant,
    over: bool,
}

impl Watchman {
    pub(super) fn new(world: World) -> Self {
        let state = State { world, whose: HashMap::new(), casts: HashMap::new(), dead: false, complaints: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// From now on the cast is known.
    pub(super) fn enter(&self, cast: &Cast) {
        let mut state = self.state();
        for namespace in cast.namespaces() {
            state.whose.insert(namespace.clone(), cast.name.clone());
        }
        let watched = Watched {
            name: cast.name.clone(),
            stack: cast.stack.clone(),
            shop: cast.shop.clone(),
            hidden: Hidden::default(),
            bucket: cast.bucket.clone(),
            backups: cast.backups.clone(),
            rests: false,
            counts: BTreeMap::new(),
            order: Vec::new(),
            armed: None,
            stands: BTreeSet::new(),
            last: Instant::now(),
            over: false,
        };
        state.casts.insert(cast.name.clone(), watched);
    }

    /// Counts the writes of this cast anew. `over` says whether there should be any.
    pub(super) fn begin(&self, cast: &Cast, over: bool) {
        self.with(cast, |watched| {
            watched.counts.clear();
            watched.order.clear();
            watched.last = Instant::now();
            watched.over = over;
        });
    }

    /// The blow falls at the n-th such write from now on; the gate opens when it does.
    pub(super) fn arm(&self, cast: &Cast, blow: &Blow) -> Gate {
        let gate = Gate::default();
        self.with(cast, |watched| {
            watched.counts.clear();
            watched.armed = Some((blow.clone(), gate.clone()));
        });
        gate
    }

    /// No blow falls any more.
    pub(super) fn disarm(&self, cast: &Cast) {
        self.with(cast, |watched| watched.armed = None);
    }

    /// The writes of this cast since they were counted anew, in order.
    pub(super) fn writes(&self, cast: &Cast) -> Vec<WriteName> {
        self.with(cast, |watched| watched.order.clone()).unwrap_or_default()
    }

    /// How long ago the last write of this cast was.
    pub(super) fn quiet_for(&self, cast: &Cast) -> Duration {
        self.with(cast, |watched| watched.last.elapsed()).unwrap_or_default()
    }

    /// What there is to complain about this cast, or about nobody; each is told once.
    pub(super) fn complaints(&self, cast: &Cast) -> Vec<String> {
        let all = std::mem::take(&mut self.state().complaints);
        let (now, later) =
            all.into_iter().partition(|(whose, _)| whose.as_ref().is_none_or(|whose| *whose == cast.name));
        self.state().complaints.extend::<Vec<_>>(later);
        let now: Vec<(Option<String>, String)> = now;
        now.into_iter().map(|(_, complaint)| complaint).collect()
    }

    /// From now on nothing of the operator gets through, and nobody outside answers it.
    pub(super) fn die(&self) {
        self.state().die();
    }

    /// The next operator is alive.
    pub(super) fn revive(&self) {
        self.state().dead = false;
    }

    /// What becomes of a request.
    pub(super) fn judge(&self, asked: &Asked) -> Verdict {
        self.state().judge(asked)
    }

    fn with<T>(&self, cast: &Cast, look: impl FnOnce(&mut Watched) -> T) -> Option<T> {
        self.state().casts.get_mut(&cast.name).map(look)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn die(&mut self) {
        self.dead = true;
        self.world.inject(Injection::everywhere().hangs());
    }

    fn judge(&mut self, asked: &Asked) -> Verdict {
        if self.dead {
            return Verdict::Instead(Fate::Silence);
        }
        if !is_told(asked) {
            return Verdict::Pass;
        }
        let namespace = if asked.namespace().is_empty() { asked.name() } else { asked.namespace().to_owned() };
        let watched = self.whose.get(&namespace).and_then(|name| self.casts.get_mut(name));
        let Some(watched) = watched else {
            // Classes belong to nobody and to everybody.
            if asked.resource() != "tenantclasses" && asked.namespace() != "default" {
                self.complaints.push((None, format!("{} {} is nobody's", asked.method, asked.uri.path())));
            }
            return Verdict::Pass;
        };
        let mut complaints = watched.complaints_about(asked);
        complaints.extend(watched.out_of_order(asked, &self.world));
        self.complaints.extend(complaints.into_iter().map(|complaint| (Some(watched.name.clone()), complaint)));
        let (verdict, deadly) = watched.judge(asked);
        if deadly {
            self.die();
        }
        verdict
    }
}

/// Whether it is a write of a story: events are, Leases and reviews are not.
fn is_told(asked: &Asked) -> bool {
    asked.is_write() || (asked.resource() == "events" && asked.method != Method::GET)
}

impl Watched {
    /// Counts the write and lets the blow fall if it is this one. Also says whether the operator ends with it.
    fn judge(&mut self, asked: &Asked) -> (Verdict, bool) {
        self.last = Instant::now();
        let what = self.name_of(asked);
        let count = self.counts.entry(what.clone()).or_default();
        *count += 1;
        let write = WriteName { what: what.clone(), nth: *count };
        self.order.push(write.clone());
        let Some((blow, gate)) = self.armed.take_if(|(blow, _)| blow.write == write) else {
            self.let_through(asked);
            return (Verdict::Pass, false);
        };
        let verdict = verdict_of(blow.fault, &gate);
        if !matches!(verdict, Verdict::Instead(_)) {
            self.let_through(asked);
        }
        if !blow.fault.is_crash() {
            gate.open();
        }
        if blow.fault == Fault::TooMany {
            // It is still under way: nothing waits for an event, so the story could seem to be told without it.
            self.last += AGAIN_AT_LAST;
        }
        (verdict, blow.fault.is_crash())
    }

    fn let_through(&mut self, asked: &Asked) {
        let thing = format!("{}/{}", asked.resource(), asked.name());
        if thing == DATABASE {
            let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            self.rests = body.pointer("/metadata/annotations/cnpg.io~1hibernation").is_some_and(|it| it == "on");
        }
        self.stands.insert(thing);
    }

    /// Such as `patch.tenants-status.tenant`.
    fn name_of(&self, asked: &Asked) -> String {
        let mut what = format!("{}.{}", asked.method.as_str().to_lowercase(), asked.resource());
        if !asked.subresource().is_empty() {
            what = format!("{what}-{}", asked.subresource());
        }
        if ["events", "backups"].contains(&asked.resource()) {
            return what; // their names are random, or tell the time
        }
        let roles = [(Some(&self.stack), "stack"), (self.shop.as_ref(), "shop"), (Some(&self.name), "tenant")];
        let name = roles.into_iter().fold(asked.name(), |name, (own, role)| match own {
            Some(own) => name.replace(own.as_str(), role),
            None => name,
        });
        format!("{what}.{name}")
    }

    fn complaints_about(&mut self, asked: &Asked) -> Vec<String> {
        let mut found = Vec::new();
        let what = format!("{} {}", asked.method, asked.uri.path());
        if self.over {
            found.push(format!("{what} comes though the story is over"));
        }
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        if asked.method == Method::DELETE && body.pointer("/preconditions/uid").is_none() {
            found.push(format!("{what} does not say which object of that name it means"));
        }
        let text = String::from_utf8_lossy(&asked.body);
        if asked.token().is_some_and(|token| text.contains(token)) {
            found.push(format!("{what} holds the operator's token"));
        }
        if asked.resource() == "secrets" {
            self.hidden.learn(&body);
        } else if let Some(entry) = self.hidden.is_in(&text) {
            found.push(format!("{what} holds {entry} of a Secret"));
        }
        if self.shop.as_deref() == Some(asked.namespace()) && !["secrets", "rolebindings"].contains(&asked.resource()) {
            found.push(format!("{what} is nothing that the operator has to do there"));
        }
        found
    }

    /// What is made before what must stand first, or removed before what stands on it.
    fn out_of_order(&self, asked: &Asked, world: &World) -> Vec<String> {
        let mut found = Vec::new();
        let what = format!("{} {}", asked.method, asked.uri.path());
        let thing = format!("{}/{}", asked.resource(), asked.name());
        if asked.namespace() == self.stack && !self.stands.contains(&thing) {
            let isolates = ISOLATION.contains(&thing.as_str());
            if isolates && world.has_bucket(&self.bucket) {
                found.push(format!("{what} is first written when the bucket is there already"));
            }
            let missing = ISOLATION.iter().find(|part| !self.stands.contains(**part));
            if let Some(missing) = missing.filter(|_| RUNS.contains(&asked.resource())) {
                found.push(format!("{what} gives rights, or runs, where {missing} does not stand yet"));
            }
        }
        if self.shop.is_some() && asked.method == Method::DELETE && thing == format!("namespaces/{}", self.stack) {
            if self.stands.contains(DATABASE) && !self.rests {
                found.push(format!("{what} comes before its database was told to stop, so its last log is lost"));
            }
            let buckets = world.buckets();
            let is_released = |name| buckets.get(name).is_some_and(|it| it.tags.contains_key(tags::RELEASED));
            if is_released(&self.bucket) || is_released(&self.backups) {
                found.push(format!("{what} comes after a bucket was released that it still writes to"));
            }
        }
        found
    }
}

fn verdict_of(fault: Fault, gate: &Gate) -> Verdict {
    let refused = |refusal| Verdict::Instead(Fate::Refused(refusal));
    match fault {
        Fault::CrashBefore => Verdict::Instead(Fate::Death(gate.clone())),
        Fault::CrashAfter => Verdict::Afterwards(Fate::Death(gate.clone())),
        Fault::Conflict => refused(Refusal::Conflict),
        Fault::AlreadyExists => refused(Refusal::AlreadyExists),
        Fault::Invalid => refused(Refusal::Invalid),
        Fault::OverQuota => refused(Refusal::OverQuota),
        Fault::Forbidden => refused(Refusal::Forbidden),
        Fault::Terminating => refused(Refusal::Terminating),
        Fault::TooMany => refused(Refusal::TooMany(AGAIN)),
        Fault::Internal => refused(Refusal::Internal),
        Fault::Unavailable => refused(Refusal::Unavailable),
        Fault::TimeoutAfter => Verdict::Afterwards(Fate::Refused(Refusal::GatewayTimeout)),
        Fault::ResetBefore => Verdict::Instead(Fate::Reset),
        Fault::ResetAfter => Verdict::Afterwards(Fate::Reset),
        Fault::Late => Verdict::Late(LATE),
        // These befall calls outside the cluster, which do not come along here.
        Fault::Broken | Fault::Half | Fault::LostAnswer | Fault::Throttled | Fault::Denied => Verdict::Pass,
    }
}
