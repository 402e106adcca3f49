//! One process of the operator: all that it keeps in memory, its watches, its queue, its rounds. Dropping it is a crash.
//!
//! Stores, mirrors, wakes, turns, stories, status, leadership and the client's manners are the operator's own. Played are: the
//! watches, whose events come when the world says so, and kube's queue: an object waits once, is worked on once at a time, and
//! comes back when its last round asked for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use desired::fields::Kind;
use k8s_openapi::api::{
    core::v1::{LimitRange, Namespace, ResourceQuota},
    networking::v1::NetworkPolicy,
    rbac::v1::RoleBinding,
};
use kube::runtime::{reflector::ObjectRef, watcher::Event};
use model::{Resource, Server};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::wire::Wire;
use crate::{
    client,
    config::{Config, ProviderSource},
    context::Context,
    engine::{
        children::ChildMirror,
        drive::{self, Story},
        lease::{self, Leadership},
        watches::{Change, Mirror},
    },
    fence::Fence,
    http::{Alive, Health},
    metrics::Metrics,
    orphans,
    run::{self, Assembled},
    tenant::Tenants,
    tenant_class::TenantClasses,
    wakes::Woken,
    workspace::Workspaces,
};

/// Which object is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A TenantClass.
    Class(String),
    /// A Tenant, by namespace and name.
    Tenant(String, String),
    /// A Workspace, by namespace and name.
    Workspace(String, String),
}

