//! The first process of a container. In: the same program with the same arguments, as its child. Out: its exit code; meanwhile whatever
//! programs leave behind is buried, which nobody else does in a container.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};

/// Whether this is the first process.
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Runs the program once more, and ends as it ends.
///
/// # Errors
/// If it cannot be started.
pub async fn run() -> Result<ExitCode> {
    let (mut ended, mut terminate) = (signal(SignalKind::child())?, signal(SignalKind::terminate())?);
    let mut program = Command::new(std::env::current_exe().context("cannot tell where this program is")?);
    let child = program.args(std::env::args_os().skip(1)).spawn().context("cannot start the program once more")?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the process has no number")?;
    loop {
        tokio::select! {
            // The child ends its parts, and then this one ends.
            _ = terminate.recv() => kill_process(child, Signal::TERM).context("cannot pass on that it is to end")?,
            _ = ended.recv() => if let Some(code) = bury(child) { return Ok(code) },
        }
    }
}

/// Takes all that ended, and says how this one did.
fn bury(child: Pid) -> Option<ExitCode> {
    while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
        if ended == child {
            return Some(code(status));
        }
    }
    None
}

fn code(status: WaitStatus) -> ExitCode {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
