//! JSON lines on stdout.

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Libraries whose lower levels print addresses with queries, headers or bodies.
const QUIET: [&str; 6] = ["h2=warn", "hyper=warn", "hyper_util=warn", "reqwest=warn", "rustls=warn", "tower=warn"];

/// Starts logging with a filter such as `info`. Errors: the filter cannot be parsed.
///
/// HTTP libraries say warnings at most, whatever the filter asks: what they print below may name people.
pub fn start(filter: &str) -> Result<(), ParseError> {
    let mut filter = EnvFilter::builder().parse(filter)?;
    for directive in QUIET {
        filter = filter.add_directive(directive.parse()?);
    }
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_target(true);
    // A line that cannot be written would be told on stderr, which panics when that cannot be written either, as on a
    // disk that is full: the log would take the work down with it.
    log.log_internal_errors(false).init();
    Ok(())
}
