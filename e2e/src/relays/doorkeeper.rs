//! The doorkeeper within this process. In: its flags, and as whom it asks the API server. Out: it serves until it is stopped.
//!
//! It has a thread and a runtime of its own: those of a test end with the test, and the relay serves many.

use std::io::Write;
use std::sync::{Mutex, Once, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use relay::settings::{Settings, Task};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What all doorkeepers of this process wrote.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What all doorkeepers of this process wrote.
pub fn log() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

pub(super) struct Doorkeeper {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Doorkeeper {
    pub(super) fn start(flags: Vec<String>, config: kube::Config) -> Result<Self> {
        static LISTENS: Once = Once::new();
        LISTENS.call_once(|| {
            // Another one may listen to this process already; then the log is empty.
            if let Ok(layer) = relay::telemetry::layer("info,relay=debug", || Log) {
                tracing_subscriber::registry().with(layer).try_init().ok();
            }
        });
        let Task::Serve(settings) = Settings::try_parse_from(flags)?.task else { bail!("it is not to serve") };
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let serve = async move {
            let client = kube::Client::try_from(config)?;
            let http = TcpListener::bind(settings.http).await?;
            let stopped = async {
                stopped.await.ok();
            };
            relay::run::serve(*settings, client, http, stopped).await
        };
        Ok(Self { stop, thread: std::thread::spawn(move || runtime.block_on(serve)) })
    }

    pub(super) fn stop(self) -> Result<()> {
        // It may have ended by itself, and then says why.
        self.stop.send(()).ok();
        self.thread.join().ok().context("the doorkeeper panicked")?
    }
}
