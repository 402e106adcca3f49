//! The relay's process: settings, log, signals. What it does is in [`relay::run`].

use std::process::{ExitCode, exit};

use clap::Parser;
use relay::{
    run,
    settings::{Serve, Settings, Task},
    telemetry,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let done = match Settings::parse().task {
        Task::Serve(settings) => serve(*settings),
        Task::Configure(settings) => run::configure(&settings),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(settings: Serve) -> anyhow::Result<()> {
    telemetry::init(&settings.log)?;
    // The first of all connections asks for it; another one that is there does as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tracing::info!(?settings, version = env!("CARGO_PKG_VERSION"), "starting");
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        either(&mut terminate, &mut interrupt).await;
        // Whoever asks twice does not want to wait.
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            exit(130);
        });
    };
    run::run(settings, stop).await
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
