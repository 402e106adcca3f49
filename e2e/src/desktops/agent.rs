//! Drives a desktop as whoever holds a session does. In: verbs. Out: what the agent in it answers, over the socket that stands in for the
//! relay.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_protocol::{
    Answer, Coordinate, Element, Find, Id, Nothing, Outcome, Point, Request, State, Status, Verb, Whole,
};
use anyhow::{Context as _, Result, bail, ensure};

use crate::install::make;

/// Longest wait for an answer: more than any verb may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// The agent, built as it is shipped: one static program.
pub async fn program() -> Result<PathBuf> {
    let build =
        || make(&["desktop-agent".to_owned()], "building the agent of desktops (minutes on 2 cores the first time)");
    let folder = tokio::task::spawn_blocking(build).await.context("the task ended early")??;
    Ok(Path::new(&folder).join("steading-agent"))
}

/// Somebody who drives a desktop.
pub struct Driver {
    stream: UnixStream,
    asked: u64,
}

impl Driver {
    /// Connects.
    pub(super) fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, asked: 0 })
    }

    /// That the desktop can be used.
    pub(super) fn is_ready(&mut self) -> Result<()> {
        match self.ask(Verb::Status(Nothing {}))?.0 {
            Outcome::Status(Status { state: State::Ready, .. }) => Ok(()),
            other => bail!("{other:?}"),
        }
    }

    /// Sends bytes as they are, and returns what comes back and what comes with it.
    pub fn say(&mut self, message: &[u8]) -> Result<(Answer, Vec<u8>)> {
        self.stream.write_all(&u32::try_from(message.len())?.to_be_bytes())?;
        self.stream.write_all(message)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("the agent says nothing")?;
        let mut answer = vec![0; u32::from_be_bytes(length).try_into()?];
        self.stream.read_exact(&mut answer).context("the agent stops in the middle")?;
        let (answer, attachment) = Answer::read(&answer)?;
        Ok((answer, attachment.to_vec()))
    }

    /// What comes of a verb, and the bytes of the picture if it is one.
    pub fn ask(&mut self, verb: Verb) -> Result<(Outcome, Vec<u8>)> {
        self.asked += 1;
        let id = Id::try_from(self.asked.to_string())?;
        let request = Request::new(id.clone(), verb);
        let (answer, attachment) = self.say(&request.write()?)?;
        ensure!(answer.id.as_ref() == Some(&id), "the answer is to another request: {answer:?}");
        Ok((answer.outcome, attachment))
    }

    /// The same for a verb of which nothing but that it is done comes.
    pub fn act(&mut self, verb: Verb) -> Result<()> {
        let name = verb.name();
        match self.ask(verb)?.0 {
            Outcome::Done(_) => Ok(()),
            other => bail!("{name}: {other:?}"),
        }
    }

    /// The first thing of this role whose name contains this, as soon as there is one.
    pub fn find(&mut self, role: &str, name: &str) -> Result<Element> {
        let find = Find {
            role: Some(role.try_into()?),
            name: Some(name.try_into()?),
            exact: false,
            limit: Whole::of::<1>(),
            patience: Whole::of::<30_000>(),
        };
        match self.ask(Verb::Find(find))?.0 {
            Outcome::Elements(found) => found.elements.as_slice().first().cloned().context("nothing was found"),
            other => bail!("find {role} {name}: {other:?}"),
        }
    }
}

/// The middle of a thing on the screen.
pub fn middle(element: &Element) -> Result<Point> {
    let place = element.place.with_context(|| format!("{element:?} is not on the screen"))?;
    let middle = |start: i64, length: i64| Coordinate::try_from(start + length / 2);
    Ok(Point { x: middle(place.x.get(), place.width.get())?, y: middle(place.y.get(), place.height.get())?, of: None })
}
