//! JSON lines on stdout.

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Starts logging with a filter such as `info`. Errors: the filter cannot be parsed.
pub fn start(filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_target(true).init();
    Ok(())
}
