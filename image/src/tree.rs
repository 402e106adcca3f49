//! Packs a folder into an archive that is the same each time. In: a folder with what an image is to have. Out: an archive in which all is
//! root's and nothing can be written by anybody else but what is named; or which file does not belong into an image.
//!
//! Permissions come down to whether a file can be run. What would lend somebody else's rights (setuid, setgid) and what is neither file,
//! folder nor link is refused, not mended: a package that needs it would not work.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::archive::Archive;

/// Writes the archive of this folder. The folders in `writable`, such as `tmp`, are anybody's to write into, as `/tmp` is.
///
/// # Errors
/// If something in the folder has no place in an image, a folder that is to be writable is missing, or a file cannot be read or written.
pub fn pack(root: &Path, writable: &[&str], out: impl Write) -> Result<()> {
    for folder in writable {
        ensure!(root.join(folder).is_dir(), "/{folder} is to be writable, but there is no such folder");
    }
    let mut archive = Archive::new(out);
    folder(root, "", writable, &mut archive)?;
    archive.end()?.flush().context("cannot write the archive")
}

/// Adds what is in a folder, by name.
fn folder(root: &Path, path: &str, writable: &[&str], archive: &mut Archive<impl Write>) -> Result<()> {
    let at = root.join(path);
    let failed = || format!("cannot read {}", at.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&at).with_context(failed)? {
        let name = entry.with_context(failed)?.file_name().into_string();
        names.push(name.ok().with_context(|| format!("{}: a name in it is no text", at.display()))?);
    }
    names.sort();
    for name in names {
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        let at = root.join(&path);
        let failed = || format!("cannot read {}", at.display());
        let found = fs::symlink_metadata(&at).with_context(failed)?;
        let kind = found.file_type();
        let mode = found.permissions().mode();
        if kind.is_symlink() {
            let target = fs::read_link(&at).with_context(failed)?;
            let target = target.to_str().with_context(|| format!("/{path} leads to what is no text"))?;
            archive.link(&path, target)?;
        } else if kind.is_dir() {
            archive.directory(&path, if writable.contains(&path.as_str()) { 0o1777 } else { 0o755 })?;
            folder(root, &path, writable, archive)?;
        } else if kind.is_file() {
            ensure!(
                mode & 0o6000 == 0,
                "/{path} runs with the rights of its owner (mode {mode:o}): leave it or its package out"
            );
            let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
            archive.stream(&path, mode, found.len(), fs::File::open(&at).with_context(failed)?)?;
        } else {
            let what = if kind.is_fifo() || kind.is_socket() { "a pipe or socket" } else { "a device" };
            bail!("/{path} is {what}, which has no place in an image: leave it out");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
