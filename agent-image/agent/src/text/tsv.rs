//! The table of what was read. In: lines with twelve columns between tabulators, as tesseract writes them. Out: words with their places.

use agent_protocol::{Offset, Place, Text, Whole, Word};

/// Rows of this level are words; the others are what they stand in.
const WORD: i64 = 5;

/// The words, moved by where the picture's corner is on the screen. What is no word is left out.
pub(super) fn words(table: &str, corner: (u32, u32)) -> Vec<Word> {
    let mut lines = Lines::default();
    table.lines().filter_map(|row| word(row, corner, &mut lines)).collect()
}

/// Numbers lines in the order in which they come.
#[derive(Default)]
struct Lines {
    /// Page, block, paragraph and line of the last word.
    last: Option<[i64; 4]>,
    count: i64,
}

impl Lines {
    fn number(&mut self, line: [i64; 4]) -> i64 {
        if self.last != Some(line) {
            self.count += i64::from(self.last.is_some());
            self.last = Some(line);
        }
        self.count
    }
}

fn word(row: &str, corner: (u32, u32), lines: &mut Lines) -> Option<Word> {
    let columns: Vec<&str> = row.split('\t').collect();
    let [level, page, block, paragraph, line, _, left, top, width, height, confidence, text] = columns[..] else {
        return None;
    };
    let number = |text: &str| text.parse::<i64>().ok();
    if number(level)? != WORD || text.trim().is_empty() {
        return None;
    }
    let place = Place {
        x: Offset::nearest(number(left)? + i64::from(corner.0)),
        y: Offset::nearest(number(top)? + i64::from(corner.1)),
        width: Whole::nearest(number(width)?),
        height: Whole::nearest(number(height)?),
    };
    // Hundredths with a fraction, which says more than is known.
    let confidence = confidence.split('.').next().and_then(number)?;
    let line = lines.number([number(page)?, number(block)?, number(paragraph)?, number(line)?]);
    Some(Word { text: Text::cut(text), place, line: Whole::nearest(line), confidence: Whole::nearest(confidence) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n\
        1\t1\t0\t0\t0\t0\t0\t0\t1280\t800\t-1\t\n\
        4\t1\t1\t1\t1\t0\t8\t100\t400\t30\t-1\t\n\
        5\t1\t1\t1\t1\t1\t8\t100\t180\t30\t96.5\tInvoice\n\
        5\t1\t1\t1\t1\t2\t200\t100\t210\t30\t91\tINV-4711\n\
        5\t1\t1\t1\t1\t3\t420\t100\t5\t30\t95\t \n\
        5\t1\t2\t1\t1\t1\t8\t200\t90\t30\t12.0\tSend\n";

    #[test]
    fn words_have_their_place_on_the_screen_their_line_and_how_sure_they_are() {
        let words = words(TABLE, (100, 10));
        let told: Vec<_> = words
            .iter()
            .map(|word| {
                let place = word.place;
                let place = [place.x.get(), place.y.get(), place.width.get(), place.height.get()];
                (word.text.as_str(), place, word.line.get(), word.confidence.get())
            })
            .collect();
        assert_eq!(
            told,
            [
                ("Invoice", [108, 110, 180, 30], 0, 96),
                ("INV-4711", [300, 110, 210, 30], 0, 91),
                ("Send", [108, 210, 90, 30], 1, 12),
            ]
        );
    }

    #[test]
    fn what_is_no_table_has_no_words() {
        assert_eq!(words("", (0, 0)), []);
        assert_eq!(words("Error opening data file\n5\tx\n", (0, 0)), []);
        assert_eq!(words("5\t1\t1\t1\t1\t1\tfar\t100\t180\t30\t96.5\tInvoice\n", (0, 0)), []);
    }
}
