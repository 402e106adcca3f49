//! What comes of a verb. In: what the agent found. Out: JSON that a driver understands, or an error with a code and the next step.

use serde::{Deserialize, Serialize};

use crate::values::{Clipboard, Label, List, Offset, Place, Region, Size, Text, Whole, WindowId};
use crate::verbs::Nothing;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It is done, and there is nothing to tell.
    Done(Nothing),
    /// How the desktop is.
    Status(Status),
    /// A picture. Its bytes come behind the JSON.
    Picture(Picture),
    /// Where the pointer is.
    Position(Position),
    /// What is in the clipboard; nothing if nobody has put text there.
    Clipboard(Option<Clipboard>),
    /// The windows.
    Windows(Windows),
    /// What programs tell about what they show.
    Tree(Tree),
    /// Things that were found.
    Elements(Elements),
    /// Words that were read.
    Words(Words),
    /// It was not done, or not to its end.
    Error(Problem),
}

impl Outcome {
    /// How many bytes come with it.
    pub fn attached(&self) -> usize {
        match self {
            Self::Picture(picture) => usize::try_from(picture.bytes.get()).unwrap_or_default(),
            _ => 0,
        }
    }
}

/// Whether a desktop can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not yet.
    Starting,
    /// It has shown a screenshot that can be used.
    Ready,
}

/// How a desktop is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Whether it can be used.
    pub state: State,
    /// What it waits for, or since when it is ready.
    pub detail: Label,
    /// How large the screen is.
    pub screen: Size,
    /// The version of the agent.
    pub agent: Label,
}

/// A picture that comes behind the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// How it is encoded.
    pub format: PictureFormat,
    /// How many bytes come.
    pub bytes: Whole<1, 16_777_216>,
    /// The size of the picture.
    pub size: Size,
    /// The part of the screen that it shows.
    pub region: Region,
    /// How large the screen is.
    pub screen: Size,
}

/// How a picture is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureFormat {
    /// PNG, 8 bits each for red, green and blue.
    Png,
}

/// Where the pointer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// From the left.
    pub x: Offset,
    /// From above.
    pub y: Offset,
    /// How large the screen is.
    pub screen: Size,
}

/// The windows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// From the oldest to the newest.
    pub windows: List<WindowState, 0, 256>,
}

/// A window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowState {
    /// What the other verbs call it.
    pub window: WindowId,
    /// What stands above it.
    pub title: Label,
    /// What kind of program shows it.
    pub class: Label,
    /// Where it is, without its frame.
    pub place: Place,
    /// Whether it gets what is typed.
    pub active: bool,
}

/// What programs tell about what they show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Things, each after the one that it is in.
    pub nodes: List<TreeNode, 0, 2000>,
    /// Whether there is more than was asked for.
    pub more: bool,
}

/// A thing in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeNode {
    /// The place in the list of the thing that it is in; nothing if it is a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Whole<0, 1999>>,
    /// What it is, where, and what it is called.
    pub element: Element,
}

/// Things that were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elements {
    /// Those on the screen first, and of them those nearer to the root.
    pub elements: List<Element, 0, 100>,
    /// Whether the tree is larger than what was looked through.
    pub more: bool,
}

/// A thing that a program shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Element {
    /// What it is, such as `button`.
    pub role: Text<0, 64>,
    /// What it is called.
    pub name: Label,
    /// What is written in it, if it can be written in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Label>,
    /// Where it is; nothing if it is not on the screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What is true of it, such as `focused` or `checked`.
    pub states: List<Text<1, 64>, 0, 64>,
}

/// Words that were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// From top to bottom, as far as that can be told.
    pub words: List<Word, 0, 5000>,
}

/// A word on the screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// What it says.
    pub text: Text<1, 256>,
    /// Where it is.
    pub place: Place,
    /// Words of one line have the same number.
    pub line: Whole<0, 65_535>,
    /// How sure the reader is.
    pub confidence: Whole<0, 100>,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// For programs.
    pub code: Code,
    /// For people: what is wrong, and the next step.
    pub message: Label,
}

impl Problem {
    /// One with this message, as far as there is room.
    pub fn new(code: Code, message: &str) -> Self {
        Self { code, message: Label::cut(message) }
    }
}

/// The kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The message is not understood: its form, a verb, a field, or a value outside its bounds.
    Malformed,
    /// The version is not spoken.
    Version,
    /// The desktop, or a part of it, is still starting.
    NotReady,
    /// Too many wait already.
    Busy,
    /// A point or region is not on the screen.
    OffScreen,
    /// There is no such window, or nothing of the kind was found in time.
    NotFound,
    /// A name of a key is not known, or no key is left to lend to a character.
    NoSuchKey,
    /// The address may not be opened.
    Refused,
    /// What was asked for, or what came of it, is larger than allowed.
    TooLarge,
    /// It took longer than it may.
    TimedOut,
    /// A part of the desktop did not do what was asked of it.
    Failed,
}
