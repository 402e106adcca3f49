//! Log lines. In: `tracing` events of the whole program. Out: one line each on standard error, as JSON or for eyes.
//!
//! A line holds what the event names and the fields of its spans, nothing else. Secrets are `SecretString`s, whose `Debug` is
//! redacted, and configurations that may hold some do not print them; so no filter on the way out has to be relied on.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, filter, fmt, fmt::MakeWriter, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("log filter {filter:?} is not understood; write it like info,operator=debug")]
    Filter {
        /// As it was given.
        filter: String,
        /// Why.
        #[source]
        source: filter::ParseError,
    },
    /// Somebody else was faster.
    #[error("the log is already set up in this process")]
    Taken(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the events of the whole process to standard error from now on.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let layer = layer(log, std::io::stderr, std::io::stderr().is_terminal())?;
    Ok(tracing_subscriber::registry().with(layer).try_init()?)
}

fn layer<S, W>(log: &Log, writer: W, colours: bool) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    // Not `from_env`: settings are read in `config` alone.
    let filter = EnvFilter::builder()
        .parse(&log.filter)
        .map_err(|source| TelemetryError::Filter { filter: log.filter.clone(), source })?;
    let lines = fmt::layer().with_writer(writer).with_ansi(colours);
    Ok(match log.format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(true).with_filter(filter).boxed()
        }
        LogFormat::Text => lines.with_filter(filter).boxed(),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = Log { format, filter: filter.to_owned() };
        let layer = layer(&log, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), events);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_carry_the_fields_of_event_and_span() {
        let text = logged(LogFormat::Json, "info", || {
            let _span = tracing::info_span!("reconcile", tenant = "acme").entered();
            tracing::info!(reason = "KeyMissing", "waiting");
            tracing::debug!("not shown");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "waiting");
        assert_eq!(line["reason"], "KeyMissing");
        assert_eq!(line["spans"][0]["tenant"], "acme");
    }

    #[test]
    fn a_broken_filter_is_refused_with_advice() {
        let log = Log { format: LogFormat::Text, filter: "operator=loud".to_owned() };
        let refused = layer::<tracing_subscriber::Registry, _>(&log, io::sink, false).err().unwrap();
        let message = refused.to_string();
        assert!(message.contains("operator=loud") && message.contains("write it like"), "{message}");
    }
}
