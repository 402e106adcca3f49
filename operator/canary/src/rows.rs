//! The canary's rows in the database. In: a connection. Out: one row more; or all rows, one after the other, for the [`Chain`].

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection, query, query_as, query_scalar};

use crate::{
    chain::{Chain, Found, Link, Row, Sum, Whole},
    connection::During as _,
};

/// How many rows are kept: the newest.
const KEPT: i64 = 10_000;

/// The checks keep what others write here from growing.
const TABLE: &str = "\
CREATE TABLE IF NOT EXISTS steading_canary.chain (
  number bigint PRIMARY KEY,
  written_at timestamptz NOT NULL,
  previous bytea NOT NULL CHECK (pg_catalog.octet_length(previous) = 32),
  sum bytea NOT NULL CHECK (pg_catalog.octet_length(sum) = 32)
)";

const NOW: &str = "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint";

const NEWEST: &str = "\
SELECT number, CASE WHEN pg_catalog.octet_length(sum) = 32 THEN sum END
FROM steading_canary.chain ORDER BY number DESC LIMIT 1";

const APPEND: &str = "\
INSERT INTO steading_canary.chain (number, written_at, previous, sum)
VALUES ($1, timestamptz 'epoch' + $2 * interval '1 microsecond', $3, $4)";

const REMOVE: &str = "DELETE FROM steading_canary.chain WHERE number <= $1";

/// What is no moment of our time, or has not the length of a sum, does not come over at all.
const ALL: &str = "\
SELECT number,
  CASE WHEN written_at BETWEEN timestamptz '1970-01-01 00:00:00+00' AND timestamptz '9999-01-01 00:00:00+00'
    THEN (extract(epoch FROM written_at) * 1000000)::bigint END,
  CASE WHEN pg_catalog.octet_length(previous) = 32 THEN previous END,
  CASE WHEN pg_catalog.octet_length(sum) = 32 THEN sum END
FROM steading_canary.chain ORDER BY number";

/// Appends a row, makes the table if it is not there, and removes what is too old. Returns the number of the row.
pub async fn append(connection: &mut PgConnection) -> Result<i64> {
    query(TABLE).execute(&mut *connection).await.during("cannot make the canary's table")?;
    let mut transaction = connection.begin().await.during("cannot begin a transaction")?;
    let newest: Option<(i64, Option<Vec<u8>>)> =
        query_as(NEWEST).fetch_optional(&mut *transaction).await.during("cannot read the newest row")?;
    let newest = newest.map(link).transpose()?;
    let moment: i64 = query_scalar(NOW).fetch_one(&mut *transaction).await.during("cannot ask for the time")?;
    let row = Row::after(newest, moment).context(
        "the newest row of steading_canary.chain has the last number there is, and it is none of the canary's; delete the rows there",
    )?;
    query(APPEND)
        .bind(row.number)
        .bind(row.moment)
        .bind(row.previous)
        .bind(row.sum)
        .execute(&mut *transaction)
        .await
        .during("cannot write a row")?;
    let old = row.number.saturating_sub(KEPT);
    query(REMOVE).bind(old).execute(&mut *transaction).await.during("cannot remove old rows")?;
    transaction.commit().await.during("cannot commit a row")?;
    Ok(row.number)
}

fn link((number, sum): (i64, Option<Vec<u8>>)) -> Result<Link> {
    let sum = sum.and_then(|sum| Sum::try_from(sum).ok());
    let sum = sum.context("the newest row of steading_canary.chain has no sum; delete the rows there")?;
    Ok(Link { number, sum })
}

/// Reads all rows, and holds no more than one.
///
/// # Errors
/// If they are no whole chain.
pub async fn check(connection: &mut PgConnection) -> Result<Whole> {
    let mut chain = Chain::default();
    let mut rows = query_as::<_, Found>(ALL).fetch(connection);
    while let Some(row) = rows.try_next().await.during("cannot read the canary's rows")? {
        chain.add(row)?;
    }
    Ok(chain.end()?)
}
