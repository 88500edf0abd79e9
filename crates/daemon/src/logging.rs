//! Logging to standard error.

use std::io;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error; `PACKHORSE_LOG` filters (`debug`, `packhorse_edge=debug,info`), default `info`. A
/// second call does nothing.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("PACKHORSE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // Only a second call fails.
    let _started = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
