//! The layer of packages. In: a lock and folders to keep things in. Out: the archive of the layer and the document about it, made once for
//! each lock and script.

use std::fs;
use std::io::BufWriter;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use image::debian::Lock;
use image::debian::store::Store;
use image::{Sum, hex, sbom, tree};

use crate::packages;

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

/// Where things are kept, so that they are not made or got again.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Packages. They are the one thing that cannot always be had again.
    pub packages: Store,
    /// Layers, each in a folder of its own.
    pub layers: PathBuf,
}

impl Cache {
    /// Both in one folder.
    pub fn of(root: &Path) -> Self {
        Self { packages: Store::new(&root.join("packages")), layers: root.join("images") }
    }
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
    /// [`crate::Replaced`] if packages can no longer be had because Debian replaced them. Any other if they cannot be had though Debian has
    /// them, a program is missing, or the layer is not what is expected.
    pub fn of(lock: &Lock, cache: &Cache, expected: Expected<'_>, say: impl Fn(&str)) -> Result<Self> {
        let layers = &cache.layers;
        fs::create_dir_all(layers).with_context(|| format!("cannot create {}", layers.display()))?;
        let key = hex(format!("{FORM}\n{SCRIPT}\n{lock}").as_bytes());
        let layer = Self { folder: layers.join(format!("desktop-{}", key.get(..16).unwrap_or(&key))) };
        let guard = layer.folder.with_extension("lock");
        let guard = fs::File::create(&guard).with_context(|| format!("cannot create {}", guard.display()))?;
        guard.lock().context("cannot wait for another process that makes the same layer")?;
        if !layer.folder.is_dir() {
            let partial = layer.folder.with_extension("partial");
            remove(&partial)?;
            let packages = packages::get(lock, &cache.packages, &say, || crate::resolve(layers))?;
            say("unpacking and packing the desktop's packages (about a minute, once for each lock)");
            make(lock, &packages, &partial)?;
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

/// Makes all that is kept of a layer in a new folder.
fn make(lock: &Lock, packages: &[PathBuf], folder: &Path) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let root = folder.join("root");
    unpack(packages, folder, &root)?;
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
    remove(&root)
}

/// Runs the script. Who is not root becomes it in a namespace, which is enough for changing the root of programs that only look at files.
fn unpack(packages: &[PathBuf], folder: &Path, root: &Path) -> Result<()> {
    let script = folder.join("rootfs.sh");
    fs::write(&script, SCRIPT).context("cannot write the script")?;
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let mut command = if is_root { Command::new("/bin/sh") } else { Command::new("unshare") };
    if !is_root {
        command.args(["--map-root-user", "/bin/sh"]);
    }
    command.arg(&script).arg(root).args(packages);
    let output = command.output().context("cannot start /bin/sh or unshare: install the package util-linux")?;
    fs::remove_file(&script).context("cannot remove the script")?;
    if !output.status.success() {
        bail!("rootfs.sh: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn another_layer_than_the_one_that_was_chosen_is_refused() {
        let folder = std::env::temp_dir().join(format!("steading-layer-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("layer.sha256"), "beef\n").unwrap();
        let layer = Layer { folder };
        for expected in [Expected::Sum("beef\n"), Expected::Anything] {
            layer.check(expected).unwrap();
        }
        let refusal = layer.check(Expected::Sum("c0ffee\n")).unwrap_err().to_string();
        assert!(refusal.contains("SHA-256 beef, and c0ffee is expected"), "{refusal}");
        assert!(refusal.contains("make agent-image-lock SAME=1"), "{refusal}");
        remove(&layer.folder).unwrap();
    }
}
