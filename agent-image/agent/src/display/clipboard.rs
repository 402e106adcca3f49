//! The clipboard. In: a text to put there, or the question what is there. Out: programs can paste it, or the text that one of them copied.
//!
//! In X whoever copies keeps the text and hands it to whoever pastes. So the agent does, over a connection of its own on which a thread
//! waits for those who ask. It takes no processor while nobody does.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_protocol::{Clipboard as Text, Code};
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, GetPropertyReply, PropMode, Property,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;
use x11rb::{COPY_DEPTH_FROM_PARENT, CURRENT_TIME, NONE};

use super::atoms::{self, Atoms};
use super::connect;
use crate::deadline::Deadline;
use crate::fault::{Done, Fault};

/// Most that is taken from a program, in bytes: as many characters as an answer holds, each as long as they come.
const MOST: usize = 4 * 65_536;

/// What the verbs and the thread share.
struct Shared {
    connection: RustConnection,
    atoms: Atoms,
    window: u32,
    /// What was put there last, until somebody else copies something.
    text: Mutex<Option<String>>,
}

/// The clipboard.
pub struct Clipboard {
    shared: Arc<Shared>,
    /// What happens to a question of ours.
    happened: Receiver<Event>,
}

impl Clipboard {
    /// Connects to the server at this socket, and serves those who ask from then on.
    ///
    /// # Errors
    /// If the server does not do what is needed.
    pub fn open(socket: &Path) -> Done<Self> {
        let connection = connect(socket)?;
        let atoms = atoms::of(&connection)?;
        let failed = |error: &dyn std::fmt::Display| Fault::x("make a window for the clipboard", error);
        let window = connection.generate_id().map_err(|error| failed(&error))?;
        let root = connection.setup().roots.first().map(|screen| screen.root).unwrap_or_default();
        let events = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        let made = connection.create_window(
            COPY_DEPTH_FROM_PARENT,
            window,
            root,
            -1,
            -1,
            1,
            1,
            0,
            WindowClass::INPUT_OUTPUT,
            0,
            &events,
        );
        made.map_err(|error| failed(&error))?.check().map_err(|error| failed(&error))?;
        let shared = Arc::new(Shared { connection, atoms, window, text: Mutex::new(None) });
        let (tell, happened) = channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("clipboard".to_owned());
        let started = thread.spawn(move || serving.serve(&tell));
        started.map_err(|error| Fault::failed(format!("cannot start a thread for the clipboard: {error}")))?;
        Ok(Self { shared, happened })
    }

    /// Puts a text there.
    ///
    /// # Errors
    /// If the server does not allow it.
    pub fn set(&self, text: &Text) -> Done {
        let Shared { connection, atoms, window, .. } = &*self.shared;
        let failed = |error: &dyn std::fmt::Display| Fault::x("give us the clipboard", error);
        *self.shared.kept() = Some(text.as_str().to_owned());
        let cookie = connection.set_selection_owner(*window, atoms.CLIPBOARD, CURRENT_TIME);
        cookie.map_err(|error| failed(&error))?.check().map_err(|error| failed(&error))?;
        if self.owner()? == *window { Ok(()) } else { Err(failed(&"another program has it")) }
    }

    /// What is there. Nothing if nobody has put anything there, or no text.
    ///
    /// # Errors
    /// If whoever has it does not hand it over in time, or it is too large.
    pub fn get(&self, deadline: Deadline) -> Done<Option<Text>> {
        let owner = self.owner()?;
        if owner == self.shared.window {
            return fitting(self.shared.kept().clone().unwrap_or_default()).map(Some);
        }
        if owner == NONE {
            return Ok(None);
        }
        self.ask(deadline)?.map(|bytes| fitting(String::from_utf8_lossy(&bytes).into_owned())).transpose()
    }

    fn owner(&self) -> Done<u32> {
        const WHAT: &str = "say whose the clipboard is";
        let Shared { connection, atoms, .. } = &*self.shared;
        let cookie = connection.get_selection_owner(atoms.CLIPBOARD).map_err(|error| Fault::x(WHAT, error))?;
        Ok(cookie.reply().map_err(|error| Fault::x(WHAT, error))?.owner)
    }

