//! Names that the X server has numbers for. In: a connection. Out: the numbers.

use x11rb::atom_manager;
use x11rb::protocol::xproto::ConnectionExt;

use crate::fault::{Done, Fault};

atom_manager! {
    /// The numbers.
    pub(super) Atoms: AtomsAsked {
        CLIPBOARD,
        INCR,
        STEADING_CLIPBOARD,
        TARGETS,
        UTF8_STRING,
        TEXT,
        PLAIN: b"text/plain;charset=utf-8",
        _NET_ACTIVE_WINDOW,
        _NET_CLIENT_LIST,
        _NET_CLOSE_WINDOW,
        _NET_SUPPORTING_WM_CHECK,
        _NET_WM_NAME,
    }
}

/// Asks for them.
pub(super) fn of(connection: &impl ConnectionExt) -> Done<Atoms> {
    let asked = Atoms::new(connection).map_err(|error| Fault::x("number names", error))?;
    asked.reply().map_err(|error| Fault::x("number names", error))
}
