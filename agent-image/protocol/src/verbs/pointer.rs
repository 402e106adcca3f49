//! What is done with the pointer. In: JSON. Out: points, buttons and ways within their bounds.

use serde::{Deserialize, Serialize};

use super::once;
use crate::values::{Coordinate, List, Size, Whole};

/// A point of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// From the left.
    pub x: Coordinate,
    /// From above.
    pub y: Coordinate,
    /// The size of the picture of the whole screen that it was seen in; the screen's own if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Size>,
}

/// A button of the pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "their names say it")]
pub enum Button {
    #[default]
    Left,
    Middle,
    Right,
}

/// A key that changes what others and buttons do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "their names say it")]
pub enum Modifier {
    Shift,
    Ctrl,
    Alt,
    Super,
}

/// Modifiers that are held meanwhile.
pub type Modifiers = List<Modifier, 0, 4>;

/// See [`super::Verb::Click`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Click {
    /// Where; where the pointer is if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Point>,
    /// With which button.
    #[serde(default)]
    pub button: Button,
    /// How often, at once: 2 is a double click.
    #[serde(default = "once")]
    pub count: Whole<1, 3>,
    /// What is held meanwhile.
    #[serde(default)]
    pub modifiers: Modifiers,
}

/// See [`super::Verb::Press`] and [`super::Verb::Release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Where; where the pointer is if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Point>,
    /// Which button.
    #[serde(default)]
    pub button: Button,
}

/// Points one after the other.
pub type Path = List<Point, 2, 256>;

/// See [`super::Verb::Drag`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drag {
    /// Where the button is pressed, where the pointer goes, and where the button is released.
    pub path: Path,
    /// Which button.
    #[serde(default)]
    pub button: Button,
    /// What is held meanwhile.
    #[serde(default)]
    pub modifiers: Modifiers,
    /// How long the way takes.
    #[serde(default = "while_dragging")]
    pub milliseconds: Whole<0, 10_000>,
}

const fn while_dragging() -> Whole<0, 10_000> {
    Whole::of::<300>()
}

/// See [`super::Verb::Move`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Where to.
    pub to: Point,
}

/// Where what is seen goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "their names say it")]
pub enum Direction {
    Up,
    Down,
    Left,
    Right,
}

/// See [`super::Verb::Scroll`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scroll {
    /// Where; where the pointer is if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Point>,
    /// Where to.
    pub direction: Direction,
    /// How far, in notches of a wheel.
    pub notches: Whole<1, 100>,
    /// What is held meanwhile.
    #[serde(default)]
    pub modifiers: Modifiers,
}
