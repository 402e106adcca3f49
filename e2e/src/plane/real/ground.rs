//! The ground on which real nodes stand: a number that nobody else has, a network of its own, and the way to leave nothing behind. In:
//! the host. Out: a [`Ground`] with a switch to which nodes can be tied.
//!
//! The switch is a network namespace with a bridge in it, held by one process: when that ends, by whatever death, the bridge and the
//! one interface on the host go with it. Addresses outside the cluster live on the switch too, so that what pods try to reach there
//! exists: see [`OUTSIDE`] and [`METADATA`].

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::components::{Component, cache_root};
use crate::nursery::{Nursery, POLL_EVERY, write_private};

/// An address of nobody's (RFC 5737), at which something answers on the ports of [`OUTSIDE_PORTS`].
pub const OUTSIDE: &str = "203.0.113.10";
/// Where clouds tell an instance its credentials; here the same server answers as at [`OUTSIDE`].
pub const METADATA: &str = "169.254.169.254";
/// What answers there, with the word `outside`.
pub const OUTSIDE_PORTS: [(&str, u16); 3] = [("tcp", 80), ("tcp", 443), ("udp", 53)];

/// So many clusters with real nodes can be alive on a machine.
const GROUNDS: u8 = 8;
/// The second number of the pods' addresses, before that of the ground is added.
const POD_RANGES: u8 = 240;
/// By this variable, which has the number, the processes of a ground are known when nobody is left who has their ids.
pub const MARK: &str = "STEADING_GROUND";
/// Longest wait until what was killed is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A number, and the names and addresses that follow from it. Whoever holds it is alone with them.
#[derive(Debug)]
pub(super) struct Ground {
    number: u8,
    name: String,
    _lock: File,
}

impl Ground {
    /// Takes a free number for nodes whose files lie in `files`, and clears away what dead owners left of any.
    pub(super) async fn take(files: &Path) -> Result<Self> {
        let directory = cache_root()?.join("locks");
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let mut taken = None;
        for number in 1..=GROUNDS {
            let path = directory.join(format!("ground-{number}.lock"));
            let mut lock = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            if lock.try_lock().is_ok() {
                let mut left = String::new();
                lock.read_to_string(&mut left)?;
                clear(number, Path::new(left.trim())).await?;
                lock.set_len(0)?;
                if taken.is_none() {
                    lock.rewind()?;
                    write!(lock, "{}", files.display())?;
                    let name = crate::unique(&prefix(number));
                    write_private(&files.join("ground"), name.as_bytes())?;
                    taken = Some(Self { number, name, _lock: lock });
                }
            }
        }
        taken.with_context(|| {
            format!("{GROUNDS} clusters with real nodes are alive on this machine: end one, for example by `make cluster-down`")
        })
    }

    /// Its name, and the beginning of those of its cgroups.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The host's address on its network.
    pub(super) fn host(&self) -> String {
        format!("10.99.{}.1", self.number)
    }

    /// The switch's address, which is also the way to [`OUTSIDE`].
    fn gateway(&self) -> String {
        format!("10.99.{}.2", self.number)
    }

    /// The address of a node.
    pub(super) fn node(&self, node: u8) -> String {
        format!("10.99.{}.{}", self.number, 10 + node)
    }

    /// What pods of all its nodes are addressed by. The host has a way to them, because the API server answers them from there.
    pub(super) fn pods(&self) -> String {
        format!("10.{}.0.0/16", POD_RANGES + self.number)
    }

    /// What pods of a node are addressed by.
    pub(super) fn pods_of(&self, node: u8) -> String {
        format!("10.{}.{node}.0/24", POD_RANGES + self.number)
    }

    /// What every process of it is marked with.
    pub(super) fn mark(&self) -> (&'static str, String) {
        (MARK, self.number.to_string())
    }

