//! The programs a cluster is made of. In: a [`Component`]. Out: the path of its executable.
//!
//! Nothing is downloaded ready-made: each program is built from a Go module pinned in `e2e/modules/<module>`
//! (`go.mod` and `go.sum`) on first use, and kept outside the work tree in
//! `$STEADING_CACHE/bin/<module>-<hash>/` (default `~/.cache/steading`). The hash covers `go.mod`, `go.sum`, a source of
//! our own and the build flags, so a changed pin builds anew and two checkouts can share one cache.

mod build;
mod go;
mod recipe;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

pub(crate) use build::attend;

/// A program that the harness runs and that is built from a pinned Go module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Component {
    /// The store behind the API server.
    Etcd,
    /// The Kubernetes API server.
    KubeApiserver,
    /// The Kubernetes controllers: namespaces, quotas, service accounts, garbage collection.
    KubeControllerManager,
    /// The Kubernetes scheduler.
    KubeScheduler,
    /// The Kubernetes command line, for use by hand and in the demo.
    Kubectl,
    /// Fake nodes and pods.
    Kwok,
    /// The key server: an open-source fork of Vault.
    OpenBao,
    /// The S3 server. An external process in tests only.
    Minio,
    /// The key server of [`Component::Minio`]. An external process in tests only.
    Kes,
    /// The authorization server.
    OpenFga,
    /// The server of messages, at which agents and who drives them meet.
    Nats,
    /// The installer of the chart.
    Helm,
    /// The agent of a real node.
    Kubelet,
    /// What makes Services work on a real node.
    KubeProxy,
    /// The container runtime of a real node.
    Containerd,
    /// What [`Component::Containerd`] starts ordinary containers with.
    ContainerdShimRunc,
    /// The command line of [`Component::Containerd`], which imports images.
    Ctr,
    /// gVisor: a kernel of its own for each pod.
    Runsc,
    /// What [`Component::Containerd`] starts pods in gVisor with.
    ContainerdShimRunsc,
    /// Gives pods their network: each packet of a pod is routed, so that rules of the node see it.
    Ptp,
    /// Gives pods their loopback interface.
    Loopback,
    /// Gives pods their addresses.
    HostLocal,
    /// What enforces NetworkPolicies on a real node.
    KubeRouter,
    /// The cluster's DNS.
    CoreDns,
    /// Server and client by which packets are judged.
    Packets,
    /// The operator of databases, which is also what manages each of them from within its pod.
    CloudNativePg,
    /// Its plugin for backups, which is also what archives from within a database's pod.
    BarmanCloud,
}

impl Component {
    /// What planes and the servers outside are made of, in the order in which it is best to build them: what is needed first comes
    /// first.
    pub const ALL: [Component; 12] = [
        Component::Etcd,
        Component::KubeApiserver,
        Component::Helm,
        Component::KubeControllerManager,
        Component::KubeScheduler,
        Component::Kubectl,
        Component::Kwok,
        Component::OpenBao,
        Component::Kes,
        Component::Minio,
        Component::OpenFga,
        Component::Nats,
    ];

    /// What real nodes need besides.
    pub const NODE: [Component; 13] = [
        Component::Kubelet,
        Component::KubeProxy,
        Component::Containerd,
        Component::ContainerdShimRunc,
        Component::Ctr,
        Component::Runsc,
        Component::ContainerdShimRunsc,
        Component::Ptp,
        Component::Loopback,
        Component::HostLocal,
        Component::KubeRouter,
        Component::CoreDns,
        Component::Packets,
    ];

    /// What databases need besides.
    pub const DATABASE: [Component; 2] = [Component::CloudNativePg, Component::BarmanCloud];

