//! The programs of a desktop. In: settings. Out: how each is started; none of them listens on a port.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
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
    // Whoever looks at the live view must not make the screen another one than the driver was told.
    let fixed = fixed.into_iter().chain(["-AcceptSetDesktopSize=0"]);
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

/// The socket at which a browser that runs is told addresses by others.
pub fn browser_socket(settings: &Settings) -> PathBuf {
    settings.profile().join("SingletonSocket")
}

/// Folders of the desktop's sockets, without what is left over of an earlier container on the same volumes. A volume of a pod is
/// everybody's; what is in ours belongs to us alone.
///
/// # Errors
/// If one cannot be made, or something in it cannot be removed.
pub fn folders(settings: &Settings) -> Result<()> {
    let temporary = Path::new("/tmp");
    let folders = [(settings.runtime.clone(), 0o700), (temporary.join(".X11-unix"), 0o1777)];
    for (folder, mode) in folders {
        let what = || format!("cannot make {}: it has to be on a volume that can be written", folder.display());
        fs::DirBuilder::new().recursive(true).mode(mode).create(&folder).with_context(what)?;
        fs::set_permissions(&folder, Permissions::from_mode(mode)).with_context(what)?;
    }
    clear(temporary, settings.display(), &settings.profile())
}

/// Removes what an X server and a browser leave behind that were killed. They say by number which process they are, and after a start of
/// the container another one has that number: the new ones would take themselves for the second.
fn clear(temporary: &Path, display: &str, profile: &Path) -> Result<()> {
    let number = display.trim_start_matches(':');
    let of_screen = [format!(".X{number}-lock"), format!(".X11-unix/X{number}")].map(|name| temporary.join(name));
    let of_browser = ["SingletonLock", "SingletonSocket", "SingletonCookie"].map(|name| profile.join(name));
    for left_over in of_screen.into_iter().chain(of_browser) {
        match fs::remove_file(&left_over) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("cannot remove {}, which is left over", left_over.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_of_a_killed_screen_and_browser_is_removed_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("steading-left-over-{}", std::process::id()));
        let profile = folder.join("chromium");
        fs::create_dir_all(folder.join(".X11-unix")).unwrap();
        fs::create_dir_all(&profile).unwrap();
        let left_over = [".X7-lock", ".X11-unix/X7", "chromium/SingletonCookie"].map(|name| folder.join(name));
        let others = [".X8-lock", ".X11-unix/X8", "chromium/Cookies"].map(|name| folder.join(name));
        for file in left_over.iter().chain(&others) {
            fs::write(file, "1").unwrap();
        }
        // It leads to where nothing is.
        std::os::unix::fs::symlink("desktop-12", profile.join("SingletonLock")).unwrap();
        for _ in 0..2 {
            clear(&folder, ":7", &profile).unwrap();
        }
        assert!(left_over.iter().all(|file| !file.exists()));
        assert!(fs::symlink_metadata(profile.join("SingletonLock")).is_err());
        assert!(others.iter().all(|file| file.exists()));
        fs::remove_dir_all(folder).unwrap();
    }
}
