//! Which packages of Debian an image is made of. In: the text of a lock file. Out: each package with version, size, checksum and where the
//! archive has it; or why the text is no such lock.
//!
//! A lock is made by [`resolve`], checked in, and read ever after: what the archive changes is then seen in a review, and not in a digest
//! that nobody expected. Packages are got by [`fetch`], which takes nothing but what the lock says, and kept in a [`store`]; [`gone`] judges
//! why some cannot be had.

pub mod fetch;
pub mod gone;
pub mod resolve;
pub mod store;

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};

/// One package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name, such as `dash`.
    pub name: String,
    /// Its version, such as `0.5.12-12`.
    pub version: String,
    /// For which processor: `amd64`, or `all`.
    pub architecture: String,
    /// How many bytes it has.
    pub size: u64,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
    /// Where it lies, from the archive's name on: `debian/pool/main/d/dash/dash_0.5.12-12_amd64.deb`.
    pub path: String,
}

impl Package {
    /// What its file is called.
    pub fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// All packages of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// SHA-256 of the request that it answers, in hexadecimal digits.
    pub request: String,
    /// The release of Debian, such as `trixie`.
    pub release: String,
    /// When the archive was asked, in UTC, as snapshots of the archive are named: `20261123T155500Z`.
    pub seen: String,
    /// The packages, by name.
    pub packages: Vec<Package>,
}

/// The lines that every lock begins with.
const HEAD: &str = "# Written by a command and not by hand: see the request beside it.\n\
                    # package NAME VERSION ARCHITECTURE BYTES SHA256 WHERE\n";

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    /// If a line is not understood, something is missing or is there twice, or a path or name could lead out of a folder.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut request, mut release, mut seen, mut packages) = (None, None, None, Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<_> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [comment, ..] if comment.starts_with('#') => {}
                ["request", value] => request = Some((*value).to_owned()),
                ["release", value] => release = Some((*value).to_owned()),
                ["seen", value] => seen = Some((*value).to_owned()),
                ["package", words @ ..] => {
                    packages.push(package(words).with_context(|| format!("line {number} of the lock"))?);
                }
                [other, ..] => {
                    bail!("line {number} of the lock begins with {other:?}, which is not known; write the lock anew")
                }
            }
        }
        let missing = |what: &'static str| move || format!("the lock has no line `{what}`; write it anew");
        let lock = Self {
            request: request.with_context(missing("request"))?,
            release: release.with_context(missing("release"))?,
            seen: seen.with_context(missing("seen"))?,
            packages,
        };
        let mut names = BTreeSet::new();
        for package in &lock.packages {
            ensure!(names.insert(&package.name), "the lock has {} twice; write it anew", package.name);
        }
        Ok(lock)
    }

    /// Refuses a lock that was made for another request than this.
    ///
    /// # Errors
    /// If it was.
    pub fn answers(&self, request: &str) -> Result<()> {
        let asked = crate::hex(request.as_bytes());
        ensure!(
            self.request == asked,
            "the lock was made for another list of packages than there is now; write it anew"
        );
        Ok(())
    }

    /// What is different in `newer`, a line for each package; nothing if it holds the same packages.
    pub fn differences(&self, newer: &Self) -> Vec<String> {
        let find = |lock: &Self, name: &str| lock.packages.iter().find(|package| package.name == name).cloned();
        let names: BTreeSet<_> = self.packages.iter().chain(&newer.packages).map(|package| &package.name).collect();
        let told = names.into_iter().filter_map(|name| match (find(self, name), find(newer, name)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) if old.version == new.version => {
                Some(format!("{name} {}: other bytes", new.version))
            }
            (Some(old), Some(new)) => Some(format!("{name} {} -> {}", old.version, new.version)),
            (Some(old), None) => Some(format!("{name} {} is no longer needed", old.version)),
            (None, Some(new)) => Some(format!("{name} {} is new", new.version)),
            (None, None) => None,
        });
        told.collect()
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{HEAD}request {}\nrelease {}\nseen {}\n", self.request, self.release, self.seen)?;
        for Package { name, version, architecture, size, sha256, path } in &self.packages {
            writeln!(out, "package {name} {version} {architecture} {size} {sha256} {path}")?;
        }
        Ok(())
    }
}

fn package(words: &[&str]) -> Result<Package> {
    let [name, version, architecture, size, sha256, path] = words else {
        bail!("a package is described by six words, not {}; write the lock anew", words.len());
    };
    let hexadecimal = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ensure!(hexadecimal, "{name}: {sha256:?} is no SHA-256; write the lock anew");
    // It becomes part of an address and of the path of a file.
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.+-~%:".contains(&byte);
    let within = path.split('/').all(|part| !part.is_empty() && !part.starts_with('.')) && path.bytes().all(known);
    ensure!(
        within && path.strip_suffix(".deb").is_some(),
        "{name}: {path:?} is no path in an archive of Debian; write the lock anew"
    );
    Ok(Package {
        name: (*name).to_owned(),
        version: (*version).to_owned(),
        architecture: (*architecture).to_owned(),
        size: size.parse().with_context(|| format!("{name}: {size:?} is no number of bytes; write the lock anew"))?,
        sha256: (*sha256).to_owned(),
        path: (*path).to_owned(),
    })
}

#[cfg(test)]
mod tests;
