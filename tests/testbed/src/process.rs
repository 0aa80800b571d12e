//! How does a started program end with the process that started it?
//!
//! Every program runs in a process group of its own, together with a small shell that reads from a pipe. The
//! pipe's other end is held here and by nobody else, so it closes when this process ends in whatever way: return,
//! panic, Ctrl-C or SIGKILL. The shell then kills the whole group. `PR_SET_PDEATHSIG` would not do: it fires when
//! the starting *thread* ends, and every `#[tokio::test]` is a thread of its own.
//!
//! This module knows nothing about what the programs do. Folders that go the same way: [`crate::folder`].

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// `$$` is the group's id (the shell leads the group and becomes the program); `read` ends when the pipe closes.
const WATCHED: &str = r#"
exec 3<&0
( read -r _ <&3; kill -s KILL -- "-$$" ) </dev/null >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"#;

/// What to start: a program, its arguments, its surroundings and the file that takes its output.
#[derive(Clone)]
pub struct Start {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    log: PathBuf,
}

impl Start {
    /// `program` is a path or a name on `PATH`; standard output and standard error are appended to `log`.
    pub fn new(program: impl AsRef<OsStr>, log: impl Into<PathBuf>) -> Self {
        Self { program: program.as_ref().to_owned(), args: Vec::new(), env: Vec::new(), folder: None, log: log.into() }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working folder.
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Starts the program. Errors when the log cannot be written or the shell cannot be started; a program that
    /// does not exist shows as an exit with status 127 and a line in the log.
    pub fn spawn(self) -> Result<Process> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write the log {}", self.log.display()))?;
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(WATCHED)
            .arg("watched")
            .arg(&self.program)
            .args(&self.args)
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let name = Path::new(&self.program)
            .file_name()
            .map_or_else(|| self.program.to_string_lossy().into_owned(), |name| name.to_string_lossy().into_owned());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let lifeline = child.stdin.take();
        Ok(Process { name, child, lifeline, log: self.log })
    }
}

impl fmt::Debug for Start {
    /// The name only: arguments and environment may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Start({})", self.program.display())
    }
}

/// A running program. Dropping it kills the program and everything that the program started.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// `Some` until killed.
    lifeline: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    /// The program's process id, which is also the id of its process group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The program's file name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The exit status, or `None` while the program runs.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The last `lines` lines of what the program wrote.
    pub fn last_lines(&self, lines: usize) -> String {
        last_lines(&self.log, lines)
    }

    /// Asks the program to end with SIGTERM, as Kubernetes does. It is not waited for.
    pub fn terminate(&self) -> Result<()> {
        kill_process(self.pid(), Signal::TERM).with_context(|| format!("cannot send SIGTERM to {}", self.name))
    }

    /// Stops the program where it is, with SIGSTOP; to itself it looks as if no time passed.
    pub fn pause(&self) -> Result<()> {
        kill_process(self.pid(), Signal::STOP).with_context(|| format!("cannot stop {}", self.name))
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        kill_process(self.pid(), Signal::CONT).with_context(|| format!("cannot continue {}", self.name))
    }

    /// Kills the program and everything that it started, and waits for the program's end.
    pub fn kill(&mut self) {
        if self.lifeline.take().is_none() {
            return; // killed before; the group's id may belong to somebody else by now
        }
        // Until here the watching shell keeps the group alive, even when the program ended long ago.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last `lines` lines of a file, read from its last 64 KiB; empty when it cannot be read.
pub(crate) fn last_lines(path: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(64 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn is_alive(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_dropped_process_takes_its_children_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let process = Start::new("sh", &log).args(["-c", "sleep 600 & echo $!; wait"]).spawn().unwrap();
        wait_until("the child's id", || !last_lines(&log, 1).is_empty());
        let grandchild = last_lines(&log, 1);
        assert!(is_alive(&grandchild));
        drop(process);
        wait_until("the grandchild's end", || !is_alive(&grandchild));
    }

    #[test]
    fn a_closed_lifeline_kills_the_program_without_any_destructor() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = Start::new("sleep", &log).arg("600").spawn().unwrap();
        let pid = process.id().to_string();
        assert!(is_alive(&pid));
        // What the kernel does with the pipe when this process is killed.
        drop(process.lifeline.take());
        wait_until("the program's end", || process.exited().unwrap().is_some());
        assert!(!is_alive(&pid));
    }
}
