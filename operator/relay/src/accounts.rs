//! Accounts of Tenants, and their streams. In: a Tenant's identity. Out: NATS knows the account; its stream of events is there.
//!
//! Both are made when the first pod of a Tenant signs in, and again after each new connection to NATS, which may have lost its disk since.
//! So there is nothing to keep in step, and a Tenant without agents has neither. A pod waits for its account. It does not wait for the
//! stream: without it events are lost, with which nothing is wrong but that they are missing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::names::Identity;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::{
    connection::{Gate, Line},
    limits::STREAM,
    metrics::Metrics,
    rights::{OwnUser, REGISTER},
    root::Owner,
};

/// How long NATS may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The code of an error that says: such a stream is there, and is another.
const DIFFERS: u64 = 10058;

/// Why an account or a stream is not there.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct NotMade {
    what: &'static str,
    why: String,
}

fn not_made(what: &'static str) -> impl FnOnce(String) -> NotMade {
    move |why| NotMade { what, why }
}

/// What was made since which connection.
type Made = Arc<Mutex<HashMap<Identity, u64>>>;

/// Makes accounts and streams.
#[derive(Debug)]
pub struct Accounts {
    gate: Gate,
    line: Line,
    metrics: Metrics,
    known: Made,
    streams: Made,
    tasks: TaskTracker,
}

#[derive(Deserialize)]
struct Registered {
    #[serde(default)]
    error: Option<Value>,
}

impl Accounts {
    /// Nothing was made yet.
    pub fn new(gate: Gate, line: Line, metrics: Metrics, tasks: TaskTracker) -> Self {
        Self { gate, line, metrics, known: Made::default(), streams: Made::default(), tasks }
    }

    /// Sees to it that NATS knows the account of this Tenant.
    pub async fn ensure(&self, tenant: Identity) -> Result<(), NotMade> {
        let epoch = self.line.epoch();
        if !is_made(&self.known, tenant, epoch) {
            self.register(tenant).await?;
            make(&self.known, tenant, epoch);
        }
        self.begin_stream(tenant, epoch);
        Ok(())
    }

    async fn register(&self, tenant: Identity) -> Result<(), NotMade> {
        let what = "the account cannot be made known to NATS";
        let now = self.gate.clock.now();
        let jwt = self.gate.notary.account(Owner::TenantAccount(tenant), now);
        let jwt = jwt.map_err(|error| error.to_string()).map_err(not_made(what))?;
        let request = async_nats::Request::new().payload(jwt.into()).timeout(Some(PATIENCE));
        let answer = self.line.client.send_request(REGISTER, request).await;
        let answer = answer.map_err(|error| error.to_string()).map_err(not_made(what))?;
        let answer: Registered =
            serde_json::from_slice(&answer.payload).map_err(|error| not_made(what)(error.to_string()))?;
        match answer.error {
            None => {
                tracing::info!(%tenant, "NATS knows the account");
                Ok(())
            }
            Some(error) => Err(not_made(what)(error.to_string())),
        }
    }

    /// In the background: whoever signs in does not wait for it. What failed is tried again with the next who signs in.
    fn begin_stream(&self, tenant: Identity, epoch: u64) {
        if is_made(&self.streams, tenant, epoch) {
            return;
        }
        make(&self.streams, tenant, epoch);
        let (gate, streams, metrics) = (self.gate.clone(), Arc::clone(&self.streams), self.metrics.clone());
        self.tasks.spawn(async move {
            if let Err(error) = make_stream(&gate, tenant).await {
                tracing::warn!(%tenant, %error, "events of this tenant are not kept until it succeeds");
                metrics.stream_failed();
                streams.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
            }
        });
    }
}

fn is_made(made: &Made, tenant: Identity, epoch: u64) -> bool {
    made.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant) == Some(&epoch)
}

fn make(made: &Made, tenant: Identity, epoch: u64) {
    made.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant, epoch);
}

/// Makes the stream of a Tenant, or makes it as it should be.
async fn make_stream(gate: &Gate, tenant: Identity) -> Result<(), NotMade> {
    let what = "the stream of events cannot be made";
    let client = gate.visit(OwnUser::Keeper(tenant)).await.map_err(|error| not_made(what)(error.to_string()))?;
    let stream = gate.notary.limits().stream().to_string();
    let made = match ask(&client, "CREATE", &stream).await.map_err(not_made(what))? {
        Some(error) if error.get("err_code").and_then(Value::as_u64) == Some(DIFFERS) => {
            ask(&client, "UPDATE", &stream).await.map_err(not_made(what))?
        }
        answered => answered,
    };
    // It ends with its JWT at the latest.
    let _ = client.drain().await;
    match made {
        None => Ok(()),
        Some(error) => Err(not_made(what)(error.to_string())),
    }
}

/// The error of the answer, if it has one.
async fn ask(client: &async_nats::Client, verb: &str, stream: &str) -> Result<Option<Value>, String> {
    let subject = format!("$JS.API.STREAM.{verb}.{STREAM}");
    let request = async_nats::Request::new().payload(stream.to_owned().into()).timeout(Some(PATIENCE));
    let answer = client.send_request(subject, request).await.map_err(|error| error.to_string())?;
    let mut answer: Value = serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
    Ok(answer.get_mut("error").map(Value::take))
}
