//! The image of the desktops that agents drive: an X server, a window manager, Chromium, fonts, what reads text, and the agent. In: the
//! packages that `packages.lock` names, the files in `root`, and the agent's program. Out: an OCI image, the same bytes each time, with a document (SPDX) of what it is
//! made of.
//!
//! Neither an engine nor a registry is needed, and nothing of a package is run as root of the machine but what `rootfs.sh` names, in a
//! folder of its own.

mod layer;
mod own;
mod packages;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use image::debian::Lock;
use image::debian::resolve::{ARCHITECTURE, Request};
use image::program::architecture_of;
use image::{Image, sbom};

pub use layer::{Cache, Expected, Layer};
pub use packages::{Now, Replaced};

/// What is wanted of Debian.
pub const REQUEST: &str = include_str!("../packages");
/// What that came to when the archive was last asked.
pub const LOCK: &str = include_str!("../packages.lock");
/// What the layer of packages unpacks to, as it was when they were last chosen. Whoever packs the same packages gets the same layer, or is
/// told that something differs that should not.
pub const LAYER: &str = include_str!("../layer.sha256");

/// As whom the desktop runs: nobody that a distribution knows.
pub const USER: &str = "65532:65532";
/// All that must be writable, each by a volume: everything else is only read.
pub const WRITABLE: [&str; 3] = ["/home/agent", "/run/agent", "/tmp"];
/// Where the document of what the image is made of stands in it.
pub const SBOM: &str = "usr/share/steading/desktop.spdx.json";
/// The program in it that starts the desktop and drives it.
const AGENT: &str = "usr/bin/steading-agent";
/// What the document calls it.
pub(crate) const NAME: &str = "steading-desktop";

/// The lock, if it answers the request.
///
/// # Errors
/// If it cannot be read, or was made for another request.
pub fn lock() -> Result<Lock> {
    read_lock(LOCK, REQUEST)
}

fn read_lock(lock: &str, request: &str) -> Result<Lock> {
    let read = Lock::parse(lock).and_then(|lock| lock.answers(request).map(|()| lock));
    read.context("agent-image/packages.lock: run `make agent-image-lock`")
}

/// Asks Debian's archive what it has now, in a folder beneath this one that is gone afterwards.
///
/// # Errors
/// If the archive cannot be reached, or does not have what is wanted.
pub fn resolve(beneath: &Path) -> Result<Now> {
    let seen = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let work = beneath.join(format!("resolve-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let answer =
        Request::parse(REQUEST).and_then(|request| request.resolve(&work, &seen)).context("agent-image/packages");
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    answer.map(|(lock, idle)| Now { lock, idle })
}

/// How the image is started: program, environment and user, without its files.
pub fn started() -> Image {
    let labels = [
        ("org.opencontainers.image.title", "Steading desktop"),
        ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION")),
    ];
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Image {
        architecture: ARCHITECTURE.to_owned(),
        entrypoint: vec![format!("/{AGENT}"), "run".to_owned()],
        environment: own::ENVIRONMENT.map(text).into(),
        user: USER.to_owned(),
        labels: labels.map(text).into(),
        ..Image::default()
    }
}

/// The image on this layer, with this agent (a static program), under this name, such as `localhost/steading/desktop:0.1.0`.
///
/// # Errors
/// If the layer is not there, or the agent could not start on it.
pub fn image(name: &str, layer: &Layer, agent: Vec<u8>) -> Result<Image> {
    let architecture = architecture_of(&agent).context("the agent")?;
    ensure!(architecture == ARCHITECTURE, "the agent is for {architecture}, the packages for {ARCHITECTURE}");
    let program = sbom::Program {
        name: "steading-agent",
        version: env!("CARGO_PKG_VERSION"),
        licence: env!("CARGO_PKG_LICENSE"),
        content: &agent,
    };
    let document = image::File { mode: 0o644, content: sbom::with(&layer.sbom()?, &program)?.into_bytes() };
    let agent = image::File { mode: 0o755, content: agent };
    let made = [(SBOM.to_owned(), document), (AGENT.to_owned(), agent)];
    let files = own::files().into_iter().chain(made).collect();
    Ok(Image { name: name.to_owned(), base: Some(layer.archive()), files, ..started() })
}

/// Writes all that is in the image into a new folder, as an engine copies it.
///
/// # Errors
/// If the folder is there already, `tar` is missing, or a file cannot be written.
pub fn write_root(image: &Image, root: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", root.display());
    fs::create_dir(root).with_context(failed)?;
    if let Some(layer) = &image.base {
        let unpacked = Command::new("tar").arg("-xpf").arg(layer).arg("-C").arg(root).status();
        ensure!(unpacked.context("cannot start tar")?.success(), "cannot unpack {}", layer.display());
    }
    for (path, file) in &image.files {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(failed)?;
        }
        fs::write(&path, &file.content).with_context(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).with_context(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
