//! One real node. In: a ground, an API server, images. Out: containerd, a kubelet, kube-proxy and an enforcer of NetworkPolicies in
//! namespaces of their own, as processes of the plane's nursery.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::ground::{Ground, hierarchies, until_apart};
use super::{CLUSTER_DNS, CLUSTER_DOMAIN, SERVICES};
use crate::components::Component;
use crate::nursery::Nursery;
use crate::plane::Identity;
use crate::plane::access::{Way, write_kubeconfig};

/// Longest wait for each step of a node.
const PATIENCE: Duration = Duration::from_mins(1);

/// Process 1 of a node.
const INIT: &str = include_str!("node.sh");
/// The file by which it says that it is.
const UP: &str = "up";
/// What keeps pods shut off until they are judged.
const GATE: &str = include_str!("gate.sh");

/// A node that is being started, or runs.
#[derive(Debug, Clone)]
pub(super) struct Node {
    number: u8,
    directory: PathBuf,
    /// The process that holds its namespaces.
    process: u32,
}

/// What all nodes of a plane have in common.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) ground: &'a Ground,
    pub(super) way: Way<'a>,
    pub(super) switch: u32,
}

impl Node {
    /// Its name in the cluster.
    pub(super) fn name(&self) -> String {
        format!("node-{}", self.number)
    }

    /// Makes the namespaces of a node and ties them to the network.
    pub(super) async fn open(nursery: &mut Nursery, site: Site<'_>, number: u8) -> Result<Self> {
        let directory = nursery.subdirectory(&format!("node-{number}"))?;
        let mut node = Self { number, directory, process: 0 };
        node.boot(nursery, site).await?;
        Ok(node)
    }

