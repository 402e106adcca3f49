//! The drill. In: a database that was restored from backups. Out: whether it is whole, how new it is, and how much there is of it.
//!
//! Its role must be able to read everything, and can write nothing: each of its transactions is read-only.

use std::{cell::Cell, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use sqlx::{PgConnection, query_scalar};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Outcome,
    connection::{During as _, Server, Session},
    outcome::Restored,
    rows, seconds, tables,
};

/// How long a server that was just restored may take to let the role in.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long to wait before the next try.
const PAUSE: Duration = Duration::from_secs(2);

/// Without them a page that is damaged is taken for one that is not.
const CHECKSUMS: &str = "SELECT pg_catalog.current_setting('data_checksums')";

const SIZE: &str = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())";

/// Flags of the drill.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    server: Server,
    /// How long the drill may take, in seconds, such as 10800s
    #[arg(long, env = "STEADING_CANARY_DEADLINE", value_name = "SECONDS", value_parser = seconds)]
    deadline: Duration,
    /// File into which the result is written
    #[arg(long, env = "STEADING_CANARY_RESULT", value_name = "FILE", default_value = "/dev/termination-log")]
    pub result: PathBuf,
}

/// Drills once.
pub async fn run(settings: &Settings) -> Outcome {
    let stage = Cell::new("connecting");
    match timeout(settings.deadline, drill(settings, &stage)).await {
        Ok(Ok(restored)) => Outcome::Whole(restored),
        Ok(Err(error)) => Outcome::failed(&format!("{error:#}")),
        Err(_) => {
            let (seconds, stage) = (settings.deadline.as_secs(), stage.get());
            Outcome::failed(&format!("the drill was not done within {seconds} s; it was {stage} then"))
        }
    }
}

async fn drill(Settings { server, deadline, .. }: &Settings, stage: &Cell<&str>) -> Result<Restored> {
    let session = Session::Read(*deadline);
    let mut connection = patiently(server, session).await?;
    stage.set("reading the canary's rows");
    let checksums: String =
        query_scalar(CHECKSUMS).fetch_one(&mut connection).await.during("cannot ask for data_checksums")?;
    ensure!(checksums == "on", "data_checksums is not on, so that damage of the database's files would not show");
    let chain = rows::check(&mut connection).await?;
    let size: i64 = query_scalar(SIZE).fetch_one(&mut connection).await.during("cannot ask for the database's size")?;
    stage.set("reading the tables");
    let tables = tables::read(connection, server, session).await?;
    Ok(Restored {
        newest_row: chain.newest,
        rows: chain.rows,
        size: u64::try_from(size).unwrap_or_default(),
        tables: tables.read,
        unread: tables.unread,
    })
}

/// Connects, and tries again for a while: that a server is there does not mean that it knows the role yet.
async fn patiently(server: &Server, session: Session) -> Result<PgConnection> {
    let end = Instant::now() + PATIENCE;
    loop {
        match server.connect(session).await {
            Err(_) if Instant::now() + PAUSE < end => sleep(PAUSE).await,
            connected => return connected,
        }
    }
}
