//! What a pod knows of the cluster without asking anybody: its node, the API server, where metadata servers are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;

use crate::{KUBELET_PORT, Route};

/// Where AWS, Azure, GCP and most others serve metadata of the machine.
const METADATA_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// The same of AWS and GCP.
const METADATA_V6: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Flags that say where a pod is.
#[derive(Args, Clone, Debug)]
pub struct Surroundings {
    /// Name of the node
    #[arg(long, env = "STEADING_NODE", value_name = "NAME")]
    pub node: String,
    /// Address of the node
    #[arg(long, env = "STEADING_NODE_ADDRESS", value_name = "ADDRESS")]
    pub node_address: IpAddr,
    /// Address of the API server
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", value_name = "ADDRESS")]
    pub api_server: IpAddr,
    /// Port of the API server
    #[arg(long, env = "KUBERNETES_SERVICE_PORT", value_name = "PORT", default_value = "443")]
    pub api_server_port: u16,
    /// What stands for the outside, separated by commas
    #[arg(
        long,
        env = "STEADING_PROBE_OUTSIDE",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        default_value = "1.1.1.1:443,8.8.8.8:443"
    )]
    pub outside: Vec<SocketAddr>,
}

impl Surroundings {
    /// All that stands around a pod, whichever other pods there are.
    #[must_use]
    pub fn targets(&self) -> Vec<(Route, SocketAddr)> {
        let mut targets = vec![
            (Route::ApiServer, SocketAddr::new(self.api_server, self.api_server_port)),
            (Route::NodeAddress, kubelet(self.node_address)),
            (Route::MetadataV4, SocketAddr::new(METADATA_V4, 80)),
        ];
        targets.extend(METADATA_V6.map(|address| (Route::MetadataV6, SocketAddr::new(address, 80))));
        targets.extend(self.outside.iter().map(|address| (Route::Outside, *address)));
        targets
    }
}

/// The kubelet of the node with this address.
pub(crate) fn kubelet(node: IpAddr) -> SocketAddr {
    SocketAddr::new(node, KUBELET_PORT)
}
