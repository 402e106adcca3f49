//! The chain of rows. In: rows in the order of their numbers, as they were found. Out: how many there are and how new the newest is, or
//! what is wrong with them.
//!
//! Each row has a number, the moment of its writing, the sum of the row before and a sum of all of these. So a row that was lost or
//! changed, or that comes from another time than the rows beside it, is noticed. There is no secret in the sums: they show damage, and
//! are no defence against somebody who makes a whole chain anew. That would be the customer, in a database of his own.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// SHA-256.
pub type Sum = [u8; 32];

/// What stands before the first row.
const BEGINNING: Link = Link { number: 0, sum: [0; 32] };

/// What the next row is tied to: the number and the sum of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number, from 1.
    pub number: i64,
    /// The sum over it.
    pub sum: Sum,
}

/// A row as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// One more than that of the row before.
    pub number: i64,
    /// Microseconds since 1970 by the clock of the server.
    pub moment: i64,
    /// The sum of the row before.
    pub previous: Sum,
    /// The sum over all of it.
    pub sum: Sum,
}

impl Row {
    /// The row after `newest`, or the first. `None` if numbers are used up.
    #[must_use]
    pub fn after(newest: Option<Link>, moment: i64) -> Option<Self> {
        let newest = newest.unwrap_or(BEGINNING);
        let number = newest.number.checked_add(1)?;
        Some(Self { number, moment, previous: newest.sum, sum: sum(number, moment, newest.sum) })
    }
}

/// Of fixed lengths, so that no two rows give the same bytes.
fn sum(number: i64, moment: i64, previous: Sum) -> Sum {
    let mut hash = Sha256::new();
    hash.update(number.to_be_bytes());
    hash.update(moment.to_be_bytes());
    hash.update(previous);
    hash.finalize().into()
}

/// A row as it is found. What is no moment, or does not have the length of a sum, is `None`.
pub type Found = (i64, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>);

/// What is wrong with a chain. Rows are counted as they are read: what is in them is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Break {
    /// It has no row.
    #[error("the canary's table came back without a row")]
    Empty,
    /// A row holds what no row can hold.
    #[error("the canary's rows are damaged: row {0} of those that came back holds what none can hold")]
    Malformed(u64),
    /// A number is left out.
    #[error("the canary's rows are not complete: before row {0} of those that came back some are missing")]
    Gap(u64),
    /// A row does not know the one before.
    #[error(
        "the canary's rows do not belong together: row {0} of those that came back follows another than the one before"
    )]
    Untied(u64),
    /// A row was changed.
    #[error("the canary's rows are damaged: the sum of row {0} of those that came back is another")]
    Changed(u64),
}

/// A whole chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// How many rows it has.
    pub rows: u64,
    /// When the newest was written.
    pub newest: Timestamp,
}

/// A chain as it is read, row by row. It remembers the last only.
#[derive(Debug, Default)]
pub struct Chain {
    rows: u64,
    last: Option<(Link, Timestamp)>,
}

impl Chain {
    /// Takes the next row.
    ///
    /// # Errors
    /// If it does not belong here.
    pub fn add(&mut self, (number, moment, previous, found): Found) -> Result<(), Break> {
        self.rows = self.rows.saturating_add(1);
        let known = |sum: Option<Vec<u8>>| sum.and_then(|sum| Sum::try_from(sum).ok());
        let (Some(moment), Some(previous), Some(found)) = (moment, known(previous), known(found)) else {
            return Err(Break::Malformed(self.rows));
        };
        let written = Timestamp::from_microsecond(moment).map_err(|_| Break::Malformed(self.rows))?;
        if let Some(before) = self.before(number) {
            let next = before.number.checked_add(1).filter(|next| *next == number);
            next.ok_or(Break::Gap(self.rows))?;
            if before.sum != previous {
                return Err(Break::Untied(self.rows));
            }
        }
        if sum(number, moment, previous) != found {
            return Err(Break::Changed(self.rows));
        }
        self.last = Some((Link { number, sum: found }, written));
        Ok(())
    }

    /// What the row with this number must follow. Of the oldest row it is not known, unless nothing was ever removed: it is number 1.
    fn before(&self, number: i64) -> Option<Link> {
        self.last.map(|(link, _)| link).or((number <= 1).then_some(BEGINNING))
    }

