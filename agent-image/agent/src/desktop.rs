//! The desktop as the verbs see it. In: what supervision found out. Out: whether it can be used, and its parts.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use agent_protocol::{Code, Extent, Label, Size, State, Status, Verb};

use crate::display::Display;
use crate::display::clipboard::Clipboard;
use crate::fault::{Done, Fault};
use crate::scale::Pair;
use crate::tree::Bus;
use crate::turn::Turns;

/// A desktop that comes up or is up.
pub struct Desktop {
    expected: Pair,
    /// Whether it can be used, and what it waits for or since when it is ready.
    state: Mutex<(State, String)>,
    connected: OnceLock<(Display, Mutex<Clipboard>)>,
    browser: AtomicBool,
    answers: AtomicBool,
    /// Whose turn it is.
    pub turns: Turns,
    /// Where programs tell what they show.
    pub bus: Bus,
}

impl Desktop {
    /// One of which nothing is there, with the size that was asked for and the address of its bus.
    pub fn new(expected: Pair, bus: &str) -> Self {
        Self {
            expected,
            state: Mutex::new((State::Starting, "nothing is started".to_owned())),
            connected: OnceLock::new(),
            browser: AtomicBool::new(false),
            answers: AtomicBool::new(true),
            turns: Turns::default(),
            bus: Bus::new(bus),
        }
    }

    /// Connects to the X server.
    ///
    /// # Errors
    /// If it does not do what is needed.
    pub fn connect(&self, socket: &Path) -> Done {
        let parts = (Display::open(socket)?, Mutex::new(Clipboard::open(socket)?));
        self.connected.set(parts).map_err(|_| Fault::failed("the X server was connected to twice"))
    }

    /// Says what it waits for.
    pub fn waits_for(&self, what: &str) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (State::Starting, format!("waiting: {what}"));
    }

    /// Says that it can be used.
    pub fn is_ready(&self, since: &str) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (State::Ready, since.to_owned());
    }

    /// Says whether the X server answers.
    pub fn x_answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }

    /// Says whether the browser runs and takes addresses.
    pub fn browser_runs(&self, runs: bool) {
        self.browser.store(runs, Ordering::Relaxed);
    }

    /// Whether the browser runs and takes addresses.
    pub fn has_browser(&self) -> bool {
        self.browser.load(Ordering::Relaxed)
    }

    /// How it is.
    pub fn status(&self) -> Status {
        let (state, detail) = match self.lacks() {
            Some(lacks) => (State::Starting, lacks.to_owned()),
            None => self.state(),
        };
        let size = self.connected.get().map_or(self.expected, |(display, _)| display.size());
        let agent = Label::cut(env!("CARGO_PKG_VERSION"));
        Status { state, detail: Label::cut(&detail), screen: bounded(size), agent }
    }

    fn state(&self) -> (State, String) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it lacks though it came up.
    fn lacks(&self) -> Option<&'static str> {
        if self.state().0 == State::Starting {
            None
        } else if self.is_silent() {
            Some("the X server does not answer")
        } else if self.has_browser() {
            None
        } else {
            Some("the browser is being started again")
        }
    }

    /// Whether nothing comes of what the X server is asked.
    fn is_silent(&self) -> bool {
        self.turns.overrun() || !self.answers.load(Ordering::Relaxed)
    }

    /// That this verb can be done now. While there is no browser one can still look, and let go what is pressed.
    ///
    /// # Errors
    /// If it cannot.
    pub fn ready(&self, verb: &Verb) -> Done {
        let Status { state, detail, .. } = self.status();
        let came_up = self.state().0 == State::Ready;
        if state == State::Ready || (came_up && !self.is_silent() && needs_no_browser(verb)) {
            return Ok(());
        }
        let detail = detail.as_str();
        let message = if came_up { detail.to_owned() } else { format!("the desktop is starting, {detail}") };
        Err(Fault::new(Code::NotReady, message + ": ask again in a second"))
    }

    /// The connection to the X server.
    ///
    /// # Errors
    /// If there is none yet.
    pub fn display(&self) -> Done<&Display> {
        self.connected
            .get()
            .map(|(display, _)| display)
            .ok_or_else(|| Fault::new(Code::NotReady, "the X server is starting"))
    }

    /// The clipboard.
    ///
    /// # Errors
    /// If it is not there yet.
    pub fn clipboard(&self) -> Done<&Mutex<Clipboard>> {
        let missing = || Fault::new(Code::NotReady, "the X server is starting");
        self.connected.get().map(|(_, clipboard)| clipboard).ok_or_else(missing)
    }
}

fn needs_no_browser(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Screenshot(_)
            | Verb::Release(_)
            | Verb::Wait(_)
            | Verb::CursorPosition(_)
            | Verb::GetClipboard(_)
            | Verb::Windows(_)
            | Verb::ReadText(_)
    )
}

/// A size as answers have it.
pub fn bounded((width, height): Pair) -> Size {
    Size { width: Extent::nearest(width), height: Extent::nearest(height) }
}

#[cfg(test)]
mod tests {
    use agent_protocol::{Nothing, Screenshot};

    use super::*;

    fn desktop() -> Desktop {
        let desktop = Desktop::new((1280, 800), "unix:path=/nowhere");
        desktop.is_ready("a while ago");
        desktop.browser_runs(true);
        desktop
    }

    fn told(desktop: &Desktop) -> (State, String) {
        let status = desktop.status();
        (status.state, status.detail.as_str().to_owned())
    }

    #[test]
    fn a_desktop_without_its_browser_is_not_ready_and_one_can_still_look_at_it() {
        let desktop = desktop();
        assert_eq!(told(&desktop), (State::Ready, "a while ago".to_owned()));
        desktop.browser_runs(false);
        assert_eq!(told(&desktop), (State::Starting, "the browser is being started again".to_owned()));
        desktop.ready(&Verb::Screenshot(Screenshot::default())).unwrap();
        let fault = desktop.ready(&Verb::Tree(agent_protocol::TreeOf::default())).unwrap_err();
        assert_eq!((fault.code, fault.message.contains("the browser")), (Code::NotReady, true));
    }

    #[tokio::test]
    async fn while_a_verb_overruns_or_the_x_server_is_silent_nothing_is_ready() {
        let desktop = desktop();
        let turn = desktop.turns.next().await.unwrap();
        assert_eq!(told(&desktop).0, State::Ready);
        turn.overruns();
        assert_eq!(told(&desktop), (State::Starting, "the X server does not answer".to_owned()));
        assert_eq!(desktop.ready(&Verb::Windows(Nothing {})).unwrap_err().code, Code::NotReady);
        drop(turn);
        assert_eq!(told(&desktop).0, State::Ready);
        desktop.x_answers(false);
        assert_eq!(told(&desktop).0, State::Starting);
        assert_eq!(desktop.ready(&Verb::Windows(Nothing {})).unwrap_err().code, Code::NotReady);
    }

    #[test]
    fn before_it_came_up_one_cannot_even_look() {
        let desktop = Desktop::new((1280, 800), "unix:path=/nowhere");
        desktop.browser_runs(true);
        assert_eq!(desktop.ready(&Verb::Screenshot(Screenshot::default())).unwrap_err().code, Code::NotReady);
    }
}
