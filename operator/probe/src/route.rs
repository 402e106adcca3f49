//! The ways that a packet could take out of a stack or into it.

use serde::{Deserialize, Serialize};

/// A way that the policies forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Route {
    /// To a pod on the same node.
    PodOnSameNode,
    /// To a pod on another node.
    PodOnOtherNode,
    /// From a pod on the same node.
    FromPodOnSameNode,
    /// From a pod on another node.
    FromPodOnOtherNode,
    /// To a pod that is shut off as well.
    IsolatedPod,
    /// To a Service before a pod.
    Service,
    /// To the API server.
    ApiServer,
    /// To the kubelet of a node.
    NodeAddress,
    /// To the metadata server of a cloud, by IPv4.
    MetadataV4,
    /// The same by IPv6.
    MetadataV6,
    /// To the world outside the cluster.
    Outside,
}

impl Route {
    /// What passes, as in `packets pass …`.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::PodOnSameNode => "to pods on the same node",
            Self::PodOnOtherNode => "to pods on other nodes",
            Self::FromPodOnSameNode => "from pods on the same node",
            Self::FromPodOnOtherNode => "from pods on other nodes",
            Self::IsolatedPod => "to pods that are shut off too",
            Self::Service => "to Services",
            Self::ApiServer => "to the API server",
            Self::NodeAddress => "to kubelets",
            Self::MetadataV4 => "to the metadata server (IPv4)",
            Self::MetadataV6 => "to the metadata server (IPv6)",
            Self::Outside => "to the outside",
        }
    }

    /// Whether nothing at all is shown where the control cannot take it either: these two only need a pod on the same node.
    #[must_use]
    pub fn is_essential(self) -> bool {
        matches!(self, Self::PodOnSameNode | Self::FromPodOnSameNode)
    }
}
