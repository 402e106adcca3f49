//! Somebody who counts. In: a way to a database. Out: that each row that was acknowledged is there in the end, and for how long none was.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::databases::{Session, Visitor, Way};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::database::Database;

/// Time between two rows.
const PERIOD: Duration = Duration::from_millis(200);

/// How long an application waits before it takes a connection for dead.
const IMPATIENCE: Duration = Duration::from_secs(5);

/// How long somebody waits whose database nobody harms. Longer is taken for an outage.
const PATIENCE: Duration = Duration::from_secs(30);

/// What psql says once a row is committed.
const ACKNOWLEDGED: &str = "INSERT 0 1";

/// From where it writes.
#[derive(Clone)]
pub enum Through {
    /// The Service, as applications do: what breaks is opened again.
    Service(Box<Visitor>, Box<Way>),
    /// The pod that takes writes.
    Instance(Database),
}

impl Through {
    async fn open(&self) -> Result<Session> {
        match self {
            Self::Service(visitor, way) => visitor.session(&way.as_ref().clone().impatiently()).await,
            Self::Instance(database) => database.session().await,
        }
    }

    fn patience(&self) -> Duration {
        match self {
            Self::Service(..) => IMPATIENCE,
            Self::Instance(_) => PATIENCE,
        }
    }
}

/// Writes on and on.
pub struct Writer {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Written>,
}

/// What came of it.
struct Written {
    acknowledged: BTreeSet<u32>,
    sessions: usize,
    longest: Duration,
}

impl Writer {
    /// Makes a table, unless another writer has, and writes into it from now on.
    pub async fn begin(through: Through) -> Result<Self> {
        let begun = Instant::now();
        let (session, last) = loop {
            match first(&through).await {
                Ok(first) => break first,
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.context("nothing can be written")),
                // A machine that is busy may lose the input of what it has just started.
                Err(_) => tokio::time::sleep(PERIOD).await,
            }
        };
        let (stop, stopped) = oneshot::channel();
        Ok(Self { stop, task: tokio::spawn(write(through, session, last, stopped)) })
    }

    /// Stops; fails if a row is lost that was acknowledged. Says how many there were, on how many connections, and the longest time between two.
    pub async fn end(self, database: &Database) -> Result<(String, usize)> {
        drop(self.stop);
        let Written { acknowledged, sessions, longest } = self.task.await.context("the writer panicked")?;
        let there = database.sql("SELECT number FROM acknowledged").await?;
        let there: BTreeSet<u32> = there.lines().map(str::parse).collect::<Result<_, _>>()?;
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        ensure!(lost.is_empty(), "{} of {} acknowledged rows are lost: {lost:?}", lost.len(), acknowledged.len());
        ensure!(!acknowledged.is_empty(), "the control fails: nothing was written");
        let told = format!(
            "{} rows acknowledged on {sessions} connections, none lost, the longest pause {:.1} s",
            acknowledged.len(),
            longest.as_secs_f32()
        );
        Ok((told, sessions))
    }
}

/// Connects and makes the table; says also which number was written last.
async fn first(through: &Through) -> Result<(Session, u32)> {
    let mut session = through.open().await?;
    let table = "CREATE TABLE IF NOT EXISTS acknowledged (number bigint PRIMARY KEY)";
    let made = timeout(through.patience(), session.ask(table)).await??;
    ensure!(made.ends_with("CREATE TABLE"), "{made}");
    let last = "SELECT coalesce(max(number), 0) FROM acknowledged";
    let last = timeout(through.patience(), session.ask(last)).await??;
    Ok((session, last.trim().parse().with_context(|| format!("no number: {last}"))?))
}

async fn write(through: Through, first: Session, before: u32, mut stopped: oneshot::Receiver<()>) -> Written {
    let mut written = Written { acknowledged: BTreeSet::new(), sessions: 1, longest: Duration::ZERO };
    let (mut session, mut last) = (Some(first), Instant::now());
    for number in before + 1.. {
        if !matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            break;
        }
        if session.is_none() {
            session = timeout(through.patience(), through.open()).await.ok().and_then(Result::ok);
            written.sessions += usize::from(session.is_some());
        }
        if let Some(mut open) = session.take() {
            let row = format!("INSERT INTO acknowledged VALUES ({number})");
            let answer = timeout(through.patience(), open.ask(&row)).await;
            // Whatever else is answered, and no answer, may be the end of what takes writes.
            if matches!(answer, Ok(Ok(answer)) if answer == ACKNOWLEDGED) {
                written.acknowledged.insert(number);
                written.longest = written.longest.max(last.elapsed());
                last = Instant::now();
                session = Some(open);
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
    // If nothing was written in the end, that is a pause too.
    written.longest = written.longest.max(last.elapsed());
    written
}
