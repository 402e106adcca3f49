//! Windows, by what window managers and programs agree on (EWMH). In: the X server. Out: the windows, and one brought to the front or asked to
//! close.

use std::time::Duration;

use agent_protocol::{Code, Label, Offset, Place, Whole, WindowId, WindowState};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{Atom, AtomEnum, ClientMessageEvent, ConnectionExt as _, EventMask, GetPropertyReply};

use super::Display;
use crate::deadline::Deadline;
use crate::fault::{Done, Fault};

/// Longest title that is asked for, in units of four bytes.
const TITLE: u32 = 1024;
/// Most windows that are listed.
const WINDOWS: u32 = 256;
/// Who asks the window manager: somebody who acts for the user.
const FOR_THE_USER: u32 = 2;
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Display {
    /// Whether a window manager says that it is there. A window that opens while it starts may get lost.
    ///
    /// # Errors
    /// If the server does not say it.
    pub fn is_managed(&self) -> Done<bool> {
        Ok(self.numbers(self.root, self.atoms._NET_SUPPORTING_WM_CHECK, 1)?.iter().any(|window| *window != 0))
    }

    /// The windows, the oldest first. One that closes meanwhile is left out.
    ///
    /// # Errors
    /// If the server does not say it.
    pub fn windows(&self) -> Done<Vec<WindowState>> {
        let active = self.active()?;
        let windows = self.numbers(self.root, self.atoms._NET_CLIENT_LIST, WINDOWS)?;
        Ok(windows.into_iter().filter_map(|window| self.window(window, active).ok().flatten()).collect())
    }

    /// Brings a window to the front, and waits until it gets what is typed.
    ///
    /// # Errors
    /// If there is no such window, or that does not come about in time.
    pub fn focus(&self, window: WindowId, deadline: Deadline) -> Done {
        let window = self.known(window)?;
        self.tell_manager(window, self.atoms._NET_ACTIVE_WINDOW, [FOR_THE_USER, x11rb::CURRENT_TIME, 0, 0, 0])?;
        self.until(deadline, || Ok(self.active()? == Some(window)))
    }

    /// Asks a window to close, and waits until it has.
    ///
    /// # Errors
    /// If there is no such window, or it does not close in time: it may ask whether to save.
    pub fn close(&self, window: WindowId, deadline: Deadline) -> Done {
        let window = self.known(window)?;
        self.tell_manager(window, self.atoms._NET_CLOSE_WINDOW, [x11rb::CURRENT_TIME, FOR_THE_USER, 0, 0, 0])?;
        self.until(deadline, || Ok(!self.numbers(self.root, self.atoms._NET_CLIENT_LIST, WINDOWS)?.contains(&window)))
    }

    fn until(&self, deadline: Deadline, mut is: impl FnMut() -> Done<bool>) -> Done {
        while !is()? {
            deadline.pause(LOOK_EVERY)?;
        }
        self.settle()
    }

    fn known(&self, window: WindowId) -> Done<u32> {
        let number = u32::try_from(window.get()).unwrap_or_default();
        let listed = self.numbers(self.root, self.atoms._NET_CLIENT_LIST, WINDOWS)?.contains(&number);
        let message = || format!("there is no window {number}: list the windows again");
        listed.then_some(number).ok_or_else(|| Fault::new(Code::NotFound, message()))
    }

    fn active(&self) -> Done<Option<u32>> {
        Ok(self.numbers(self.root, self.atoms._NET_ACTIVE_WINDOW, 1)?.first().copied())
    }

    fn tell_manager(&self, window: u32, what: Atom, data: [u32; 5]) -> Done {
        const WHAT: &str = "pass on what the window manager is to do";
        let event = ClientMessageEvent::new(32, window, what, data);
        let to = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        let sent = self.connection.send_event(false, self.root, to, event).map_err(|error| Fault::x(WHAT, error))?;
        sent.check().map_err(|error| Fault::x(WHAT, error))?;
        self.connection.flush().map_err(|error| Fault::x(WHAT, error))
    }

    fn window(&self, window: u32, active: Option<u32>) -> Done<Option<WindowState>> {
        const WHAT: &str = "say where a window is";
        let failed = |error: &dyn std::fmt::Display| Fault::x(WHAT, error);
        let size = self.connection.get_geometry(window).map_err(|error| failed(&error))?;
        let at = self.connection.translate_coordinates(window, self.root, 0, 0).map_err(|error| failed(&error))?;
        let size = size.reply().map_err(|error| failed(&error))?;
        let at = at.reply().map_err(|error| failed(&error))?;
        let mut title = self.text(window, self.atoms._NET_WM_NAME)?;
        if title.is_empty() {
            title = self.text(window, AtomEnum::WM_NAME.into())?;
        }
        // Name and class, each ended by a zero.
        let class = self.text(window, AtomEnum::WM_CLASS.into())?;
        let place = Place {
            x: Offset::nearest(at.dst_x),
            y: Offset::nearest(at.dst_y),
            width: Whole::nearest(size.width),
            height: Whole::nearest(size.height),
        };
        Ok(WindowId::try_from(i64::from(window)).ok().map(|id| WindowState {
            window: id,
            title: Label::cut(&title),
            class: Label::cut(class.split('\0').nth(1).unwrap_or_default()),
            place,
            active: active == Some(window),
        }))
    }

    fn text(&self, window: u32, property: Atom) -> Done<String> {
        Ok(String::from_utf8_lossy(&self.property(window, property, TITLE)?.value).into_owned())
    }

    fn numbers(&self, window: u32, property: Atom, most: u32) -> Done<Vec<u32>> {
        Ok(self.property(window, property, most)?.value32().into_iter().flatten().collect())
    }

    fn property(&self, window: u32, property: Atom, most: u32) -> Done<GetPropertyReply> {
        const WHAT: &str = "tell about a window";
        let cookie = self.connection.get_property(false, window, property, AtomEnum::ANY, 0, most);
        cookie.map_err(|error| Fault::x(WHAT, error))?.reply().map_err(|error| Fault::x(WHAT, error))
    }
}