    /// Starts the switch and ties the host to it. The process that holds it holds the mounts of the nodes' disks too, so that they survive
    /// their node and end with the ground.
    pub(super) async fn start_switch(&self, nursery: &mut Nursery) -> Result<u32> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sleep", "infinity"]);
        let process = nursery.spawn("switch", &mut command)?.id();
        until_apart(process, "net").await?;
        let (host, gateway, interface) = (self.host(), self.gateway(), prefix(self.number));
        shell(
            r#"
            ip link add "$2" type veth peer name host netns "$1"
            ip address add "$3/24" dev "$2"
            ip link set "$2" up
            ip route add "$7" via "$4"
            in_switch() { nsenter --target "$switch" --net "$@"; }
            switch=$1
            nsenter --target "$switch" --mount mount --make-rshared /
            in_switch ip link set lo up
            in_switch ip link add switch type bridge
            in_switch ip link set host master switch up
            in_switch ip address add "$4/24" dev switch
            in_switch ip address add "$5/32" dev switch
            in_switch ip address add "$6/32" dev switch
            in_switch ip link set switch up
            in_switch sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
            "#,
            &[&process.to_string(), &interface, &host, &gateway, OUTSIDE, METADATA, &self.pods()],
        )
        .context("the network of the nodes cannot be made")?;
        let mut outside = Command::new("nsenter");
        outside.args(["--target", &process.to_string(), "--net"]).arg(Component::Packets.path().await?);
        // By address, so that answers to datagrams come from where these went.
        let addresses = [OUTSIDE, METADATA]
            .into_iter()
            .flat_map(|address| OUTSIDE_PORTS.map(|(protocol, port)| format!("{protocol}:{address}:{port}")));
        nursery.spawn("outside", outside.args(["serve", "outside"]).args(addresses))?;
        Ok(process)
    }

    /// Ties a node to the switch, and tells the switch and the host which pods are behind it.
    pub(super) fn tie(&self, switch: u32, process: u32, node: u8) -> Result<()> {
        let (name, address, gateway) = (format!("node-{node}"), self.node(node), self.gateway());
        shell(
            r#"
            nsenter --target "$1" --net ip link add "$3" type veth peer name eth0 netns "$2"
            nsenter --target "$1" --net ip link set "$3" master switch up
            nsenter --target "$2" --net ip address add "$4/24" dev eth0
            nsenter --target "$2" --net ip link set eth0 up
            nsenter --target "$2" --net ip route add default via "$5"
            nsenter --target "$1" --net ip route add "$6" via "$4"
            "#,
            &[&switch.to_string(), &process.to_string(), &name, &address, &gateway, &self.pods_of(node)],
        )
        .with_context(|| format!("{name} cannot be tied to the network"))
    }

    /// Takes the node's cable out of the switch.
    pub(super) fn untie(&self, switch: u32, node: u8) -> Result<()> {
        let name = format!("node-{node}");
        shell(
            r#"
            nsenter --target "$1" --net ip route del "$3"
            nsenter --target "$1" --net ip link del "$2"
            "#,
            &[&switch.to_string(), &name, &self.pods_of(node)],
        )
        .with_context(|| format!("{name} cannot be taken off the network"))
    }
}

/// Ends and removes what a dead owner of this number left: processes, then cgroups, the interface and its files.
async fn clear(number: u8, files: &Path) -> Result<()> {
    let begun = Instant::now();
    let name = format!("{}-", prefix(number));
    loop {
        for process in marked_processes(number)? {
            shell("kill -s KILL \"$1\" 2>/dev/null || true", &[&process.to_string()])?;
        }
        let left: Vec<_> = cgroups()?.into_iter().filter(|path| file_name(path).starts_with(&name)).collect();
        for top in &left {
            shell("find \"$1\" -depth -type d -exec rmdir {} + 2>/dev/null || true", &[&top.display().to_string()])?;
        }
        let interface = Path::new("/sys/class/net").join(prefix(number));
        if left.is_empty() && !interface.exists() {
            if file_name(files).starts_with("steading-") && files.is_dir() {
                std::fs::remove_dir_all(files).with_context(|| format!("cannot remove {}", files.display()))?;
            }
            return Ok(());
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "what an earlier cluster left cannot be removed: {left:?}, {}: look which process still uses it",
            interface.display()
        );
        tokio::time::sleep(POLL_EVERY).await;
    }
}

fn prefix(number: u8) -> String {
    format!("steading{number}")
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default()
}

/// Every hierarchy of cgroups that is mounted in the usual place: many of version 1, or the one of version 2.
pub(super) fn hierarchies() -> Result<Vec<std::path::PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let entries = std::fs::read_dir(root).context("there are no cgroups in /sys/fs/cgroup")?;
    let directories = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    Ok(directories.into_iter().filter(|path| path.is_dir() && !path.is_symlink()).collect())
}

/// The topmost cgroups of all hierarchies.
fn cgroups() -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for hierarchy in hierarchies()? {
        for entry in std::fs::read_dir(&hierarchy)? {
            let path = entry?.path();
            if path.is_dir() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn marked_processes(number: u8) -> Result<Vec<u32>> {
    let mark = format!("{MARK}={number}");
    let entries = std::fs::read_dir("/proc").context("/proc cannot be read")?;
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_marked = |id: &u32| {
        // It may have ended meanwhile.
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    Ok(ids.filter(is_marked).collect())
}

/// Waits until a process has a namespace of its own of this kind: `unshare` needs a moment.
pub(super) async fn until_apart(process: u32, kind: &str) -> Result<()> {
    let link = |id: &str| std::fs::read_link(format!("/proc/{id}/ns/{kind}"));
    let ours = link("self").context("this process has no namespaces")?;
    let begun = Instant::now();
    while link(&process.to_string()).is_ok_and(|theirs| theirs == ours) {
        ensure!(begun.elapsed() < PATIENCE, "process {process} never got a {kind} namespace of its own");
        tokio::time::sleep(POLL_EVERY).await;
    }
    Ok(())
}

/// Runs a script that stops at its first failure; the error carries what it printed.
fn shell(script: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new("/bin/sh")
        .args(["-euc", &format!("PATH=$PATH:/usr/sbin:/sbin\n{script}"), "sh"])
        .args(arguments)
        .output()
        .context("/bin/sh cannot be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
