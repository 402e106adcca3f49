//! Somebody at the relay. In: a token or a JWT. Out: a connection, and what its server complained about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_protocol::relay::PodUid;
use anyhow::{Context as _, Result, bail};
use async_nats::client::RequestErrorKind;
use async_nats::{Client, ConnectOptions, Event, Message, Request, ServerAddr, Subscriber};
use data_encoding::BASE64URL_NOPAD;
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
    pod: Option<PodUid>,
}

impl Caller {
    /// Somebody who shows a token, or none.
    pub async fn with_token(relay: &Relay, token: Option<&SecretString>) -> Result<Self> {
        let options = match token {
            Some(token) => ConnectOptions::with_token(token.expose_secret().to_owned()),
            None => ConnectOptions::new(),
        };
        Self::connect(relay, options, token.and_then(pod_of)).await
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
        Self::connect(relay, options, None).await
    }

    async fn connect(relay: &Relay, options: ConnectOptions, pod: Option<PodUid>) -> Result<Self> {
        crate::certificates::install_tls_provider();
        let servers =
            relay.addresses().iter().map(|address| address.parse()).collect::<Result<Vec<ServerAddr>, _>>()?;
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&complaints);
        let client = options
            .add_root_certificates(relay.authority().to_owned())
            .require_tls(true)
            .tls_first()
            .max_reconnects(servers.len())
            .connection_timeout(Duration::from_secs(15))
            .event_callback(move |event| {
                if !matches!(event, Event::Connected) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(event.to_string().to_lowercase());
                }
                async {}
            })
            .connect(servers)
            .await?;
        let caller = Self { client, complaints, pod };
        // A server that is still thinking about it asks whether the client is there, which the client takes for a welcome.
        caller.settle().await.context("nobody says that it may come in")?;
        Ok(caller)
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

    /// Returns once the server has read all that was said until now: it says of a question that nobody is there to answer.
    async fn settle(&self) -> Result<()> {
        let part = uuid::Uuid::new_v4().simple();
        let (subject, inbox) = match &self.pod {
            Some(pod) => (format!("{}.{part}", pod.replies()), format!("pod.{pod}.in.{part}")),
            None => (format!("nobody.{part}"), format!("mine.{part}")),
        };
        let request = Request::new().inbox(inbox).timeout(Some(PATIENCE * 2));
        match self.client.send_request(subject, request).await {
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => bail!("somebody answers what nobody should hear"),
        }
    }

    /// Listens at a subject; the server knows of it when this returns. Not at one that also stands for where the server answers (`settle`).
    pub async fn listen(&self, subject: &str) -> Result<Subscriber> {
        let heard = self.client.subscribe(subject.to_owned()).await?;
        self.settle().await?;
        Ok(heard)
    }

    /// Says something; the server has read it when this returns.
    pub async fn say(&self, subject: &str, words: &str) -> Result<()> {
        self.client.publish(subject.to_owned(), words.to_owned().into()).await?;
        self.settle().await
    }

    /// Asks, with the place for the answer that drivers use.
    pub async fn ask(&self, subject: &str, inbox: &str, words: &[u8]) -> Result<Vec<u8>> {
        let request = Request::new().payload(words.to_vec().into()).inbox(inbox.to_owned()).timeout(Some(PATIENCE));
        Ok(self.client.send_request(subject.to_owned(), request).await?.payload.to_vec())
    }
}

/// To which pod a token says that it is bound.
fn pod_of(token: &SecretString) -> Option<PodUid> {
    let payload = BASE64URL_NOPAD.decode(token.expose_secret().split('.').nth(1)?.as_bytes()).ok()?;
    let payload: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    payload.pointer("/kubernetes.io/pod/uid")?.as_str()?.parse().ok()
}

/// The next message at a place.
pub async fn next(heard: &mut Subscriber) -> Result<Message> {
    match timeout(PATIENCE, heard.next()).await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => bail!("the connection is gone"),
        Err(_) => bail!("nothing came in {} s", PATIENCE.as_secs()),
    }
}
