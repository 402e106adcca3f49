//! The way to a target. In: a target that the allow-list has. Out: a stream to an address that was checked, or a [`Denial`].
//!
//! A name is resolved once. Every address of the answer has to be one that may be reached, and the connection goes to one of exactly these
//! addresses: whoever answers differently the next time is not asked again.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    address::Reach,
    host::{Host, Name, Target},
    policy::Pool,
    reach::{Dialler, NoAddress, Resolver, Stream},
    reason::{Denial, Reason},
    upstream::UpstreamProxy,
};

/// An answer with more addresses is not one of a server's.
const ADDRESSES: usize = 64;
/// So many of them are tried.
const TRIES: usize = 3;

/// Knows ways.
pub struct Router {
    /// Who knows the addresses of names.
    pub resolver: Arc<dyn Resolver>,
    /// Who connects.
    pub dialler: Arc<dyn Dialler>,
    /// A company's proxy on the way to public addresses.
    pub upstream: Option<UpstreamProxy>,
    /// Ranges of the cluster.
    pub cluster: Arc<[IpNet]>,
    /// How long DNS may take.
    pub resolve_timeout: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
}

/// One way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// To this address.
    Direct(SocketAddr),
    /// Through the proxy, to this address.
    Through(SocketAddr),
    /// Through the proxy, which resolves the name itself.
    ByName,
}

/// A stream, and the address to which it leads where that is known.
pub type Reached = (Stream, Option<SocketAddr>);

impl Router {
    /// Resolves, checks and connects.
    pub async fn connect(&self, target: &Target, pool: &Pool) -> Result<Reached, Denial> {
        let mut failed = None;
        for way in self.ways(target, pool).await?.into_iter().take(TRIES) {
            let attempt = timeout(self.connect_timeout, self.take(&way, target)).await;
            match attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok((stream, way.address())),
                Err(error) => {
                    tracing::debug!(%target, ?way, %error, "not reached");
                    failed = Some(way);
                }
            }
        }
        Err(match failed {
            Some(Way::Direct(_)) | None => {
                Denial::new(Reason::Unreachable, format!("{target} does not take connections"))
            }
            Some(Way::Through(_) | Way::ByName) => {
                Denial::new(Reason::UpstreamProxyRefused, format!("the upstream proxy did not lead to {target}"))
            }
        })
    }

    async fn ways(&self, target: &Target, pool: &Pool) -> Result<Vec<Way>, Denial> {
        let proxy_resolves = self.upstream.as_ref().is_some_and(|proxy| proxy.resolves);
        let (addresses, by_name) = match &target.host {
            Host::Address(address) => (vec![*address], false),
            Host::Name(name) => match self.resolve(name, target).await {
                Ok(addresses) => (addresses, proxy_resolves),
                // Behind such a proxy names of the internet may be unknown to the gateway's own DNS.
                Err(_) if proxy_resolves => return Ok(vec![Way::ByName]),
                Err(denial) => return Err(denial),
            },
        };
        let mut ways = Vec::with_capacity(addresses.len());
        for address in addresses {
            let reach = pool.lets_reach(target, address, &self.cluster)?;
            let address = SocketAddr::new(address, target.port.number());
            ways.push(match (reach, &self.upstream) {
                (Reach::Listed, _) | (Reach::Public, None) => Way::Direct(address),
                (Reach::Public, Some(_)) if by_name => Way::ByName,
                (Reach::Public, Some(_)) => Way::Through(address),
            });
        }
        ways.dedup();
        Ok(ways)
    }

    async fn resolve(&self, name: &Name, target: &Target) -> Result<Vec<IpAddr>, Denial> {
        let failed = || Denial::new(Reason::ResolverFailed, format!("the addresses of {target} could not be learnt"));
        match timeout(self.resolve_timeout, self.resolver.addresses(name)).await {
            Ok(Ok(addresses)) if addresses.len() <= ADDRESSES && !addresses.is_empty() => Ok(addresses),
            Ok(Err(NoAddress::NotFound)) => Err(Denial::new(Reason::NameNotFound, format!("{target} has no address"))),
            Ok(Ok(_) | Err(NoAddress::Failed)) | Err(_) => Err(failed()),
        }
    }

    async fn take(&self, way: &Way, target: &Target) -> io::Result<Stream> {
        let proxy = || self.upstream.as_ref().ok_or_else(|| io::Error::other("there is no upstream proxy"));
        match way {
            Way::Direct(address) => self.dialler.dial(*address).await,
            Way::Through(address) => {
                let proxy = proxy()?;
                let stream = TcpStream::connect(&proxy.address).await?;
                let host = Host::Address(address.ip());
                proxy.tunnel(Box::new(stream), &Target { host, port: target.port }).await
            }
            Way::ByName => {
                let proxy = proxy()?;
                let stream = TcpStream::connect(&proxy.address).await?;
                proxy.tunnel(Box::new(stream), target).await
            }
        }
    }
}

impl Way {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Direct(address) | Self::Through(address) => Some(*address),
            Self::ByName => None,
        }
    }
}
