//! What is shown, and what of it held. In: steps, sentences, tables, claims. Out: plain text of at most 80 columns on standard output,
//! and at the end whether every claim held.

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::MissedTickBehavior;

use crate::text::{WIDTH, inert, shortened, wrapped};

/// Before every line of a step.
const INDENT: &str = "   ";
/// How often a condition is asked for, and a live line drawn anew.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// How often a log is told that something still goes on.
const REMIND_EVERY: Duration = Duration::from_secs(15);

/// How far something is that is waited for.
pub(crate) enum Progress<T> {
    /// It is there.
    Done(T),
    /// Not yet; what it is at.
    Still(String),
}

/// The one place that prints.
pub(crate) struct Show {
    began: Instant,
    is_terminal: bool,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    steps: usize,
    step: Option<(String, Instant)>,
    durations: Vec<(String, Duration)>,
    held: usize,
    failed: Vec<String>,
    has_live_line: bool,
}

impl Show {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            is_terminal: std::io::stdout().is_terminal(),
            state: RefCell::new(State::default()),
        }
    }

    /// Ends the step before, and begins the next: `short` names it where times are listed.
    pub(crate) fn step(&self, short: &str, title: &str) {
        self.end_step();
        let number = {
            let mut state = self.state.borrow_mut();
            state.steps += 1;
            state.step = Some((short.to_owned(), Instant::now()));
            state.steps
        };
        self.line("");
        for line in wrapped(&format!("{number}. {title}"), "", INDENT, WIDTH) {
            self.line(&line);
        }
    }

    /// Says a sentence.
    pub(crate) fn say(&self, text: &str) {
        self.hanging(text, INDENT, INDENT);
    }

    /// Claims something; the demo fails at its end if it does not hold.
    pub(crate) fn check(&self, claim: &str, holds: bool) {
        let mut state = self.state.borrow_mut();
        if holds {
            state.held += 1;
        } else {
            state.failed.push(claim.to_owned());
        }
        drop(state);
        let mark = if holds { "[ok] " } else { "[FAILED] " };
        self.hanging(&format!("{mark}{claim}"), INDENT, "        ");
    }

    /// Shows what another program printed.
    pub(crate) fn output(&self, text: &str) {
        for line in text.lines() {
            // Continued where the words of the line began, so that the columns before them stay readable.
            let lead = line.len() - line.trim_start().len();
            self.hanging(line, INDENT, &format!("{INDENT}{}    ", " ".repeat(lead)));
        }
    }

    /// Shows a line that is there to be copied: it is never broken.
    pub(crate) fn verbatim(&self, line: &str) {
        self.line(line);
    }

    /// Asks; the answer is typed behind it.
    pub(crate) fn ask(&self, question: &str) {
        self.clear_live_line();
        self.print(&format!("{INDENT}{question} "));
    }

    /// Says on standard error why it does not go on. Lines that begin with a space are there to be copied: they are never broken.
    pub(crate) fn complain(&self, text: &str) {
        self.clear_live_line();
        let mut output = std::io::stderr();
        for line in text.lines().map(inert) {
            let is_to_copy = line.starts_with(' ');
            let lines = if is_to_copy { vec![line] } else { wrapped(&line, "", "  ", WIDTH) };
            writeln!(output, "{}", lines.join("\n")).ok();
        }
    }

    /// Shows rows whose columns stand below each other; the first row is the heading.
    pub(crate) fn table(&self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            self.line(format!("{INDENT}{line}").trim_end());
        }
    }

    /// Waits for something that cannot tell how far it is, and says how long it took.
    pub(crate) async fn during<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let started = Instant::now();
        let mut tick = tokio::time::interval(POLL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut remind = started + REMIND_EVERY;
        let mut work = std::pin::pin!(work);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                _ = tick.tick() => self.still(what, started, Some(&mut remind)),
            }
        };
        self.clear_live_line();
        if done.is_ok() {
            self.line(&format!("{INDENT}{:>6}  {what}", seconds(started.elapsed())));
        }
        done
    }

    /// Asks again and again until it is done; fails at the deadline with what it was at.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        ask: impl AsyncFn() -> Result<Progress<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        let mut last = String::new();
        loop {
            match ask().await? {
                Progress::Done(answer) => {
                    self.clear_live_line();
                    self.line(&format!("{INDENT}{:>6}  {what}", seconds(started.elapsed())));
                    return Ok(answer);
                }
                Progress::Still(at) if started.elapsed() >= deadline => {
                    self.clear_live_line();
                    bail!("waited {} s in vain until {what}; it was at: {at}", deadline.as_secs());
                }
                Progress::Still(at) => {
                    // A log gets a line for each change and no more.
                    if self.is_terminal {
                        self.still(&at, started, None);
                    } else if at != last {
                        self.hanging(&format!("{:>6}  {at}", seconds(started.elapsed())), INDENT, "           ");
                    }
                    last = at;
                }
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Ends the last step, tells the outcome in the last line, and returns whether every claim held.
    pub(crate) fn finish(&self) -> bool {
        self.end_step();
        let state = self.state.take();
        let times = state.durations.iter().map(|(step, duration)| format!("{step} {:.1}", duration.as_secs_f64()));
        self.line("");
        for line in wrapped(&format!("Seconds: {}.", times.collect::<Vec<_>>().join(", ")), "", "  ", WIDTH) {
            self.line(&line);
        }
        for claim in &state.failed {
            for line in wrapped(&format!("Did not hold: {claim}"), "", "  ", WIDTH) {
                self.line(&line);
            }
        }
        let all = state.held + state.failed.len();
        let total = seconds(self.began.elapsed());
        self.line(&format!("demo: {} of {all} checks held, in {total}.", state.held));
        state.failed.is_empty()
    }

    /// Takes back the live line, if there is one, so that something else can be printed.
    pub(crate) fn clear_live_line(&self) {
        if std::mem::take(&mut self.state.borrow_mut().has_live_line) {
            self.print("\r\u{1b}[K");
        }
    }

    fn end_step(&self) {
        let ended = self.state.borrow_mut().step.take();
        if let Some((short, started)) = ended {
            let took = started.elapsed();
            self.line(&format!("{INDENT}({})", seconds(took)));
            self.state.borrow_mut().durations.push((short, took));
        }
    }

    /// A terminal gets a line that is drawn over; a log a reminder, if one is due.
    fn still(&self, at: &str, started: Instant, remind: Option<&mut Instant>) {
        let text = format!("{INDENT}{:>6}  {at}", seconds(started.elapsed()));
        if self.is_terminal {
            self.state.borrow_mut().has_live_line = true;
            self.print(&format!("\r\u{1b}[K{}", shortened(&inert(&text), WIDTH - 1)));
        } else if let Some(remind) = remind.filter(|due| Instant::now() >= **due) {
            *remind += REMIND_EVERY;
            self.line(&format!("{text}: under way"));
        }
    }

    fn hanging(&self, text: &str, first: &str, others: &str) {
        for line in wrapped(text, first, others, WIDTH) {
            self.line(&line);
        }
    }

    fn line(&self, text: &str) {
        self.clear_live_line();
        self.print(&format!("{}\n", inert(text)));
    }

    /// That nobody reads it any more is no reason to stop.
    #[allow(clippy::unused_self)] // so that nothing prints past what is shown
    fn print(&self, text: &str) {
        let mut output = std::io::stdout();
        output.write_all(text.as_bytes()).and_then(|()| output.flush()).ok();
    }
}

/// Such as `3.4 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
