//! The programs a cluster is made of. In: a [`Component`]. Out: the path of its executable.
//!
//! Nothing is downloaded ready-made: each program is built from a Go module pinned in `e2e/modules/<module>`
//! (`go.mod` and `go.sum`) on first use, and kept outside the work tree in
//! `$STEADING_CACHE/bin/<module>-<hash>/` (default `~/.cache/steading`). The hash covers `go.mod`, `go.sum` and the
//! build flags, so a changed pin builds anew and two checkouts can share one cache.

mod build;
mod go;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

pub(crate) use build::attend;

/// The linker flags every program gets: no symbol table, no debug information.
const STRIPPED: &str = "-s -w";

/// Kubernetes programs report the version that is linked into them; without it they call themselves `v0.0.0`.
const KUBERNETES_VERSION_FLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.37.1 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=37 \
    -X k8s.io/component-base/version.gitTreeState=clean";

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
    /// The installer of the chart.
    Helm,
}

/// How a component is built.
struct Recipe {
    /// Directory below `e2e/modules`.
    module: &'static str,
    /// The package with the `main` function.
    package: &'static str,
    /// File name of the executable.
    executable: &'static str,
    /// Value of `-ldflags`.
    linker_flags: &'static str,
    /// Rough time from empty caches on two cores, in seconds; only for the progress line.
    cold_seconds: u64,
}

impl Component {
    /// Every component, in the order in which it is best to build them: what is needed first comes first.
    pub const ALL: [Component; 10] = [
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
    ];

    const fn recipe(self) -> Recipe {
        match self {
            Component::Etcd => Recipe {
                module: "etcd",
                package: "go.etcd.io/etcd/server/v3",
                executable: "etcd",
                linker_flags: STRIPPED,
                cold_seconds: 30,
            },
            Component::KubeApiserver => Recipe {
                module: "kubernetes",
                package: "k8s.io/kubernetes/cmd/kube-apiserver",
                executable: "kube-apiserver",
                linker_flags: KUBERNETES_VERSION_FLAGS,
                cold_seconds: 330,
            },
            Component::KubeControllerManager => Recipe {
                module: "kubernetes",
                package: "k8s.io/kubernetes/cmd/kube-controller-manager",
                executable: "kube-controller-manager",
                linker_flags: KUBERNETES_VERSION_FLAGS,
                cold_seconds: 100,
            },
            Component::KubeScheduler => Recipe {
                module: "kubernetes",
                package: "k8s.io/kubernetes/cmd/kube-scheduler",
                executable: "kube-scheduler",
                linker_flags: KUBERNETES_VERSION_FLAGS,
                cold_seconds: 30,
            },
            Component::Kubectl => Recipe {
                module: "kubernetes",
                package: "k8s.io/kubernetes/cmd/kubectl",
                executable: "kubectl",
                linker_flags: KUBERNETES_VERSION_FLAGS,
                cold_seconds: 30,
            },
            Component::Kwok => Recipe {
                module: "kwok",
                package: "sigs.k8s.io/kwok/cmd/kwok",
                executable: "kwok",
                linker_flags: STRIPPED,
                cold_seconds: 90,
            },
            Component::OpenBao => Recipe {
                module: "openbao",
                package: "github.com/openbao/openbao",
                executable: "openbao",
                linker_flags: STRIPPED,
                cold_seconds: 240,
            },
            Component::Minio => Recipe {
                module: "minio",
                package: "github.com/minio/minio",
                executable: "minio",
                linker_flags: STRIPPED,
                cold_seconds: 180,
            },
            Component::Kes => Recipe {
                module: "kes",
                package: "github.com/minio/kes/cmd/kes",
                executable: "kes",
                linker_flags: STRIPPED,
                cold_seconds: 60,
            },
            Component::Helm => Recipe {
                module: "helm",
                package: "helm.sh/helm/v4/cmd/helm",
                executable: "helm",
                linker_flags: STRIPPED,
                cold_seconds: 75,
            },
        }
    }

    /// File name of the executable, which is also the name in progress lines and log files.
    pub const fn executable(self) -> &'static str {
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
        for file in ["go.mod", "go.sum"] {
            let path = self.module_directory().join(file);
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

    #[test]
    fn every_component_has_its_pins_in_the_repository() {
        for component in Component::ALL {
            let path = component.cached_path().unwrap();
            assert!(path.ends_with(component.executable()), "{}", path.display());
        }
    }

    #[test]
    fn every_pinned_module_names_the_package_that_is_built_as_its_tool() {
        for component in Component::ALL {
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
