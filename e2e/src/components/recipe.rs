//! How each component is built. In: a [`Component`]. Out: its [`Recipe`].

use super::Component;

/// The linker flags every program gets: no symbol table, no debug information.
const STRIPPED: &str = "-s -w";

/// Kubernetes programs report the version that is linked into them; without it they call themselves `v0.0.0`.
const KUBERNETES_VERSION_FLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.37.1 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=37 \
    -X k8s.io/component-base/version.gitTreeState=clean";

/// How a component is built.
pub(super) struct Recipe {
    /// Directory below `e2e/modules`.
    pub(super) module: &'static str,
    /// The package with the `main` function.
    pub(super) package: &'static str,
    /// File name of the executable.
    pub(super) executable: &'static str,
    /// Value of `-ldflags`.
    pub(super) linker_flags: &'static str,
    /// Rough time from empty caches on two cores, in seconds; only for the progress line.
    pub(super) cold_seconds: u64,
    /// The file with the `main` function, if it is our own and lies beside the pins.
    pub(super) source: Option<&'static str>,
}

impl Component {
    pub(super) fn recipe(self) -> Recipe {
        match self {
            Component::Etcd => Recipe::new("etcd", "go.etcd.io/etcd/server/v3", "etcd", 30),
            Component::KubeApiserver => Recipe::kubernetes("k8s.io/kubernetes/cmd/kube-apiserver", 330),
            Component::KubeControllerManager => {
                Recipe::kubernetes("k8s.io/kubernetes/cmd/kube-controller-manager", 100)
            }
            Component::KubeScheduler => Recipe::kubernetes("k8s.io/kubernetes/cmd/kube-scheduler", 30),
            Component::Kubectl => Recipe::kubernetes("k8s.io/kubernetes/cmd/kubectl", 30),
            Component::Kubelet => Recipe::kubernetes("k8s.io/kubernetes/cmd/kubelet", 60),
            Component::KubeProxy => Recipe::kubernetes("k8s.io/kubernetes/cmd/kube-proxy", 30),
            Component::Kwok => Recipe::named("kwok", "sigs.k8s.io/kwok/cmd/kwok", 90),
            Component::OpenBao => Recipe::named("openbao", "github.com/openbao/openbao", 240),
            Component::Minio => Recipe::named("minio", "github.com/minio/minio", 180),
            Component::Kes => Recipe::named("kes", "github.com/minio/kes/cmd/kes", 60),
            Component::OpenFga => Recipe::named("openfga", "github.com/openfga/openfga/cmd/openfga", 160),
            Component::Nats => Recipe::new("nats", "github.com/nats-io/nats-server/v2", "nats-server", 30),
            Component::Helm => Recipe::named("helm", "helm.sh/helm/v4/cmd/helm", 75),
            Component::Containerd => {
                Recipe::named("containerd", "github.com/containerd/containerd/v2/cmd/containerd", 100)
            }
            Component::ContainerdShimRunc => {
                Recipe::named("containerd", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", 10)
            }
            Component::Ctr => Recipe::named("containerd", "github.com/containerd/containerd/v2/cmd/ctr", 10),
            Component::Runsc => Recipe::named("gvisor", "gvisor.dev/gvisor/runsc", 110),
            Component::ContainerdShimRunsc => Recipe {
                source: Some("shim/main.go"),
                ..Recipe::new("gvisor", "./shim", "containerd-shim-runsc-v1", 10)
            },
            Component::Ptp => Recipe::named("cni", "github.com/containernetworking/plugins/plugins/main/ptp", 10),
            Component::Loopback => {
                Recipe::named("cni", "github.com/containernetworking/plugins/plugins/main/loopback", 5)
            }
            Component::HostLocal => {
                Recipe::named("cni", "github.com/containernetworking/plugins/plugins/ipam/host-local", 5)
            }
            Component::KubeRouter => {
                Recipe::named("kube-router", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router", 240)
            }
            Component::CoreDns => Recipe::named("coredns", "github.com/coredns/coredns", 165),
            Component::Packets => Recipe { source: Some("main.go"), ..Recipe::new("packets", ".", "packets", 5) },
            Component::CloudNativePg => Recipe::new(
                "cloudnative-pg",
                "github.com/cloudnative-pg/cloudnative-pg/cmd/manager",
                "cloudnative-pg",
                185,
            ),
            Component::BarmanCloud => Recipe::new(
                "barman-cloud",
                "github.com/cloudnative-pg/plugin-barman-cloud/cmd/manager",
                "barman-cloud",
                230,
            ),
        }
    }
}

impl Recipe {
    fn new(module: &'static str, package: &'static str, executable: &'static str, cold_seconds: u64) -> Self {
        Self { module, package, executable, linker_flags: STRIPPED, cold_seconds, source: None }
    }

    /// The executable is called as the last part of its package.
    fn named(module: &'static str, package: &'static str, cold_seconds: u64) -> Self {
        let executable = package.rsplit_once('/').map_or(package, |(_, last)| last);
        Self::new(module, package, executable, cold_seconds)
    }

    fn kubernetes(package: &'static str, cold_seconds: u64) -> Self {
        Self { linker_flags: KUBERNETES_VERSION_FLAGS, ..Self::named("kubernetes", package, cold_seconds) }
    }
}
