//! What drivers of a desktop and the agent in it say to each other. In and out: bytes of messages, and what they mean. No I/O: how bytes
//! get from one to the other is somebody else's business.
//!
//! Every field has bounds, which are part of its type, and a message with a field that is not known is refused: what is accepted is
//! honoured. `docs/agent-protocol.md` describes the format to people who speak it from another language.

mod frame;
mod outcomes;
mod values;
mod verbs;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use frame::{ANSWER_BYTES, Broken, LENGTH_BYTES, REQUEST_BYTES, join, split};
pub use outcomes::{
    Code, Element, Elements, Outcome, Picture, PictureFormat, Position, Problem, State, Status, Tree, TreeNode,
    WindowState, Windows, Word, Words,
};
pub use values::{
    Chord, Clipboard, Coordinate, Extent, Id, Label, List, Milliseconds, Offset, OutOfBounds, Place, Region, Size,
    Text, Typed, Whole, WindowId,
};
pub use verbs::{
    Button, Click, Direction, Drag, Find, Hold, Key, Launch, Modifier, Modifiers, Move, Nothing, Path, Point, Program,
    ReadText, Scale, Screenshot, Scroll, SetClipboard, TreeOf, Type, Verb, Wait, Window,
};

/// The version that is spoken. It is raised when a message of before would mean something else or be refused.
pub const VERSION: u16 = 1;

/// What a driver asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub version: u16,
    /// What the driver calls it; comes back in the answer.
    pub id: Id,
    /// What is to be done.
    pub verb: Verb,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u16,
    /// What the request was called; nothing if it could not be read.
    pub id: Option<Id>,
    /// What came of it.
    pub outcome: Outcome,
}

impl Request {
    /// A request of the present version.
    pub fn new(id: Id, verb: Verb) -> Self {
        Self { version: VERSION, id, verb }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The answer to whoever sent it: what is wrong, with the name of the request if it has one.
    pub fn read(message: &[u8]) -> Result<Self, Answer> {
        let refused = |id, code, text: &str| Answer::new(id, Outcome::Error(Problem::new(code, text)));
        let malformed = |id, text: String| refused(id, Code::Malformed, &text);
        if message.len() > REQUEST_BYTES {
            let text = format!("a request has at most {REQUEST_BYTES} bytes, and this one has {}", message.len());
            return Err(refused(None, Code::TooLarge, &text));
        }
        let (json, attachment) = split(message).map_err(|broken| malformed(None, broken.to_string()))?;
        // Read loosely first, so that what comes from a later version is called that and not nonsense.
        let head: Head = serde_json::from_slice(json).unwrap_or_default();
        let id = head.id.as_ref().and_then(Value::as_str).and_then(|id| Id::try_from(id).ok());
        if let Some(version) = head.version.filter(|version| version.as_u64() != Some(VERSION.into())) {
            let text = format!("version {version} is not spoken here: send version {VERSION}");
            return Err(refused(id, Code::Version, &text));
        }
        if !attachment.is_empty() {
            return Err(malformed(id, "a request has nothing behind its JSON: remove what follows it".to_owned()));
        }
        serde_json::from_slice(json).map_err(|error| malformed(id, format!("the request is not understood: {error}")))
    }

    /// The bytes of the message.
    ///
    /// # Errors
    /// If it is larger than a request may be.
    pub fn write(&self) -> Result<Vec<u8>, Broken> {
        join(self, &[], REQUEST_BYTES)
    }
}

/// What is read of a request that may be of any version.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(default)]
    version: Option<Value>,
    #[serde(default)]
    id: Option<Value>,
}

impl Answer {
    /// An answer of the present version.
    pub fn new(id: Option<Id>, outcome: Outcome) -> Self {
        Self { version: VERSION, id, outcome }
    }

    /// Reads a message: the answer, and the bytes of the picture if it is one.
    ///
    /// # Errors
    /// If it is no answer of this version, or has not as many bytes behind it as it says.
    pub fn read(message: &[u8]) -> Result<(Self, &[u8]), Broken> {
        let (json, attachment) = split(message)?;
        let answer: Self = serde_json::from_slice(json).map_err(|error| Broken::Json(error.to_string()))?;
        if answer.version != VERSION {
            return Err(Broken::Version(answer.version));
        }
        let (said, found) = (answer.outcome.attached(), attachment.len());
        if said == found { Ok((answer, attachment)) } else { Err(Broken::Attachment { said, found }) }
    }

    /// The bytes of the message, with those of the picture if it is one.
    ///
    /// # Errors
    /// If it is larger than an answer may be, or does not say how many bytes come with it.
    pub fn write(&self, attachment: &[u8]) -> Result<Vec<u8>, Broken> {
        let (said, found) = (self.outcome.attached(), attachment.len());
        if said != found {
            return Err(Broken::Attachment { said, found });
        }
        join(self, attachment, ANSWER_BYTES)
    }
}

#[cfg(test)]
mod tests;
