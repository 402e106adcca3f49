//! Everything that customers keep. In: the database. Out: how many tables were read to the end, and how many refuse it by row security.
//!
//! The server makes text of each value, for which it reads all of it, and sends how long that is: so values do not leave it, and however
//! large one is, the canary stays small. Where a page or a value is damaged the server fails. It makes text by what each type has for
//! this and never by a cast, which could be a customer's own function. Names are quoted by the server, and told to nobody.

use anyhow::Result;
use futures::TryStreamExt as _;
use sqlx::{Connection as _, Error, PgConnection, query_as};

use crate::connection::{During as _, Server, Session};

/// The next table or materialized view, and what reads it. Partitions and children are tables of their own. What is another session's
/// own is in no backup, and a view that was never filled has nothing to read.
const NEXT: &str = "\
SELECT pg_catalog.int8(c.oid),
  pg_catalog.format('COPY (SELECT %s FROM ONLY %I.%I AS t) TO STDOUT', columns.lengths, n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
  LATERAL (
    SELECT pg_catalog.string_agg(
      pg_catalog.format('pg_catalog.octet_length(pg_catalog.concat(t.%I))', a.attname), ', ') AS lengths
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  ) columns
WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.oid > pg_catalog.oid($1)
ORDER BY c.oid LIMIT 1";

/// What PostgreSQL says when a role may not read something: with row security off, also where some rows would be hidden.
const REFUSED: &str = "42501";

/// How many were read, and how many refused it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Read to the end.
    pub read: u64,
    /// Not read.
    pub unread: u64,
}

/// Reads all tables on this connection, and on others where a refusal spoils it.
pub async fn read(mut connection: PgConnection, server: &Server, session: Session) -> Result<Tables> {
    let (mut tables, mut last) = (Tables::default(), 0);
    while let Some((table, copy)) = next(&mut connection, last).await? {
        last = table;
        match read_one(&mut connection, &copy).await {
            Ok(()) => tables.read += 1,
            Err(Error::Database(error)) if error.code().as_deref() == Some(REFUSED) => {
                tables.unread += 1;
                // After a COPY that the server refuses the client takes the end of that answer for the next one.
                connection = server.connect(session).await?;
            }
            error => {
                let others = tables.read + tables.unread;
                error.during(&format!("cannot read a table, after {others} others"))?;
            }
        }
    }
    // All is read; how the connection ends does not matter.
    drop(connection.close().await);
    Ok(tables)
}

async fn next(connection: &mut PgConnection, last: i64) -> Result<Option<(i64, String)>> {
    query_as(NEXT).bind(last).fetch_optional(connection).await.during("cannot list the tables")
}

async fn read_one(connection: &mut PgConnection, copy: &str) -> sqlx::Result<()> {
    let mut rows = connection.copy_out_raw(copy).await?;
    while rows.try_next().await?.is_some() {}
    Ok(())
}
