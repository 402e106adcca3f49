//! The desktop as the verbs see it. In: what supervision found out. Out: whether it can be used, and its parts.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use agent_protocol::{Code, Extent, Label, Size, State, Status};

use crate::display::Display;
use crate::display::clipboard::Clipboard;
use crate::fault::{Done, Fault};
use crate::scale::Pair;
use crate::tree::Bus;

/// A desktop that comes up or is up.
pub struct Desktop {
    expected: Pair,
    /// Whether it can be used, and what it waits for or since when it is ready.
    state: Mutex<(State, String)>,
    connected: OnceLock<(Display, Mutex<Clipboard>)>,
    browser: AtomicBool,
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

    /// Says whether the browser runs.
    pub fn browser_runs(&self, runs: bool) {
        self.browser.store(runs, Ordering::Relaxed);
    }

    /// Whether the browser runs.
    pub fn has_browser(&self) -> bool {
        self.browser.load(Ordering::Relaxed)
    }

    /// How it is.
    pub fn status(&self) -> Status {
        let (state, detail) = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let size = self.connected.get().map_or(self.expected, |(display, _)| display.size());
        let agent = Label::cut(env!("CARGO_PKG_VERSION"));
        Status { state, detail: Label::cut(&detail), screen: bounded(size), agent }
    }

    /// That it can be used.
    ///
    /// # Errors
    /// If it cannot yet.
    pub fn ready(&self) -> Done {
        let status = self.status();
        let message = || format!("the desktop is starting, {}: ask again in a second", status.detail.as_str());
        if status.state == State::Ready { Ok(()) } else { Err(Fault::new(Code::NotReady, message())) }
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

/// A size as answers have it.
pub fn bounded((width, height): Pair) -> Size {
    Size { width: Extent::nearest(width), height: Extent::nearest(height) }
}
