//! Disks of real nodes. In: the node, a name and a size. Out: a directory there that holds so much and no more, and that stays when the node
//! is lost.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Makes disks, for as long as the plane lives.
#[derive(Debug, Clone)]
pub struct Disks {
    /// The process in whose namespace they are mounted, and from there in the nodes'.
    holder: u32,
    /// Where the nodes keep their files.
    nodes: PathBuf,
}

impl Disks {
    pub(super) fn new(holder: u32, nodes: &Path) -> Self {
        Self { holder, nodes: nodes.to_owned() }
    }

    /// Where the node sees the disk.
    pub fn within(disk: &str) -> String {
        format!("/run/node/disks/{disk}")
    }

    /// Makes one that whoever the pod runs as may write. Sizes are quantities in Ki, Mi or Gi.
    pub fn add(&self, node: &str, disk: &str, size: &str) -> Result<()> {
        let directory = self.directory(node, disk);
        if directory.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let options = format!("mode=777,size={}", of_tmpfs(size)?);
        let mounted = self.run(&[&"mount", &"--types=tmpfs", &"--options", &options, &"tmpfs", &directory]);
        // Or it would be taken for the disk when it is asked for again.
        mounted.or_else(|error| self.remove(node, disk).and(Err(error)))
    }

    /// Gives it another size.
    pub fn resize(&self, node: &str, disk: &str, size: &str) -> Result<()> {
        let options = format!("remount,size={}", of_tmpfs(size)?);
        self.run(&[&"mount", &"--options", &options, &self.directory(node, disk)])
    }

    /// Writes into it until it is full.
    pub fn fill(&self, node: &str, disk: &str) -> Result<()> {
        let until_full = r#"dd if=/dev/zero of="$1" bs=1M 2>&1 | grep --quiet "No space left""#;
        self.run(&[&"sh", &"-c", &until_full, &"sh", &self.directory(node, disk).join("filler")])
    }

    /// Removes it with what is on it.
    pub fn remove(&self, node: &str, disk: &str) -> Result<()> {
        let directory = self.directory(node, disk);
        if !directory.exists() {
            return Ok(());
        }
        // Here it is an empty directory; where it is mounted, it ends with that.
        std::fs::remove_dir(&directory).with_context(|| format!("cannot remove {}", directory.display()))
    }

    fn directory(&self, node: &str, disk: &str) -> PathBuf {
        self.nodes.join(node).join("disks").join(disk)
    }

    fn run(&self, command: &[&dyn AsRef<OsStr>]) -> Result<()> {
        let mut entered = Command::new("nsenter");
        entered.arg(format!("--mount=/proc/{}/ns/mnt", self.holder)).arg("--").args(command);
        let output = entered.output().context("nsenter cannot be run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{entered:?} failed: {}", said.trim());
        Ok(())
    }
}

/// A quantity as tmpfs understands it, which counts in powers of two as well.
fn of_tmpfs(size: &str) -> Result<&str> {
    size.strip_suffix('i').with_context(|| format!("a disk cannot be made of {size:?}: give it in Ki, Mi or Gi"))
}