    /// All rows were taken.
    ///
    /// # Errors
    /// If there was none.
    pub fn end(self) -> Result<Whole, Break> {
        self.last.map(|(_, newest)| Whole { rows: self.rows, newest }).ok_or(Break::Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// Rows as the canary writes them.
    fn written(rows: i64) -> Vec<Row> {
        let (mut all, mut newest) = (Vec::new(), None);
        for number in 1..=rows {
            let row = Row::after(newest, 1_795_428_900 * SECOND + number * SECOND + 1).unwrap();
            newest = Some(Link { number: row.number, sum: row.sum });
            all.push(row);
        }
        all
    }

    fn found(row: &Row) -> Found {
        (row.number, Some(row.moment), Some(row.previous.to_vec()), Some(row.sum.to_vec()))
    }

    fn read(rows: impl IntoIterator<Item = Found>) -> Result<Whole, Break> {
        let mut chain = Chain::default();
        rows.into_iter().try_for_each(|row| chain.add(row))?;
        chain.end()
    }

    #[test]
    fn what_was_written_is_whole_and_its_newest_row_tells_how_new_it_is() {
        let rows = written(5);
        let newest = Timestamp::from_microsecond(rows[4].moment).unwrap();
        assert_eq!(newest.to_string(), "2026-11-23T10:15:05.000001Z");
        assert_eq!(read(rows.iter().map(found)), Ok(Whole { rows: 5, newest }));
        assert_eq!(read(rows[..1].iter().map(found)).unwrap().rows, 1);
    }

    /// By another program: `sha256(pack(">qq", 8, 1795428900123456) + b"\1" * 32)` in Python.
    #[test]
    fn sums_are_the_same_in_every_release_because_backups_outlive_releases() {
        let row = Row::after(Some(Link { number: 7, sum: [1; 32] }), 1_795_428_900_123_456).unwrap();
        let halves = [0x0bc0_670d_67c0_e23e_9f74_a9f6_bcb1_705c_u128, 0x62b5_1d52_5cdc_316f_0f26_6604_d714_f227];
        assert_eq!(row.sum.as_slice(), halves.map(u128::to_be_bytes).concat());
    }

    #[test]
    fn old_rows_may_be_removed_and_at_least_one_row_must_be_there() {
        assert_eq!(read(written(5)[3..].iter().map(found)).unwrap().rows, 2);
        assert_eq!(read([]), Err(Break::Empty));
    }

    #[test]
    fn a_row_whose_content_was_changed_is_noticed() {
        let changed = |change: fn(&mut Row)| {
            let mut rows = written(3);
            change(&mut rows[1]);
            read(rows.iter().map(found))
        };
        assert_eq!(changed(|row| row.sum[31] ^= 1), Err(Break::Changed(2)));
        assert_eq!(changed(|row| row.moment += 1), Err(Break::Changed(2)));
        assert_eq!(changed(|row| row.previous[0] ^= 1), Err(Break::Untied(2)));
        assert_eq!(changed(|row| row.number += 1), Err(Break::Gap(2)));
        let remade = changed(|row| *row = Row::after(Some(Link { number: 1, sum: row.previous }), 7).unwrap());
        assert_eq!(remade, Err(Break::Untied(3)), "a row with a sum of its own is not what the next row follows");
    }

    #[test]
    fn each_row_that_is_missing_but_the_oldest_and_the_newest_is_noticed() {
        for missing in 1..4 {
            let mut rows = written(5);
            rows.remove(missing);
            assert_eq!(read(rows.iter().map(found)), Err(Break::Gap(missing as u64 + 1)));
        }
    }

    #[test]
    fn rows_that_were_swapped_or_are_there_twice_are_noticed() {
        let mut rows = written(4);
        rows.swap(1, 2);
        assert_eq!(read(rows.iter().map(found)), Err(Break::Gap(2)));
        for row in &mut rows[1..3] {
            row.number = 5 - row.number;
        }
        assert_eq!(read(rows.iter().map(found)), Err(Break::Untied(2)), "also if each took the other's number");
        let rows = written(2);
        assert_eq!(read([&rows[0], &rows[1], &rows[1]].map(found)), Err(Break::Gap(3)));
    }

    #[test]
    fn the_first_row_of_all_follows_nothing() {
        let mut row = written(1).remove(0);
        row.previous = [1; 32];
        row.sum = sum(1, row.moment, row.previous);
        assert_eq!(read([found(&row)]), Err(Break::Untied(1)));
        let before_the_first = Row::after(Some(Link { number: -1, sum: [0; 32] }), 7).unwrap();
        assert_eq!(read([found(&before_the_first)]), Err(Break::Gap(1)));
    }

    #[test]
    fn what_cannot_be_a_row_is_noticed_whatever_it_is() {
        let (number, moment, previous, sum) = found(&written(1)[0]);
        let short = Some(vec![0; 31]);
        for bad in [
            (number, None, previous.clone(), sum.clone()),
            (number, moment, None, sum.clone()),
            (number, moment, previous.clone(), None),
            (number, moment, short.clone(), sum.clone()),
            (number, moment, previous.clone(), short),
            (number, Some(i64::MAX), previous, sum),
        ] {
            assert_eq!(read([bad]), Err(Break::Malformed(1)));
        }
    }

    #[test]
    fn after_the_last_number_there_is_none() {
        assert_eq!(Row::after(Some(Link { number: i64::MAX, sum: [0; 32] }), 0), None);
        let last = Row::after(Some(Link { number: i64::MAX - 1, sum: [0; 32] }), 0).unwrap();
        assert_eq!(read([found(&last), found(&last)]), Err(Break::Gap(2)));
    }
}
