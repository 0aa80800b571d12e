//! How does the operator run here? As a process, as its own ServiceAccount, like the Pod that it is elsewhere.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testbed::process::{Process, Start};

use crate::cluster::Cluster;

const STOP_DEADLINE: Duration = Duration::from_secs(10);
const LAST_COMPLAINTS: usize = 5;
const POLL: Duration = Duration::from_millis(20);

/// The running operator. Dropping it kills it.
pub struct Operator {
    process: Process,
    start: Start,
    log: PathBuf,
}

impl Operator {
    /// Starts it on `cluster` with this kubeconfig.
    pub fn start(cluster: &Cluster, kubeconfig: &Path) -> Result<Self> {
        let log = cluster.folder().join("operator.log");
        let start = Start::new(program()?, &log)
            .env("KUBECONFIG", kubeconfig)
            .env("OPERATOR_NAMESPACE", &cluster.operator_namespace)
            .env("WATCH_NAMESPACES", &cluster.namespace)
            .env("LISTEN", "127.0.0.1:0")
            .env("ALLOWED_ADDRESSES", "127.0.0.0/8,::1")
            .env("LOG", "info");
        let process = start.clone().spawn()?;
        Ok(Self { process, start, log })
    }

    /// Errors with its last words when it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.process.exited()? {
            Some(status) => bail!("the operator ended ({status}). Its last words:\n{}", self.process.last_lines(10)),
            None => Ok(()),
        }
    }

    /// Kills it as a power cut would, and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.start.clone().spawn()?;
        Ok(())
    }

    /// Asks it to end, as Kubernetes does, and waits; kills it when it does not.
    pub async fn stop(mut self) -> Result<()> {
        self.process.terminate()?;
        let deadline = Instant::now() + STOP_DEADLINE;
        while self.process.exited()?.is_none() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// The last warnings and errors of its log.
    pub fn complaints(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines =
            text.lines().filter(|line| line.contains(r#""level":"WARN""#) || line.contains(r#""level":"ERROR""#));
        let lines: Vec<&str> = lines.collect();
        lines[lines.len().saturating_sub(LAST_COMPLAINTS)..].join("\n")
    }

    /// Its log, one JSON object a line.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// The program beside this one: `make demo` builds both.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let program = own.with_file_name("password-reset-operator");
    if !program.is_file() {
        bail!("{} is missing: start the demo by `make demo`, which builds it", program.display());
    }
    Ok(program)
}
