//! Connections to the database. In: where it is, certificates, and what a session may do. Out: a connection, or why there is none.
//!
//! The server must be who its certificate says, by the one authority that is given. What PostgreSQL says of an error can quote names and
//! values, so none of it is passed on but the code.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use sqlx::{
    ConnectOptions as _, Error, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::timeout;

/// Where PostgreSQL listens.
const PORT: u16 = 5432;

/// The database that is for the customer's use.
const DATABASE: &str = "app";

/// Role and schema of the canary.
const ROLE: &str = "steading_canary";

/// How long a server may take to let somebody in.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the database is and how to sign in.
#[derive(Args, Clone, Debug)]
pub struct Server {
    /// Name of the server, as its certificate has it
    #[arg(long, env = "STEADING_CANARY_HOST", value_name = "NAME")]
    host: String,
    /// Folder with tls.crt and tls.key of the role, and ca.crt, by which the
    /// server is known
    #[arg(
        long,
        env = "STEADING_CANARY_CERTIFICATES",
        value_name = "FOLDER",
        default_value = "/run/canary/certificates"
    )]
    certificates: PathBuf,
}

/// What a session may do.
#[derive(Clone, Copy, Debug)]
pub enum Session {
    /// Read and write, with so much time for each statement.
    Write(Duration),
    /// Read, with so much time for each statement. What row security would hide is refused and not left out.
    Read(Duration),
}

impl Server {
    /// Connects. Certificates are read anew each time, because they are renewed.
    pub async fn connect(&self, session: Session) -> Result<PgConnection> {
        let options = self.options(session).await?;
        let connected = timeout(PATIENCE, options.connect()).await;
        let connected = connected.map_err(|_| anyhow!("no answer within {} s", PATIENCE.as_secs()));
        let connected = connected.and_then(|connected| connected.map_err(|error| anyhow!("{}", told(&error))));
        connected.with_context(|| format!("cannot connect to {} as {ROLE}", self.host))
    }

    async fn options(&self, session: Session) -> Result<PgConnectOptions> {
        let [authority, certificate, key] = ["ca.crt", "tls.crt", "tls.key"].map(|name| self.certificates.join(name));
        for file in [&authority, &certificate, &key] {
            // The client says what is wrong with a file, but not with which.
            tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?;
        }
        Ok(PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(PORT)
            .database(DATABASE)
            .username(ROLE)
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert(authority)
            .ssl_client_cert(certificate)
            .ssl_client_key(key)
            .application_name("steading-canary")
            .extra_float_digits(None)
            .options(session.settings())
            .disable_statement_logging())
    }
}

impl Session {
    /// Settings of the session. They go before those that the owner of a database can give to everybody who uses it.
    fn settings(self) -> [(&'static str, String); 7] {
        let (read_only, time) = match self {
            Self::Write(time) => ("off", time),
            Self::Read(time) => ("on", time),
        };
        let milliseconds = |time: Duration| time.as_millis().to_string();
        [
            // After what PostgreSQL has itself, which comes first without being named.
            ("search_path", ROLE.to_owned()),
            ("default_transaction_read_only", read_only.to_owned()),
            ("row_security", "off".to_owned()),
            // Who reads a table to the end wants its own pages, and not those of an index that has the same columns.
            ("enable_indexonlyscan", "off".to_owned()),
            ("statement_timeout", milliseconds(time)),
            ("lock_timeout", milliseconds(time)),
            ("idle_in_transaction_session_timeout", milliseconds(time)),
        ]
    }
}

/// Says what was being done when the server failed.
pub trait During<T> {
    /// `what` is what was being done, such as `reading a table`.
    fn during(self, what: &str) -> Result<T>;
}

impl<T> During<T> for sqlx::Result<T> {
    fn during(self, what: &str) -> Result<T> {
        self.map_err(|error| anyhow!("{what}: {}", told(&error)))
    }
}

/// An error without what the server says of it.
fn told(error: &Error) -> String {
    match error {
        Error::Database(error) => match error.code() {
            Some(code) if code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                format!("{} (SQLSTATE {code})", meaning(&code))
            }
            _ => "PostgreSQL reports an error without code".to_owned(),
        },
        // Both come from this side: the operating system, or TLS.
        Error::Io(error) => error.to_string(),
        Error::Tls(error) => error.to_string(),
        Error::Configuration(_) => "the certificate or key of the role is none".to_owned(),
        _ => "the server gives an answer that is not understood".to_owned(),
    }
}

/// What a code means here, where that helps.
fn meaning(code: &str) -> &'static str {
    match code {
        "23505" => "another canary writes at the same time",
        "25006" => "the server does not write: it is no primary now",
        "3D000" => "the server has no such database",
        "3F000" | "42P01" => "the canary's schema or table is not there",
        "42501" => "the role may not",
        "53100" => "the server's disk is full",
        "53300" => "the server has no connection left",
        "54000" => "a value is longer than PostgreSQL can make text of",
        "55P03" => "somebody holds a lock on it",
        "57014" => "it took too long",
        "57P03" => "the server is starting or ending",
        "58P01" => "a file of the database is missing",
        "XX001" | "XX002" => "what the database holds is damaged",
        _ if code.starts_with("28") => "the server does not let the role in by this certificate",
        _ => "PostgreSQL reports an error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_cannot_write_and_is_refused_where_rows_would_be_hidden() {
        let of = |session: Session, name: &str| {
            let settings = session.settings();
            settings.into_iter().find(|(known, _)| *known == name).unwrap().1
        };
        let (read, write) = (Session::Read(Duration::from_secs(90)), Session::Write(Duration::from_secs(10)));
        assert_eq!(of(read, "default_transaction_read_only"), "on");
        assert_eq!(of(read, "row_security"), "off");
        assert_eq!(of(read, "statement_timeout"), "90000");
        assert_eq!(of(write, "default_transaction_read_only"), "off");
        assert_eq!(of(write, "statement_timeout"), "10000");
        assert_eq!(of(write, "search_path"), "steading_canary");
    }

    #[test]
    fn of_what_cannot_be_decoded_nothing_is_told() {
        let error = Error::ColumnDecode { index: "secret".to_owned(), source: "a secret".into() };
        assert_eq!(told(&error), "the server gives an answer that is not understood");
        assert_eq!(told(&Error::Protocol("a secret".to_owned())), "the server gives an answer that is not understood");
        assert_eq!(told(&Error::Configuration("a secret".into())), "the certificate or key of the role is none");
    }

    #[test]
    fn damage_and_refusals_are_told_in_words() {
        assert_eq!(meaning("XX001"), "what the database holds is damaged");
        assert_eq!(meaning("28000"), "the server does not let the role in by this certificate");
        assert_eq!(meaning("22012"), "PostgreSQL reports an error");
    }

    #[tokio::test]
    async fn a_file_that_is_missing_is_named() {
        let server = Server { host: "localhost".to_owned(), certificates: "/nowhere".into() };
        let error = server.connect(Session::Read(PATIENCE)).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "cannot read /nowhere/ca.crt: No such file or directory (os error 2)");
    }
}
