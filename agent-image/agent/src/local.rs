//! Requests over a socket of this machine. In: a path. Out: a transport for whoever may open what only we may open.
//!
//! It stands in until agents dial out to the relay, and is what tests and probes of a pod use. On the stream four bytes say how long a
//! message is, the highest first; an answer comes before the next request of the same connection is read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_protocol::{Answer, Code, LENGTH_BYTES, Outcome, Problem, REQUEST_BYTES};
use anyhow::{Context as _, Result};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::serve::{Asked, Transport};

/// So many may be connected at once; others wait.
const CONNECTIONS: usize = 16;
/// Whoever says nothing for so long makes room for others.
const IDLE: Duration = Duration::from_mins(5);
/// Longest time from the first byte of a message to the last.
const MESSAGE: Duration = Duration::from_secs(10);
/// After a connection could not be taken, such as for want of files.
const PAUSE: Duration = Duration::from_millis(100);

/// A message that is not even read.
#[derive(Debug, Error)]
#[error("a message has {bytes} bytes, and {most} are allowed")]
struct TooLarge {
    bytes: usize,
    most: usize,
}

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
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
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
    loop {
        let message = match receive(&mut stream, REQUEST_BYTES).await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(refusal) => {
                if let Some(too_large) = refusal.downcast_ref::<TooLarge>() {
                    // What follows cannot be told from a message, so this is the last that is said.
                    let problem = Problem::new(Code::TooLarge, &format!("{too_large}: send less at once"));
                    send(&mut stream, &Answer::new(None, Outcome::Error(problem)).write(&[])?).await?;
                }
                return Err(refusal);
            }
        };
        let (reply, answer) = oneshot::channel();
        tell.send((message, reply)).await.context("nobody takes requests any more")?;
        send(&mut stream, &answer.await.context("the request was dropped")?).await?;
    }
}

/// One message of a stream. Nothing if it ended before one began, or says nothing for long.
///
/// # Errors
/// If it is larger than allowed, ends within, or takes too long.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin), most: usize) -> Result<Option<Vec<u8>>> {
    let mut length = [0; LENGTH_BYTES];
    let Ok(begun) = timeout(IDLE, stream.read(&mut length)).await else { return Ok(None) };
    let begun = begun.context("cannot read how long the message is")?;
    if begun == 0 {
        return Ok(None);
    }
    let whole = async {
        let others = length.get_mut(begun..).unwrap_or_default();
        stream.read_exact(others).await.context("the message ends too soon")?;
        let bytes = usize::try_from(u32::from_be_bytes(length))?;
        if bytes > most {
            return Err(TooLarge { bytes, most }.into());
        }
        let mut message = vec![0; bytes];
        stream.read_exact(&mut message).await.context("the message ends too soon")?;
        Ok(Some(message))
    };
    timeout(MESSAGE, whole).await.context("the message has not come after 10 s")?
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

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_in_a_message_or_says_nothing_is_not_waited_for() {
        let (mut driver, mut stream) = tokio::io::duplex(64);
        driver.write_all(&[0, 0]).await.unwrap();
        let refusal = receive(&mut stream, 10).await.unwrap_err().to_string();
        assert!(refusal.contains("after 10 s"), "{refusal}");
        assert_eq!(receive(&mut stream, 10).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_is_answered_before_the_connection_ends() {
        let (mut driver, stream) = UnixStream::pair().unwrap();
        let (tell, _asked) = mpsc::channel(1);
        driver.write_all(&[0xff, 0, 0, 0, 1]).await.unwrap();
        let refusal = converse(stream, &tell).await.unwrap_err().to_string();
        assert!(refusal.contains("4278190080 bytes"), "{refusal}");
        let answer = receive(&mut driver, REQUEST_BYTES).await.unwrap().unwrap();
        let outcome = Answer::read(&answer).unwrap().0.outcome;
        assert!(matches!(outcome, Outcome::Error(problem) if problem.code == Code::TooLarge));
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
