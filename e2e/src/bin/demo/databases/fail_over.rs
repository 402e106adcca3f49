//! A primary that dies. In: a database of two instances, and somebody who writes all the time. Out: which of the rows whose writing was
//! acknowledged are there afterwards.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use e2e::databases::{ROWS, Visitor, Way};
use e2e::wait::until;
use kube::Client;
use tokio::time::{sleep, timeout};

use super::applications::way;
use super::{Customer, PATIENCE};
use crate::show::{Show, seconds};

/// So many rows are acknowledged before it happens, and so many after it.
const ROWS_BEFORE: usize = 500;
const ROWS_AFTER: usize = 100;

/// Longest wait for the answer to a row, and the time after which a lost connection is tried again.
const ANSWER: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// The rows that were acknowledged, and when.
type Acknowledged = RefCell<Vec<(u64, Instant)>>;

/// Kills the primary under load, and compares what was acknowledged with what is there.
pub(super) async fn nothing_is_lost(show: &Show, client: &Client, acme: &Customer, visitor: &Visitor) -> Result<()> {
    show.step("fail-over", "Fail-over: the primary dies while applications write");
    let to_acme = way(acme).impatiently();
    let statement = "SET ROLE app; CREATE TABLE receipts (number bigint PRIMARY KEY)";
    visitor.sql(&to_acme, statement).await.context("no table can be made")?;
    let acknowledged = Acknowledged::default();
    let lost = tokio::select! {
        outcome = primary_is_lost(show, client, acme, &acknowledged) => outcome?,
        never = write(visitor, &to_acme, &acknowledged) => match never {},
    };
    let found = acme.database.sql("SELECT number FROM receipts").await?;
    let kept: BTreeSet<u64> = found.lines().filter_map(|line| line.parse().ok()).collect();
    let all = acknowledged.into_inner();
    let missing = |rows: &[(u64, Instant)]| rows.iter().filter(|(number, _)| !kept.contains(number)).count();
    let (before, after) = all.split_at(lost.rows);
    let table = [
        ["RECEIPTS ACKNOWLEDGED", "ROWS", "THERE NOW", "LOST"].map(str::to_owned).to_vec(),
        row("before the primary died", before, missing(before)),
        row("since then", after, missing(after)),
    ];
    show.table(&table);
    show.check("no row is lost whose writing was acknowledged", !all.is_empty() && missing(&all) == 0);
    let invoices: u64 = acme.database.sql(ROWS).await?.parse().context("the number of invoices is no number")?;
    show.check(
        &format!("nor of the application, which had printed {} invoices before: {invoices} are there", lost.invoices),
        invoices >= lost.invoices,
    );
    let primary = acme.database.primary().await?;
    show.check(&format!("{primary} writes instead of {}", lost.primary), primary != lost.primary);
    show.say(&format!("Nothing could be written for {}.", seconds(longest_pause(&all, lost.at))));
    let goes_on = until("the application goes on", PATIENCE, async || {
        Ok(acme.application.printed(client).await?.is_some_and(|printed| printed > invoices))
    });
    show.during("the application prints a higher number", goes_on).await
}

fn row(what: &str, acknowledged: &[(u64, Instant)], missing: usize) -> Vec<String> {
    let rows = acknowledged.len();
    vec![what.to_owned(), rows.to_string(), (rows - missing).to_string(), missing.to_string()]
}

/// A primary that is no more.
struct Lost {
    primary: String,
    at: Instant,
    /// How many rows had been acknowledged before.
    rows: usize,
    /// How many the application had printed before.
    invoices: u64,
}

async fn primary_is_lost(show: &Show, client: &Client, acme: &Customer, acknowledged: &Acknowledged) -> Result<Lost> {
    let more_than = async |rows: usize, since: Option<Instant>| {
        until("more rows are acknowledged", PATIENCE, async || {
            let all = acknowledged.borrow();
            Ok(all.iter().filter(|(_, at)| since.is_none_or(|since| *at > since)).count() >= rows)
        })
        .await
    };
    show.during(&format!("{ROWS_BEFORE} receipts are written, one after the other"), more_than(ROWS_BEFORE, None))
        .await?;
    let invoices = acme.application.printed(client).await?.context("the application writes no more")?;
    let primary = acme.database.primary().await?;
    let (rows, at) = (acknowledged.borrow().len(), Instant::now());
    acme.database.kill(&primary).await?;
    show.say(&format!("{primary} is killed as if its machine had died, after {rows} receipts."));
    show.during("the other instance is the primary", acme.database.until_another_than(&primary)).await?;
    let promoted = Some(Instant::now());
    show.during(&format!("{ROWS_AFTER} more receipts are written"), more_than(ROWS_AFTER, promoted)).await?;
    Ok(Lost { primary, at, rows, invoices })
}

/// Writes one row after the other, each with a number of its own. Of one that is not acknowledged nobody knows whether it was written, so
/// its number is not used again.
async fn write(visitor: &Visitor, way: &Way, acknowledged: &Acknowledged) -> Infallible {
    let mut number: u64 = 0;
    loop {
        if let Ok(mut session) = visitor.session(way).await {
            loop {
                number += 1;
                let statement = format!("INSERT INTO receipts VALUES ({number}) RETURNING number");
                let answer = timeout(ANSWER, session.ask(&statement)).await;
                let is_written = |said: &String| said.lines().next() == Some(&number.to_string());
                if !answer.is_ok_and(|answer| answer.as_ref().is_ok_and(is_written)) {
                    break;
                }
                acknowledged.borrow_mut().push((number, Instant::now()));
            }
        }
        sleep(PAUSE).await;
    }
}

/// The longest time between two rows of which the latter came after this moment.
fn longest_pause(acknowledged: &[(u64, Instant)], after: Instant) -> Duration {
    let pairs = acknowledged.iter().zip(acknowledged.iter().skip(1));
    let pauses = pairs.filter(|(_, (_, later))| *later > after).map(|((_, earlier), (_, later))| *later - *earlier);
    pauses.max().unwrap_or_default()
}
