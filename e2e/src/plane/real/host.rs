//! What the host must have for real nodes. In: the host. Out: nothing, or what it lacks and what to do.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::say;

/// Programs that are not built from source, and the package that has them in Debian and Ubuntu.
const PROGRAMS: [(&str, &str); 9] = [
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("ipset", "ipset"),
    ("conntrack", "conntrack"),
    ("runc", "runc"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    // For the operator's image.
    ("musl-gcc", "musl-tools"),
];

/// Why real nodes cannot be had here; `None` if they can, perhaps after packages were installed.
pub fn why_not() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("real nodes need Linux".to_owned());
    }
    if !is_root() {
        return Some("real nodes need root: run it with sudo, or in a virtual machine".to_owned());
    }
    if !Path::new("/sys/fs/cgroup").is_dir() {
        return Some("real nodes need cgroups in /sys/fs/cgroup".to_owned());
    }
    let missing = missing(&PROGRAMS);
    if !missing.is_empty() && find("apt-get").is_none() {
        let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        return Some(format!("real nodes need programs that this machine lacks: install {}", programs.join(", ")));
    }
    // Tried, not asked for: what a container may do cannot be read anywhere.
    let apart = ["--net", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"];
    match output_of(Command::new("unshare").args(apart)) {
        Ok(()) => None,
        Err(error) => {
            Some(format!("real nodes need namespaces and mounts of their own, which root may not have here: {error:#}"))
        }
    }
}

/// Installs what is missing, after saying so.
pub(super) fn complete() -> Result<()> {
    if let Some(reason) = why_not() {
        bail!("{reason}");
    }
    provide(&PROGRAMS)
}

/// Installs what is missing of these programs or files, each with the package that has it, after saying so.
pub(crate) fn provide(needs: &[(&'static str, &'static str)]) -> Result<()> {
    let missing = || missing(needs);
    let mut packages: Vec<_> = missing().into_iter().map(|(_, package)| package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let packages_in_words = packages.join(", ");
    ensure!(find("apt-get").is_some(), "this machine lacks what is in these packages of Debian: {packages_in_words}");
    say(&format!("installing packages that real nodes need: {packages_in_words}"));
    let mut install = Command::new("apt-get");
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&packages);
    if output_of(&mut install).is_err() {
        // The list of packages may be missing or old.
        output_of(Command::new("apt-get").arg("update"))?;
        output_of(&mut install).with_context(|| format!("cannot install {packages_in_words}"))?;
    }
    let still: Vec<_> = missing().into_iter().map(|(program, _)| program).collect();
    ensure!(still.is_empty(), "these are missing though their packages were installed: {}", still.join(", "));
    Ok(())
}

fn missing(needs: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    needs.iter().copied().filter(|(need, _)| find(need).is_none()).collect()
}

/// The path of a program, looked for where administrators' programs are too; or of a file whose path is known.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn output_of(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
