//! Connections to NATS as one of our own users. In: where NATS is, whom to trust, who signs. Out: clients that come back by themselves.
//!
//! TLS begins with the first byte, so a server that speaks none, or that somebody else runs, gets nothing to see.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Auth, AuthError, Client, ConnectError, ConnectOptions, Event, ServerAddr};

use crate::{
    clock::Clock,
    rights::{INBOX, Notary, OwnUser, Times},
};

/// How long a JWT of ours holds. Its connection is cut when it ends, and is back at once with a new one.
const LIFE: u64 = 3600;
/// The longest pause before another try.
const PAUSE: Duration = Duration::from_secs(5);

/// Where NATS is, and how to come in.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Its servers.
    pub servers: Vec<ServerAddr>,
    /// File with the certificates of the authority that signed theirs; read anew for each connection.
    pub authority: PathBuf,
    /// Who signs.
    pub notary: Arc<Notary>,
    /// Tells the time.
    pub clock: Clock,
}

/// A connection, and how often it had to be made.
#[derive(Clone, Debug)]
pub struct Line {
    /// For asking and telling.
    pub client: Client,
    made: Arc<AtomicU64>,
}

impl Line {
    /// Grows whenever the connection was made anew: the server may then be another one that knows less.
    pub fn epoch(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Whether it stands.
    pub fn stands(&self) -> bool {
        matches!(self.client.connection_state(), async_nats::connection::State::Connected)
    }
}

impl Gate {
    /// A line that is kept, if need be from now until NATS is there.
    pub async fn keep(&self, user: OwnUser) -> Result<Line, ConnectError> {
        let made = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&made);
        let options = self.options(user).retry_on_initial_connect().event_callback(move |event| {
            if matches!(event, Event::Connected) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            async move { tracing::info!(user = user.name(), %event, "connection to NATS") }
        });
        Ok(Line { client: options.connect(self.servers.clone()).await?, made })
    }

    /// A client for a moment.
    pub async fn visit(&self, user: OwnUser) -> Result<Client, ConnectError> {
        self.options(user).max_reconnects(3).connect(self.servers.clone()).await
    }

    fn options(&self, user: OwnUser) -> ConnectOptions {
        let (notary, clock) = (Arc::clone(&self.notary), self.clock.clone());
        ConnectOptions::with_auth_callback(move |_| {
            let now = clock.now();
            let signed = notary.own(user, Times { now, expires: now.saturating_add(LIFE) });
            async move {
                let mut auth = Auth::new();
                auth.jwt = Some(signed.map_err(AuthError::new)?);
                Ok(auth)
            }
        })
        .name(format!("steading-relay {}", user.name()))
        .add_root_certificates(self.authority.clone())
        .require_tls(true)
        .tls_first()
        .ignore_discovered_servers()
        .custom_inbox_prefix(INBOX)
        .ping_interval(Duration::from_secs(20))
        .reconnect_delay_callback(|attempts| {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX).min(16);
            Duration::from_millis(50).saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(PAUSE)
        })
    }
}
