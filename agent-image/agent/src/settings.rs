//! How a desktop is to be. In: variables and arguments of the process. Out: checked settings.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::display;
use crate::scale::Pair;

/// The smallest and the largest screen.
const SIZES: (Pair, Pair) = ((320, 240), (3840, 2160));

/// How a desktop is to be. The variables are those of the image.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Width and height of the screen, such as 1280x800
    #[arg(long, env = "DESKTOP_SIZE", default_value = "1280x800")]
    pub size: ScreenSize,
    /// The X server's display, such as :0
    #[arg(long, env = "DISPLAY", default_value = ":0")]
    display: String,
    /// Where sockets are kept that belong to the desktop alone
    #[arg(long, env = "XDG_RUNTIME_DIR", default_value = "/run/agent/user")]
    pub runtime: PathBuf,
    /// Where programs find each other
    #[arg(long, env = "DBUS_SESSION_BUS_ADDRESS", default_value = "unix:path=/run/agent/user/bus")]
    pub bus: String,
    /// The socket of the live view (RFB); view in the runtime folder if it is not said
    #[arg(long, env = "DESKTOP_VIEW")]
    view: Option<PathBuf>,
    /// The socket at which requests are taken; agent in the runtime folder if it is not said
    #[arg(long, env = "AGENT_SOCKET")]
    socket: Option<PathBuf>,
    /// What the browser opens first
    pub addresses: Vec<String>,
}

impl Settings {
    /// The display, as `:0`.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// The socket of the X server.
    pub fn x(&self) -> PathBuf {
        display::socket(&self.display)
    }

    /// The socket of the live view.
    pub fn view(&self) -> PathBuf {
        self.view.clone().unwrap_or_else(|| self.runtime.join("view"))
    }

    /// The socket at which requests are taken.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.runtime.join("agent"))
    }

    /// The socket of the bus.
    ///
    /// # Errors
    /// If its address is none of a socket.
    pub fn bus_socket(&self) -> Result<PathBuf> {
        let path = self.bus.strip_prefix("unix:path=").map(|rest| rest.split(',').next().unwrap_or(rest));
        path.map(PathBuf::from)
            .with_context(|| format!("DBUS_SESSION_BUS_ADDRESS is {:?}, and has to be unix:path= and a path", self.bus))
    }
}

/// Width and height of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScreenSize(pub Pair);

impl FromStr for ScreenSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (width, height) = text.split_once('x')?;
            Some((width.parse().ok()?, height.parse().ok()?))
        };
        let (least, most) = SIZES;
        let fits = |size: &Pair| (least.0..=most.0).contains(&size.0) && (least.1..=most.1).contains(&size.1);
        let refusal = || {
            let ((w1, h1), (w2, h2)) = SIZES;
            format!("write width and height, such as 1280x800, from {w1}x{h1} to {w2}x{h2}")
        };
        read().filter(fits).map(Self).ok_or_else(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_two_numbers_within_bounds() {
        assert_eq!("1280x800".parse(), Ok(ScreenSize((1280, 800))));
        for text in ["", "1280", "1280x", "0x0", "319x240", "3841x2160", "1280x800x24", "-1x800", "1280 x 800"] {
            assert!(text.parse::<ScreenSize>().is_err(), "{text:?}");
        }
    }
}
