//! The programs of a desktop. In: settings. Out: how each is started; none of them listens on a port.

use std::process::Stdio;

use anyhow::Result;
use tokio::process::Command;

use crate::settings::Settings;

/// What the browser is called.
pub const BROWSER: &str = "chromium";

/// A program without which there is no desktop.
pub struct Part {
    /// What it is called where somebody looks for a fault.
    pub name: &'static str,
    /// How it is started.
    pub command: Command,
}

impl Part {
    fn new(name: &'static str, program: &str, arguments: impl IntoIterator<Item = String>) -> Self {
        Self { name, command: command(program, arguments) }
    }
}

fn command(program: &str, arguments: impl IntoIterator<Item = String>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The X server, which is the server of the live view, too: both are sockets.
pub fn screen(settings: &Settings) -> Part {
    let (width, height) = settings.size.0;
    let size = format!("{width}x{height}");
    let view = settings.view().display().to_string();
    let fixed =
        ["-depth", "24", "-nolisten", "tcp", "-SecurityTypes", "None", "-rfbport", "-1", "-rfbunixmode", "0600"];
    let own = [settings.display(), "-geometry", &size, "-rfbunixpath", &view];
    Part::new("Xtigervnc", "Xtigervnc", own.into_iter().chain(fixed).map(str::to_owned))
}

/// The bus over which programs find each other.
pub fn bus(settings: &Settings) -> Part {
    let address = format!("--address={}", settings.bus);
    let fixed = ["--session", "--nofork", "--nopidfile"].map(str::to_owned);
    Part::new("dbus-daemon", "dbus-daemon", fixed.into_iter().chain([address]))
}

/// What puts frames around windows.
pub fn manager() -> Part {
    Part::new("openbox", "openbox", [])
}

/// The bus on which programs tell what they show.
pub fn accessibility() -> Part {
    let arguments = ["--launch-immediately", "--a11y=1"].map(str::to_owned);
    Part::new("at-spi-bus-launcher", "/usr/libexec/at-spi-bus-launcher", arguments)
}

/// The browser, which may end.
pub fn browser(addresses: &[String]) -> Command {
    // After it was killed it would ask whether to open again what it showed, over what it shows.
    let fixed = ["--hide-crash-restore-bubble".to_owned(), "--".to_owned()];
    command(BROWSER, fixed.into_iter().chain(addresses.iter().cloned()))
}

/// Folders of the desktop's sockets. A volume of a pod is everybody's; what is in ours belongs to us alone.
///
/// # Errors
/// If one cannot be made.
pub fn folders(settings: &Settings) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

    use anyhow::Context as _;
    let folders = [(settings.runtime.as_path(), 0o700), (std::path::Path::new("/tmp/.X11-unix"), 0o1777)];
    for (folder, mode) in folders {
        let what = || format!("cannot make {}: it has to be on a volume that can be written", folder.display());
        std::fs::DirBuilder::new().recursive(true).mode(mode).create(folder).with_context(what)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).with_context(what)?;
    }
    Ok(())
}
