//! The files of a cluster by hand, in `target/cluster`. In: nothing. Out: where things are, and whether a cluster is up.
//!
//! The keeper holds a lock for as long as it lives; the kernel gives it back however it dies. So a process id is only
//! trusted while the lock is held, and cannot be that of a stranger.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The directory of the cluster.
pub(crate) struct Folder {
    directory: PathBuf,
}

impl Folder {
    /// Makes the directory if it is missing.
    pub(crate) fn open() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in no checkout")?;
        let directory = root.join("target").join("cluster");
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// For the administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// For an operator of one's own build: the rights are those of the chart.
    pub(crate) fn operator_kubeconfig(&self) -> PathBuf {
        self.directory.join("operator.kubeconfig")
    }

    /// What the keeper says.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn keeper_file(&self) -> PathBuf {
        self.directory.join("keeper")
    }

    fn up_file(&self) -> PathBuf {
        self.directory.join("up")
    }

    /// Becomes the keeper, for as long as the returned file is open.
    pub(crate) fn become_keeper(&self) -> Result<File> {
        let lock = self.lock_file()?;
        if lock.try_lock().is_err() {
            bail!("another cluster is up: end it with `make cluster-down` first");
        }
        std::fs::write(self.keeper_file(), std::process::id().to_string())?;
        Ok(lock)
    }

    /// Tells that the cluster is up.
    pub(crate) fn declare_up(&self) -> Result<()> {
        std::fs::write(self.up_file(), "").context("cannot write that the cluster is up")
    }

    /// Whether the keeper has said that the cluster is up.
    pub(crate) fn is_up(&self) -> bool {
        self.up_file().exists()
    }

    /// Whether a keeper is alive.
    pub(crate) fn is_kept(&self) -> Result<bool> {
        Ok(self.lock_file()?.try_lock().is_err())
    }

    /// The keeper's process id; to be trusted only while [`Folder::is_kept`].
    pub(crate) fn keeper(&self) -> Result<u32> {
        let text = std::fs::read_to_string(self.keeper_file()).context("the keeper has not written its process id")?;
        text.trim().parse().context("the keeper's process id is no number")
    }

    /// Asks the keeper to end the cluster.
    pub(crate) fn stop_keeper(process: u32) -> Result<()> {
        let script = "kill -s TERM \"$1\"";
        let status = Command::new("/bin/sh").args(["-c", script, "kill", &process.to_string()]).status()?;
        if !status.success() {
            bail!("the keeper (process {process}) cannot be asked to stop");
        }
        Ok(())
    }

    /// Removes what a cluster that is gone has left.
    pub(crate) fn clear(&self) -> Result<()> {
        self.clear_but_log()?;
        remove(&self.log())
    }

    /// The same, but leaves the log of a failed start to be read.
    pub(crate) fn clear_but_log(&self) -> Result<()> {
        for file in [self.kubeconfig(), self.operator_kubeconfig(), self.keeper_file(), self.up_file()] {
            remove(&file)?;
        }
        Ok(())
    }

    fn lock_file(&self) -> Result<File> {
        let path = self.directory.join("lock");
        File::create(&path).with_context(|| format!("cannot create {}", path.display()))
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
