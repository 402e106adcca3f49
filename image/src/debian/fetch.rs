//! Gets the packages of a lock. In: the lock and a folder. Out: the files in it, each with the bytes that the lock says and no others.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::resolve::{ARCHIVE, output};
use super::{Lock, Package};

/// apt's downloader, which can be told the checksum and obeys the proxy that this machine has for apt.
const HELPER: &str = "/usr/lib/apt/apt-helper";
/// Every state of the archive that there ever was. Asked for what the archive itself no longer has.
const SNAPSHOTS: &str = "http://snapshot.debian.org/archive";

/// Gets each package that is not in the folder, and refuses one that is not what the lock says, wherever it came from.
///
/// # Errors
/// If a package cannot be had any more, or has other bytes.
pub fn fetch(lock: &Lock, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let missing: Vec<_> = lock.packages.iter().filter(|package| !folder.join(package.file()).exists()).collect();
    // Many at once, because each start of the helper costs as much as a small package.
    for some in missing.chunks(50) {
        let now = |package: &Package| format!("{ARCHIVE}/{}", package.path);
        if download(some, folder, now).is_err() {
            let left: Vec<_> = some.iter().copied().filter(|package| !folder.join(package.file()).exists()).collect();
            download(&left, folder, |package| earlier(lock, package)).with_context(|| gone(&left))?;
        }
    }
    lock.packages.iter().try_for_each(|package| check(package, folder))
}

/// Where a package lay when the lock was made.
fn earlier(lock: &Lock, package: &Package) -> String {
    let (archive, path) = package.path.split_once('/').unwrap_or(("debian", &package.path));
    format!("{SNAPSHOTS}/{archive}/{}/{path}", lock.seen)
}

fn gone(packages: &[&Package]) -> String {
    let names: Vec<_> = packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    format!(
        "Debian's archive has not all of {}, and the snapshots of it cannot be had either; if newer ones have replaced them, write the \
         lock anew",
        names.join(", ")
    )
}

fn download(packages: &[&Package], folder: &Path, address: impl Fn(&Package) -> String) -> Result<()> {
    let mut command = Command::new(HELPER);
    command.args(["-qq", "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=3", "download-file"]);
    for package in packages {
        command.arg(address(package)).arg(folder.join(package.file())).arg(format!("SHA256:{}", package.sha256));
    }
    output(&mut command).map(drop)
}

/// Refuses a file that is not the package, and removes it so that it is got anew.
fn check(package: &Package, folder: &Path) -> Result<()> {
    let path = folder.join(package.file());
    let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (size, sha256) = (u64::try_from(content.len())?, crate::hex(&content));
    if (size, &sha256) != (package.size, &package.sha256) {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    ensure!(
        (size, &sha256) == (package.size, &package.sha256),
        "{} {} is not what the lock says: {size} bytes with SHA-256 {sha256} instead of {} with {}; it was removed. Try again; if it stays \
         so, somebody changes what you download",
        package.name,
        package.version,
        package.size,
        package.sha256
    );
    Ok(())
}
