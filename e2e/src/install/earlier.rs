//! The version before this one. In: the commit before the one that is checked out. Out: its chart, and its operator built.
//!
//! It lies in the cache beside what else is built: one folder whose content changes with the commit, so that only what differs between
//! two commits is built anew.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::components::{attend, cache_root};
use crate::nursery::Nursery;

/// The commit before this one, built.
#[derive(Debug)]
pub struct Earlier {
    folder: PathBuf,
    /// Its commit, in short.
    pub commit: String,
    // Nobody else may put another commit there meanwhile.
    _lock: File,
}

impl Earlier {
    /// Builds it; `None` if there is no commit before this one, as in a shallow clone.
    pub async fn build() -> Result<Option<Self>> {
        tokio::task::spawn_blocking(build).await.context("building the earlier version ended early")?
    }

    /// Its chart.
    pub fn chart(&self) -> PathBuf {
        self.source().join("charts").join("steading")
    }

    /// Its operator.
    pub fn program(&self) -> PathBuf {
        self.folder.join("target").join("debug").join("operator")
    }

    fn source(&self) -> PathBuf {
        self.folder.join("source")
    }
}

fn build() -> Result<Option<Earlier>> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in no checkout")?;
    let asked = Command::new("git").args(["rev-parse", "--short", "--verify", "HEAD~1"]).current_dir(checkout).output();
    let Some(answer) = asked.ok().filter(|it| it.status.success()) else { return Ok(None) };
    let commit = String::from_utf8(answer.stdout)?.trim().to_owned();
    let folder = cache_root()?.join("earlier");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock().context("cannot lock the earlier version")?;
    let earlier = Earlier { folder, commit, _lock: lock };
    check_out(checkout, &earlier)?;
    compile(&earlier)?;
    Ok(Some(earlier))
}

/// Puts the commit into the folder, unless it is there. Its files are new whatever their commit's time: Cargo goes by that.
fn check_out(checkout: &Path, earlier: &Earlier) -> Result<()> {
    let (source, note) = (earlier.source(), earlier.folder.join("commit"));
    if source.is_dir() && std::fs::read_to_string(&note).is_ok_and(|there| there == earlier.commit) {
        return Ok(());
    }
    let script = r#"rm -rf "$3" "$2" && mkdir "$2" && git archive "$1" >"$2.tar" && tar -x -m -f "$2.tar" -C "$2" && rm "$2.tar""#;
    let output = Command::new("/bin/sh")
        .args(["-euc", script, "sh", &earlier.commit])
        .args([&source, &note])
        .current_dir(checkout)
        .output()?;
    ensure!(
        output.status.success(),
        "cannot check out {}: {}",
        earlier.commit,
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::write(&note, &earlier.commit).with_context(|| format!("cannot write {}", note.display()))
}

fn compile(earlier: &Earlier) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--locked", "--quiet", "--package", "operator", "--bin", "operator"])
        .current_dir(earlier.source())
        .env("CARGO_TARGET_DIR", earlier.folder.join("target"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    let mut nursery = Nursery::new("build")?;
    let process = nursery.spawn("cargo", &mut command).context("cannot build the operator: is Rust installed?")?;
    let what = format!("building the operator of {} (about 5 min on 2 cores the first time)", earlier.commit);
    let status = attend(process, &what)?;
    ensure!(
        status.success(),
        "the operator of {} could not be built ({status})\n{}",
        earlier.commit,
        process.last_lines()
    );
    Ok(())
}
