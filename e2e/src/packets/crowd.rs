//! Pods that send and receive. In: where each is to stand. Out: a [`Crowd`] whose pods run, and what each of them reaches.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, LogParams, PostParams};
use kube::runtime::conditions::is_pod_running;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{Goal, Labels, PORTS, Seen, Verdict};
use crate::nursery::POLL_EVERY;
use crate::plane::{GVISOR, PACKETS};

/// Longest wait until a pod runs, or tells what it reached.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long a packet is waited for: on one machine it takes a millisecond, but pods come late to their turn on a busy one.
const WAIT: Duration = Duration::from_millis(1500);

/// How long at most.
const LONGEST_WAIT: Duration = Duration::from_secs(24);

/// Which kernel a pod has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// The host's.
    Runc,
    /// gVisor's.
    Gvisor,
}

impl Runtime {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Gvisor => "gVisor",
        }
    }
}

/// Where a pod stands.
#[derive(Clone, Debug)]
pub struct Spot {
    /// What it is called in tables, such as `acme/finance`.
    pub who: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// The number of its node.
    pub node: u8,
    /// Its kernel.
    pub runtime: Runtime,
    /// How long it may go on after it was asked to end, in seconds. It goes on for as long as it may.
    pub grace: u32,
}

impl Spot {
    /// A pod that goes soon after it is asked to.
    pub fn new(who: &str, namespace: &str, labels: &Labels, runtime: Runtime, node: u8) -> Self {
        Self { who: who.to_owned(), namespace: namespace.to_owned(), labels: labels.clone(), node, runtime, grace: 1 }
    }

    /// One under each kernel on each node.
    pub fn everywhere(who: &str, namespace: &str, labels: &Labels) -> Vec<Self> {
        let places = [(Runtime::Runc, 1), (Runtime::Gvisor, 1), (Runtime::Runc, 2), (Runtime::Gvisor, 2)];
        places.into_iter().map(|(runtime, node)| Self::new(who, namespace, labels, runtime, node)).collect()
    }

    /// Its name in tables: who, under which kernel, on which node.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.who, self.runtime.name(), self.node)
    }

    /// A pod that runs the program `packets` with these arguments.
    fn pod(&self, name: &str, arguments: &[String]) -> Result<Pod> {
        let runtime = (self.runtime == Runtime::Gvisor).then_some(GVISOR);
        Ok(serde_json::from_value(json!({
            "metadata": { "name": name, "labels": self.labels },
            "spec": {
                "nodeName": format!("node-{}", self.node),
                "runtimeClassName": runtime,
                "automountServiceAccountToken": false,
                "restartPolicy": if arguments.first().is_some_and(|it| it == "try") { "Never" } else { "Always" },
                "terminationGracePeriodSeconds": self.grace,
                "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "packets", "image": PACKETS, "imagePullPolicy": "IfNotPresent", "args": arguments,
                    "resources": {
                        "requests": { "cpu": "10m", "memory": "32Mi" },
                        "limits": { "cpu": "500m", "memory": "128Mi" },
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": { "drop": ["ALL"] },
                    },
                }],
            },
        }))?)
    }
}

/// A pod that runs.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it stands.
    pub spot: Spot,
    /// Its name in its namespace.
    pub pod: String,
    /// Its address.
    pub address: IpAddr,
}

/// Pods that run.
#[derive(Clone)]
pub struct Crowd {
    client: Client,
    members: Vec<Member>,
    /// In milliseconds.
    wait: Arc<AtomicU64>,
}

impl Crowd {
    /// Makes the pods as `client`, who must have the right to it, and waits until all run.
    pub async fn place(client: &Client, spots: Vec<Spot>) -> Result<Self> {
        let members = try_join_all(spots.into_iter().map(|spot| place(client, spot))).await?;
        Ok(Self { client: client.clone(), members, wait: Arc::new(AtomicU64::new(millis(WAIT))) })
    }

