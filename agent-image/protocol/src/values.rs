//! What fields are made of. In: numbers, texts and lists as they come. Out: the same with bounds that they cannot leave, or what is wrong.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// A value outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} has to be from {min} to {max}, and is {found}")]
pub struct OutOfBounds {
    what: &'static str,
    min: i64,
    max: i64,
    found: i64,
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Whole<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Whole<MIN, MAX> {
    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The number within the bounds that is nearest to this one. What is told about the world is rather cut than not told.
    pub fn nearest(number: impl TryInto<i64>) -> Self {
        Self(number.try_into().unwrap_or(MAX).clamp(MIN, MAX))
    }

    /// A number that is written in the code.
    pub const fn of<const NUMBER: i64>() -> Self {
        const { assert!(MIN <= NUMBER && NUMBER <= MAX, "outside its bounds") };
        Self(NUMBER)
    }
}

impl<const MIN: i64, const MAX: i64> TryFrom<i64> for Whole<MIN, MAX> {
    type Error = OutOfBounds;

    fn try_from(found: i64) -> Result<Self, OutOfBounds> {
        if (MIN..=MAX).contains(&found) {
            Ok(Self(found))
        } else {
            Err(OutOfBounds { what: "a number here", min: MIN, max: MAX, found })
        }
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(i64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A text of `MIN` to `MAX` characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Text<const MIN: i64, const MAX: i64>(String);

impl<const MIN: i64, const MAX: i64> Text<MIN, MAX> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As much of the beginning as there is room for.
    pub fn cut(text: &str) -> Self {
        let most = usize::try_from(MAX).unwrap_or_default();
        Self(text.chars().take(most).collect())
    }
}

impl<const MIN: i64, const MAX: i64> TryFrom<String> for Text<MIN, MAX> {
    type Error = OutOfBounds;

    fn try_from(text: String) -> Result<Self, OutOfBounds> {
        let found = length(text.chars().count());
        if (MIN..=MAX).contains(&found) {
            Ok(Self(text))
        } else {
            Err(OutOfBounds { what: "the number of characters of a text here", min: MIN, max: MAX, found })
        }
    }
}

impl<const MIN: i64, const MAX: i64> TryFrom<&str> for Text<MIN, MAX> {
    type Error = OutOfBounds;

    fn try_from(text: &str) -> Result<Self, OutOfBounds> {
        Self::try_from(text.to_owned())
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A list of `MIN` to `MAX` things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct List<T, const MIN: i64, const MAX: i64>(Vec<T>);

impl<T, const MIN: i64, const MAX: i64> List<T, MIN, MAX> {
    /// The things.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// As many of the first as there is room for.
    pub fn cut(things: impl IntoIterator<Item = T>) -> Self {
        Self(things.into_iter().take(usize::try_from(MAX).unwrap_or_default()).collect())
    }
}

impl<T, const MAX: i64> Default for List<T, 0, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MIN: i64, const MAX: i64> TryFrom<Vec<T>> for List<T, MIN, MAX> {
    type Error = OutOfBounds;

    fn try_from(things: Vec<T>) -> Result<Self, OutOfBounds> {
        let found = length(things.len());
        if (MIN..=MAX).contains(&found) {
            Ok(Self(things))
        } else {
            Err(OutOfBounds { what: "the length of a list here", min: MIN, max: MAX, found })
        }
    }
}

impl<'de, T: Deserialize<'de>, const MIN: i64, const MAX: i64> Deserialize<'de> for List<T, MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Vec::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What a driver calls a request.
pub type Id = Text<1, 64>;
/// What people read: a name, a title, a message.
pub type Label = Text<0, 1024>;
/// What is typed.
pub type Typed = Text<1, 4096>;
/// What is in the clipboard.
pub type Clipboard = Text<0, 65_536>;
/// Keys that are pressed together, such as `ctrl+shift+t`.
pub type Chord = Text<1, 64>;
/// A pixel's column or row.
pub type Coordinate = Whole<0, 16_383>;
/// How far something reaches, in pixels.
pub type Extent = Whole<1, 16_384>;
/// Where something begins, which may be beyond the left or upper edge of the screen.
pub type Offset = Whole<-32_768, 32_767>;
/// A window, as the X server counts.
pub type WindowId = Whole<1, 4_294_967_295>;
/// A time of at most a minute.
pub type Milliseconds = Whole<0, 60_000>;

/// A size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// From left to right.
    pub width: Extent,
    /// From top to bottom.
    pub height: Extent,
}

/// A part of the screen, in its own pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its left edge.
    pub x: Coordinate,
    /// Its upper edge.
    pub y: Coordinate,
    /// From left to right.
    pub width: Extent,
    /// From top to bottom.
    pub height: Extent,
}

/// Where something is, in pixels of the screen. Parts of it may lie outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Its left edge.
    pub x: Offset,
    /// Its upper edge.
    pub y: Offset,
    /// From left to right.
    pub width: Whole<0, 65_535>,
    /// From top to bottom.
    pub height: Whole<0, 65_535>,
}
