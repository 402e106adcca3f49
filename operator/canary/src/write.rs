//! The writer. In: the database and a period. Out: a row each period, and what came of the last try in a file for [`crate::ready`].

use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use jiff::Timestamp;
use sqlx::Connection as _;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    connection::{Server, Session},
    ready::Kept,
    rows,
};

/// How long PostgreSQL may take for a statement.
const STATEMENT: Duration = Duration::from_secs(10);

/// How long a row may take, from the connection on: longer than its statements may, unless nobody answers any more.
const PATIENCE: Duration = Duration::from_mins(1);

/// How soon to try again after a failure, unless a row is due before.
const RETRY: Duration = Duration::from_secs(10);

/// Flags of the writer.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    kept: Kept,
}

/// Writes until the process ends.
///
/// # Errors
/// If it cannot be noted what came of a try.
pub async fn run(Settings { server, kept }: Settings) -> Result<()> {
    // This container may have ended before, and the pod with its folder is still there.
    let mut state = kept.read().unwrap_or_default();
    let mut told = None;
    loop {
        let begin = Instant::now();
        let tried = write(&server).await.map_err(|error| format!("{error:#}"));
        state.add(tried, Timestamp::now());
        kept.note(&state)?;
        // Whoever reads the log wants to know what changes.
        if told.as_ref() != Some(&state.failure) {
            match &state.failure {
                None => println!("a row is written every {} s", kept.period.as_secs()),
                Some(failure) => eprintln!("no row is written: {failure}"),
            }
            told = Some(state.failure.clone());
        }
        let pause = if state.failure.is_none() { kept.period } else { kept.period.min(RETRY) };
        sleep_until(begin + pause).await;
    }
}

/// Writes one row on a connection of its own: between two rows the primary may have become another, and certificates new ones.
async fn write(server: &Server) -> Result<()> {
    let written = async {
        let mut connection = server.connect(Session::Write(STATEMENT)).await?;
        rows::append(&mut connection).await?;
        // The row is there; how the connection ends does not matter.
        drop(connection.close().await);
        Ok(())
    };
    timeout(PATIENCE, written).await.map_err(|_| anyhow!("not done within {} s", PATIENCE.as_secs()))?
}
