//! Keys by their names. In: a chord such as `ctrl+shift+t`, or a character. Out: keysyms, which is what the X server calls what a key
//! means.

mod names;

use agent_protocol::Code;

use crate::fault::{Done, Fault};

/// What a key means.
pub type Keysym = u32;

/// Most keys of a chord.
const KEYS: usize = 5;
/// Added to a code point where the X server has no number of its own.
const UNICODE: u32 = 0x0100_0000;

pub(crate) const SHIFT: Keysym = 0xffe1;
pub(crate) const CTRL: Keysym = 0xffe3;
pub(crate) const ALT: Keysym = 0xffe9;
pub(crate) const SUPER: Keysym = 0xffeb;
const RETURN: Keysym = 0xff0d;
const TAB: Keysym = 0xff09;

/// The keys of a chord, in the order in which they are pressed.
///
/// # Errors
/// If a name is not known, a key comes twice, or there are too many.
pub fn chord(text: &str) -> Done<Vec<Keysym>> {
    let keys = parts(text).map(key).collect::<Done<Vec<_>>>()?;
    let twice = keys.iter().enumerate().any(|(at, key)| keys.iter().skip(at + 1).any(|other| other == key));
    if twice || keys.len() > KEYS {
        let message = format!("{text:?} is no chord: it has at most {KEYS} keys, each once, such as ctrl+shift+t");
        return Err(Fault::new(Code::NoSuchKey, message));
    }
    Ok(keys)
}

/// Between plus signs. The key with the plus sign may stand last as itself: `ctrl++`.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let (before, plus) = match text.strip_suffix("++") {
        Some(before) => (Some(before), Some("+")),
        None if text == "+" => (None, Some("+")),
        None => (Some(text), None),
    };
    before.into_iter().flat_map(|before| before.split('+')).chain(plus)
}

fn key(name: &str) -> Done<Keysym> {
    let mut characters = name.chars();
    let found = match (characters.next(), characters.next()) {
        (Some(character), None) => of_character(character),
        _ => names::named(name).or_else(|| code_point(name)),
    };
    let message =
        || format!("no key is called {name:?}: write a character, or a name such as Return, Page_Down, F5 or U20AC");
    found.ok_or_else(|| Fault::new(Code::NoSuchKey, message()))
}

/// `U20AC` is the key that has the character with this number.
fn code_point(name: &str) -> Option<Keysym> {
    let digits = name.strip_prefix(['U', 'u'])?;
    if !(4..=6).contains(&digits.len()) {
        return None;
    }
    char::from_u32(u32::from_str_radix(digits, 16).ok()?).and_then(of_character)
}

/// The key that has this character, if it is one that can be typed.
pub fn of_character(character: char) -> Option<Keysym> {
    let number = u32::from(character);
    match character {
        '\n' => Some(RETURN),
        '\t' => Some(TAB),
        ' '..='~' | '\u{a0}'..='\u{ff}' => Some(number),
        _ if character.is_control() => None,
        _ => Some(UNICODE + number),
    }
}

#[cfg(test)]
mod tests;