    async fn boot(&mut self, nursery: &mut Nursery, site: Site<'_>) -> Result<()> {
        let (name, directory) = (self.name(), &self.directory);
        let init = nursery.write("node.sh", INIT)?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", site.switch))
            .args(["--", "unshare", "--mount", "--propagation=unchanged"])
            .args(["--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "/bin/sh"])
            .arg(init)
            .arg(&name)
            .arg(directory);
        let up = directory.join(UP);
        let init = nursery.spawn(&name, &mut command)?;
        self.process = init.id();
        init.until_ready(PATIENCE, async || up.exists().then_some(())).await?;
        until_apart(self.process, "net").await?;
        site.ground.tie(site.switch, self.process, self.number)
    }

    /// Ends it as when a machine loses its power: all that runs at once, and nobody is told, once it is off the network. What it keeps in its
    /// directory stays, as on a disk.
    pub(super) fn lose(&self, nursery: &mut Nursery) -> Result<()> {
        nursery.kill(&self.name())?;
        for program in [Component::Containerd, Component::Kubelet, Component::KubeProxy, Component::KubeRouter] {
            nursery.kill(&self.process(program))?;
        }
        nursery.kill(&format!("{}-gate", self.name()))?;
        std::fs::remove_file(self.directory.join(UP)).with_context(|| format!("{} was not up", self.name()))
    }

    /// Starts it again with what it kept.
    pub(super) async fn start_again(&mut self, nursery: &mut Nursery, site: Site<'_>) -> Result<()> {
        self.boot(nursery, site).await?;
        self.start_runtime(nursery, site, &[]).await?;
        self.start_agents(nursery, site).await
    }

    /// A command that runs in the namespaces of the node.
    fn within(&self, program: &Path) -> Command {
        let namespace = |kind: &str| format!("/proc/{}/ns/{kind}", self.process);
        let mut command = Command::new("nsenter");
        for (flag, kind) in
            [("mount", "mnt"), ("uts", "uts"), ("ipc", "ipc"), ("net", "net"), ("pid", "pid_for_children")]
        {
            command.arg(format!("--{flag}={}", namespace(kind)));
        }
        command.arg("--").arg(program).env("TMPDIR", "/run");
        command
    }

    fn process(&self, program: Component) -> String {
        format!("{}-{}", self.name(), program.executable())
    }

    /// Starts containerd and gives it the images.
    pub(super) async fn start_runtime(&self, nursery: &mut Nursery, site: Site<'_>, images: &[PathBuf]) -> Result<()> {
        let cni = Component::Ptp.path().await?;
        let plugins = cni.parent().context("the network plugins lie nowhere")?;
        let runsc = Component::Runsc.path().await?;
        let gvisor =
            format!("binary_name = {:?}\n[runsc_config]\n  platform = \"systrap\"\n", runsc.display().to_string());
        self.write(nursery, "runsc.toml", &gvisor)?;
        self.write(nursery, "containerd.toml", &containerd(plugins))?;
        self.write(nursery, "cni/10-pods.conflist", &network(&site.ground.pods_of(self.number)).to_string())?;
        let containerd = Component::Containerd.path().await?;
        let shim = Component::ContainerdShimRunsc.path().await?;
        let folders = [&containerd, &shim].into_iter().filter_map(|program| program.parent());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path: Vec<PathBuf> = folders
            .map(Path::to_owned)
            .chain(std::env::split_paths(&path))
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .collect();
        let mut command = self.within(&containerd);
        command.arg("--config=/run/node/containerd.toml").env("PATH", std::env::join_paths(path)?);
        let asks = self.ctr()?;
        let is_up = async || output_of(asks(&["version"])).is_ok().then_some(());
        nursery.spawn(&self.process(Component::Containerd), &mut command)?.until_ready(PATIENCE, is_up).await?;
        images.iter().try_for_each(|image| self.import(image))
    }

    /// Gives it the images in this archive.
    pub(super) fn import(&self, archive: &Path) -> Result<()> {
        let asks = self.ctr()?;
        let path = archive.to_str().context("the path of an image is no text")?;
        output_of(asks(&["images", "import", "--local", path]))
            .with_context(|| format!("{} does not take the image {path}", self.name()))
    }

    /// Makes commands of containerd's own command line in the node.
    fn ctr(&self) -> Result<impl Fn(&[&str]) -> Command> {
        let ctr = Component::Ctr.cached_path()?;
        Ok(move |arguments: &[&str]| {
            let mut command = self.within(&ctr);
            command.args(["--namespace=k8s.io", "--connect-timeout=5s"]).args(arguments);
            command
        })
    }

    /// Starts the kubelet, kube-proxy and what enforces NetworkPolicies.
    pub(super) async fn start_agents(&self, nursery: &mut Nursery, site: Site<'_>) -> Result<()> {
        self.close(nursery, site).await?;
        self.start_kubelet(nursery, site).await?;
        let kubeconfig = self.kubeconfig(site, "kube-proxy", "system:kube-proxy", &[])?;
        let mut proxy = self.within(&Component::KubeProxy.path().await?);
        proxy
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg(format!("--hostname-override={}", self.name()))
            .arg(format!("--cluster-cidr={}", site.ground.pods()))
            .args(["--proxy-mode=iptables", "--conntrack-max-per-core=0", "--oom-score-adj=0"])
            .args(["--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"])
            .args(["--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249"]);
        nursery.spawn(&self.process(Component::KubeProxy), &mut proxy)?;
        self.start_enforcer(nursery, site).await
    }

    /// Starts what enforces NetworkPolicies.
    async fn start_enforcer(&self, nursery: &mut Nursery, site: Site<'_>) -> Result<()> {
        let kubeconfig = self.kubeconfig(site, "kube-router", "kube-router", &[])?;
        // It ends when its Node is not there yet.
        let script = "while :; do \"$@\"; sleep 0.2; done";
        let mut router = self.within(Path::new("/bin/sh"));
        router
            .args(["-c", script, "sh"])
            .arg(Component::KubeRouter.path().await?)
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg(format!("--hostname-override={}", self.name()))
            .arg(format!("--service-cluster-ip-range={SERVICES}"))
            .args(["--run-firewall=true", "--run-router=false", "--run-service-proxy=false"])
            .args(["--run-loadbalancer=false", "--enable-cni=false", "--iptables-sync-period=60s"])
            .args(["--health-port=0", "--metrics-port=0"]);
        nursery.spawn(&self.process(Component::KubeRouter), &mut router)?;
        Ok(())
    }

    /// Ends what enforces NetworkPolicies, and opens the gate: pods that are new from here on are held to nothing, as where a network
    /// plugin has died. Those that are there keep their rules.
    pub(super) fn stop_enforcing(&self, nursery: &mut Nursery) -> Result<()> {
        nursery.kill(&self.process(Component::KubeRouter))?;
        nursery.kill(&format!("{}-gate", self.name()))?;
        let mut open = self.within(Path::new("iptables"));
        open.args(["-w", "-t", "mangle", "-F"]);
        output_of(open).with_context(|| format!("the gate of {} does not open", self.name()))
    }

    /// Starts it again, and shuts the gate first.
    pub(super) async fn start_enforcing(&self, nursery: &mut Nursery, site: Site<'_>) -> Result<()> {
        self.close(nursery, site).await?;
        self.start_enforcer(nursery, site).await
    }

    /// Nothing passes to or from a pod that the enforcer has not judged.
    async fn close(&self, nursery: &mut Nursery, site: Site<'_>) -> Result<()> {
        let (gate, closed) = (nursery.write("gate.sh", GATE)?, self.directory.join("closed"));
        if closed.exists() {
            std::fs::remove_file(&closed)?;
        }
        let mut command = self.within(Path::new("/bin/sh"));
        command.arg(gate).arg(site.ground.pods_of(self.number)).arg(&closed);
        let gate = nursery.spawn(&format!("{}-gate", self.name()), &mut command)?;
        gate.until_ready(PATIENCE, async || closed.exists().then_some(())).await
    }

    async fn start_kubelet(&self, nursery: &mut Nursery, site: Site<'_>) -> Result<()> {
        let (name, address) = (self.name(), site.ground.node(self.number));
        let cgroup = format!("{}-{}", site.ground.name(), self.number);
        nursery.remove_at_end(&cgroup)?;
        for hierarchy in hierarchies()? {
            make_cgroup(&hierarchy, &cgroup)?;
        }
        let serving = site.way.authority.server(&name, &[&name, &address])?;
        self.write(nursery, "kubelet.crt", &serving.certificate)?;
        self.write(nursery, "kubelet.key", serving.key.expose_secret())?;
        self.write(nursery, "ca.crt", site.way.authority.certificate())?;
        self.write(nursery, "resolv.conf", "")?;
        self.write(nursery, "kubelet.json", &kubelet(&cgroup).to_string())?;
        let kubeconfig = self.kubeconfig(site, "kubelet", &format!("system:node:{name}"), &["system:nodes"])?;
        let mut command = self.within(&Component::Kubelet.path().await?);
        command
            .args(["--config=/run/node/kubelet.json", "--root-dir=/run/node/kubelet"])
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg(format!("--hostname-override={name}"))
            .arg(format!("--node-ip={address}"));
        nursery.spawn(&self.process(Component::Kubelet), &mut command)?;
        Ok(())
    }

    fn write(&self, nursery: &Nursery, file: &str, content: &str) -> Result<()> {
        if let Some((folder, _)) = file.rsplit_once('/') {
            std::fs::create_dir_all(self.directory.join(folder))?;
        }
        nursery.write(&format!("{}/{file}", self.name()), content)?;
        Ok(())
    }

    /// Writes a kubeconfig, and returns its path within the node.
    fn kubeconfig(&self, site: Site<'_>, file: &str, user: &str, groups: &[&str]) -> Result<String> {
        let identity = Identity::certificate(site.way.authority, user, groups)?;
        write_kubeconfig(&site.way.kubeconfig(&identity), &self.directory.join(format!("{file}.kubeconfig")))?;
        Ok(format!("/run/node/{file}.kubeconfig"))
    }
}

fn output_of(mut command: Command) -> Result<()> {
    let output = command.output().context("no command can be run in the node")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn make_cgroup(hierarchy: &Path, name: &str) -> Result<()> {
    let cgroup = hierarchy.join(name);
    std::fs::create_dir_all(&cgroup).with_context(|| format!("cannot create {}", cgroup.display()))?;
    // A new cgroup of version 1 may use no processor until it is told which.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (theirs, ours) = (hierarchy.join(file), cgroup.join(file));
        if theirs.exists() && ours.exists() {
            std::fs::write(&ours, std::fs::read(&theirs)?)
                .with_context(|| format!("cannot write {}", ours.display()))?;
        }
    }
    Ok(())
}

/// Each packet of a pod is routed by the node, so that rules for what is forwarded see those between pods of one node too.
fn network(pods: &str) -> serde_json::Value {
    let addresses = json!({
        "type": "host-local", "dataDir": "/run/cni", "ranges": [[{ "subnet": pods }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
    });
    json!({
        "cniVersion": "1.0.0", "name": "pods",
        "plugins": [{ "type": "ptp", "ipMasq": false, "ipam": addresses }],
    })
}

fn containerd(plugins: &Path) -> String {
    format!(
        r#"version = 3
root = "/run/node/containerd"
state = "/run/containerd"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{pause}"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = [{plugins:?}]
  conf_dir = "/run/node/cni"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runsc]
  runtime_type = "io.containerd.runsc.v1"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runsc.options]
  TypeUrl = "io.containerd.runsc.v1.options"
  ConfigPath = "/run/node/runsc.toml"
"#,
        pause = super::images::PAUSE,
        plugins = plugins.display().to_string(),
    )
}

fn kubelet(cgroup: &str) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false }, "webhook": { "enabled": true },
            "x509": { "clientCAFile": "/run/node/ca.crt" },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": "/run/node/kubelet.crt",
        "tlsPrivateKeyFile": "/run/node/kubelet.key",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": "/run/node/resolv.conf",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": ["pods"],
        "oomScoreAdj": 0,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": { "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%" },
        "serializeImagePulls": false,
        "readOnlyPort": 0,
        "shutdownGracePeriod": "0s",
    })
}
