//! Packets between pods: what passes, shown by sending it. In: where pods stand. Out: [`Seen`], which can be laid beside what the
//! policies say, and shown as a table.

mod crowd;
mod policies;
mod seen;
mod surroundings;

use std::net::IpAddr;

pub use crowd::{Crowd, Member, Runtime, Spot, at_first};
pub use model::network::Labels;
pub use policies::predicted;
pub use seen::{Seen, Verdict};
pub use surroundings::Surroundings;

/// What a pod of the crowd listens on, besides nothing. The third is where databases are, the last where DNS is.
pub const PORTS: [(Protocol, u16); 4] =
    [(Protocol::Tcp, 8080), (Protocol::Udp, 8080), (Protocol::Tcp, 5432), (Protocol::Udp, 53)];

/// How a packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// With a connection.
    Tcp,
    /// Without; only an answer shows that it arrived.
    Udp,
}

impl Protocol {
    /// As policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Somewhere to send packets, under a name by which the table calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Such as `API server`. Several goals of one name make one column.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Where packets are sent.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Where they end when the address is that of a Service.
    pub behind: Option<(IpAddr, u16)>,
}

impl Goal {
    /// This port of this address.
    pub fn new(name: &str, protocol: Protocol, address: IpAddr, port: u16) -> Self {
        Self { name: name.to_owned(), protocol, address, port, behind: None }
    }

    /// The same, but it is the address of a Service, behind which this is.
    #[must_use]
    pub fn before(self, address: IpAddr, port: u16) -> Self {
        Self { behind: Some((address, port)), ..self }
    }

    /// As the program `packets` takes it.
    fn argument(&self) -> String {
        let protocol = self.protocol.name().to_lowercase();
        format!("{protocol}:{}", std::net::SocketAddr::new(self.address, self.port))
    }
}
