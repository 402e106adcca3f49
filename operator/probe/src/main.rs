//! The program of the probe's pods.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use probe::{State, Surroundings, control, isolated};

const EXAMPLE: &str = "\
Example, in an isolated pod of the chart:
  kubectl -n steading-system exec daemonset/steading-probe-default -- \\
    /probe verdict";

/// Shows whether the network of a node does what NetworkPolicies say. Its pods
/// are part of the chart
#[derive(Debug, Parser)]
#[command(name = "probe", version, after_help = EXAMPLE, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Try what policies forbid, from a pod that they shut off
    Isolated(isolated::Settings),
    /// Try the same from a pod that they do not, for those who ask
    Control(Surroundings),
    /// Print the last verdict; fails unless nothing passes
    Verdict(isolated::Kept),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().role).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(role: Role) -> anyhow::Result<ExitCode> {
    match role {
        Role::Isolated(settings) => stopped(isolated::run(settings)).await,
        Role::Control(surroundings) => stopped(control::run(surroundings)).await,
        Role::Verdict(kept) => {
            let verdict = kept.verdict()?;
            println!("{verdict}");
            Ok(if verdict.state() == State::Holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Runs until the kubelet asks to end: as process 1 of a container a program ends on a signal only if it listens for it.
async fn stopped(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(ExitCode::SUCCESS),
        ended = work => ended.map(|()| ExitCode::SUCCESS),
    }
}
