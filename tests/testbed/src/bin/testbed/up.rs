//! What does `testbed up` start, and how long does it stay?
//!
//! It holds everything it started: when it ends, everything ends. With `--detach` it starts itself once more in the
//! background and waits until that one is ready.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::simulators::Simulators;
use anyhow::{Context, Result, bail};
use clap::Args;
use testbed::control_plane::{ControlPlane, Options};
use testbed::keycloak::Keycloak;
use testbed::keycloak::realm::{Beginning, OPERATOR_CLIENT, Realm, RealmOptions};
use testbed::state::{self, ControlPlaneState, KeycloakState, ProcessState, Standing, State};
use testbed::tools::{self, Tool};
use testbed::{cache, write_private};
use tokio::signal::unix::{SignalKind, signal};

const REALM: &str = "demo";
const POLL: Duration = Duration::from_millis(100);
/// Tells the process in the background that it is the one that stays.
const DETACHED: &str = "TESTBED_DETACHED";

/// What to start besides etcd and kube-apiserver.
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// Start Keycloak with a realm "demo" that has users in every state.
    #[arg(long)]
    keycloak: bool,
    /// Start simulators of PingOne, Looker and MonoCloud.
    #[arg(long)]
    simulators: bool,
    /// How many users each provider has.
    #[arg(long, default_value_t = 40)]
    users: u32,
    /// Start kube-controller-manager: namespaces can be deleted and Deployments make Pods.
    #[arg(long)]
    controller_manager: bool,
    /// Return when everything is ready; `testbed down` stops it.
    #[arg(long)]
    detach: bool,
}

/// What is held until the end, in the order in which it ends.
struct Parts {
    _simulators: Option<Simulators>,
    _keycloak: Option<Keycloak>,
    _control_plane: ControlPlane,
}

impl Up {
    /// Runs until Ctrl-C or SIGTERM, or with `--detach` until everything is ready.
    pub fn run(&self) -> Result<ExitCode> {
        if self.detach && std::env::var_os(DETACHED).is_none() {
            return detach();
        }
        let standing = Standing::begin()?;
        let runtime = tokio::runtime::Runtime::new()?;
        let result = runtime.block_on(self.stand());
        // A build in progress does not hold up the end; it ends with this process.
        runtime.shutdown_background();
        standing.end()?;
        result.map(|()| ExitCode::SUCCESS)
    }

    async fn stand(&self) -> Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // In the background the terminal's end is not ours.
        let mut hangup = signal(SignalKind::hangup())?;
        let detached = std::env::var_os(DETACHED).is_some();
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv(), if !detached => {}
            }
        };
        tokio::pin!(stop);
        let _parts = tokio::select! {
            parts = self.start() => parts?,
            () = &mut stop => return Ok(()),
        };
        stop.await;
        eprintln!("testbed: stopping");
        Ok(())
    }

    async fn start(&self) -> Result<Parts> {
        // One after the other, so that the progress of two builds does not mix.
        for tool in self.tools() {
            tools::ensure(tool).await?;
        }
        let options = Options { controller_manager: self.controller_manager, ..Options::default() };
        let (control_plane, keycloak) = tokio::try_join!(start_control_plane(options), self.start_keycloak())?;
        let (keycloak, keycloak_state) = keycloak.unzip();
        let (simulators, simulator_states) = match self.simulators {
            true => Some(Simulators::start(self.users).await?).unzip(),
            false => (None, None),
        };
        let state = State {
            pid: std::process::id(),
            control_plane: control_plane_state(&control_plane),
            keycloak: keycloak_state,
            simulators: simulator_states.unwrap_or_default(),
        };
        eprint!("{}", describe(&state));
        // Last: whoever waits for this file has then seen all of the output.
        state.write()?;
        Ok(Parts { _simulators: simulators, _keycloak: keycloak, _control_plane: control_plane })
    }

    fn tools(&self) -> Vec<Tool> {
        let mut tools = vec![Tool::Etcd, Tool::KubeApiServer, Tool::Kubectl];
        if self.controller_manager {
            tools.push(Tool::KubeControllerManager);
        }
        if self.keycloak {
            tools.push(Tool::Keycloak);
        }
        tools
    }

    async fn start_keycloak(&self) -> Result<Option<(Keycloak, KeycloakState)>> {
        if !self.keycloak {
            return Ok(None);
        }
        eprintln!("testbed: starting Keycloak");
        let keycloak = Keycloak::start().await?;
        let options = RealmOptions::default()
            .users(self.users.try_into()?)
            .user("disabled", Beginning::Disabled)
            .user("marked", Beginning::Marked)
            .user("totp", Beginning::MustConfigureTotp)
            .user("brokered", Beginning::WithoutPassword)
            .user("invalid", Beginning::ProfileInvalid)
            .group("staff", &["disabled", "marked"]);
        let realm = keycloak.create_realm(REALM, options).await?;
        eprintln!("testbed: Keycloak is ready");
        let state = keycloak_state(&keycloak, &realm)?;
        Ok(Some((keycloak, state)))
    }
}

