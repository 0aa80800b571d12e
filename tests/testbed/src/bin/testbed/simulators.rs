//! How do the simulators of the closed services stand in a test bed?
//!
//! They run inside this process and end with it. Which users and rules they have is said in the crate `simulators`.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use simulators::{Handle, Looker, MonoCloud, Options, PingOne};
use testbed::folder::WorkFolder;
use testbed::state::SimulatorState;
use testbed::write_private;

/// The running simulators; dropping them closes their sockets.
pub struct Simulators {
    // Handles first: they close before the files go.
    _handles: Vec<Handle>,
    _folder: WorkFolder,
}

impl Simulators {
    /// Starts one of each on free ports, with `users` users, every awkward kind among them.
    pub async fn start(users: u32) -> Result<(Self, Vec<SimulatorState>)> {
        let folder = WorkFolder::create("simulators")?;
        let options = Options::awkward(users);
        let pingone = PingOne::start(options.clone()).await.context("the PingOne simulator did not start")?;
        let looker = Looker::start(options.clone()).await.context("the Looker simulator did not start")?;
        let monocloud = MonoCloud::start(options).await.context("the MonoCloud simulator did not start")?;
        let states = vec![
            SimulatorState {
                auth_url: Some(pingone.auth_url()),
                environment_id: Some(pingone.environment_id()),
                ..state("pingone", &pingone, folder.path())?
            },
            state("looker", &looker, folder.path())?,
            state("monocloud", &monocloud, folder.path())?,
        ];
        Ok((Self { _handles: vec![pingone, looker, monocloud], _folder: folder }, states))
    }
}

fn state(provider: &str, handle: &Handle, folder: &Path) -> Result<SimulatorState> {
    let credentials = handle.credentials();
    let credentials = match provider {
        "monocloud" => json!({ "apiKey": credentials.api_key }),
        _ => json!({ "clientID": credentials.client_id, "clientSecret": credentials.client_secret }),
    };
    let credentials_file = folder.join(format!("{provider}.json"));
    write_private(&credentials_file, &credentials.to_string())?;
    Ok(SimulatorState {
        provider: provider.to_owned(),
        url: handle.base_url(),
        auth_url: None,
        environment_id: None,
        credentials_file,
    })
}
