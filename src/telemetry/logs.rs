//! JSON lines on stdout.

use std::panic::{self, PanicHookInfo};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries whose lower levels print addresses with queries, headers or bodies. kube's client prints the whole of an
/// answer that does not decode, as a warning.
const QUIET: [(&str, LevelFilter); 7] = [
    ("h2", LevelFilter::WARN),
    ("hyper", LevelFilter::WARN),
    ("hyper_util", LevelFilter::WARN),
    ("kube_client::client", LevelFilter::OFF),
    ("reqwest", LevelFilter::WARN),
    ("rustls", LevelFilter::WARN),
    ("tower", LevelFilter::WARN),
];

/// Starts logging with a filter such as `info`. Errors: the filter cannot be parsed.
///
/// HTTP libraries say warnings at most, whatever the filter asks: what they print below may name people.
pub fn start(filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let cap = Targets::new().with_default(LevelFilter::TRACE).with_targets(QUIET);
    let log = tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(true);
    // A line that cannot be written would be told on stderr, which panics when that cannot be written either, as on a
    // disk that is full: the log would take the work down with it.
    let log = log.log_internal_errors(false);
    tracing_subscriber::registry().with(cap).with(filter).with(log).init();
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Says where the code panicked. A message that was put together at run time may hold an answer, a name or a credential,
/// so only one that stands in the code is shown.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload().downcast_ref::<&'static str>().unwrap_or(&"not shown, for it may hold data");
    tracing::error!(place, panic = message, "a bug: please report it with this line");
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    const CANARY: &str = "canary-7f3a";
    const PANICS: &str = "PANICS";

    /// Does nothing unless the next test runs it, in a process of its own: a hook holds for the whole process.
    #[test]
    fn panics_where_it_is_told_to() {
        if std::env::var_os(PANICS).is_none() {
            return;
        }
        super::start("trace,h2::codec=trace").expect("a filter");
        tracing::warn!(target: "kube_client::client", "an answer: {CANARY}");
        tracing::trace!(target: "h2::codec", "a frame: {CANARY}");
        let kinds: [fn(); 3] = [
            || panic!("stands in the code"),
            || panic!("an answer: {CANARY}"),
            || CANARY.parse::<u8>().map(drop).map_err(|_| CANARY).expect("a number"),
        ];
        for panics in kinds {
            std::thread::spawn(panics).join().expect_err("it panics");
        }
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_neither_it_nor_a_library_tells_what_an_answer_holds() {
        let this = std::env::current_exe().expect("this program");
        let child = Command::new(this)
            .args(["--exact", "telemetry::logs::tests::panics_where_it_is_told_to", "--nocapture"])
            .env(PANICS, "1")
            .output()
            .expect("it runs");
        let out = String::from_utf8_lossy(&child.stdout);
        let said = out.to_string() + &String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{said}");
        assert!(!said.contains(CANARY), "{said}");
        let lines: Vec<_> = out.lines().filter(|line| line.contains("\"level\":\"ERROR\"")).collect();
        assert_eq!(lines.len(), 3, "{said}");
        assert!(lines.iter().all(|line| line.contains("src/telemetry/logs.rs:")), "{said}");
        assert!(lines[0].contains("stands in the code"), "{said}");
    }
}
