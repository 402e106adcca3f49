//! What a driver can ask for. In: JSON. Out: a verb whose fields are all within their bounds, and how long it may take.

mod pointer;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::values::{Chord, Clipboard, Label, Milliseconds, Region, Size, Text, Typed, Whole, WindowId};

pub use pointer::{Button, Click, Direction, Drag, Hold, Modifier, Modifiers, Move, Path, Point, Scroll};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Verb {
    /// Is the desktop ready, and how large is it?
    Status(Nothing),
    /// A picture of the screen or of a part of it.
    Screenshot(Screenshot),
    /// A button is pressed and released, once or several times.
    Click(Click),
    /// A button is pressed and stays so.
    Press(Hold),
    /// A button is released.
    Release(Hold),
    /// The pointer goes along a path with a button pressed.
    Drag(Drag),
    /// The pointer goes to a point.
    Move(Move),
    /// The wheel turns.
    Scroll(Scroll),
    /// Text is typed as if by a keyboard that has all its characters.
    Type(Type),
    /// Keys are pressed together.
    Key(Key),
    /// Nothing happens for a while.
    Wait(Wait),
    /// Where is the pointer?
    CursorPosition(Nothing),
    /// What is in the clipboard?
    GetClipboard(Nothing),
    /// A text is put into the clipboard.
    SetClipboard(SetClipboard),
    /// Which windows are there?
    Windows(Nothing),
    /// A window comes to the front and gets what is typed.
    FocusWindow(Window),
    /// A window is asked to close.
    CloseWindow(Window),
    /// A program of the list of allowed ones is started, or opens an address.
    Launch(Launch),
    /// What programs tell about what they show.
    Tree(TreeOf),
    /// Things of that tree by what they are and what they are called.
    Find(Find),
    /// Words on the screen, read from its picture.
    ReadText(ReadText),
}

/// No more is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// See [`Verb::Screenshot`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Screenshot {
    /// Which part; all of it if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// How much smaller; as it is if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
}

/// How a picture is made smaller. It is never made larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scale {
    /// Until it fits into this, as wide for its height as before.
    Within(Size),
    /// To so many hundredths of its width and height.
    Percent(Whole<1, 100>),
}

/// See [`Verb::Type`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Type {
    /// What. A line feed is the Return key, and a tabulator the Tab key.
    pub text: Typed,
    /// Between one character and the next.
    #[serde(default)]
    pub pause: Pause,
}

/// A short pause, in milliseconds.
pub type Pause = Whole<0, 200>;

impl Default for Pause {
    fn default() -> Self {
        Self::of::<5>()
    }
}

const fn once<const MAX: i64>() -> Whole<1, MAX> {
    Whole::of::<1>()
}

/// See [`Verb::Key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Which, such as `ctrl+shift+t`, `Return` or `Page_Down`.
    pub chord: Chord,
    /// How often, one after the other.
    #[serde(default = "once")]
    pub count: Whole<1, 100>,
    /// How long they are held each time.
    #[serde(default = "shortly")]
    pub hold: Whole<0, 10_000>,
}

const fn shortly() -> Whole<0, 10_000> {
    Whole::of::<10>()
}

/// See [`Verb::Wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// How long.
    pub milliseconds: Milliseconds,
}

/// See [`Verb::SetClipboard`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetClipboard {
    /// What.
    pub text: Clipboard,
}

/// See [`Verb::FocusWindow`] and [`Verb::CloseWindow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Which, as [`Verb::Windows`] lists it.
    pub window: WindowId,
}

/// A program that may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// The browser, which runs already: it opens a new tab.
    Browser,
}

/// See [`Verb::Launch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Which.
    pub program: Program,
    /// What it opens: an address that begins with `http://`, `https://` or `data:`, or `about:blank`.
    pub address: Text<1, 8192>,
}

/// See [`Verb::Tree`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeOf {
    /// How many levels below the programs.
    #[serde(default)]
    pub depth: Depth,
    /// How many things in all; those nearer to the root come first.
    #[serde(default)]
    pub nodes: Nodes,
}

/// How many levels.
pub type Depth = Whole<1, 64>;

impl Default for Depth {
    fn default() -> Self {
        Self::of::<24>()
    }
}

/// How many things.
pub type Nodes = Whole<1, 2000>;

impl Default for Nodes {
    fn default() -> Self {
        Self::of::<500>()
    }
}

/// See [`Verb::Find`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// What it is, such as `button` or `entry`; anything if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Text<1, 64>>,
    /// What it is called; anything if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<1, 256>>,
    /// Whether the name has to be just that. Otherwise it contains it, in capitals or not.
    #[serde(default)]
    pub exact: bool,
    /// How many at most.
    #[serde(default = "some")]
    pub limit: Whole<1, 100>,
    /// How long to look until there is one.
    #[serde(default)]
    pub patience: Patience,
}

const fn some() -> Whole<1, 100> {
    Whole::of::<20>()
}

/// How long to look for something that may appear, in milliseconds.
pub type Patience = Whole<0, 30_000>;

impl Default for Patience {
    fn default() -> Self {
        Self::of::<0>()
    }
}

/// See [`Verb::ReadText`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadText {
    /// Which part; all of it if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Only words that contain this, in capitals or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containing: Option<Label>,
    /// How long to look until there is one.
    #[serde(default)]
    pub patience: Patience,
}

impl Verb {
    /// How it is called.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Screenshot(_) => "screenshot",
            Self::Click(_) => "click",
            Self::Press(_) => "press",
            Self::Release(_) => "release",
            Self::Drag(_) => "drag",
            Self::Move(_) => "move",
            Self::Scroll(_) => "scroll",
            Self::Type(_) => "type",
            Self::Key(_) => "key",
            Self::Wait(_) => "wait",
            Self::CursorPosition(_) => "cursor_position",
            Self::GetClipboard(_) => "get_clipboard",
            Self::SetClipboard(_) => "set_clipboard",
            Self::Windows(_) => "windows",
            Self::FocusWindow(_) => "focus_window",
            Self::CloseWindow(_) => "close_window",
            Self::Launch(_) => "launch",
            Self::Tree(_) => "tree",
            Self::Find(_) => "find",
            Self::ReadText(_) => "read_text",
        }
    }

    /// The longest that it may take, from when its turn comes. What takes longer is given up, and the answer is an error.
    pub fn limit(&self) -> Duration {
        let seconds = Duration::from_secs;
        match self {
            Self::Status(_) => seconds(5),
            Self::Screenshot(_)
            | Self::Click(_)
            | Self::Press(_)
            | Self::Release(_)
            | Self::Move(_)
            | Self::CursorPosition(_)
            | Self::GetClipboard(_)
            | Self::SetClipboard(_)
            | Self::Windows(_)
            | Self::FocusWindow(_)
            | Self::CloseWindow(_) => seconds(10),
            Self::Drag(_) | Self::Scroll(_) | Self::Launch(_) => seconds(30),
            Self::Type(_) | Self::Key(_) | Self::Tree(_) => seconds(60),
            Self::Wait(wait) => seconds(5) + milliseconds(wait.milliseconds),
            Self::Find(find) => seconds(60) + milliseconds(find.patience),
            Self::ReadText(read) => seconds(60) + milliseconds(read.patience),
        }
    }
}

fn milliseconds<const MIN: i64, const MAX: i64>(time: Whole<MIN, MAX>) -> Duration {
    Duration::from_millis(time.get().try_into().unwrap_or_default())
}
