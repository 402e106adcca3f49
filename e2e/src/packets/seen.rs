//! Who reached whom. In: verdicts. Out: a table, three characters wide for each receiver, and where two of them differ.

use std::fmt;

use anyhow::{Result, bail};

use super::{Goal, Protocol};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived, and an answer came back.
    Open,
    /// It did not: refused, unreachable, or without an answer.
    Blocked,
}

impl Verdict {
    /// Reads what the program `packets` says.
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "open" => Ok(Self::Open),
            "refused" | "silent" | "unreachable" => Ok(Self::Blocked),
            other => bail!("it could not even try: {other}"),
        }
    }
}

/// Who reached what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    goals: Vec<(String, Protocol, u16)>,
    rows: Vec<(String, Vec<Verdict>)>,
}

impl Seen {
    pub(super) fn new(goals: &[Goal]) -> Self {
        let goals = goals.iter().map(|goal| (goal.name.clone(), goal.protocol, goal.port)).collect();
        Self { goals, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, from: &str, verdicts: Vec<Verdict>) {
        self.rows.push((from.to_owned(), verdicts));
    }

    /// How many packets were sent.
    pub fn tries(&self) -> usize {
        self.rows.iter().map(|(_, verdicts)| verdicts.len()).sum()
    }

    /// Each packet that arrived: from, to.
    pub fn arrived(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rows.iter().flat_map(|(from, verdicts)| {
            let open = self.goals.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Open);
            open.map(move |((to, _, _), _)| (from.as_str(), to.as_str()))
        })
    }

    /// Each packet that arrived though the other says that it must not, as a sentence.
    pub fn leaks(&self, predicted: &Self) -> Vec<String> {
        self.differing(predicted, Verdict::Open)
    }

    /// Each packet that did not arrive though the other says that it must, as a sentence.
    pub fn losses(&self, predicted: &Self) -> Vec<String> {
        self.differing(predicted, Verdict::Blocked)
    }

    fn differing(&self, predicted: &Self, wrongly: Verdict) -> Vec<String> {
        let mut told = Vec::new();
        for ((from, seen), (_, wanted)) in self.rows.iter().zip(&predicted.rows) {
            for (((to, protocol, port), seen), wanted) in self.goals.iter().zip(seen).zip(wanted) {
                if seen != wanted && *seen == wrongly {
                    told.push(format!("{from} -> {to}, {} {port}: {seen:?}", protocol.name()));
                }
            }
        }
        told
    }

    /// The names of the columns, in their order.
    fn columns(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _, _) in &self.goals {
            if names.last() != Some(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// All ports of a column in one character.
    fn cell(&self, verdicts: &[Verdict], column: &str) -> char {
        let mut of_column =
            self.goals.iter().zip(verdicts).filter(|((name, _, _), _)| name == column).map(|(_, it)| *it);
        let first = of_column.next().unwrap_or(Verdict::Blocked);
        match (first, of_column.all(|other| other == first)) {
            (Verdict::Open, true) => '+',
            (Verdict::Blocked, true) => '.',
            (_, false) => 'x',
        }
    }
}

/// Rows send, columns receive. A column that is also a row has its number; the others are named below.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns();
        let width = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("from \\ to".len());
        write!(f, "   {:width$}", "from \\ to")?;
        for number in 1..=columns.len() {
            write!(f, "{number:>3}")?;
        }
        for (number, (from, verdicts)) in self.rows.iter().enumerate() {
            write!(f, "\n{:>2} {from:width$}", number + 1)?;
            for column in &columns {
                write!(f, "  {}", self.cell(verdicts, column))?;
            }
        }
        let others = columns.iter().enumerate().filter(|(_, name)| self.rows.iter().all(|(row, _)| row != *name));
        let others: Vec<String> = others.map(|(index, name)| format!("{} {name}", index + 1)).collect();
        for line in others.chunks(4) {
            write!(f, "\n   {}", line.join(", "))?;
        }
        write!(f, "\n   + all ports answer, . none does, x some do")
    }
}
