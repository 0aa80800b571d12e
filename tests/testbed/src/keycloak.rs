//! How does a real Keycloak run on this machine, and how do tests get realms on it?
//!
//! One Java process with its database in memory, on free ports of 127.0.0.1. [`Keycloak::create_realm`] makes realms
//! with users in every state that matters; a [`realm::Realm`] then plays administrators and people and reads the
//! truth back, through Keycloak's own interfaces: the admin API, its [admin events](ledger) and the [login form](person).

mod admin;
pub(crate) mod install;
pub mod ledger;
pub mod options;
pub mod person;
pub mod realm;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::OnceCell;

use crate::folder::WorkFolder;
use crate::process::{Process, Start};
use crate::tools::{self, Tool};
use crate::{ports, random};
use admin::Admin;
use realm::{Realm, RealmOptions};

/// A healthy start takes ten seconds, three times that beside a compiler.
const START_DEADLINE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(100);
const START_ATTEMPTS: usize = 3;

/// A running Keycloak. Dropping it stops it and removes its files.
#[derive(Debug)]
pub struct Keycloak {
    process: Process,
    admin: Admin,
    folder: WorkFolder,
}

impl Keycloak {
    /// Fetches and prepares Keycloak when it is missing, starts it and returns when `/health/ready` says so.
    ///
    /// Errors carry the server's last lines.
    pub async fn start() -> Result<Self> {
        let installation = tools::ensure(Tool::Keycloak).await?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&installation).await {
                Err(error) if attempt < START_ATTEMPTS && format!("{error:#}").contains("already in use") => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn start_once(installation: &Path) -> Result<Self> {
        let folder = WorkFolder::create("keycloak")?;
        let [port, management_port] = ports::free()?;
        let password = random::hex()?;
        let process = Start::new(installation.join("bin/kc.sh"), folder.path().join("keycloak.log"))
            // Options of the build (database, cache, health) are in `install`.
            .args(["start", "--optimized", "--cache=local"])
            .args(["--http-enabled=true", "--hostname-strict=false"])
            .args(["--http-host=127.0.0.1", &format!("--http-port={port}")])
            .arg(format!("--http-management-port={management_port}"))
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", admin::USER)
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", &password)
            .env("JAVA_OPTS_KC_HEAP", "-Xms128m -Xmx512m")
            // A short life: compiling hot code further costs more than it gains.
            .env("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1")
            .spawn()?;
        let mut keycloak = Self { process, admin: Admin::new(format!("http://127.0.0.1:{port}"), password)?, folder };
        keycloak.wait_until_ready(management_port).await?;
        Ok(keycloak)
    }

    /// The server's address, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        self.admin.server()
    }

    /// The name and the password of the administrator in the realm `master`.
    pub fn admin(&self) -> (&str, &str) {
        (admin::USER, self.admin.password())
    }

    /// The server's process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The folder with the server's log. It is removed with the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Creates the realm `name`, which must not exist. The handle stays valid while the server runs.
    pub async fn create_realm(&self, name: &str, options: RealmOptions) -> Result<Realm> {
        Realm::create(self.admin.clone(), name, options).await
    }

    /// Stops the server and removes its files; the same as dropping.
    pub fn stop(self) {
        drop(self);
    }

    async fn wait_until_ready(&mut self, management_port: u16) -> Result<()> {
        let url = format!("http://127.0.0.1:{management_port}/health/ready");
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let answer = self.admin.http().get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = self.process.exited()? {
                bail!("Keycloak ended ({status}). Its last lines:\n{}", self.process.last_lines(20));
            }
            if Instant::now() > deadline {
                bail!(
                    "Keycloak was not ready after {} s. Its last lines:\n{}",
                    START_DEADLINE.as_secs(),
                    self.process.last_lines(20)
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The one Keycloak of this process, started by the first caller. It ends with the process.
///
/// Tests that share it keep apart by realms. Errors are not remembered: the next caller tries again.
pub async fn shared() -> Result<&'static Keycloak> {
    static SHARED: OnceCell<Keycloak> = OnceCell::const_new();
    SHARED.get_or_try_init(Keycloak::start).await.context("the Keycloak of this process did not start")
}
