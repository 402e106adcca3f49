//! The packages of a layer. In: a lock and a store. Out: the files of its packages; or why they cannot be had, with what Debian's archive
//! has instead.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use image::debian::Lock;
use image::debian::fetch::{Missing, fetch};
use image::debian::gone::{Gone, judge};
use image::debian::store::Store;

/// What Debian's archive has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// The packages that the request comes to.
    pub lock: Lock,
    /// What the request leaves out though nothing depends on it any more.
    pub idle: Vec<String>,
}

/// Packages of a lock cannot be had, because Debian has replaced them since. Nothing is broken, but this lock cannot be built here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// A line for each of them, such as `dash 1 -> 2`.
    pub packages: Vec<String>,
    /// What can be had instead.
    pub now: Now,
    /// Where they would be if somebody had built this lock here before.
    pub store: PathBuf,
}

impl fmt::Display for Replaced {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.packages.len();
        writeln!(
            out,
            "Debian has replaced {count} of the packages in the lock, and {} has them neither:",
            self.store.display()
        )?;
        for line in &self.packages {
            writeln!(out, "  {line}")?;
        }
        write!(
            out,
            "Next: run `make agent-image-lock`, which chooses packages anew; or copy that folder from where this lock was built before"
        )
    }
}

impl std::error::Error for Replaced {}

/// The files of all packages of the lock.
pub(crate) fn get(
    lock: &Lock,
    store: &Store,
    say: impl Fn(&str),
    ask: impl FnOnce() -> Result<Now>,
) -> Result<Vec<PathBuf>> {
    let missing = fetch(lock, store, say)?;
    if missing.packages.is_empty() {
        return Ok(lock.packages.iter().map(|package| store.path(package)).collect());
    }
    Err(why(&missing, store.folder(), ask)?)
}

/// What to say of packages that are missing: [`Replaced`], or that something is wrong. By what the archive has now.
fn why(missing: &Missing, store: &Path, ask: impl FnOnce() -> Result<Now>) -> Result<anyhow::Error> {
    let Missing { packages, said } = missing;
    let names: Vec<_> = packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    let names = names.join(", ");
    let now = ask().with_context(|| {
        format!("cannot get {names}, nor learn what Debian's archive has instead: can this machine reach it?\n{said}")
    })?;
    match judge(packages, &now.lock) {
        Gone::Replaced(packages) => Ok(Replaced { packages, now, store: store.to_owned() }.into()),
        Gone::Withheld(packages) => bail!(
            "Debian's archive says that it has these, but they could not be had with the bytes of the lock: {}. Try again; if it stays so, \
             look what lies between this machine and the archive\n{said}",
            packages.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use anyhow::anyhow;

    use super::*;

    fn now() -> Result<Now> {
        crate::lock().map(|lock| Now { lock, idle: Vec::new() })
    }

    fn missing(change: impl Fn(&mut image::debian::Package)) -> Missing {
        let mut packages = now().unwrap().lock.packages;
        packages.truncate(2);
        packages.iter_mut().for_each(change);
        Missing { packages, said: "404  Not Found".to_owned() }
    }

    #[test]
    fn packages_that_debian_replaced_are_named_with_what_it_has_now_and_the_next_step() {
        let error = why(&missing(|it| it.version = "0".to_owned()), Path::new("/cache/packages"), now).unwrap();
        let text = error.to_string();
        for package in &now().unwrap().lock.packages[..2] {
            assert!(text.contains(&format!("\n  {} 0 -> {}\n", package.name, package.version)), "{text}");
        }
        assert!(
            text.contains("Debian has replaced 2 of") && text.contains("/cache/packages has them neither"),
            "{text}"
        );
        assert!(text.contains("Next: run `make agent-image-lock`"), "{text}");
        assert_eq!(error.downcast::<Replaced>().unwrap().now, now().unwrap());
    }

    #[test]
    fn packages_that_debian_still_has_are_not_called_replaced() {
        let error = why(&missing(|_| {}), Path::new("/cache/packages"), now).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("could not be had") && text.ends_with("404  Not Found"), "{text}");
        assert!(error.downcast::<Replaced>().is_err());
    }

    #[test]
    fn nothing_is_called_replaced_if_the_archive_cannot_be_asked() {
        let unreachable = || Err(anyhow!("no network"));
        let error =
            why(&missing(|it| it.version = "0".to_owned()), Path::new("/cache/packages"), unreachable).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("can this machine reach it?") && text.ends_with("no network"), "{text}");
        assert!(error.downcast::<Replaced>().is_err());
    }
}
