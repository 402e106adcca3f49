//! Trying to reach somebody: a connection that is made, or is not.

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use tokio::{net::TcpStream, time::timeout};

/// How long a connection may take. On a busy node the answer comes late, and then an open way would look shut.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a connection is made. A refusal is none: enforcers refuse too.
pub async fn reaches(target: SocketAddr, patience: Duration) -> bool {
    matches!(timeout(patience, TcpStream::connect(target)).await, Ok(Ok(_)))
}

/// Whether each is reached, in their order; all are tried at once.
pub async fn each(targets: impl IntoIterator<Item = SocketAddr>) -> Vec<bool> {
    join_all(targets.into_iter().map(|target| reaches(target, PATIENCE))).await
}
