//! Gets the packages of a lock. In: the lock and a store. Out: what the lock says in the store, with those bytes and no others; or which
//! packages could not be had, and why.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::resolve::ARCHIVE;
use super::store::Store;
use super::{Lock, Package};

/// apt's downloader, which can be told the checksum and obeys the proxy that this machine has for apt.
const HELPER: &str = "/usr/lib/apt/apt-helper";
/// Every state of the archive that there ever was. Asked for what the archive itself no longer has.
const SNAPSHOTS: &str = "http://snapshot.debian.org/archive";
/// So many at once, because each start of the helper costs as much as a small package.
const AT_ONCE: usize = 50;

/// What could not be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// These packages.
    pub packages: Vec<Package>,
    /// What the downloader said when it asked the archive.
    pub said: String,
}

/// Gets each package that the store does not have. What is not what the lock says is not kept, wherever it came from.
///
/// # Errors
/// If the store cannot be written, or the downloader not be started. That a package cannot be had is no error here.
pub fn fetch(lock: &Lock, store: &Store, say: impl Fn(&str)) -> Result<Missing> {
    fetch_by(lock, store, say, download)
}

/// A package and the address to get it from.
pub(super) type Wanted<'a> = (&'a Package, String);

/// The same by this downloader: it puts what it gets into a folder, called as [`Package::file`] says, and returns what went wrong.
pub(super) fn fetch_by(
    lock: &Lock,
    store: &Store,
    say: impl Fn(&str),
    download: impl Fn(&[Wanted<'_>], &Path) -> Result<String>,
) -> Result<Missing> {
    let lacking = store.lacks(&lock.packages, &say)?;
    if lacking.is_empty() {
        return Ok(Missing::default());
    }
    let downloads = store.downloads()?;
    // Somebody else may have got them meanwhile.
    let mut lacking = store.lacks(lacking, &say)?;
    say(&format!("getting {} packages of Debian {}", lacking.len(), lock.release));
    let get = |packages: &[&Package], address: &dyn Fn(&Package) -> String| -> Result<String> {
        let wanted: Vec<_> = packages.iter().map(|package| (*package, address(package))).collect();
        let said = download(&wanted, &downloads.folder)?;
        for package in packages {
            store.keep(package, &downloads.folder.join(package.file()))?;
        }
        Ok(said)
    };
    let mut said = String::new();
    for some in lacking.chunks(AT_ONCE) {
        said += &get(some, &|package| format!("{ARCHIVE}/{}", package.path))?;
    }
    lacking = store.lacks(lacking, &say)?;
    // Where the first cannot be had, the snapshots cannot be reached: each further one would only wait as long again.
    if let Some((first, others)) = lacking.split_first() {
        let earlier = |package: &Package| earlier(lock, package);
        get(&[first], &earlier)?;
        if store.path(first).exists() {
            others.chunks(AT_ONCE).try_for_each(|some| get(some, &earlier).map(drop))?;
        }
        lacking = store.lacks(lacking, &say)?;
    }
    Ok(Missing { packages: lacking.into_iter().cloned().collect(), said: said.trim_end().to_owned() })
}

/// Where a package lay when the lock was made.
fn earlier(lock: &Lock, package: &Package) -> String {
    let (archive, path) = package.path.split_once('/').unwrap_or(("debian", &package.path));
    format!("{SNAPSHOTS}/{archive}/{}/{path}", lock.seen)
}

fn download(wanted: &[Wanted<'_>], folder: &Path) -> Result<String> {
    let mut command = Command::new(HELPER);
    command.args(["-qq", "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=3", "download-file"]).env("LC_ALL", "C");
    for (package, address) in wanted {
        command.arg(address).arg(folder.join(package.file())).arg(format!("SHA256:{}", package.sha256));
    }
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {HELPER}: install the package apt"))?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
