//! Takes requests and answers them. In: what brings requests, and a desktop. Out: answers; each request gets one, whatever is in it.
//!
//! One verb is done after the other, in the order in which they come: there is one pointer and one keyboard.

use std::sync::Arc;

use agent_protocol::{Answer, Code, Nothing, Outcome, Problem, Request, Verb};
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::time::timeout;

use crate::deadline::Deadline;
use crate::desktop::Desktop;
use crate::fault::{Done, Fault};
use crate::verbs;

/// So many requests may wait for their turn.
const WAITING: usize = 32;
/// What a verb that notices by itself that its time is over gets to say so.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// The bytes of a request, and where those of its answer go.
pub type Asked = (Vec<u8>, oneshot::Sender<Vec<u8>>);

/// What brings requests and takes answers back.
pub trait Transport {
    /// The next request. Nothing if none will come any more.
    fn next(&mut self) -> impl Future<Output = Option<Asked>> + Send;
}

/// What answers requests.
pub struct Server {
    desktop: Arc<Desktop>,
    waiting: Arc<Semaphore>,
    turn: Mutex<()>,
}

/// What was done, and the bytes of a picture if it is one.
pub type Result = Done<(Outcome, Vec<u8>)>;

impl Server {
    /// One for this desktop.
    pub fn new(desktop: Arc<Desktop>) -> Arc<Self> {
        Arc::new(Self { desktop, waiting: Arc::new(Semaphore::new(WAITING)), turn: Mutex::new(()) })
    }

    /// Answers all that it brings.
    pub async fn serve(self: Arc<Self>, mut transport: impl Transport) {
        while let Some((message, reply)) = transport.next().await {
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                // Who asked may have gone.
                let _gone = reply.send(server.answer(&message).await);
            });
        }
    }

    /// The bytes of the answer to a request.
    pub async fn answer(&self, message: &[u8]) -> Vec<u8> {
        let (id, result) = match Request::read(message) {
            Ok(request) => (Some(request.id), self.take_turn(request.verb).await),
            Err(refusal) => return written(&refusal, &[]),
        };
        match result {
            Ok((outcome, attachment)) => written(&Answer::new(id, outcome), &attachment),
            Err(fault) => written(&Answer::new(id, Outcome::Error(fault.problem())), &[]),
        }
    }

    async fn take_turn(&self, verb: Verb) -> Result {
        if let Verb::Status(Nothing {}) = verb {
            return Ok((Outcome::Status(self.desktop.status()), vec![]));
        }
        self.desktop.ready()?;
        let busy =
            |_| Fault::new(Code::Busy, format!("{WAITING} requests wait already: ask again when one is answered"));
        let _waiting = self.waiting.try_acquire().map_err(busy)?;
        let _turn = self.turn.lock().await;
        let limit = verb.limit();
        let deadline = Deadline::after(limit);
        let done = timeout(limit + GRACE, verbs::perform(&self.desktop, verb, deadline)).await;
        done.unwrap_or_else(|_| Err(deadline.fault()))
    }
}

/// An answer that is too large becomes one that says so.
fn written(answer: &Answer, attachment: &[u8]) -> Vec<u8> {
    answer.write(attachment).unwrap_or_else(|broken| {
        let problem = Problem::new(Code::TooLarge, &broken.to_string());
        Answer::new(answer.id.clone(), Outcome::Error(problem)).write(&[]).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests;
