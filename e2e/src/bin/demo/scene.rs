//! What the demo plays on. In: nothing. Out: a control plane, the servers outside it, the chart and the operator, all running; and their
//! end, looked at.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use e2e::components::{Component, build_all, cache_root};
use e2e::databases::CloudNativePg;
use e2e::install::{Installation, OperatorProcess, with_probes};
use e2e::plane::why_not;
use e2e::servers::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use e2e::{Plane, PlaneOptions, Servers, Tier, agents, relays};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::kubectl::Kubectl;
use crate::people::{Question, may};
use crate::show::Show;

/// Installation id of the demo.
pub(crate) const INSTALLATION: &str = "demo";

/// The group that may make pods in stacks, which in the demo nobody but the demo is in.
pub(crate) const BREAK_GLASS: &str = "demo-break-glass";

/// A running site. Dropping it ends every process and removes every file of it.
pub(crate) struct Scene {
    // In the order in which they end: the operator first, so that it does not see the others go.
    operator: OperatorProcess,
    databases: OnceCell<CloudNativePg>,
    pub(crate) installation: Installation,
    /// Those of the chart.
    pub(crate) values: Value,
    pub(crate) servers: Servers,
    pub(crate) kubectl: Kubectl,
    pub(crate) plane: Plane,
}

impl Scene {
    /// Starts everything, telling what is done and how long it took.
    pub(crate) async fn start(show: &Show) -> Result<Self> {
        show.step("set-up", "Set up a control plane, servers outside it, and the operator");
        let why_not = why_not();
        let tier = if why_not.is_none() { Tier::Three } else { Tier::Two };
        programs(show, tier).await?;
        let options = PlaneOptions::default();
        let nodes = match tier {
            Tier::Three => "two real nodes".to_owned(),
            Tier::One | Tier::Two => format!("{} fake nodes (kwok)", options.nodes),
        };
        let what = format!("etcd, API server, controllers, scheduler, {nodes}");
        let plane = show.during(&what, Plane::start(tier, options)).await?;
        let what = "OpenBao, KES, MinIO and OpenFGA with TLS; chart steading by `helm install`";
        let chart = async {
            let values = with_probes(&plane, &json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } })).await?;
            anyhow::Ok((Installation::install(&plane, INSTALLATION, &values).await?, values))
        };
        let servers_and_chart = async { tokio::try_join!(Servers::start(&plane), chart) };
        let (servers, (installation, values)) = show.during(what, Box::pin(servers_and_chart)).await?;
        let what = "the operator, as a process with a token of its ServiceAccount";
        let environment = [
            ("STEADING_BREAK_GLASS_GROUPS", BREAK_GLASS.to_owned()),
            ("STEADING_RELAY_SERVICE", relays::SERVICE.to_owned()),
            ("STEADING_RELAY_AUTHORITY", plane.directory().join("ca.crt").display().to_string()),
        ];
        let starting = OperatorProcess::start_with(&plane, &installation, environment);
        let operator = show.during(what, starting).await?;
        let kubectl = Kubectl::new(&plane).await?;
        let scene = Self { operator, databases: OnceCell::new(), installation, values, servers, kubectl, plane };
        scene.check_the_operators_rights(show).await?;
        match why_not {
            None => show.say(
                "This is T3: all of it is real. Two nodes run pods under runc and gVisor, packets flow, and policies are \
                 enforced.",
            ),
            Some(reason) => show.say(&format!(
                "This is T2, because {reason}. All of it is real, but for the nodes: nothing runs on them and no packet \
                 flows. What is shown here is the control plane, the keys and the buckets.",
            )),
        }
        Ok(scene)
    }

    async fn check_the_operators_rights(&self, show: &Show) -> Result<()> {
        let operator = self.installation.operator_client(&self.plane).await?;
        let me = Api::all(operator).create(&PostParams::default(), &SelfSubjectReview::default()).await?;
        let user = me.status.and_then(|status| status.user_info).and_then(|user| user.username).unwrap_or_default();
        let account = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}");
        show.check(
            &format!("the operator's token is that of {OPERATOR_NAMESPACE}/{OPERATOR_ACCOUNT}"),
            user == account,
        );
        let groups = ["system:serviceaccounts", "system:authenticated"];
        let secrets = Question::of("list", "", "secrets");
        let may_list = may(&self.plane.admin()?, &account, &groups, "", &secrets).await?;
        show.check("it may not list Secrets in the cluster", !may_list);
        Ok(())
    }

    /// CloudNativePG, installed by whoever asks first; others wait for that.
    pub(crate) async fn databases(&self) -> Result<&CloudNativePg> {
        self.databases.get_or_try_init(|| CloudNativePg::install(&self.plane)).await
    }

    /// Installs what databases need, beside something else that ends: this does not.
    pub(crate) async fn prepare_databases(&self) -> Infallible {
        if self.plane.tier() == Tier::Three {
            // If it fails, so does whoever asks for it in earnest, and says why.
            self.databases().await.ok();
        }
        std::future::pending().await
    }

    /// The end of the operator's log, to explain a failure.
    pub(crate) fn last_lines_of_the_operator(&self) -> String {
        let text = std::fs::read(self.operator.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(15)).copied().collect::<Vec<_>>().join("\n")
    }

    /// Says how to use the cluster by hand.
    pub(crate) fn tell_how_to_reach(&self, show: &Show) {
        show.step("kept", "The cluster stays until Ctrl-C");
        show.verbatim(&format!("export KUBECONFIG={}", self.kubectl.kubeconfig().display()));
        show.say("kubectl of its version, metrics and log of the operator:");
        show.verbatim(&self.kubectl.program().display().to_string());
        show.verbatim(&format!("{}/metrics", self.operator.http_url()));
        show.verbatim(&self.operator.log().display().to_string());
    }

    /// Ends everything and looks whether something is left.
    pub(crate) async fn leave(self, show: &Show) -> Result<()> {
        show.step("leave", "Leave nothing behind");
        let processes = self.processes();
        let folders = self.folders();
        let ground = self.plane.ground().map(str::to_owned);
        let ending = async { Ok(tokio::task::spawn_blocking(move || drop(self)).await?) };
        show.during("end the operator, the servers and the control plane", ending).await?;
        let mut alive = Vec::new();
        for process in &processes {
            if is_alive(*process).context("cannot look for processes")? {
                alive.push(*process);
            }
        }
        show.check(
            &format!("none of the {} processes runs any more{}", processes.len(), named(&alive)),
            alive.is_empty(),
        );
        let left: Vec<_> = folders.iter().filter(|folder| folder.exists()).map(|folder| folder.display()).collect();
        show.check(&format!("none of their {} folders is left{}", folders.len(), named(&left)), left.is_empty());
        if let Some(ground) = ground {
            let left = traces_of(&ground)?;
            show.check(&format!("no cgroup and no interface of the nodes is left{}", named(&left)), left.is_empty());
        }
        show.say(&format!("What stays is the cache of built programs: {}", cache_root()?.display()));
        Ok(())
    }

    fn processes(&self) -> Vec<u32> {
        [
            self.operator.process_ids(),
            self.servers.openbao.process_ids(),
            self.servers.kes.process_ids(),
            self.servers.minio.process_ids(),
            self.plane.process_ids(),
        ]
        .concat()
    }

    fn folders(&self) -> Vec<PathBuf> {
        let folder_of_log = self.operator.log().parent().map(Path::to_owned);
        let known = [
            self.installation.directory(),
            self.servers.openbao.directory(),
            self.servers.kes.directory(),
            self.servers.minio.directory(),
            self.plane.directory(),
        ];
        known.map(Path::to_owned).into_iter().chain(folder_of_log).chain([self.kubectl.directory()]).collect()
    }
}

