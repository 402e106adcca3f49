//! The X server. In: its socket. Out: a connection over which there are pictures, input and windows.

mod atoms;
pub mod clipboard;
mod input;
mod windows;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat, ImageOrder};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::{DefaultStream, RustConnection};
use x11rb::wrapper::ConnectionExt as _;

use crate::fault::{Done, Fault};
use crate::picture::Picture;
use crate::scale::Pair;
use atoms::Atoms;

/// A connection to the X server.
pub struct Display {
    connection: RustConnection,
    atoms: Atoms,
    root: u32,
    size: Pair,
    /// The first key, and how many there are.
    keys: (u8, u8),
    /// When and where the last click ended.
    clicked: Mutex<Option<(Instant, (i16, i16))>>,
}

/// Where the server of such a display, as `:0`, has its socket.
pub fn socket(display: &str) -> PathBuf {
    Path::new("/tmp/.X11-unix").join(format!("X{}", display.trim_start_matches(':')))
}

/// Connects by its socket and by nothing else: there is no port to fall back to.
fn connect(socket: &Path) -> Done<RustConnection> {
    let what = || format!("take a connection at {}", socket.display());
    let stream = UnixStream::connect(socket).and_then(DefaultStream::from_unix_stream);
    let (stream, _) = stream.map_err(|error| Fault::x(&what(), error))?;
    RustConnection::connect_to_stream(stream, 0).map_err(|error| Fault::x(&what(), error))
}

impl Display {
    /// Connects to the server at this socket.
    ///
    /// # Errors
    /// If there is none, or it cannot do what is needed.
    pub fn open(socket: &Path) -> Done<Self> {
        let connection = connect(socket)?;
        let setup = connection.setup();
        let screen = setup.roots.first().ok_or_else(|| Fault::failed("the X server has no screen"))?;
        let four_bytes = setup.pixmap_formats.iter().any(|it| it.depth == screen.root_depth && it.bits_per_pixel == 32);
        if screen.root_depth != 24 || !four_bytes || setup.image_byte_order != ImageOrder::LSB_FIRST {
            return Err(Fault::failed(
                "the X server keeps pictures in a form that is not known: start it with depth 24",
            ));
        }
        let size = (screen.width_in_pixels.into(), screen.height_in_pixels.into());
        let keys = (setup.min_keycode, setup.max_keycode.saturating_sub(setup.min_keycode).saturating_add(1));
        let root = screen.root;
        let version = connection.xtest_get_version(2, 2).map(|cookie| cookie.reply().map(drop));
        version.map_err(|error| Fault::x("do XTEST", error))?.map_err(|error| Fault::x("do XTEST", error))?;
        let atoms = atoms::of(&connection)?;
        Ok(Self { connection, atoms, root, size, keys, clicked: Mutex::new(None) })
    }

    /// How large the screen is.
    pub fn size(&self) -> Pair {
        self.size
    }

    /// What is at left, top, width and height, all of it on the screen.
    ///
    /// # Errors
    /// If the server does not say it.
    pub fn picture(&self, [x, y, width, height]: [u32; 4]) -> Done<Picture> {
        const WHAT: &str = "give a picture";
        let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let (across, down) = (short(width), short(height));
        let image = self
            .connection
            .get_image(ImageFormat::Z_PIXMAP, self.root, place(x), place(y), across, down, u32::MAX)
            .map_err(|error| Fault::x(WHAT, error))?
            .reply()
            .map_err(|error| Fault::x(WHAT, error))?;
        Picture::of_bgrx((width, height), &image.data).ok_or_else(|| Fault::x(WHAT, "it has another size"))
    }

    /// Where the pointer is.
    ///
    /// # Errors
    /// If the server does not say it.
    pub fn pointer(&self) -> Done<(i16, i16)> {
        const WHAT: &str = "say where the pointer is";
        let cookie = self.connection.query_pointer(self.root).map_err(|error| Fault::x(WHAT, error))?;
        let pointer = cookie.reply().map_err(|error| Fault::x(WHAT, error))?;
        Ok((pointer.root_x, pointer.root_y))
    }

    /// Waits until the server has done all that it was asked for.
    ///
    /// # Errors
    /// If it ended.
    pub fn settle(&self) -> Done {
        self.connection.sync().map_err(|error| Fault::x("do as asked", error))
    }
}

/// As the protocol has columns and rows.
fn place(number: u32) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}