    /// File name of the executable, which is also the name in progress lines and log files.
    pub fn executable(self) -> &'static str {
        self.recipe().executable
    }

    /// The path of the executable, built first if the cache does not have it.
    ///
    /// Parallel callers, also in other processes, build once: the others wait. Progress goes to standard error.
    pub async fn path(self) -> Result<PathBuf> {
        let path = self.cached_path()?;
        if path.is_file() {
            return Ok(path);
        }
        tokio::task::spawn_blocking(move || build::build(self)).await.context("the build task ended early")??;
        Ok(path)
    }

    /// Where the executable lies once it is built.
    pub fn cached_path(self) -> Result<PathBuf> {
        Ok(self.cache_directory()?.join(self.executable()))
    }

    /// The directory of this component in the cache, named after everything that decides its content.
    fn cache_directory(self) -> Result<PathBuf> {
        let recipe = self.recipe();
        let mut hash = Sha256::new();
        let pins = ["go.mod", "go.sum"].map(|file| self.module_directory().join(file));
        for path in pins.into_iter().chain(recipe.source.map(|file| self.module_directory().join(file))) {
            let content = std::fs::read(&path)
                .with_context(|| format!("cannot read {}: is the checkout complete?", path.display()))?;
            hash.update(content);
        }
        hash.update(recipe.linker_flags);
        let hash = data_encoding::HEXLOWER.encode(&hash.finalize());
        let short = hash.get(..16).unwrap_or(&hash);
        Ok(cache_root()?.join("bin").join(format!("{}-{short}", recipe.module)))
    }

    /// The directory with the pins of this component.
    fn module_directory(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("modules").join(self.recipe().module)
    }

    /// Where the sources of the module lie that the executable is built from, downloaded first if they are not there. What is not a
    /// program, such as manifests, is read from there, so that it always fits the executable.
    pub async fn sources(self) -> Result<PathBuf> {
        tokio::task::spawn_blocking(move || build::sources(self)).await.context("the task ended early")?
    }

    /// The YAML files that tell kwok how fake nodes and pods behave, joined into one file beside its executable.
    ///
    /// They come from kwok's own module, so they always fit the executable.
    pub async fn kwok_stages() -> Result<PathBuf> {
        let executable = Component::Kwok.path().await?;
        let stages = executable.with_file_name("stages.yaml");
        if !stages.is_file() {
            let target = stages.clone();
            tokio::task::spawn_blocking(move || build::kwok_stages(&target))
                .await
                .context("the task ended early")??;
        }
        Ok(stages)
    }
}

/// Builds what the cache does not have, one after the other, so that later calls return at once.
pub async fn build_all(components: &[Component]) -> Result<()> {
    for component in components {
        component.path().await?;
    }
    Ok(())
}

/// The root of everything kept between runs: `$STEADING_CACHE`, else `~/.cache/steading`.
pub fn cache_root() -> Result<PathBuf> {
    if let Some(root) = std::env::var_os("STEADING_CACHE").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(root));
    }
    match std::env::home_dir() {
        Some(home) => Ok(home.join(".cache").join("steading")),
        None => bail!("no home directory is known: set STEADING_CACHE to a directory that may grow to 2 GB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> impl Iterator<Item = Component> {
        Component::ALL.into_iter().chain(Component::NODE).chain(Component::DATABASE)
    }

    #[test]
    fn every_component_has_its_pins_in_the_repository() {
        for component in every() {
            let path = component.cached_path().unwrap();
            assert!(path.ends_with(component.executable()), "{}", path.display());
        }
    }

    #[test]
    fn every_pinned_module_names_the_package_that_is_built_as_its_tool() {
        for component in every().filter(|component| component.recipe().source.is_none()) {
            let go_mod = std::fs::read_to_string(component.module_directory().join("go.mod")).unwrap();
            let package = component.recipe().package;
            assert!(go_mod.lines().any(|line| line.trim().trim_start_matches("tool ") == package), "{package}");
        }
    }

    #[test]
    fn components_with_other_flags_or_pins_never_share_a_directory() {
        let etcd = Component::Etcd.cache_directory().unwrap();
        let kubectl = Component::Kubectl.cache_directory().unwrap();
        let apiserver = Component::KubeApiserver.cache_directory().unwrap();
        assert_ne!(etcd, kubectl);
        assert_eq!(kubectl, apiserver);
    }
}
