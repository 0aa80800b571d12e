//! What is shown while something slow runs?
//!
//! On a terminal one line is rewritten with the elapsed seconds and the program's last line of output; elsewhere
//! (CI, a log file) a line is written every ten seconds. Everything goes to standard error, past the capture of test
//! output: minutes of silence look like a hang.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::{Process, Start, last_lines};

const LINES_OF_A_FAILURE: usize = 20;
const PREFIX: &str = "testbed: ";

static OTHER_PREFIX: OnceLock<&str> = OnceLock::new();

/// Begins every line about something slow with `prefix`, in place of `testbed: `, from now on. The first caller decides.
pub fn announce_as(prefix: &'static str) {
    let _ = OTHER_PREFIX.set(prefix);
}

fn prefix() -> &'static str {
    OTHER_PREFIX.get().copied().unwrap_or(PREFIX)
}

/// Runs `start` to its end and shows `doing` meanwhile. Its output goes to `log`. A failure is an error that names
/// what failed, says so when the disk is full, and ends with the last lines of output.
pub(crate) fn run(doing: &str, start: Start, log: &Path) -> Result<()> {
    let mut line = Line::new(doing);
    let mut process: Process = start.spawn()?;
    let status = loop {
        if let Some(status) = process.exited()? {
            break status;
        }
        line.show(&last_lines(log, 1));
        std::thread::sleep(Duration::from_millis(100));
    };
    line.end(status.success());
    if status.success() {
        return Ok(());
    }
    let output = last_lines(log, LINES_OF_A_FAILURE);
    if is_disk_full(&output) {
        bail!(
            "{doing} failed because the disk is full. Free some space (8 GB are enough for everything) and try again. \
             The last lines of output:\n{output}"
        );
    }
    bail!("{doing} failed ({status}). The last lines of output:\n{output}");
}

/// Says something once, on standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}{text}", prefix());
}

fn is_disk_full(output: &str) -> bool {
    let output = output.to_lowercase();
    output.contains("no space left on device") || output.contains("disk quota exceeded")
}

struct Line<'a> {
    doing: &'a str,
    started: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl<'a> Line<'a> {
    fn new(doing: &'a str) -> Self {
        Self { doing, started: Instant::now(), shown: None, terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, output: &str) {
        let pause = if self.terminal { Duration::from_secs(1) } else { Duration::from_secs(10) };
        if self.shown.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        self.shown = Some(Instant::now());
        let seconds = self.started.elapsed().as_secs();
        let output: String = output.chars().filter(|c| !c.is_control()).take(60).collect();
        let mut stderr = std::io::stderr().lock();
        let _ = if self.terminal {
            write!(stderr, "\r\x1b[K{}{} … {seconds} s  {output}", prefix(), self.doing).and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{}{} … {seconds} s  {output}", prefix(), self.doing)
        };
    }

    fn end(&self, good: bool) {
        let seconds = self.started.elapsed().as_secs();
        let result = if good { "done" } else { "failed" };
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(std::io::stderr().lock(), "{clear}{}{} … {result} in {seconds} s", prefix(), self.doing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_script(script: &str) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        run("building a thing", Start::new("sh", &log).args(["-c", script]), &log)
    }

    #[test]
    fn a_failed_build_shows_its_last_lines() {
        let error = run_script("echo first; echo the reason >&2; exit 3").unwrap_err().to_string();
        assert!(error.starts_with("building a thing failed"), "{error}");
        assert!(error.ends_with("first\nthe reason"), "{error}");
    }

    #[test]
    fn a_full_disk_is_said_in_words() {
        let error = run_script("echo 'write /x: no space left on device'; exit 1").unwrap_err().to_string();
        assert!(error.contains("because the disk is full"), "{error}");
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let error = run("running nothing", Start::new("no-such-program", &log), &log).unwrap_err();
        assert!(error.to_string().contains("not found"), "{error}");
    }
}
