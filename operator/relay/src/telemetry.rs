//! Log and audit lines. In: `tracing` events of the whole program. Out: one line of JSON each on standard error.
//!
//! Audit lines have the target `audit`. They are written whatever the filter says: nobody switches them off by asking for less log.

use tracing_subscriber::{
    EnvFilter, Layer, filter::Directive, fmt, fmt::MakeWriter, layer::SubscriberExt, registry::LookupSpan,
    util::SubscriberInitExt,
};

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("log filter {0:?} is not understood; write it like info,relay=debug")]
    Filter(String),
    /// Somebody else was faster.
    #[error("the log is already set up in this process")]
    Taken,
}

/// Sends the events of the whole process to standard error from now on.
pub fn init(filter: &str) -> Result<(), TelemetryError> {
    let layer = layer(filter, std::io::stderr)?;
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| TelemetryError::Taken)
}

/// Lines of JSON to `writer`.
pub fn layer<S, W>(filter: &str, writer: W) -> Result<impl Layer<S> + Send + Sync + use<S, W>, TelemetryError>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let refused = || TelemetryError::Filter(filter.to_owned());
    let audit: Directive = "audit=info".parse().map_err(|_| refused())?;
    let chosen = EnvFilter::builder().parse(filter).map_err(|_| refused())?.add_directive(audit);
    Ok(fmt::layer().with_writer(writer).json().flatten_event(true).with_current_span(false).with_filter(chosen))
}
