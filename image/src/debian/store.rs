//! Packages that were downloaded once, kept for whoever builds the same again: Debian's archive drops a package as soon as a newer one
//! replaces it. In: a folder outside the checkout, and what a lock says of a package. Out: its file, looked at anew each time, or nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Package;
use crate::Sum;

/// A folder of packages, each called by its SHA-256. Several processes may use it at once.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// What is being downloaded. Nobody else downloads into the same store until it is dropped.
pub(super) struct Downloads {
    /// Where to: on the same file system as what is kept.
    pub(super) folder: PathBuf,
    _guard: File,
}

impl Store {
    /// The store in this folder, which need not be there yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a package lies, if it is there.
    pub fn path(&self, package: &Package) -> PathBuf {
        self.folder.join(format!("{}.deb", package.sha256))
    }

    /// Which of these are not there. Each that is there is read to its end; one with other bytes is removed, and said so.
    ///
    /// # Errors
    /// If a file cannot be read or removed.
    pub fn lacks<'a>(
        &self,
        packages: impl IntoIterator<Item = &'a Package>,
        say: impl Fn(&str),
    ) -> Result<Vec<&'a Package>> {
        let mut lacking = Vec::new();
        for package in packages {
            let path = self.path(package);
            match is(package, &path)? {
                Some(true) => continue,
                Some(false) => {
                    say(&format!(
                        "{} was damaged: it was not {} {} of the lock; it is removed and got anew",
                        path.display(),
                        package.name,
                        package.version
                    ));
                    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                }
                None => {}
            }
            lacking.push(package);
        }
        Ok(lacking)
    }

    /// Waits until nobody downloads into the store, and makes an empty folder for that.
    pub(super) fn downloads(&self) -> Result<Downloads> {
        let failed = || format!("cannot write in {}", self.folder.display());
        fs::create_dir_all(&self.folder).with_context(failed)?;
        let guard = File::create(self.folder.join("lock")).with_context(failed)?;
        guard.lock().context("cannot wait for another process that downloads packages")?;
        let folder = self.folder.join("partial");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(failed),
            _ => fs::create_dir(&folder).with_context(failed)?,
        }
        Ok(Downloads { folder, _guard: guard })
    }

    /// Takes a file over if it is the package; it is there at once and whole, or not at all. Whether it is the package.
    pub(super) fn keep(&self, package: &Package, file: &Path) -> Result<bool> {
        if is(package, file)? != Some(true) {
            return Ok(false);
        }
        let failed = || format!("cannot keep {} in {}", file.display(), self.folder.display());
        File::open(file).and_then(|file| file.sync_all()).with_context(failed)?;
        fs::rename(file, self.path(package)).with_context(failed)?;
        Ok(true)
    }
}

/// Whether a file has the bytes of the package; nothing if there is no such file.
fn is(package: &Package, path: &Path) -> Result<Option<bool>> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(failed)?,
    };
    let mut sum = Sum::default();
    let size = io::copy(&mut file, &mut sum).with_context(failed)?;
    Ok(Some((size, sum.hex()) == (package.size, package.sha256.clone())))
}
