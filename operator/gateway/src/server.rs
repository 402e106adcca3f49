//! Takes connections of agents. In: a listener, bounds, perhaps a certificate. Out: each connection in a task of its own, and none too many:
//! a flood from one address leaves the others their places.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::proxy::Gateway;

/// After the system refused a connection, because files ran out or the like.
const BREATH: Duration = Duration::from_millis(100);
/// How long the gateway's own TLS may take to begin.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many agents' connections are served at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Of all.
    pub all: usize,
    /// From one address, which is one pod.
    pub of_one: usize,
}

/// Counts who has how many places.
#[derive(Clone, Debug)]
struct Guests {
    of_one: usize,
    free: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place that is taken.
#[derive(Debug)]
struct Place {
    guests: Guests,
    address: IpAddr,
    _one: OwnedSemaphorePermit,
}

impl Guests {
    fn new(places: Places) -> Self {
        let all = places.all.min(Semaphore::MAX_PERMITS);
        Self { of_one: places.of_one, free: Arc::new(Semaphore::new(all)), taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, address: IpAddr) -> Option<Place> {
        let one = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let mut taken = self.taken();
        let count = taken.get(&address).copied().unwrap_or_default();
        if count >= self.of_one {
            return None;
        }
        taken.insert(address, count + 1);
        drop(taken);
        Some(Place { guests: self.clone(), address, _one: one })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.guests.taken();
        match taken.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.address)),
        }
    }
}

/// Serves connections from `listener` until `stop` resolves.
pub async fn serve(
    gateway: &Gateway,
    listener: TcpListener,
    places: Places,
    tls: Option<TlsAcceptor>,
    stop: impl Future<Output = ()> + Send,
) {
    let guests = Guests::new(places);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => match guests.take(from.ip()) {
                Some(place) => begin(gateway.clone(), stream, tls.clone(), place),
                None => gateway.metrics().client_refused(),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                sleep(BREATH).await;
            }
        }
    }
}

fn begin(gateway: Gateway, stream: TcpStream, tls: Option<TlsAcceptor>, place: Place) {
    tokio::spawn(async move {
        let _place = place;
        let served = async {
            stream.set_nodelay(true)?;
            match tls {
                None => gateway.serve(stream).await,
                Some(tls) => {
                    let begun = timeout(HANDSHAKE, tls.accept(stream)).await;
                    gateway.serve(begun.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??).await;
                }
            }
            Ok::<_, io::Error>(())
        };
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection ended before its first request");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_places() {
        let guests = Guests::new(Places { all: 3, of_one: 2 });
        let (greedy, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = guests.take(greedy).unwrap();
        let second = guests.take(greedy).unwrap();
        assert!(guests.take(greedy).is_none());
        let third = guests.take(other).unwrap();
        assert!(guests.take(other).is_none(), "there are three in all");
        drop(first);
        assert!(guests.take(greedy).is_some());
        drop((second, third));
        assert!(guests.taken().is_empty(), "nobody is remembered who left");
        assert_eq!(guests.free.available_permits(), 3);
    }
}
