//! The gateway's process: settings, log, signals. What it does is in [`gateway::run`].

use std::process::{ExitCode, exit};

use clap::Parser;
use gateway::{run, settings::Settings, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    match serve(Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(&settings.log)?;
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