/// A summary for people.
pub fn describe(state: &State) -> String {
    let plane = &state.control_plane;
    let mut text = String::new();
    let _ = writeln!(text, "Kubernetes  {}", plane.server);
    let _ = writeln!(text, "            export KUBECONFIG={}", plane.kubeconfig.display());
    let _ = writeln!(text, "            logs and audit.log in {}", plane.folder.display());
    if let Some(keycloak) = &state.keycloak {
        let _ = writeln!(text, "Keycloak    {}", keycloak.url);
        let _ = writeln!(
            text,
            "            administrator {}, password in {}",
            keycloak.admin,
            keycloak.admin_password_file.display()
        );
        let _ = writeln!(
            text,
            "            realm {}, client {}, secret in {}",
            keycloak.realm,
            keycloak.client_id,
            keycloak.client_secret_file.display()
        );
    }
    for simulator in &state.simulators {
        let _ = writeln!(text, "{:<11} {}", simulator.provider, simulator.url);
        let _ = writeln!(text, "            credentials in {}", simulator.credentials_file.display());
    }
    let _ = writeln!(text, "Held by process {}: Ctrl-C or `testbed down` stops everything.", state.pid);
    text
}

async fn start_control_plane(options: Options) -> Result<ControlPlane> {
    eprintln!("testbed: starting etcd and kube-apiserver");
    let plane = ControlPlane::start(options).await?;
    eprintln!("testbed: the API server is ready");
    Ok(plane)
}

fn control_plane_state(plane: &ControlPlane) -> ControlPlaneState {
    ControlPlaneState {
        server: plane.server().to_owned(),
        kubeconfig: plane.kubeconfig_path().to_owned(),
        folder: plane.folder().to_owned(),
        processes: plane.processes().into_iter().map(|(name, pid)| ProcessState { name, pid }).collect(),
    }
}

fn keycloak_state(keycloak: &Keycloak, realm: &Realm) -> Result<KeycloakState> {
    let folder = keycloak.folder().to_owned();
    let (admin, password) = keycloak.admin();
    let keep = |name: &str, secret: &str| -> Result<PathBuf> {
        let path = folder.join(name);
        write_private(&path, secret)?;
        Ok(path)
    };
    Ok(KeycloakState {
        url: keycloak.url().to_owned(),
        pid: keycloak.process_id(),
        admin: admin.to_owned(),
        admin_password_file: keep("admin-password", password)?,
        realm: realm.name().to_owned(),
        client_id: OPERATOR_CLIENT.to_owned(),
        client_secret_file: keep("client-secret", &realm.client_secret())?,
        folder,
    })
}

fn detach() -> Result<ExitCode> {
    if let Some(pid) = state::running()? {
        bail!("a test bed stands already (process {pid}); `testbed down` stops it");
    }
    let log = cache::folder()?.join("testbed.log");
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .context("cannot start the test bed in the background")?;
    follow(&mut child, &log)
}

/// Passes on what the process in the background says, until it is ready or has failed.
fn follow(child: &mut Child, log: &Path) -> Result<ExitCode> {
    let mut shown = 0;
    let mut pass_on = || {
        let text = fs::read_to_string(log).unwrap_or_default();
        eprint!("{}", text.get(shown..).unwrap_or_default());
        shown = text.len();
    };
    loop {
        let ended = child.try_wait()?;
        // An error only says that it is still starting.
        let ready = State::read().is_ok_and(|state| state.is_some_and(|it| it.pid == child.id()));
        pass_on();
        if ended.is_some() {
            return Ok(ExitCode::FAILURE);
        }
        if ready {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(POLL);
    }
}
