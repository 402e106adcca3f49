//! The image of the desktops that agents drive: an X server, a window manager, Chromium, fonts, and what reads text. In: the packages that
//! `packages.lock` names, and the files in `root`. Out: an OCI image, the same bytes each time, with a document (SPDX) of what it is
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
use image::Image;
use image::debian::Lock;
use image::debian::resolve::{ARCHITECTURE, Request};

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
const ENTRY: &str = "/usr/bin/desktop";
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
        entrypoint: vec![ENTRY.to_owned()],
        environment: own::ENVIRONMENT.map(text).into(),
        user: USER.to_owned(),
        labels: labels.map(text).into(),
        ..Image::default()
    }
}

/// The image on this layer under this name, such as `localhost/steading/desktop:0.1.0`.
///
/// # Errors
/// If the layer is not there.
pub fn image(name: &str, layer: &Layer) -> Result<Image> {
    let sbom = image::File { mode: 0o644, content: layer.sbom()?.into_bytes() };
    let files = own::files().into_iter().chain([(SBOM.to_owned(), sbom)]).collect();
    Ok(Image { name: name.to_owned(), base: Some(layer.archive()), files, ..started() })
}

/// Writes all that is in the image into a new folder, as an engine copies it.
///
/// # Errors
/// If the folder is there already, `tar` is missing, or a file cannot be written.
pub fn write_root(name: &str, layer: &Layer, root: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", root.display());
    fs::create_dir(root).with_context(failed)?;
    let unpacked = Command::new("tar").arg("-xpf").arg(layer.archive()).arg("-C").arg(root).status();
    ensure!(unpacked.context("cannot start tar")?.success(), "cannot unpack {}", layer.archive().display());
    for (path, file) in image(name, layer)?.files {
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
