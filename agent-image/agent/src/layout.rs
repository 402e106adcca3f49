//! What the keyboard has, and what has to be lent to it. In: the layout that the X server tells, and a text. Out: which keys to press, and
//! to which spare keys characters are lent that no key has.

use std::collections::BTreeMap;

use agent_protocol::Code;

use crate::fault::{Done, Fault};
use crate::keys::{Keysym, of_character};

/// A key to be pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stroke {
    /// Which, as the X server numbers them.
    pub key: u8,
    /// Whether with the shift key.
    pub shift: bool,
}

/// What the keys mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    first: u8,
    meanings: Vec<Vec<Keysym>>,
}

/// Strokes that can be made with what is lent at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What is lent to which key.
    pub lent: BTreeMap<u8, Keysym>,
    /// What is pressed.
    pub strokes: Vec<Stroke>,
}

impl Layout {
    /// As the X server tells it: the number of the first key, how many meanings each key has, and all of them.
    pub fn new(first: u8, each: u8, meanings: &[Keysym]) -> Self {
        let meanings = meanings.chunks(usize::from(each).max(1)).map(<[_]>::to_vec).collect();
        Self { first, meanings }
    }

    fn keys(&self) -> impl Iterator<Item = (u8, &[Keysym])> {
        (self.first..=u8::MAX).zip(self.meanings.iter().map(Vec::as_slice))
    }

    /// How to press this, if a key has it.
    pub fn stroke(&self, keysym: Keysym) -> Option<Stroke> {
        let at = |column: usize| {
            let key = self.keys().find(|(_, meanings)| meanings.get(column) == Some(&keysym))?.0;
            Some(Stroke { key, shift: column == 1 })
        };
        at(0).or_else(|| at(1))
    }

    /// Keys that mean nothing.
    pub fn spare(&self) -> impl Iterator<Item = u8> {
        self.keys().filter(|(_, meanings)| meanings.iter().all(|keysym| *keysym == 0)).map(|(key, _)| key)
    }

    /// How to press one after the other. As few batches as the spare keys allow, because each costs time.
    ///
    /// # Errors
    /// If something has to be lent and there is no spare key.
    pub fn plan(&self, keysyms: &[Keysym]) -> Done<Vec<Batch>> {
        let spare: Vec<u8> = self.spare().collect();
        let mut batches = vec![];
        let mut batch = Batch::default();
        for keysym in keysyms {
            let had = batch.lent.iter().find(|(_, lent)| *lent == keysym).map(|(key, _)| *key);
            let stroke = match (self.stroke(*keysym), had) {
                (Some(stroke), _) => stroke,
                (None, Some(key)) => Stroke { key, shift: false },
                (None, None) => {
                    if batch.lent.len() == spare.len() {
                        batches.push(std::mem::take(&mut batch));
                    }
                    let key = *spare.get(batch.lent.len()).ok_or_else(none_left)?;
                    batch.lent.insert(key, *keysym);
                    Stroke { key, shift: false }
                }
            };
            batch.strokes.push(stroke);
        }
        batches.push(batch);
        Ok(batches)
    }
}

fn none_left() -> Fault {
    Fault::new(
        Code::NoSuchKey,
        "the keyboard has no key to spare for a character that it lacks: put the text into the clipboard",
    )
}

/// The keys of a text.
///
/// # Errors
/// If a character cannot be typed, such as one that rings a bell.
pub fn keysyms(text: &str) -> Done<Vec<Keysym>> {
    let lacks = |character: char| {
        let number = u32::from(character);
        Fault::new(Code::NoSuchKey, format!("the text has a character that no key has, U+{number:04X}: leave it out"))
    };
    // A line ends once, however it was written.
    let characters = text.chars().filter(|character| *character != '\r');
    characters.map(|character| of_character(character).ok_or_else(|| lacks(character))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys 8 to 13: a, 1, nothing, e with an accent beside, nothing, nothing.
    fn layout() -> Layout {
        Layout::new(8, 2, &[0x61, 0x41, 0x31, 0x21, 0, 0, 0x65, 0x45, 0, 0, 0, 0])
    }

    fn typed(text: &str) -> Vec<Batch> {
        layout().plan(&keysyms(text).unwrap()).unwrap()
    }

    #[test]
    fn what_a_key_has_is_pressed_with_shift_where_it_stands_second() {
        assert_eq!(
            typed("aA!"),
            [Batch {
                lent: BTreeMap::new(),
                strokes: vec![
                    Stroke { key: 8, shift: false },
                    Stroke { key: 8, shift: true },
                    Stroke { key: 9, shift: true }
                ]
            }]
        );
    }

    #[test]
    fn what_no_key_has_is_lent_once_to_a_spare_one() {
        let batches = typed("東a東京");
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].lent, [(10, 0x0100_6771), (12, 0x0100_4eac)].into());
        assert_eq!(batches[0].strokes.iter().map(|stroke| stroke.key).collect::<Vec<_>>(), [10, 8, 10, 12]);
    }

    #[test]
    fn more_than_there_are_spare_keys_takes_another_batch() {
        let batches = typed("東京都庁a");
        assert_eq!(batches.iter().map(|batch| batch.strokes.len()).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(batches[1].lent, [(10, 0x0100_5e81)].into());
    }

    #[test]
    fn without_a_spare_key_nothing_is_lent() {
        let full = Layout::new(8, 1, &[0x61]);
        assert_eq!(full.plan(&[0x61]).unwrap().len(), 1);
        assert_eq!(full.plan(&[0x62]).unwrap_err().code, Code::NoSuchKey);
    }

    #[test]
    fn a_line_ends_once_and_a_bell_cannot_be_typed() {
        assert_eq!(keysyms("a\r\n").unwrap(), [0x61, 0xff0d]);
        let fault = keysyms("a\u{7}").unwrap_err();
        assert!(fault.message.contains("U+0007"), "{fault}");
    }
}