    /// Asks whoever has it. What is large comes in parts, of which an empty one is the last.
    fn ask(&self, deadline: Deadline) -> Done<Option<Vec<u8>>> {
        let Shared { connection, atoms, window, .. } = &*self.shared;
        // What came too late for an earlier question is nothing to this one.
        while self.happened.try_recv().is_ok() {}
        drop(self.part()?);
        let asked = connection.convert_selection(
            *window,
            atoms.CLIPBOARD,
            atoms.UTF8_STRING,
            atoms.STEADING_CLIPBOARD,
            CURRENT_TIME,
        );
        asked.map_err(|error| Fault::x("ask for the clipboard", error))?.ignore_error();
        connection.flush().map_err(|error| Fault::x("ask for the clipboard", error))?;
        let answered = |event: &Event| match event {
            Event::SelectionNotify(notify) => Some(notify.property),
            _ => None,
        };
        if self.wait(deadline, answered)? == NONE {
            return Ok(None);
        }
        let first = self.part()?;
        if first.type_ != atoms.INCR {
            return Ok(Some(first.value));
        }
        let mut bytes = vec![];
        loop {
            let of_ours = |event: &Event| match event {
                Event::PropertyNotify(notify) if notify.atom == atoms.STEADING_CLIPBOARD => {
                    (notify.state == Property::NEW_VALUE).then_some(())
                }
                _ => None,
            };
            self.wait(deadline, of_ours)?;
            let part = self.part()?.value;
            if part.is_empty() {
                return Ok(Some(bytes));
            }
            bytes.extend(part);
            if bytes.len() > MOST {
                return Err(too_large());
            }
        }
    }

    fn wait<T>(&self, deadline: Deadline, is: impl Fn(&Event) -> Option<T>) -> Done<T> {
        loop {
            let event = self.happened.recv_timeout(deadline.left()?).map_err(|_| deadline.fault())?;
            if let Some(found) = is(&event) {
                return Ok(found);
            }
        }
    }

    /// Takes what was handed over. That asks for the next part, if there is one.
    fn part(&self) -> Done<GetPropertyReply> {
        const WHAT: &str = "hand over the clipboard";
        let Shared { connection, atoms, window, .. } = &*self.shared;
        // One unit of four bytes more than is allowed, so that more is noticed.
        let most = u32::try_from(MOST / 4 + 1).unwrap_or(u32::MAX);
        let cookie = connection.get_property(true, *window, atoms.STEADING_CLIPBOARD, AtomEnum::ANY, 0, most);
        let part = cookie.map_err(|error| Fault::x(WHAT, error))?.reply().map_err(|error| Fault::x(WHAT, error))?;
        if part.bytes_after > 0 || part.value.len() > MOST { Err(too_large()) } else { Ok(part) }
    }
}

fn fitting(text: String) -> Done<Text> {
    Text::try_from(text).map_err(|_| too_large())
}

fn too_large() -> Fault {
    Fault::new(Code::TooLarge, "the clipboard holds more than 65536 characters: copy less at once")
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Option<String>> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the server ends, or nobody asks questions any more.
    fn serve(&self, tell: &Sender<Event>) {
        while let Ok(event) = self.connection.wait_for_event() {
            let heard = match event {
                Event::SelectionRequest(request) => {
                    // Who asked may have closed meanwhile.
                    let _gone = self.hand_over(&request);
                    true
                }
                Event::SelectionClear(_) => {
                    self.forget();
                    true
                }
                event @ (Event::SelectionNotify(_) | Event::PropertyNotify(_)) => tell.send(event).is_ok(),
                _ => true,
            };
            if !heard {
                return;
            }
        }
    }

    /// Somebody else copied something; unless that was before we did, and its news came late.
    fn forget(&self) {
        let asked = self.connection.get_selection_owner(self.atoms.CLIPBOARD);
        let ours = asked.is_ok_and(|cookie| cookie.reply().is_ok_and(|reply| reply.owner == self.window));
        if !ours {
            *self.kept() = None;
        }
    }

    /// Hands the text to a program that pastes, or says that it cannot be had so.
    fn hand_over(&self, request: &SelectionRequestEvent) -> Result<(), x11rb::errors::ReplyError> {
        // Programs of before the year 2000 say no property, and mean one that is called as what they want.
        let property = if request.property == NONE { request.target } else { request.property };
        let given = self.give(request, property)?;
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property: if given { property } else { NONE },
        };
        self.connection.send_event(false, request.requestor, EventMask::NO_EVENT, answer)?.check()
    }

    fn give(&self, request: &SelectionRequestEvent, property: Atom) -> Result<bool, x11rb::errors::ReplyError> {
        let Self { connection, atoms, .. } = self;
        let (window, target) = (request.requestor, request.target);
        let texts = [atoms.UTF8_STRING, atoms.PLAIN, atoms.TEXT];
        let Some(text) = self.kept().clone() else { return Ok(false) };
        if target == atoms.TARGETS {
            let all: Vec<Atom> = texts.into_iter().chain([atoms.TARGETS]).collect();
            connection.change_property32(PropMode::REPLACE, window, property, AtomEnum::ATOM, &all)?.check()?;
        } else if texts.contains(&target) {
            let kind = if target == atoms.TEXT { atoms.UTF8_STRING } else { target };
            // All of it at once: it is far smaller than what the server takes in one request.
            connection.change_property8(PropMode::REPLACE, window, property, kind, text.as_bytes())?.check()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}