    /// Its pods.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// As whom they were made.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Ends the program of a pod, as a fault of its own would.
    pub async fn kill(&self, member: &Member) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &member.spot.namespace);
        let mut process = pods.exec(&member.pod, ["/packets", "end"], &AttachParams::default().stderr(false)).await?;
        let mut said = String::new();
        process.stdout().context("the command has no output")?.read_to_string(&mut said).await?;
        // The command may end with the pod.
        process.join().await.ok();
        Ok(())
    }

    /// Every port of every pod.
    pub fn goals(&self) -> Vec<Goal> {
        let of = |member: &Member| {
            PORTS.map(|(protocol, port)| Goal::new(&member.spot.name(), protocol, member.address, port))
        };
        self.members.iter().flat_map(of).collect()
    }

    /// Every pod tries every goal, all at once.
    pub async fn try_all(&self, goals: &[Goal]) -> Result<Seen> {
        let tries = self.members.iter().map(async |member| {
            let verdicts = self.try_until_told(member, goals).await?;
            Ok::<_, anyhow::Error>((member.spot.name(), verdicts))
        });
        let mut seen = Seen::new(goals);
        for (from, verdicts) in try_join_all(tries).await? {
            seen.add(&from, verdicts);
        }
        Ok(seen)
    }

    /// Waits twice as long for packets from now on, because some came late: where those that must arrive do not in this time, nothing is
    /// known of the others. Whether it was not the longest already.
    pub fn wait_longer(&self) -> bool {
        let longest = millis(LONGEST_WAIT);
        self.wait.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |wait| Some((wait * 2).min(longest))) != Ok(longest)
    }

    /// Tries until all that must arrive by `predicted` does in one round, and fails at once if anything else arrives: what lets packets pass
    /// may be late, what keeps them out may not.
    pub async fn until_as_predicted(&self, goals: &[Goal], predicted: &Seen) -> Result<Seen> {
        let begun = Instant::now();
        loop {
            let seen = self.try_all(goals).await?;
            let (leaks, losses) = (seen.leaks(predicted), seen.losses(predicted));
            ensure!(leaks.is_empty(), "{} packets arrived that must not:\n{}\n{seen}", leaks.len(), leaks.join("\n"));
            if losses.is_empty() {
                return Ok(seen);
            }
            let late = begun.elapsed() >= PATIENCE;
            ensure!(
                self.wait_longer() || !late,
                "{} packets do not arrive:\n{}\n{seen}",
                losses.len(),
                losses.join("\n")
            );
        }
    }

    /// What one pod reaches. A command that cannot be run or is cut off says nothing, as happens on a busy machine: it is run again.
    async fn try_until_told(&self, member: &Member, goals: &[Goal]) -> Result<Vec<Verdict>> {
        let begun = Instant::now();
        loop {
            match self.try_from(member, goals).await {
                Err(error) if begun.elapsed() < PATIENCE => eprintln!("tried again: {error:#}"),
                told => return told,
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// What one pod reaches of these, in their order.
    pub async fn try_from(&self, member: &Member, goals: &[Goal]) -> Result<Vec<Verdict>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &member.spot.namespace);
        let wait = Duration::from_millis(self.wait.load(Ordering::SeqCst));
        let command = ["/packets".to_owned()].into_iter().chain(attempt(wait, goals));
        let parameters = AttachParams::default().stderr(false);
        let name = || format!("{} ({}/{})", member.spot.name(), member.spot.namespace, member.pod);
        let mut process = pods
            .exec(&member.pod, command.collect::<Vec<_>>(), &parameters)
            .await
            .with_context(|| format!("no command can be run in {}", name()))?;
        let mut text = String::new();
        let mut output = process.stdout().context("the command has no output")?;
        output.read_to_string(&mut text).await?;
        process.join().await.with_context(|| format!("the command in {} was cut off", name()))?;
        verdicts(&text, goals).with_context(name)
    }
}

/// What pods reach of these in their first moment: each is made to try them and nothing else.
pub async fn at_first(client: &Client, spots: &[Spot], goals: &[Goal]) -> Result<Seen> {
    let mut seen = Seen::new(goals);
    let tries = spots.iter().map(async |spot| {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &spot.namespace);
        let pod = crate::unique("fresh");
        let command: Vec<_> = attempt(WAIT, goals).collect();
        pods.create(&PostParams::default(), &spot.pod(&pod, &command)?).await?;
        let ended = |pod: Option<&Pod>| {
            let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        let ending = tokio::time::timeout(PATIENCE, await_condition(pods.clone(), &pod, ended)).await;
        ending.with_context(|| format!("pod {}/{pod} does not end", spot.namespace))??;
        verdicts(&pods.logs(&pod, &LogParams::default()).await?, goals).with_context(|| spot.name())
    });
    for (spot, verdicts) in spots.iter().zip(try_join_all(tries).await?) {
        seen.add(&spot.name(), verdicts);
    }
    Ok(seen)
}

/// What makes the program `packets` try these.
fn attempt(wait: Duration, goals: &[Goal]) -> impl Iterator<Item = String> {
    ["try".to_owned(), wait.as_secs_f64().to_string()].into_iter().chain(goals.iter().map(Goal::argument))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What the program `packets` told of these.
fn verdicts(text: &str, goals: &[Goal]) -> Result<Vec<Verdict>> {
    let told: Vec<Told> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(told.len() == goals.len(), "{} of {} tries are told of: {text}", told.len(), goals.len());
    told.into_iter().map(|told| Verdict::parse(&told.verdict).with_context(|| told.tried.clone())).collect()
}

/// A line of the program `packets`.
#[derive(Deserialize)]
struct Told {
    tried: String,
    verdict: String,
}

async fn place(client: &Client, spot: Spot) -> Result<Member> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &spot.namespace);
    let pod = crate::unique("packets");
    let ports = PORTS.map(|(protocol, port)| format!("{}:{port}", protocol.name().to_lowercase()));
    let arguments: Vec<String> = ["serve".to_owned(), spot.name()].into_iter().chain(ports).collect();
    let wanted = spot.pod(&pod, &arguments)?;
    let told = || format!("pod {}/{pod}", spot.namespace);
    pods.create(&PostParams::default(), &wanted).await.with_context(|| format!("cannot create {}", told()))?;
    let running = await_condition(pods.clone(), &pod, is_pod_running());
    let found = tokio::time::timeout(PATIENCE, running).await;
    let found = found.with_context(|| format!("{} does not run after {} s", told(), PATIENCE.as_secs()))??;
    let address = found.and_then(|pod| pod.status?.pod_ip).with_context(|| format!("{} has no address", told()))?;
    Ok(Member { address: address.parse()?, spot, pod })
}
