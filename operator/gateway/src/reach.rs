//! The two things that the gateway does to the world: it asks for the addresses of a name, and it connects. In: a [`Name`], a checked
//! address. Out: addresses, a stream. Tests put others in their place.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
};

use crate::host::Name;

/// Questions to DNS at once; each holds a thread while it waits.
const QUESTIONS: usize = 128;

/// Both ways of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Any connection.
pub type Stream = Box<dyn Duplex>;

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAddress {
    /// DNS says that there is none.
    NotFound,
    /// DNS did not say.
    Failed,
}

/// Knows the addresses of names.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// All addresses of `name`, whatever names lie between.
    async fn addresses(&self, name: &Name) -> Result<Vec<IpAddr>, NoAddress>;
}

/// Opens connections.
#[async_trait]
pub trait Dialler: Send + Sync {
    /// A connection to exactly this address.
    async fn dial(&self, address: SocketAddr) -> io::Result<Stream>;
}

/// The system's resolver: the node's DNS, `/etc/hosts`.
#[derive(Debug)]
pub struct SystemResolver(Semaphore);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Semaphore::new(QUESTIONS))
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, name: &Name) -> Result<Vec<IpAddr>, NoAddress> {
        let _question = self.0.acquire().await.map_err(|_| NoAddress::Failed)?;
        // With the dot at its end a name is whole. Without, a pod's search list would be tried first, and `api.example.com` could become
        // a name inside the cluster.
        let found = tokio::net::lookup_host((format!("{}.", name.as_str()), 0)).await;
        let mut addresses: Vec<IpAddr> = found.map_err(|error| without(&error))?.map(|found| found.ip()).collect();
        addresses.dedup();
        if addresses.is_empty() { Err(NoAddress::NotFound) } else { Ok(addresses) }
    }
}

/// The standard library tells the failures of `getaddrinfo` apart by their text alone.
fn without(error: &io::Error) -> NoAddress {
    let text = error.to_string();
    let missing = ["not known", "No address", "does not resolve", "nodename nor servname"];
    if missing.iter().any(|words| text.contains(words)) { NoAddress::NotFound } else { NoAddress::Failed }
}

/// Connections over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

#[async_trait]
impl Dialler for Tcp {
    async fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        let stream = TcpStream::connect(address).await?;
        // Small messages of both ends must not wait for each other.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_libc_for_no_such_name_are_known() {
        for (text, expected) in [
            ("failed to lookup address information: Name or service not known", NoAddress::NotFound),
            ("failed to lookup address information: No address associated with hostname", NoAddress::NotFound),
            ("failed to lookup address information: Name does not resolve", NoAddress::NotFound),
            ("failed to lookup address information: Temporary failure in name resolution", NoAddress::Failed),
            ("failed to lookup address information: Try again", NoAddress::Failed),
        ] {
            assert_eq!(without(&io::Error::other(text)), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_reserved_for_it_does_not_resolve() {
        let name = Name::parse("nobody.invalid").unwrap();
        assert!(SystemResolver::default().addresses(&name).await.is_err());
    }
}
