//! The layer of packages. In: a lock and a folder to keep things in. Out: the archive of the layer and the document about it, made once for
//! each lock and script.

use std::fs;
use std::io::BufWriter;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use image::debian::{Lock, fetch};
use image::{Sum, hex, sbom, tree};

const SCRIPT: &str = include_str!("../rootfs.sh");
/// Raised when the same packages and script become another layer.
const FORM: &str = "1";

/// What is expected of a layer that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// This is its checksum.
    Sum(&'a str),
    /// Its checksum is what somebody wants to know.
    Anything,
}

/// A layer that was made.
#[derive(Clone, Debug)]
pub struct Layer {
    folder: PathBuf,
}

impl Layer {
    /// The layer of this lock, made first if the cache does not have it. What takes long is told to `say`. Two that want the same at once
    /// make it once.
    ///
    /// # Errors
    /// If a package cannot be had or is not what the lock says, a program is missing, or the layer is not what is expected.
    pub fn of(lock: &Lock, cache: &Path, expected: Expected<'_>, say: impl Fn(&str)) -> Result<Self> {
        let images = cache.join("images");
        fs::create_dir_all(&images).with_context(|| format!("cannot create {}", images.display()))?;
        let key = hex(format!("{FORM}\n{SCRIPT}\n{lock}").as_bytes());
        let layer = Self { folder: images.join(format!("desktop-{}", key.get(..16).unwrap_or(&key))) };
        let guard = layer.folder.with_extension("lock");
        let guard = fs::File::create(&guard).with_context(|| format!("cannot create {}", guard.display()))?;
        guard.lock().context("cannot wait for another process that makes the same layer")?;
        if !layer.folder.is_dir() {
            let partial = layer.folder.with_extension("partial");
            remove(&partial)?;
            make(lock, &layer.folder.with_extension("packages"), &partial, say)?;
            fs::rename(&partial, &layer.folder).with_context(|| format!("cannot keep {}", layer.folder.display()))?;
        }
        layer.check(expected)?;
        Ok(layer)
    }

    /// The archive, not compressed.
    pub fn archive(&self) -> PathBuf {
        self.folder.join("layer.tar")
    }

    /// Its checksum.
    ///
    /// # Errors
    /// If it is not there.
    pub fn sum(&self) -> Result<String> {
        read(&self.folder.join("layer.sha256")).map(|sum| sum.trim_end().to_owned())
    }

    /// The document of what is in it.
    ///
    /// # Errors
    /// If it is not there.
    pub fn sbom(&self) -> Result<String> {
        read(&self.folder.join("desktop.spdx.json"))
    }

    fn check(&self, expected: Expected<'_>) -> Result<()> {
        let (Expected::Sum(expected), found) = (expected, self.sum()?) else { return Ok(()) };
        ensure!(
            expected.trim_end() == found,
            "the packages became a layer with SHA-256 {found}, and {} is expected. If rootfs.sh or what packs was changed on purpose, run \
             `make agent-image-lock SAME=1`; if not, something of this machine got in: compare {} with that of another",
            expected.trim_end(),
            self.archive().display()
        );
        Ok(())
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Makes all that is kept of a layer in a new folder. Packages are kept until it is made.
fn make(lock: &Lock, packages: &Path, folder: &Path, say: impl Fn(&str)) -> Result<()> {
    say(&format!("getting {} packages of Debian {} for the desktop", lock.packages.len(), lock.release));
    fetch::fetch(lock, packages)?;
    fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let root = folder.join("root");
    say("unpacking and packing them (about a minute, once for each lock)");
    unpack(lock, packages, folder, &root)?;
    let document = sbom::spdx(crate::NAME, lock, &root)?;
    fs::write(folder.join("desktop.spdx.json"), document).context("cannot write the document")?;
    let archive = folder.join("layer.tar");
    let out = fs::File::create(&archive).with_context(|| format!("cannot write {}", archive.display()))?;
    let writable = crate::WRITABLE.map(|path| path.trim_start_matches('/'));
    tree::pack(&root, &writable, BufWriter::new(out))?;
    let mut sum = Sum::default();
    let mut file = fs::File::open(&archive).with_context(|| format!("cannot read {}", archive.display()))?;
    std::io::copy(&mut file, &mut sum).with_context(|| format!("cannot read {}", archive.display()))?;
    fs::write(folder.join("layer.sha256"), sum.hex() + "\n").context("cannot write the checksum")?;
    remove(&root)?;
    remove(packages)
}

/// Runs the script. Who is not root becomes it in a namespace, which is enough for changing the root of programs that only look at files.
fn unpack(lock: &Lock, packages: &Path, folder: &Path, root: &Path) -> Result<()> {
    let script = folder.join("rootfs.sh");
    fs::write(&script, SCRIPT).context("cannot write the script")?;
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let mut command = if is_root { Command::new("/bin/sh") } else { Command::new("unshare") };
    if !is_root {
        command.args(["--map-root-user", "/bin/sh"]);
    }
    command.arg(&script).arg(root).args(lock.packages.iter().map(|package| packages.join(package.file())));
    let output = command.output().context("cannot start /bin/sh or unshare: install the package util-linux")?;
    fs::remove_file(&script).context("cannot remove the script")?;
    if !output.status.success() {
        bail!("rootfs.sh: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}
