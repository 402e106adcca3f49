//! The program of a desktop: starts it, stays with it, and does what drivers ask for.

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use agent::desktop::Desktop;
use agent::local::{self, Local};
use agent::serve::Server;
use agent::settings::Settings;
use agent::{init, supervise};
use agent_protocol::{ANSWER_BYTES, Answer, Id, Nothing, Outcome, Request, State, Verb};
use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLE: &str = "\
Example, in the image of desktops:
  steading-agent run https://example.com/
  steading-agent ready";

/// Drives the desktop that it runs in.
/// Starts it, says when it can be used, and does what is asked at its socket
#[derive(Debug, Parser)]
#[command(name = "steading-agent", version, after_help = EXAMPLE, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Start the desktop, and stay until a part of it ends
    Run(Settings),
    /// Succeed if the desktop can be used; prints what it waits for
    Ready {
        /// The socket at which requests are taken
        #[arg(long, env = "AGENT_SOCKET", default_value = "/run/agent/user/agent")]
        socket: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Run(settings) => run(&settings),
        Task::Ready { socket } => ready(&socket),
    };
    done.unwrap_or_else(|error| {
        eprintln!("desktop: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(settings: &Settings) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if init::is_first() {
        return runtime.block_on(init::run());
    }
    let done = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(ExitCode::SUCCESS),
            failed = stay(settings) => failed.map(|never| match never {}),
        }
    });
    // A thread may still wait for an X server that hangs; it is not waited for.
    runtime.shutdown_background();
    done
}

async fn stay(settings: &Settings) -> Result<Infallible> {
    let desktop = Arc::new(Desktop::new(settings.size.0, &settings.bus));
    agent::parts::folders(settings)?;
    let local = Local::listen(&settings.socket())?;
    let serve = Server::new(Arc::clone(&desktop)).serve(local);
    tokio::select! {
        failed = supervise::run(settings, &desktop) => failed,
        () = serve => bail!("nothing brings requests any more"),
    }
}

fn ready(socket: &std::path::Path) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = Request::new(Id::try_from("ready")?, Verb::Status(Nothing {}));
    let answered = runtime.block_on(async {
        let what = || format!("nobody takes requests at {}: the desktop does not run", socket.display());
        let mut stream = UnixStream::connect(socket).await.with_context(what)?;
        local::send(&mut stream, &asked.write()?).await?;
        local::receive(&mut stream, ANSWER_BYTES).await?.context("the agent ended without an answer")
    })?;
    let (answer, _) = Answer::read(&answered)?;
    let Outcome::Status(status) = answer.outcome else { bail!("the agent answers something else") };
    println!("{}", status.detail.as_str());
    Ok(if status.state == State::Ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
