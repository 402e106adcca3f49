//! Whether a picture shows a desktop that can be used. In: two pictures, one after the other, and the size that was asked for. Out: yes, or
//! what is missing.

use crate::picture::Picture;
use crate::scale::Pair;

/// Of so many pixels at least one has to have another colour than the first: less than that is a pointer or a caret.
const FEW: usize = 500;
/// Of so many pixels at most one may change from one picture to the next: more than that still comes up.
const STILL: usize = 200;

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is not as large as was asked for.
    Size(Pair),
    /// All of it has one colour.
    Content,
    /// It changed since the last one, or is the first.
    Rest,
}

/// Judges a picture by the one before it.
pub fn missing(before: Option<&Picture>, now: &Picture, expected: Pair) -> Option<Missing> {
    let pixels = now.pixels();
    let others = pixels.iter().filter(|pixel| Some(*pixel) != pixels.first()).count();
    let changed = |before: &Picture| before.pixels().iter().zip(pixels).filter(|(before, now)| before != now).count();
    if now.size != expected {
        Some(Missing::Size(now.size))
    } else if others * FEW <= pixels.len() {
        Some(Missing::Content)
    } else if before.is_none_or(|before| before.size != now.size || changed(before) * STILL > pixels.len()) {
        Some(Missing::Rest)
    } else {
        None
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Size((width, height)) => write!(text, "the screen is {width} x {height}, which was not asked for"),
            Self::Content => text.write_str("the screen has one colour"),
            Self::Rest => text.write_str("the screen still changes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Pair = (100, 100);

    /// So many white pixels, and the others black.
    fn picture(white: usize) -> Picture {
        let bytes: Vec<u8> = (0..10_000).flat_map(|at| [if at >= 10_000 - white { 255 } else { 0 }; 4]).collect();
        Picture::of_bgrx(SIZE, &bytes).unwrap()
    }

    #[test]
    fn a_picture_that_stays_and_shows_something_is_usable() {
        assert_eq!(missing(Some(&picture(5000)), &picture(5000), SIZE), None);
    }

    #[test]
    fn a_caret_that_blinks_does_not_matter() {
        assert_eq!(missing(Some(&picture(5000)), &picture(5020), SIZE), None);
    }

    #[test]
    fn one_colour_is_no_desktop_even_with_a_pointer_on_it() {
        for white in [0, 20, 10_000] {
            assert_eq!(missing(Some(&picture(white)), &picture(white), SIZE), Some(Missing::Content), "{white}");
        }
    }

    #[test]
    fn what_still_changes_or_was_never_seen_before_is_waited_for() {
        assert_eq!(missing(Some(&picture(5000)), &picture(5100), SIZE), Some(Missing::Rest));
        assert_eq!(missing(None, &picture(5000), SIZE), Some(Missing::Rest));
    }

    #[test]
    fn another_size_than_asked_for_is_not_what_was_asked_for() {
        assert_eq!(missing(Some(&picture(5000)), &picture(5000), (100, 101)), Some(Missing::Size(SIZE)));
    }
}
