//! How does somebody try things out by hand? `testbed up`, `testbed status`, `testbed down`.
//!
//! One test bed per user at a time; tests start their own and do not care. Starting is in [`up`].

mod simulators;
mod up;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process};
use testbed::state::{self, State};

const DOWN_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Starts and stops a real Kubernetes API server, Keycloak and simulators of closed services on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start everything and stay until Ctrl-C; the first time this builds programs for some minutes.
    Up(up::Up),
    /// Stop what `up` started.
    Down,
    /// Show what stands; ends with 1 when nothing does.
    Status {
        /// Print the state file instead.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.action {
        Action::Up(options) => options.run(),
        Action::Down => down(),
        Action::Status { json } => status(json),
    };
    result.unwrap_or_else(|error| {
        eprintln!("testbed: {error:#}");
        ExitCode::FAILURE
    })
}

fn down() -> Result<ExitCode> {
    let Some(pid) = state::running()? else {
        println!("Nothing stands.");
        return Ok(ExitCode::SUCCESS);
    };
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.with_context(|| format!("{pid} is no process id"))?;
    kill_process(process, Signal::TERM).with_context(|| format!("cannot send SIGTERM to process {pid}"))?;
    let deadline = Instant::now() + DOWN_DEADLINE;
    while state::running()? == Some(pid) {
        if Instant::now() > deadline {
            bail!("process {pid} did not stop within {} s", DOWN_DEADLINE.as_secs());
        }
        std::thread::sleep(POLL);
    }
    println!("Stopped.");
    Ok(ExitCode::SUCCESS)
}

fn status(json: bool) -> Result<ExitCode> {
    let Some(state) = State::read()? else {
        println!("Nothing stands. `testbed up` starts it.");
        return Ok(ExitCode::FAILURE);
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&state)?);
    } else {
        print!("{}", up::describe(&state));
    }
    Ok(ExitCode::SUCCESS)
}
