//! What the keyboard has, and what has to be lent to it. In: the layout that the X server tells, and a text. Out: which keys to press, and
//! to which spare keys characters are lent that no key has.

use std::collections::{BTreeMap, BTreeSet};

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

/// Keys without a meaning of their own, the one that was not used for longest first. Programs are told by an event what a key means now,
/// and a slow one still translates what was pressed before: so a key keeps what was lent to it until all others were used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spare(Vec<u8>);

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

    /// Whether a key means anything.
    pub fn means(&self, key: u8) -> bool {
        self.keys().any(|(other, meanings)| other == key && meanings.iter().any(|keysym| *keysym != 0))
    }

    /// Makes a key mean this, with the shift key and without.
    fn mean(&mut self, key: u8, keysym: Keysym) {
        let at = usize::from(key.saturating_sub(self.first));
        if let Some(meanings) = self.meanings.get_mut(at) {
            *meanings = vec![keysym, keysym];
        }
    }

    /// How to press as many of these, one after the other, as can be pressed with what is lent at once. What is lent is remembered here and
    /// in `spare`. A batch uses at most half of the spare keys: so those of the batch before it keep their meaning.
    ///
    /// # Errors
    /// If something has to be lent and there is no spare key.
    pub fn plan(&mut self, spare: &mut Spare, keysyms: &[Keysym]) -> Done<Batch> {
        let most = (spare.0.len() / 2).max(1);
        let mut batch = Batch::default();
        let mut used = BTreeSet::new();
        for keysym in keysyms {
            let had = self.stroke(*keysym);
            let lends = had.is_none_or(|stroke| spare.0.contains(&stroke.key) && !used.contains(&stroke.key));
            if lends && used.len() == most {
                break;
            }
            let stroke = if let Some(stroke) = had {
                stroke
            } else {
                let key = *spare.0.first().ok_or_else(none_left)?;
                self.mean(key, *keysym);
                batch.lent.insert(key, *keysym);
                Stroke { key, shift: false }
            };
            if spare.use_now(stroke.key) {
                used.insert(stroke.key);
            }
            batch.strokes.push(stroke);
        }
        Ok(batch)
    }
}

impl Spare {
    /// Those that mean nothing yet.
    pub fn of(layout: &Layout) -> Self {
        Self(layout.keys().filter(|(_, meanings)| meanings.iter().all(|it| *it == 0)).map(|(key, _)| key).collect())
    }

    /// Puts a key behind all others. Whether it is a spare one.
    fn use_now(&mut self, key: u8) -> bool {
        let Some(at) = self.0.iter().position(|spare| *spare == key) else { return false };
        self.0.remove(at);
        self.0.push(key);
        true
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

    /// Keys 8 to 14: a, 1, nothing, e, nothing, nothing, nothing.
    fn layout() -> Layout {
        Layout::new(8, 2, &[0x61, 0x41, 0x31, 0x21, 0, 0, 0x65, 0x45, 0, 0, 0, 0, 0, 0])
    }

    /// In batches.
    fn typed(layout: &mut Layout, spare: &mut Spare, text: &str) -> Vec<Batch> {
        let keysyms = keysyms(text).unwrap();
        let (mut rest, mut batches) = (keysyms.as_slice(), vec![]);
        while !rest.is_empty() {
            let batch = layout.plan(spare, rest).unwrap();
            rest = &rest[batch.strokes.len()..];
            batches.push(batch);
        }
        batches
    }

    fn once(text: &str) -> Vec<Batch> {
        let mut layout = layout();
        let mut spare = Spare::of(&layout);
        typed(&mut layout, &mut spare, text)
    }

    #[test]
    fn what_a_key_has_is_pressed_with_shift_where_it_stands_second() {
        assert_eq!(
            once("aA!"),
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
        let batches = once("東a東京");
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].lent, [(10, 0x0100_6771), (12, 0x0100_4eac)].into());
        assert_eq!(batches[0].strokes.iter().map(|stroke| stroke.key).collect::<Vec<_>>(), [10, 8, 10, 12]);
    }

    #[test]
    fn a_batch_leaves_the_keys_of_the_one_before_alone() {
        let mut layout = Layout::new(8, 1, &[0x61, 0, 0, 0, 0]);
        let mut spare = Spare::of(&layout);
        let batches = typed(&mut layout, &mut spare, "東京都a庁舎a");
        let keys = |batch: &Batch| batch.lent.keys().copied().collect::<Vec<_>>();
        assert_eq!(batches.iter().map(keys).collect::<Vec<_>>(), [vec![9, 10], vec![11, 12], vec![9]]);
        assert_eq!(batches.iter().map(|batch| batch.strokes.len()).collect::<Vec<_>>(), [2, 3, 2]);
    }

    #[test]
    fn what_is_lent_stays_lent_and_what_was_not_used_for_longest_is_overwritten() {
        let mut layout = Layout::new(8, 1, &[0x61, 0, 0, 0, 0]);
        let mut spare = Spare::of(&layout);
        typed(&mut layout, &mut spare, "東京都庁");
        let again = typed(&mut layout, &mut spare, "東");
        assert_eq!(again, [Batch { lent: BTreeMap::new(), strokes: vec![Stroke { key: 9, shift: false }] }]);
        assert_eq!(typed(&mut layout, &mut spare, "舎")[0].lent, [(10, 0x0100_820e)].into());
    }

    #[test]
    fn with_one_spare_key_each_is_lent_after_the_other() {
        let mut layout = Layout::new(8, 1, &[0x61, 0]);
        let mut spare = Spare::of(&layout);
        let batches = typed(&mut layout, &mut spare, "東京a");
        assert_eq!(batches.iter().map(|batch| batch.strokes.len()).collect::<Vec<_>>(), [1, 2]);
        assert!(batches.iter().all(|batch| batch.lent.len() == 1 && batch.lent.contains_key(&9)));
    }

    #[test]
    fn without_a_spare_key_nothing_is_lent() {
        let mut full = Layout::new(8, 1, &[0x61]);
        let mut spare = Spare::of(&full);
        assert_eq!(full.plan(&mut spare, &[0x61]).unwrap().strokes.len(), 1);
        assert_eq!(full.plan(&mut spare, &[0x62]).unwrap_err().code, Code::NoSuchKey);
    }

    #[test]
    fn a_line_ends_once_and_a_bell_cannot_be_typed() {
        assert_eq!(keysyms("a\r\n").unwrap(), [0x61, 0xff0d]);
        let fault = keysyms("a\u{7}").unwrap_err();
        assert!(fault.message.contains("U+0007"), "{fault}");
    }
}