/// Builds what the cache does not have; the harness tells how far it is.
async fn programs(show: &Show, tier: Tier) -> Result<()> {
    let nodes = Component::NODE.into_iter().chain(Component::DATABASE).filter(|_| tier == Tier::Three);
    let all: Vec<Component> = Component::ALL.into_iter().chain(nodes).collect();
    let is_missing = |component: &Component| Ok::<bool, anyhow::Error>(!component.cached_path()?.is_file());
    let missing = all.iter().map(is_missing).collect::<Result<Vec<bool>>>()?.into_iter().filter(|it| *it).count();
    if missing == 0 {
        show.say(&format!("{} programs were built before: {}", all.len(), cache_root()?.join("bin").display()));
    } else {
        show.say(&format!(
            "{missing} of {} programs are built from source first, once. All of them take 30 to 40 minutes on two \
             cores and 5 GB of disk.",
            all.len()
        ));
        build_all(&all).await?;
    }
    if tier == Tier::Three {
        CloudNativePg::build().await?;
        agents::build().await?;
    }
    OperatorProcess::build().await?;
    Ok(())
}

/// What the kernel still has of nodes: cgroups called after their ground, and the host's interface.
fn traces_of(ground: &str) -> Result<Vec<String>> {
    let folders =
        |path: &Path| Ok::<_, anyhow::Error>(std::fs::read_dir(path)?.filter_map(Result::ok).map(|it| it.path()));
    let mut hierarchies: Vec<PathBuf> = folders(Path::new("/sys/fs/cgroup"))?.filter(|path| path.is_dir()).collect();
    hierarchies.push("/sys/fs/cgroup".into());
    let mut left = Vec::new();
    for hierarchy in hierarchies {
        left.extend(folders(&hierarchy)?.map(|path| path.display().to_string()).filter(|path| path.contains(ground)));
    }
    let interface = Path::new("/sys/class/net").join(ground.split('-').next().unwrap_or(ground));
    left.extend(interface.exists().then(|| interface.display().to_string()));
    Ok(left)
}

fn is_alive(process: u32) -> Result<bool> {
    let script = "kill -0 \"$1\" 2>/dev/null";
    Ok(Command::new("/bin/sh").args(["-c", script, "alive", &process.to_string()]).status()?.success())
}

/// What is left over, to be appended to a claim.
fn named<T: ToString>(left: &[T]) -> String {
    if left.is_empty() {
        return String::new();
    }
    format!(" (left: {})", left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}