/// What a watch tells.
enum Told<'a> {
    Init,
    Listed(&'a Value),
    Complete,
    Now(&'a Value),
    Gone(&'a Value),
}

type Feed = Box<dyn FnMut(&Told<'_>) + Send>;

struct Watch {
    feed: Feed,
    /// The next of the server's changes to be looked at.
    next: usize,
    listed: bool,
    _alive: Alive,
}

/// What the processes of a world share.
pub struct Site {
    /// The way to the API server.
    pub wire: Wire,
    /// Keys and buckets.
    pub outside: providers::memory::World,
    /// Where all processes of a world count.
    pub metrics: Metrics,
}

/// One process.
pub struct Process {
    /// Its number.
    pub number: usize,
    context: Arc<Context>,
    watches: BTreeMap<Resource, Watch>,
    woken: Woken,
    due: BTreeSet<Wake>,
    timers: BTreeMap<Wake, Instant>,
    running: BTreeSet<Wake>,
    ended: UnboundedReceiver<(Wake, Option<Duration>)>,
    ends: UnboundedSender<(Wake, Option<Duration>)>,
    tasks: JoinSet<()>,
}

impl Process {
    /// Starts one. With `lease` it competes for the Lease; otherwise it leads from the first moment to the last.
    pub fn start(site: &Site, number: usize, lease: bool) -> Self {
        let mut config = Config::of("world".parse().unwrap());
        config.instance = format!("p{number}");
        config.providers = ProviderSource::Memory(site.outside.clone());
        let metrics = &site.metrics;
        let (mut tasks, stopping) = (JoinSet::new(), CancellationToken::new());
        let health = Health::new(config.timings.reconcile);
        let (leadership, candidate) = if lease {
            let (leadership, candidate) = lease::stand(run::lease_settings(&config), metrics);
            (leadership, Some(candidate))
        } else {
            (Leadership::always(), None)
        };
        let client = client::over(site.wire.of(number), metrics, &leadership);
        if let Some(candidate) = candidate {
            tasks.spawn(candidate.run(client.clone(), std::future::pending()));
        }
        let fence = Fence::standing(client.clone());
        let Assembled { context, mirrors, wakes, woken } =
            run::assemble(&config, &client, &leadership, metrics, &health, fence.clone());
        let mut watches = BTreeMap::new();
        let mut add = |resource: Resource, feed: Feed| {
            let alive = health.expect(resource.kind());
            watches.insert(resource, Watch { feed, next: 0, listed: false, _alive: alive });
        };
        let told = wakes.clone();
        add(Resource::TenantClass, feed(mirrors.classes, move |change| told.class_changed(change)));
        let told = wakes.clone();
        add(Resource::Tenant, feed(mirrors.tenants, move |change| told.tenant_changed(change)));
        let told = wakes.clone();
        add(Resource::Workspace, feed(mirrors.workspaces, move |change| told.workspace_changed(change)));
        let children = &context.children;
        macro_rules! child {
            ($kind:ident) => {
                let (told, mirror) = (wakes.clone(), ChildMirror::<$kind>::new(Kind::$kind, children.clone()));
                add(Resource::Child(Kind::$kind), feed(mirror, move |change| told.child_changed(change)));
            };
        }
        child!(Namespace);
        child!(NetworkPolicy);
        child!(ResourceQuota);
        child!(LimitRange);
        child!(RoleBinding);
        tasks.spawn(orphans::sweep(Arc::clone(&context), config.timings.sweep));
        tasks.spawn(run::lead(leadership, fence, context.agents.clone(), wakes, health, stopping));
        let (ends, ended) = unbounded_channel();
        Self {
            number,
            context,
            watches,
            woken,
            due: BTreeSet::new(),
            timers: BTreeMap::new(),
            running: BTreeSet::new(),
            ended,
            ends,
            tasks,
        }
    }

    /// The kinds of which it has something to hear.
    pub fn behind(&mut self, server: &Server) -> Vec<Resource> {
        let changes = server.changes();
        let mut behind = Vec::new();
        for (resource, watch) in &mut self.watches {
            while watch.listed && changes.get(watch.next).is_some_and(|change| change.key.resource != *resource) {
                watch.next += 1;
            }
            if !watch.listed || watch.next < changes.len() {
                behind.push(*resource);
            }
        }
        behind
    }

    /// Hears the next of a kind: the list first, then change by change.
    pub fn hear(&mut self, server: &Server, resource: Resource) {
        let Some(watch) = self.watches.get_mut(&resource) else { return };
        if !watch.listed {
            return self.list(server, resource);
        }
        let Some(change) = server.changes().get(watch.next) else { return };
        watch.next += 1;
        let seen = |object: &Option<Arc<Value>>| object.as_ref().filter(|object| is_watched(resource, object)).cloned();
        match (seen(&change.before), seen(&change.now)) {
            (_, Some(now)) => (watch.feed)(&Told::Now(&now)),
            (Some(before), None) => {
                let mut last = before.as_ref().clone();
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                (watch.feed)(&Told::Gone(&last));
            }
            (None, None) => {}
        }
    }

    /// Lists a kind anew, as after a watch that expired. What came and went meanwhile is never heard of.
    pub fn list(&mut self, server: &Server, resource: Resource) {
        let Some(watch) = self.watches.get_mut(&resource) else { return };
        (watch.feed)(&Told::Init);
        server
            .all(resource)
            .filter(|(_, object)| is_watched(resource, object))
            .for_each(|(_, object)| (watch.feed)(&Told::Listed(object)));
        (watch.feed)(&Told::Complete);
        watch.next = server.changes().len();
        if !std::mem::replace(&mut watch.listed, true) {
            self.context.engine.health.synced(resource.kind());
        }
    }

    /// Takes in what woke and what ended. An error is a panic.
    pub fn settle(&mut self) -> Result<(), String> {
        while let Ok(class) = self.woken.classes.try_recv() {
            self.due.insert(Wake::Class(class.name));
        }
        while let Ok(tenant) = self.woken.tenants.try_recv() {
            self.due.insert(Wake::Tenant(tenant.namespace.unwrap_or_default(), tenant.name));
        }
        while let Ok(workspace) = self.woken.workspaces.try_recv() {
            self.due.insert(Wake::Workspace(workspace.namespace.unwrap_or_default(), workspace.name));
        }
        while let Ok((wake, again)) = self.ended.try_recv() {
            self.running.remove(&wake);
            if let Some(after) = again {
                self.timers.insert(wake, Instant::now() + after);
            }
        }
        let now = Instant::now();
        let rung: Vec<Wake> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(wake, _)| wake.clone()).collect();
        for wake in rung {
            self.timers.remove(&wake);
            self.due.insert(wake);
        }
        while let Some(ended) = self.tasks.try_join_next() {
            ended.map_err(|error| format!("p{} panicked: {error}", self.number))?;
        }
        Ok(())
    }

    /// What could be started now.
    pub fn ready(&self) -> Vec<Wake> {
        let listed = self.watches.values().all(|watch| watch.listed);
        self.due.iter().filter(|wake| listed && !self.running.contains(wake)).cloned().collect()
    }

    /// Whether rounds are under way.
    pub fn is_working(&self) -> bool {
        !self.running.is_empty()
    }

    /// When it wants to look at something next.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.values().min().copied()
    }

    /// Starts a round.
    pub fn begin(&mut self, wake: &Wake) {
        self.due.remove(wake);
        self.timers.remove(wake);
        match wake {
            Wake::Class(name) => self.spawn(TenantClasses(Arc::clone(&self.context)), wake, ObjectRef::new(name)),
            Wake::Tenant(namespace, name) => {
                self.spawn(Tenants(Arc::clone(&self.context)), wake, ObjectRef::new(name).within(namespace));
            }
            Wake::Workspace(namespace, name) => {
                self.spawn(Workspaces(Arc::clone(&self.context)), wake, ObjectRef::new(name).within(namespace));
            }
        }
    }

    fn spawn<S: Story>(&mut self, story: S, wake: &Wake, reference: ObjectRef<S::Object>) {
        let Some(seen) = story.known().store().get(&reference) else { return };
        self.running.insert(wake.clone());
        let (engine, ends, wake) = (Arc::clone(&self.context.engine), self.ends.clone(), wake.clone());
        self.tasks.spawn(async move {
            let again = drive::turn(&story, &engine, &reference, seen.as_ref()).await;
            let _ = ends.send((wake, again));
        });
    }
}

/// The watches of children select by a label.
fn is_watched(resource: Resource, object: &Value) -> bool {
    let managed = || object["metadata"]["labels"][api::labels::MANAGED_BY] == api::labels::STEADING;
    !matches!(resource, Resource::Child(_)) || managed()
}

fn feed<M: Mirror + 'static>(mut mirror: M, tell: impl Fn(&Change<M::Kept>) + Send + 'static) -> Feed
where
    M::Object: DeserializeOwned,
{
    let read = |object: &Value| serde_json::from_value::<M::Object>(object.clone()).unwrap();
    Box::new(move |told| {
        let event = match told {
            Told::Init => Event::Init,
            Told::Listed(object) => Event::InitApply(read(object)),
            Told::Complete => Event::InitDone,
            Told::Now(object) => Event::Apply(read(object)),
            Told::Gone(object) => Event::Delete(read(object)),
        };
        mirror.absorb(event).iter().for_each(&tell);
    })
}
