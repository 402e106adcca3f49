//! Free ports of the loopback address, or of one of this host that pods reach. In: the address. Out: a [`Port`] that no other harness
//! process uses meanwhile.
//!
//! Ports lie below the range from which the kernel takes those of outgoing connections, and each is held by a file
//! lock: between our choice and the server's bind nobody else can take it.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::components::cache_root;

/// The range from which ports are taken; Linux uses 32768 and up for outgoing connections.
const RANGE: std::ops::Range<u16> = 20_000..24_000;

/// The address at which nobody but this machine reaches a server.
pub const LOOPBACK: &str = "127.0.0.1";

/// A port reserved for as long as this value lives.
#[derive(Debug)]
pub struct Port {
    host: String,
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a port of the loopback address that nothing listens on.
    pub fn reserve() -> Result<Self> {
        Self::reserve_at(LOOPBACK)
    }

    /// Reserves a port of this address of the host that nothing listens on.
    pub fn reserve_at(host: &str) -> Result<Self> {
        let directory = cache_root()?.join("locks");
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        Self::reserve_in(&directory, host)
    }

    fn reserve_in(directory: &Path, host: &str) -> Result<Self> {
        for _ in 0..1000 {
            let number = rand::random_range(RANGE);
            let path = directory.join(format!("port-{number}.lock"));
            let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            if lock.try_lock().is_ok() && TcpListener::bind((host, number)).is_ok() {
                return Ok(Self { host: host.to_owned(), number, _lock: lock });
            }
        }
        bail!("no free port of {host} between {} and {} was found in 1000 tries", RANGE.start, RANGE.end)
    }

    /// The number of the port.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:<port>`, or with the other address.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.number)
    }

    /// `https://127.0.0.1:<port>`, or with the other address.
    pub fn https(&self) -> String {
        format!("https://{}", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_given_out_again() {
        let directory = std::env::temp_dir().join(format!("steading-ports-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&directory).unwrap();
        let port = Port::reserve_in(&directory, LOOPBACK).unwrap();
        let again = File::create(directory.join(format!("port-{}.lock", port.number()))).unwrap();
        assert!(again.try_lock().is_err());
        drop(port);
        // A program that another test starts in this moment holds a copy of the lock until it is executed: waited for.
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(again.lock().is_ok()));
        assert!(receiver.recv_timeout(std::time::Duration::from_mins(1)).is_ok_and(|locked| locked));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
