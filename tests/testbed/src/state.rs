//! Is a test bed standing outside of tests, and where are its parts?
//!
//! `testbed up` holds a lock as long as it runs and writes down what it started. The lock decides and not the file, so a
//! killed test bed is never taken for a standing one.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::certificates::write_private;

/// What stands, as written to [`path`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The process that holds everything; SIGTERM makes it stop.
    pub pid: u32,
    /// etcd and kube-apiserver.
    pub control_plane: ControlPlaneState,
    /// Keycloak, when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keycloak: Option<KeycloakState>,
    /// Simulators of closed services, when they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub simulators: Vec<SimulatorState>,
}

/// Where the API server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlaneState {
    /// `https://127.0.0.1:<port>`
    pub server: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Logs and audit log.
    pub folder: PathBuf,
    /// What runs.
    pub processes: Vec<ProcessState>,
}

/// A running program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessState {
    /// The program's file name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

/// Where Keycloak is. Secrets are in files that only their owner can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeycloakState {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// The process id of the server.
    pub pid: u32,
    /// The administrator's name in the realm `master`.
    pub admin: String,
    /// The administrator's password.
    pub admin_password_file: PathBuf,
    /// A realm with users in every state.
    pub realm: String,
    /// The operator's client in that realm.
    pub client_id: String,
    /// The client's secret.
    pub client_secret_file: PathBuf,
    /// The server's log.
    pub folder: PathBuf,
}

/// Where a simulator is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SimulatorState {
    /// `pingone`, `looker` or `monocloud`.
    pub provider: String,
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// PingOne: the address of the token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_url: Option<String>,
    /// PingOne: the environment that holds the users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment_id: Option<String>,
    /// JSON with `clientID` and `clientSecret`, MonoCloud with `apiKey`.
    pub credentials_file: PathBuf,
}

impl State {
    /// The standing test bed, or `None`. While one is starting its state is not there yet: an error says so.
    pub fn read() -> Result<Option<Self>> {
        let Some(pid) = running()? else {
            return Ok(None);
        };
        let path = path()?;
        let state: Option<Self> = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            text => {
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                serde_json::from_str(&text).map(Some).with_context(|| format!("{} is damaged", path.display()))?
            }
        };
        // The state of a killed predecessor may still lie there.
        match state {
            Some(state) if state.pid == pid => Ok(Some(state)),
            _ => bail!("the test bed is still starting; try again in a moment"),
        }
    }

    /// Writes the state for others to read, at once or not at all.
    pub fn write(&self) -> Result<()> {
        let path = path()?;
        let new = path.with_extension("json.new");
        write_private(&new, &serde_json::to_string_pretty(self)?)?;
        fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The state file, `<cache>/testbed.json`.
pub fn path() -> Result<PathBuf> {
    Ok(cache::folder()?.join("testbed.json"))
}

/// Held while a test bed stands. It is a record lock, whose holder the kernel names; the process must not open the file again.
#[derive(Debug)]
pub struct Standing(File);

impl Standing {
    /// Errors when another test bed stands already.
    pub fn begin() -> Result<Self> {
        let file = open_lock()?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => {
                bail!("a test bed stands already: `testbed status` shows it, `testbed down` stops it")
            }
            Err(error) => return Err(error).context("cannot lock"),
        }
        remove_state()?;
        Ok(Self(file))
    }

    /// Removes the state and releases the lock.
    pub fn end(self) -> Result<()> {
        remove_state()?;
        drop(self.0);
        Ok(())
    }
}

/// The process id of the test bed that stands or starts, or `None`. A process does not see itself.
pub fn running() -> Result<Option<u32>> {
    let wanted = Flock { start: 0, length: 0, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    let holder = fcntl_getlk(open_lock()?, &wanted).context("cannot ask for the lock")?;
    let pid = holder.and_then(|lock| lock.pid);
    Ok(pid.map(|pid| pid.as_raw_nonzero().get().unsigned_abs()))
}

fn remove_state() -> Result<()> {
    let path = path()?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn open_lock() -> Result<File> {
    let path = cache::folder()?.join("testbed.lock");
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
}
