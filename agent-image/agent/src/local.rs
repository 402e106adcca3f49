//! Requests over a socket of this machine. In: a path. Out: a transport for whoever may open what only we may open.
//!
//! It stands in until agents dial out to the relay, and is what tests and probes of a pod use. On the stream four bytes say how long a
//! message is, the highest first; an answer comes before the next request of the same connection is read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use agent_protocol::{LENGTH_BYTES, REQUEST_BYTES};
use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::serve::{Asked, Transport};

/// So many may be connected at once; others wait.
const CONNECTIONS: usize = 16;

/// A socket at which requests are taken.
pub struct Local(mpsc::Receiver<Asked>);

impl Transport for Local {
    async fn next(&mut self) -> Option<Asked> {
        self.0.recv().await
    }
}

impl Local {
    /// Listens at this path, at which nobody else may.
    ///
    /// # Errors
    /// If there is something else, or the folder cannot be written.
    pub fn listen(path: &Path) -> Result<Self> {
        let what = || format!("cannot listen at {}", path.display());
        // Left over by a container that was started again with the same volume.
        if path.exists() {
            std::fs::remove_file(path).with_context(what)?;
        }
        let listener = UnixListener::bind(path).with_context(what)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(what)?;
        let (tell, asked) = mpsc::channel(1);
        tokio::spawn(accept(listener, tell));
        Ok(Self(asked))
    }
}

async fn accept(listener: UnixListener, tell: mpsc::Sender<Asked>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let tell = tell.clone();
        tokio::spawn(async move {
            let ended = converse(stream, &tell).await;
            drop(place);
            if let Err(error) = ended {
                eprintln!("desktop: a connection was ended: {error:#}");
            }
        });
    }
}

async fn converse(mut stream: UnixStream, tell: &mpsc::Sender<Asked>) -> Result<()> {
    while let Some(message) = receive(&mut stream, REQUEST_BYTES).await? {
        let (reply, answer) = oneshot::channel();
        tell.send((message, reply)).await.context("nobody takes requests any more")?;
        send(&mut stream, &answer.await.context("the request was dropped")?).await?;
    }
    Ok(())
}

/// One message of a stream. Nothing if it ended before one began.
///
/// # Errors
/// If it is larger than allowed, or ends within.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin), most: usize) -> Result<Option<Vec<u8>>> {
    let mut length = [0; LENGTH_BYTES];
    match stream.read_exact(&mut length).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.context("cannot read how long the message is")?,
    };
    let length = usize::try_from(u32::from_be_bytes(length))?;
    ensure!(length <= most, "a message has {length} bytes, and {most} are allowed");
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.context("the message ends too soon")?;
    Ok(Some(message))
}

/// Writes a message to a stream.
///
/// # Errors
/// If it is closed.
pub async fn send(stream: &mut UnixStream, message: &[u8]) -> Result<()> {
    let length = u32::try_from(message.len())?.to_be_bytes();
    stream.write_all(&length).await.context("cannot write how long the message is")?;
    stream.write_all(message).await.context("cannot write the message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_larger_than_allowed_is_not_even_read() {
        let mut stream = &[0xff, 0xff, 0xff, 0xff, 1, 2, 3][..];
        let refusal = receive(&mut stream, 10).await.unwrap_err().to_string();
        assert!(refusal.contains("4294967295 bytes"), "{refusal}");
        assert_eq!(stream, [1, 2, 3]);
    }

    #[tokio::test]
    async fn messages_of_a_stream_come_one_after_the_other_until_it_ends() {
        let mut stream = &[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 3, 1][..];
        assert_eq!(receive(&mut stream, 10).await.unwrap(), Some(vec![7, 8]));
        assert_eq!(receive(&mut stream, 10).await.unwrap(), Some(vec![]));
        assert!(receive(&mut stream, 10).await.is_err());
        assert_eq!(receive(&mut &[][..], 10).await.unwrap(), None);
    }

    #[tokio::test]
    async fn only_the_owner_may_open_the_socket_and_what_was_left_over_is_no_hindrance() {
        let path = std::env::temp_dir().join(format!("steading-agent-{}", std::process::id()));
        drop(Local::listen(&path).unwrap());
        let _again = Local::listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
    }
}
