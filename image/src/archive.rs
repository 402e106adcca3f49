//! Archives that are the same each time. In: files by path, in order. Out: a tar archive in which everything belongs to root and was
//! last changed when time began.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use tar::{Builder, EntryType, Header};

/// An archive that grows.
pub struct Archive<W: Write> {
    builder: Builder<W>,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty one.
    pub fn new(out: W) -> Self {
        Self { builder: Builder::new(out), directories: BTreeSet::new() }
    }

    /// Adds a file, and the directories in which it lies unless they are there.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.directories_of(path)?;
        self.add(path, EntryType::Regular, mode, content)
    }

    /// Adds a symbolic link that leads to `target`, and the directories in which it lies unless they are there.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.directories_of(path)?;
        let mut header = header(EntryType::Symlink, 0o777, 0);
        self.builder
            .append_link(&mut header, path, target)
            .with_context(|| format!("cannot add the link {path} to an archive"))
    }

    /// Adds a directory with permissions of its own, and those in which it lies unless they are there. One that is there stays as it is.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<()> {
        self.directories_of(path)?;
        let name = format!("{path}/");
        if self.directories.insert(name.clone()) { self.add(&name, EntryType::Directory, mode, &[]) } else { Ok(()) }
    }

    /// Adds a file of this many bytes without holding it in memory.
    pub fn stream(&mut self, path: &str, mode: u32, size: u64, content: impl Read) -> Result<()> {
        self.directories_of(path)?;
        let mut header = header(EntryType::Regular, mode, size);
        self.builder.append_data(&mut header, path, content).with_context(|| format!("cannot add {path} to an archive"))
    }

    fn directories_of(&mut self, path: &str) -> Result<()> {
        let mut above: Vec<&Path> = Path::new(path).ancestors().skip(1).filter(|path| *path != Path::new("")).collect();
        above.reverse();
        for directory in above {
            let name = format!("{}/", directory.display());
            if self.directories.insert(name.clone()) {
                self.add(&name, EntryType::Directory, 0o755, &[])?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, kind: EntryType, mode: u32, content: &[u8]) -> Result<()> {
        let mut header = header(kind, mode, u64::try_from(content.len())?);
        self.builder.append_data(&mut header, path, content).with_context(|| format!("cannot add {path} to an archive"))
    }

    /// Ends it and hands back where it was written to.
    pub fn end(self) -> Result<W> {
        self.builder.into_inner().context("cannot end an archive")
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}
