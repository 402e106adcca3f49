//! The program of the canary, and of the drill that shows what comes back from backups.

use std::process::ExitCode;

use anyhow::Result;
use canary::{Outcome, drill, environment, ready, write};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

const EXAMPLE: &str = "\
Example, for the database of a stack:
  kubectl -n <namespace of the stack> exec deployment/database-canary -- \\
    /canary ready";

/// Shows whether what is written into a database comes back from its backups.
/// The operator runs it in each stack that has a database
#[derive(Debug, Parser)]
#[command(name = "canary", version, after_help = EXAMPLE, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write a row each period, until it is asked to end
    Write(write::Settings),
    /// Print how old the newest row is; fails if it is too old
    Ready(ready::Kept),
    /// Check a database that was restored; prints the result as JSON
    Drill(drill::Settings),
}

fn main() -> ExitCode {
    let Arguments { task } = Arguments::parse();
    let done = match task {
        Task::Ready(kept) => kept.judge().map(|judged| {
            println!("{judged}");
            ExitCode::SUCCESS
        }),
        task => environment::seal().and_then(|()| connected(task)),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// As process 1 of a container a program ends on a signal only if it listens for it.
#[tokio::main(flavor = "current_thread")]
async fn connected(task: Task) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    match task {
        Task::Write(settings) => tokio::select! {
            _ = terminate.recv() => Ok(ExitCode::SUCCESS),
            ended = write::run(settings) => ended.map(|()| ExitCode::SUCCESS),
        },
        Task::Ready(kept) => kept.judge().map(|_| ExitCode::SUCCESS),
        Task::Drill(settings) => drill(&settings, terminate).await,
    }
}

async fn drill(settings: &drill::Settings, mut terminate: Signal) -> Result<ExitCode> {
    let outcome = tokio::select! {
        _ = terminate.recv() => Outcome::failed("the drill was asked to end before it was done"),
        outcome = drill::run(settings) => outcome,
    };
    outcome.tell(&settings.result)?;
    Ok(if matches!(outcome, Outcome::Whole(_)) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
