//! Somebody at the relay. In: a token or a JWT. Out: a connection, and what its server complained about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::{Client, ConnectOptions, Event, Message, Request, Subscriber};
use futures::StreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::Relay;
use crate::wait::until;

/// How long what comes may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the relay.
pub struct Caller {
    /// It.
    pub client: Client,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Caller {
    /// Somebody who shows a token, or none.
    pub async fn with_token(relay: &Relay, token: Option<&SecretString>) -> Result<Self> {
        let options = match token {
            Some(token) => ConnectOptions::with_token(token.expose_secret().to_owned()),
            None => ConnectOptions::new(),
        };
        Self::connect(relay, options).await
    }

    /// Somebody who shows a JWT of NATS.
    pub async fn with_jwt(relay: &Relay, jwt: String) -> Result<Self> {
        let options = ConnectOptions::with_auth_callback(move |_| {
            let jwt = jwt.clone();
            async move {
                let mut auth = async_nats::Auth::new();
                auth.jwt = Some(jwt);
                Ok(auth)
            }
        });
        Self::connect(relay, options).await
    }

    async fn connect(relay: &Relay, options: ConnectOptions) -> Result<Self> {
        crate::certificates::install_tls_provider();
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&complaints);
        let client = options
            .add_root_certificates(relay.authority().to_owned())
            .require_tls(true)
            .tls_first()
            .max_reconnects(1)
            .connection_timeout(Duration::from_secs(15))
            .event_callback(move |event| {
                if !matches!(event, Event::Connected) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(event.to_string().to_lowercase());
                }
                async {}
            })
            .connect(relay.address())
            .await?;
        // A server that is still thinking about it asks whether the client is there, which the client takes for a welcome.
        timeout(PATIENCE * 2, client.flush()).await.context("nobody says that it may come in")??;
        Ok(Self { client, complaints })
    }

    /// What the server complained about so far.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the server complains with these words.
    pub async fn hears_complaint(&self, words: &str) -> Result<()> {
        let what = format!("the server says {words:?}");
        let told = async || Ok(self.complaints().iter().any(|complaint| complaint.contains(words)));
        until(&what, PATIENCE, told).await.with_context(|| format!("{:?}", self.complaints()))
    }

    /// Listens at a subject; the server knows of it when this returns.
    pub async fn listen(&self, subject: &str) -> Result<Subscriber> {
        let heard = self.client.subscribe(subject.to_owned()).await?;
        self.client.flush().await?;
        Ok(heard)
    }

    /// Says something; the server has read it when this returns.
    pub async fn say(&self, subject: &str, words: &str) -> Result<()> {
        self.client.publish(subject.to_owned(), words.to_owned().into()).await?;
        Ok(self.client.flush().await?)
    }

    /// Asks, with the place for the answer that drivers use.
    pub async fn ask(&self, subject: &str, inbox: &str, words: &[u8]) -> Result<Vec<u8>> {
        let request = Request::new().payload(words.to_vec().into()).inbox(inbox.to_owned()).timeout(Some(PATIENCE));
        Ok(self.client.send_request(subject.to_owned(), request).await?.payload.to_vec())
    }
}

/// The next message at a place.
pub async fn next(heard: &mut Subscriber) -> Result<Message> {
    match timeout(PATIENCE, heard.next()).await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => bail!("the connection is gone"),
        Err(_) => bail!("nothing came in {} s", PATIENCE.as_secs()),
    }
}
