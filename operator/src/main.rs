//! The operator's process: settings, log, signals. What it does is in [`operator::run`].

use std::process::{ExitCode, exit};

use operator::{Config, run, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    // Before anything can use TLS: with several libraries in the program none of them may choose a provider by itself.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: another TLS provider is already installed");
        return ExitCode::FAILURE;
    }
    let config = Config::parse();
    match operate(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn operate(config: Config) -> anyhow::Result<()> {
    telemetry::init(&config.log)?;
    tracing::info!(?config, version = env!("CARGO_PKG_VERSION"), "starting");
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        either(&mut terminate, &mut interrupt).await;
        // Whoever asks twice does not want to wait.
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            exit(130);
        });
    };
    run(config, stop).await
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
